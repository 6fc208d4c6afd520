"""Settings of models: pairs to load, networks of our own, models trained from scratch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.common.choices import NumberFormat
from engine.common.text import printable
from engine.config.base import Count, Name, Positive, Settings
from engine.config.data import CorpusSettings


class ScratchModel(Settings):
    """A small transformer that is trained from scratch."""

    layers: Count
    """Transformer blocks."""
    width: Annotated[int, Field(ge=8)]
    """Width of the hidden states, a multiple of 2 × `heads`."""
    heads: Count
    """Attention heads."""
    epochs: Positive = 1.0
    """Passes over the corpus; a fraction is allowed."""
    learning_rate: Positive = 2e-3
    """Peak of the learning rate."""
    batch_size: Count = 32
    """Samples in one step."""
    seed: int = 0
    """Draws the first weights and the order of the samples."""

    @model_validator(mode="after")
    def _even_heads(self) -> ScratchModel:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 × heads ({2 * self.heads})")
        return self


def exit_layer(model: str) -> str | None:
    """`6` for `exit:6`, the teacher cut after its sixth layer; None for a model of its own."""
    return model.removeprefix("exit:") if model.startswith("exit:") else None


def scratch_name(model: str) -> str | None:
    """`teacher` for `scratch:teacher`; None for a model that is loaded from elsewhere."""
    return model.removeprefix("scratch:") if model.startswith("scratch:") else None


class NetworkSettings(Settings):
    """A network that reads labelled samples. Texts are read by its tokenizer, which teachers must share."""

    model: str = "mlp"
    """`mlp` (images, numbers) or `cnn` (images), trained from scratch, or a Hub id or local folder of a transformers
    classifier."""
    width: Count = 64
    """Units or channels of the first hidden layer of an `mlp` or `cnn`."""
    depth: Count = 2
    """Hidden layers of an `mlp`, blocks of a `cnn`."""
    pretrained: bool = True
    """Whether a transformers model keeps its weights; if not, they are drawn afresh."""


class ScratchSettings(Settings):
    """How `scratch:NAME` models are trained: one tokenizer for all of them, one entry in `models` for each name."""

    vocab_size: Annotated[int, Field(ge=300)] = 4096
    """Most tokens of the byte-level BPE tokenizer."""
    corpus: CorpusSettings = CorpusSettings()
    models: dict[Name, ScratchModel]


class PairSettings(Settings):
    """Teacher and student."""

    teacher: str
    """A Hub id, a local folder (also of a LoRA adapter, which is merged into its base), a GGUF file (extra `gguf`), or
    `scratch:NAME`."""
    student: str
    """The same; it must share the teacher's tokenizer. Or `exit:LAYER`: the teacher cut after so many of its layers,
    with its own last norm and head (self-distillation); it shares the teacher's weights in memory."""
    teacher_device_map: Literal["", "auto"] = ""
    """`auto` spreads a teacher that is larger than one GPU over all GPUs of the machine, its memory and, if that is not
    enough, the disk. Tested with memory and disk; several GPUs are untried."""
    teacher_bits: Literal[16, 8, 4] = 16
    """16 leaves the teacher in `dtype`; 8 (torchao) or 4 (NF4 of bitsandbytes) needs the extra `quantized`. Fewer bits
    make it another teacher: the KL from SmolLM2-135M to itself in 8 bits is 0.007 nats per token, in 4 bits 0.4. Tested
    on a CPU; GPUs are untried."""
    dtype: NumberFormat = "auto"
    """What models compute in; `auto`: bfloat16 on GPUs that have it, else float32."""
    max_length: Annotated[int, Field(ge=8)] = 512
    """Most tokens of a sample; what is longer is cut, also at the positions that the models have."""

    def source(self, role: str) -> str:
        """Where the weights and the tokenizer of `teacher` or `student` are: those of an exit are the teacher's."""
        return self.student if role == "student" and exit_layer(self.student) is None else self.teacher

    @model_validator(mode="after")
    def _exits(self) -> PairSettings:
        if exit_layer(self.teacher) is not None:
            raise ValueError(f"teacher is {printable(self.teacher)}, and only a student can be an exit of its teacher")
        if exit_layer(self.student) is not None and (self.teacher_device_map or self.teacher_bits != 16):
            raise ValueError(
                f"student is {printable(self.student)}, which is trained on the teacher's own weights, so they must be "
                "whole and on one device; leave teacher_device_map and teacher_bits out"
            )
        return self
