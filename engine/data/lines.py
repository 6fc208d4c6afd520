"""The lines of a text file, plain or compressed, each with its number."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from engine.common.errors import WinnowError
from engine.common.text import reason

COMPRESSED = {".gz": "gzip", ".zst": "zstd"}  # by the last part of the name
_BUFFER_BYTES = 1 << 16


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, its line end kept; a compressed file is unpacked on the way.

    Raises WinnowError naming the line and the byte that is not UTF-8, or saying that the compressed file is damaged.
    """
    offset = 0
    for number, line in enumerate(_unpacked(path), 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise WinnowError(
                f"{path}, line {number:,}: this is not UTF-8 (byte {offset + error.start:,} of the "
                f"{'unpacked ' if path.suffix.lower() in COMPRESSED else ''}file, counted from 0); save the file "
                "again as UTF-8."
            ) from None
        yield number, text.removeprefix("\ufeff") if number == 1 else text
        offset += len(line)


def _unpacked(path: Path) -> Iterator[bytes]:
    kind = COMPRESSED.get(path.suffix.lower())
    with path.open("rb") as file:
        if kind is None:
            yield from file
            return
        # Arrow's streams also read what several packed files make, one behind the other, and notice a missing end.
        stream = pa.CompressedInputStream(file, kind)
        try:
            yield from io.BufferedReader(cast(BinaryIO, stream), _BUFFER_BYTES)  # type: ignore[type-var]
        except OSError as error:
            if error.errno:
                raise
            raise WinnowError(
                f"{path} is not a whole {kind} file ({reason(error)}); download it or write it again."
            ) from error
