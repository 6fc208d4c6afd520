"""Images between their files and arrays."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.common.errors import WinnowError
from engine.data import images
from engine.data.images import FORMATS, MOST_PIXELS, SHOWN_PIXELS, decode_images, png, pngs
from tests.fixtures.labelled_files import picture, pixels_of


def decode(values: list[Any], size: int | None = None) -> np.ndarray:
    return decode_images(values, lambda i: f"Row {i} of a list", size)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_lossless_files(kind: str, mode: str, channels: int) -> None:
    """Height, width and channels stand where they should, and no value changes."""
    found = decode([picture(i, mode, (5, 4), kind) for i in range(20)])
    assert found.shape == (20, channels, 4, 5)
    assert found.dtype == np.uint8
    for i in range(20):
        assert (found[i] == pixels_of(picture(i, mode, (5, 4)))).all()


def test_where_the_bytes_are(tmp_path: Path) -> None:
    """An image may be bytes, an object with bytes, or the path of a local file."""
    (tmp_path / "a.png").write_bytes(picture(2))
    found = decode([picture(0), {"bytes": picture(1), "path": "x"}, {"bytes": None, "path": str(tmp_path / "a.png")}])
    assert (found == np.stack([pixels_of(picture(i)) for i in range(3)])).all()


def test_modes_that_become_colours() -> None:
    """Palettes become their colours, transparent parts white, black and white pixels 0 and 255."""
    palette = Image.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 250, 251, 252])
    palette.putpixel((1, 0), 1)
    assert decode([saved(palette)])[0].tolist() == [[[1, 250]], [[2, 251]], [[3, 252]]]
    clear = Image.new("RGBA", (2, 1), (9, 8, 7, 0))
    clear.putpixel((1, 0), (9, 8, 7, 255))
    assert decode([saved(clear)])[0].tolist() == [[[255, 9]], [[255, 8]], [[255, 7]]]
    assert decode([saved(Image.new("LA", (1, 1), (5, 0)))]).tolist() == [[[[255]]]]
    assert decode([saved(Image.new("CMYK", (1, 1), (0, 0, 0, 255)), "TIFF")]).tolist() == [[[[0]], [[0]], [[0]]]]
    two = Image.new("1", (2, 1))
    two.putpixel((1, 0), 1)
    assert decode([saved(two)]).tolist() == [[[[0, 255]]]]


def test_photos_are_upright() -> None:
    """A photo that says it was taken sideways is turned."""
    image = Image.new("L", (3, 2))
    image.putpixel((2, 0), 255)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees, clockwise
    assert decode([saved(image, "PNG", exif=turned)])[0, 0].tolist() == [[0, 0], [0, 0], [0, 255]]


def test_scaling() -> None:
    """The shorter side is scaled and the middle is kept, so that nothing is distorted."""
    image = Image.new("RGB", (40, 20), (10, 20, 30))
    image.paste((200, 100, 50), (10, 0, 30, 20))  # the middle square
    found = decode([saved(image), picture(0, size=(7, 90))], size=8)
    assert found.shape == (2, 3, 8, 8)
    assert (found[0, :, :, 2:6] == np.array([200, 100, 50]).reshape(3, 1, 1)).all()
    assert (found[0, 0, :, [0, 7]] > 150).all()  # filters look a little beyond what is cut off


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 1, 0)])
def test_scaling_makes_mixed_modes_colour(order: tuple[int, ...]) -> None:
    """Grey images among colours get three equal channels, wherever they stand; a set of grey ones keeps its one."""
    mixed = [picture(0, "L"), picture(1), picture(2, "RGBA"), picture(3, "L")]
    found = decode([mixed[i] for i in order], size=6)
    assert found.shape == (4, 3, 6, 6)
    for place, i in enumerate(order):
        expected = pixels_of(mixed[i])[:3]
        assert (found[place] == expected).all()
    assert decode([mixed[0], mixed[3]], size=6).shape == (2, 1, 6, 6)


@pytest.mark.parametrize(
    ("values", "size", "words"),
    [
        ([picture(0), b""], None, "Row 1 of a list holds no image where one should be; leave the row out,"),
        ([picture(0), b"GIF89a"], None, "Row 1 of a list holds an image that is none of PNG, JPEG, WEBP, GIF, BMP,"),
        ([picture(0), picture(1)[:120]], 4, "Row 1 of a list holds an image that cannot be decoded ("),
        (
            [saved(Image.new("I;16", (2, 2)))],
            4,
            "Row 0 of a list holds an image of mode I;16, which is not 8 bits a channel; save it as grey or RGB.",
        ),
        ([saved(Image.new("F", (2, 2)), "TIFF")], None, "Row 0 of a list holds an image of mode F, which is not 8"),
        ([picture(0), {"bytes": None, "path": "a\0b"}], None, "Row 1 of a list names the image a\ufffdb, which cannot"),
        (
            ["/no/such.png"],
            None,
            "Row 0 of a list names the image /no/such.png, which cannot be read (there is no such",
        ),
        (
            ["/dev/zero"],
            None,
            "Row 0 of a list names the image /dev/zero, which cannot be read (there is no such file)",
        ),
        (["x" * 5000], None, f"Row 0 of a list names the image {'x' * 200}…, which cannot be read (File name"),
        (["  "], None, "Row 0 of a list holds no image where one should be;"),
        (["https://a.b/c.png"], 4, "Row 0 of a list names the image https://a.b/c.png, which lies on another machine;"),
        ([{"path": "s3://a/b.png"}], 4, "Row 0 of a list names the image s3://a/b.png, which lies on another machine;"),
        (["file://there/b.png"], 4, "Row 0 of a list names the image file://there/b.png, which lies on another machi"),
    ],
)
def test_images_that_are_none(values: list[Any], size: int | None, words: str) -> None:
    """What cannot be used is named by its row."""
    with pytest.raises(WinnowError) as caught:
        decode(values, size)
    assert str(caught.value).startswith(words)


def test_paths_begin_at_a_folder(tmp_path: Path) -> None:
    """A path is relative to the folder that is given for its row, absolute, or an address of a local file."""
    (tmp_path / "in").mkdir()
    paths = ["a b.png", "in/b.png", "c.png"]
    for number, path in enumerate(paths):
        (tmp_path / path).write_bytes(picture(number))
    values = [(tmp_path / "a b.png").as_uri(), {"path": "in/b.png"}, "c.png", str(tmp_path / "c.png")]
    found = decode_images(values, str, None, lambda _: tmp_path)
    assert (found == decode([picture(0), picture(1), picture(2), picture(2)])).all()
    with pytest.raises(WinnowError, match=rf"mend the path, which begins at the folder {tmp_path}, or choose another"):
        decode_images(["no.png"], str, None, lambda _: tmp_path)


def test_images_that_claim_to_be_vast() -> None:
    """A few bytes that would fill the memory are refused before they are unpacked."""
    side = int(MOST_PIXELS**0.5) + 1
    header = saved(Image.new("1", (1, 1)), "PPM").replace(b"1 1", f"{side} {side}".encode())
    with pytest.raises(WinnowError, match=rf"^Row 1 of a list holds an image of {side:,} x {side:,} pixels, more than"):
        decode([picture(0), header], 4)
    with pytest.raises(WinnowError, match=r"^Row 0 of a list holds an image that cannot be decoded \(Image size"):
        decode([header.replace(str(side).encode(), b"90000")], 4)


def test_a_set_larger_than_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that cannot fit is refused before it is decoded, with what would make it fit."""
    monkeypatch.setattr(images.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 200})())
    with pytest.raises(WinnowError, match=r"^2 images of 6 x 6 pixels need .* set data.size to scale them down, or"):
        decode([picture(0), picture(1)])
    assert decode([picture(0), picture(1)], size=5).shape == (2, 3, 5, 5)


@pytest.mark.filterwarnings("ignore")  # decoders remark on damage as well
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(FORMATS))
def test_damaged_files_are_pictures_or_sentences(seed: int, kind: str) -> None:
    """Whatever a few wrong bytes do to a decoder, nothing but one sentence comes out of it."""
    rng = random.Random(seed)
    content = bytearray(picture(1, size=(24, 24), kind=kind))
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(rng.choice([min(60, len(content)), len(content)]))] = rng.randrange(256)
    try:
        message, shape = "", decode([bytes(content)], 8).shape
    except WinnowError as error:
        message, shape = str(error), ()
    assert message.startswith("Row 0 of a list holds an image ") or shape[2:] == (8, 8)


def test_png_files() -> None:
    """Small images are written as they are; larger ones are scaled to be shown."""
    colour, grey = decode([picture(0)]), decode([picture(1, "L")])
    for pixels in (colour, grey):
        assert (pixels_of(pngs(pixels)[0]) == pixels[0]).all()
    large = decode([picture(2, size=(4 * SHOWN_PIXELS, 2 * SHOWN_PIXELS))])[0]
    assert pixels_of(png(large)).shape == (3, SHOWN_PIXELS // 2, SHOWN_PIXELS)
