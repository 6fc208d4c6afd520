"""Telling an allocation that failed from other errors."""

from __future__ import annotations

OUT_OF_MEMORY = ("allocate memory", "out of memory", "not enough memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed. torch.OutOfMemoryError is a RuntimeError; the CPU allocator's is a plain one."""
    typed = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return typed or any(words in str(error) for words in OUT_OF_MEMORY)
