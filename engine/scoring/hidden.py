"""Final hidden states of a causal language model, and the cache that lets a frozen teacher run only once.

The final hidden states (after the last norm) and the LM head are all that the logits depend on. They are 30 to 170
times smaller than the logits, so `HiddenCache` stores them, in the model's own dtype, which loses nothing.
"""

import hashlib
import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from engine.batching.batch import Batch, TokenSample
from engine.common.atomic import write_atomically
from engine.common.errors import WinnowError
from engine.scoring.lm_head import LmHead

log = logging.getLogger(__name__)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off, and restore the mode of every module, also after an exception."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first weights that are in memory; the CPU if all are on disk, from where accelerate
    moves what it is given."""
    return next((weight.device for weight in model.parameters() if not weight.is_meta), torch.device("cpu"))


def final_hidden(model: nn.Module, batch: Batch) -> Tensor:
    """Hidden states after the last norm at the T counted positions of a batch, sample after sample: (T, d).

    Works for anything with `get_decoder`, PEFT wrappers included. No attention mask is passed: padding stands on the
    right, where causal attention never looks back from a real position, and without a mask attention takes its
    fastest path.
    """
    with eval_mode(model), torch.inference_mode():
        output = _pretrained(model).get_decoder()(input_ids=batch.input_ids, use_cache=False)
        hidden: Tensor = output.last_hidden_state[batch.counted]
        return hidden


def lm_head_of(model: nn.Module) -> LmHead:
    """The model's head with the logit scale and soft-cap of its configuration.

    Raises WinnowError if the last layer is not one plain linear layer with its weights in memory (LoRA on the head, for
    instance). Whether nothing else happens to the logits is not known here: see `scored_model`.
    """
    layer = _pretrained(model).get_output_embeddings()
    config = _pretrained(model).config.get_text_config()
    if not isinstance(layer, nn.Linear) or layer.weight.is_meta:
        raise WinnowError(
            f"The head of {name_of(model)} is a {type(layer).__name__}, and Winnow scores through one plain linear "
            "layer; leave the head out of the LoRA targets."
        )
    scale = _number(config, "logit_scale") * _number(config, "lm_head_multiplier")  # Cohere; Falcon-H1
    scale /= _number(config, "logits_scaling")  # Granite
    bias = None if layer.bias is None else layer.bias.detach()
    return LmHead(layer.weight.detach(), bias, scale, getattr(config, "final_logit_softcapping", None))


def _number(config: PretrainedConfig, name: str) -> float:
    value = getattr(config, name, None)
    return float(value) if isinstance(value, int | float) else 1.0


def _pretrained(model: nn.Module) -> PreTrainedModel:
    """PEFT wrappers have every attribute of the model they wrap, and share no class with it."""
    return cast(PreTrainedModel, model)


def name_of(model: nn.Module) -> str:
    """What to call a model in a sentence: where it was read from, else its class."""
    return getattr(model.config, "name_or_path", "") or type(model).__name__


class HiddenCache:
    """Final hidden states on disk, one safetensors file per key, never more than `limit_bytes` in all.

    A file is written atomically, with a checksum and a `stamp` of what it was made from. A damaged file or one with
    another stamp is logged, deleted and counts as absent.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    @staticmethod
    def estimate(n_tokens: int, width: int, dtype: torch.dtype) -> int:
        """Bytes of the hidden states of `n_tokens` positions, without the file's header (below 1 KB)."""
        return n_tokens * width * dtype.itemsize

    @property
    def bytes(self) -> int:
        """Bytes on disk now."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    def has(self, key: str) -> bool:
        return self._path(key).exists()

    def fits(self, key: str, n_bytes: int) -> bool:
        """Whether `n_bytes` under `key`, in place of what is there, stay within the limit."""
        replaced = self._path(key).stat().st_size if self.has(key) else 0
        return self.bytes - replaced + n_bytes <= self.limit_bytes

    def put(self, key: str, hidden: Tensor, stamp: str) -> bool:
        """Store (T, d) states; returns False and stores nothing if they would exceed the limit.

        Raises WinnowError if the disk cannot be written.
        """
        hidden = hidden.detach().cpu().contiguous()
        if not self.fits(key, hidden.nbytes):
            return False
        metadata = {"stamp": stamp, "crc32": _crc32(hidden)}
        write_atomically(self._path(key), lambda path: save_file({"hidden": hidden}, path, metadata))
        return True

    def get(self, key: str, stamp: str) -> Tensor | None:
        """The states stored under `key` from the same `stamp`, on the CPU, or None."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
                hidden: Tensor = file.get_tensor("hidden")
        except (SafetensorError, OSError) as error:
            log.warning("cached hidden states %s cannot be read (%s) and are computed again", path, error)
        else:
            if metadata.get("stamp") == stamp and metadata.get("crc32") == _crc32(hidden):
                return hidden
            log.warning("cached hidden states %s are damaged or of other samples and are computed again", path)
        path.unlink(missing_ok=True)
        return None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _crc32(tensor: Tensor) -> str:
    return f"{zlib.crc32(tensor.view(torch.uint8).numpy().data):08x}"


def stamp_of(samples: Sequence[TokenSample], head: LmHead) -> str:
    """What cached states were made from: every token, in order, and the width and dtype of the teacher."""
    total = hashlib.sha256(f"{tuple(head.weight.shape)} {head.weight.dtype}".encode())
    for sample in samples:
        ids = np.asarray(sample.input_ids, dtype=np.int64)
        total.update(len(ids).to_bytes(8, "little") + ids.tobytes())
    return total.hexdigest()
