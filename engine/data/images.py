"""Images between their files and arrays: decoding a set of them into one array, and one of them as PNG."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from engine.common.errors import WinnowError
from engine.common.text import printable, reason

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # no decoder that starts another program
MOST_PIXELS = 2**26  # of one image; a few bytes can claim to be far more
SHOWN_PIXELS = 96  # a side of the PNG of a larger image
THREADS = min(4, os.cpu_count() or 1)  # decoders work outside of Python's lock
_GREY = ("1", "L", "LA")
_COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_BROKEN = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, EOFError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What decoders raise on bytes that are not a complete image."""


def decode_images(
    values: Sequence[Any],
    place: Callable[[int], str],
    size: int | None,
    folder: Callable[[int], Path | None] = lambda _: None,
) -> NDArray[np.uint8]:
    """n images as one array (n, C, H, W), C = 1 if all are grey, else 3 (red, green, blue).

    A value is the bytes of an image file, the path of a local one or its `file://` address, or an object with `bytes`,
    else with such a `path`. A relative path begins at `folder(i)`. Palettes become colours, transparent parts white; an
    animation gives its first frame, and photos are turned upright.

    Without `size` all images must have one size and one mode. With it each is scaled until its shorter side has `size`
    pixels, cut to the middle square, and grey ones become colours if the set has both.

    Raises WinnowError with a sentence that begins with `place(i)`, as in "Row 3 of the file x", if image i cannot
    be used; and if the array would not fit into the free memory.
    """
    pixels: NDArray[np.uint8] | None = None
    expected = ""

    def decoded(number: int) -> tuple[str, NDArray[np.uint8]]:
        return _decode(_content(values[number], place(number), folder(number)), place(number), size)

    with ThreadPoolExecutor(THREADS) as pool:
        for number, (mode, image) in enumerate(pool.map(decoded, range(len(values)))):
            if pixels is None:
                expected = mode
                _require_memory(len(values), image.shape)
                pixels = np.empty((len(values), *image.shape), dtype=np.uint8)
            if size is None:
                _require_alike(place(number), mode, expected, image.shape, pixels.shape[1:])
            elif len(image) > pixels.shape[1]:
                pixels = np.repeat(pixels, len(image), axis=1)  # all before it were grey
            pixels[number] = image
    if pixels is None:
        raise ValueError("there are no images to decode")
    return pixels


def png(pixels: NDArray[np.uint8]) -> bytes:
    """One image (C, H, W) as PNG, scaled down to at most SHOWN_PIXELS a side."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    image.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def pngs(pixels: NDArray[np.uint8]) -> list[bytes]:
    """`png` of each image of (n, C, H, W)."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(png, pixels))


def _decode(content: bytes, place: str, size: int | None) -> tuple[str, NDArray[np.uint8]]:
    """The mode of the file, and its pixels (1 or 3, H, W)."""
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        mode = image.mode
        if image.width * image.height > MOST_PIXELS:
            raise WinnowError(
                f"{place} holds an image of {image.width:,} x {image.height:,} pixels, more than the {MOST_PIXELS:,} "
                "that Winnow opens; scale it down."
            )
        if mode in _GREY + _COLOUR:
            image = _plain(ImageOps.exif_transpose(image), "L" if mode in _GREY else "RGB")
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    except UnidentifiedImageError as error:
        raise WinnowError(f"{place} holds an image that is none of {', '.join(FORMATS)}; save it as one.") from error
    except _BROKEN as error:
        raise WinnowError(
            f"{place} holds an image that cannot be decoded ({reason(error)}); replace it, or leave the row out."
        ) from error
    if mode not in _GREY + _COLOUR:
        raise WinnowError(
            f"{place} holds an image of mode {printable(mode)}, which is not 8 bits a channel; save it as grey or RGB."
        )
    array = np.asarray(image)
    return mode, array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)


def _content(value: Any, place: str, folder: Path | None) -> bytes:
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
        value = path if content is None else content
    if isinstance(value, str) and value.strip():
        return _read(value.strip(), place, folder)
    if not isinstance(value, bytes) or not value:
        raise WinnowError(f"{place} holds no image where one should be; leave the row out, or choose another column.")
    return value


def _read(named: str, place: str, folder: Path | None) -> bytes:
    address = urlsplit(named) if _ADDRESS.match(named) else None
    if address and (address.scheme.lower() != "file" or address.netloc not in ("", "localhost")):
        raise WinnowError(
            f"{place} names the image {printable(named)}, which lies on another machine; download the images and give "
            "their paths instead."
        )
    path = (folder or Path()) / (unquote(address.path) if address else named)
    try:
        if not path.is_file():  # never a pipe or a device, which could have no end
            raise FileNotFoundError(errno.ENOENT, "there is no such file")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else reason(error)
        start = f", which begins at the folder {folder}," if folder and not Path(named).is_absolute() else ""
        raise WinnowError(
            f"{place} names the image {printable(named)}, which cannot be read ({why}); mend the path{start} "
            "or choose another column."
        ) from error


def _plain(image: Image.Image, mode: str) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _require_alike(
    place: str, mode: str, expected: str, shape: tuple[int, ...], expected_shape: tuple[int, ...]
) -> None:
    if mode != expected:
        raise WinnowError(
            f"{place} holds an image of mode {mode} where those before it are {expected}; convert all to one mode, or "
            "set data.size, which scales all images and gives mixed ones colours."
        )
    if shape != expected_shape:
        _, height, width = shape
        _, expected_height, expected_width = expected_shape
        raise WinnowError(
            f"{place} holds an image of {width} x {height} pixels where those before it have {expected_width} x "
            f"{expected_height}; set data.size to scale all images to one size."
        )


def _require_memory(count: int, shape: tuple[int, ...]) -> None:
    needed, free = count * int(np.prod(shape)), psutil.virtual_memory().available
    if needed > free:
        raise WinnowError(
            f"{count:,} images of {shape[2]} x {shape[1]} pixels need {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free; set data.size to scale them down, or data.limit to read fewer."
        )
