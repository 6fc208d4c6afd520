"""A teacher that is larger than one GPU: its weights spread over the machine by accelerate, or kept in fewer bits by
torchao or bitsandbytes. Only a model that is not trained can be either."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig, TorchAoConfig

from engine.common.errors import WinnowError
from engine.config.models import PairSettings

FULL = 16  # stands for: as many as the number format has
_PACKAGES = {8: "torchao", 4: "bitsandbytes"}


@dataclass(frozen=True)
class Placement:
    """Where the weights of a model lie, and in how many bits."""

    spread: bool = False  # over the GPUs of the machine, its memory and, if that is not enough, the files on disk
    bits: int = FULL  # 8: integers with a scale for each row of a matrix; 4: NF4 (Dettmers et al. 2023, QLoRA)

    @property
    def words(self) -> str:
        """What follows the name of the device in the log."""
        spread = ", spread over all of the machine" if self.spread else ""
        return spread + (f", in {self.bits} bits" if self.bits != FULL else "")

    def hash(self, weights: str) -> str:
        """The hash of a model whose weights have a hash: fewer bits give other scores."""
        return weights if self.bits == FULL else f"{weights}-{self.bits}bit"

    def check(self, name: str, ready_made: str) -> None:
        """Raises WinnowError if the model cannot be placed like this; `ready_made` says what it is if that is in the
        way, as an adapter or a GGUF file."""
        if self == WHOLE:
            return
        if ready_made:
            raise WinnowError(
                f"{name} is {ready_made}, which is loaded as it is and on one device; leave models.teacher_device_map "
                "and models.teacher_bits out, or give a folder of whole weights."
            )
        if self.bits != FULL and find_spec(_PACKAGES[self.bits]) is None:
            raise WinnowError(
                f"Loading {name} in {self.bits} bits needs the package {_PACKAGES[self.bits]}: install it with "
                "`pip install 'winnow[quantized]'`, or set models.teacher_bits = 16."
            )

    def options(self, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
        """What `from_pretrained` has to be told."""
        if self == WHOLE:
            return {}
        options: dict[str, Any] = {"device_map": "auto" if self.spread else {"": device}}
        if self.bits == 8:
            options["quantization_config"] = _eight_bits()
        if self.bits == 4:
            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
            )
        return options


def _eight_bits() -> TorchAoConfig:
    from torchao.quantization import Int8WeightOnlyConfig  # of an extra

    return TorchAoConfig(Int8WeightOnlyConfig(set_inductor_config=False))


WHOLE = Placement()


def placement_of(pair: PairSettings) -> Placement:
    """Where a recipe wants its teacher."""
    return Placement(spread=bool(pair.teacher_device_map), bits=pair.teacher_bits)
