"""Images in a folder for each class, perhaps inside one for each split, as the Hub's imagefolder lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from engine.data.records import Records
from engine.data.shards import split_of_word

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")


def images_by_split(folder: Path) -> dict[str, list[Path]]:
    """The images of each split, under "" if there are no folders of splits; none if no folder of a class holds any.

    The first of each class come first, then the second of each, so that also the first rows are of all classes.
    """
    inside = _folders(folder)
    splits = {split: entry for entry in inside if (split := split_of_word(entry.name))}
    if splits and len(splits) == len(inside):
        found = {split: _of_classes(_folders(entry)) for split, entry in splits.items()}
        return {split: images for split, images in found.items() if images}
    images = _of_classes(inside)
    return {"": images} if images else {}


def read_images(name: str, images: Sequence[Path], skip: int, limit: int | None) -> Records:
    """Rows `skip` to `skip + limit` of image and label, which is the name of its folder."""
    stop = None if limit is None else skip + limit
    rows: list[dict[str, Any]] = [
        {"image": {"path": str(path)}, "label": path.parent.name} for path in images[skip:stop]
    ]
    return Records(name, ["image", "label"], rows, skip, len(images))


def _of_classes(classes: Sequence[Path]) -> list[Path]:
    found = [[path for path in sorted(entry.iterdir()) if path.suffix.lower() in SUFFIXES] for entry in classes]
    return [path for one_of_each in zip_longest(*found) for path in one_of_each if path is not None]


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.name[0] not in "._"]
