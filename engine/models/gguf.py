"""GGUF files, through transformers' own reader: weights, configuration, tokenizer and chat template in one file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import GgufConfig

from engine.common.errors import WinnowError
from engine.common.paths import is_here
from engine.common.text import printable

SUFFIX = ".gguf"


def gguf_file(source: str) -> Path | None:
    """The file, if a recipe names a GGUF file. Raises WinnowError if it is not there or cannot be read here."""
    path = Path(source)
    if path.suffix.lower() != SUFFIX:
        return None
    if not is_here(source) or not path.is_file():
        raise WinnowError(f"There is no GGUF file {printable(source)}; give the path of one on this machine.")
    if find_spec("gguf") is None:
        raise WinnowError(f"Reading {source} needs the package gguf: install it with `pip install 'winnow[gguf]'`.")
    return path


def unpacked() -> dict[str, Any]:
    """What `from_pretrained` needs to unpack the weights, so that they are scored and trained like any others."""
    return {"quantization_config": GgufConfig(dequantize=True)}
