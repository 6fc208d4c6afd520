"""Small labelled files made on the spot."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from engine.grids import LabelledSettings


def picture(number: int, mode: str = "RGB", size: tuple[int, int] = (6, 6), kind: str = "PNG") -> bytes:
    """An image file (width, height) whose pixels depend on the number alone."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(written, kind)
    return written.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    """The pixels of an image file as (C, H, W)."""
    array = np.asarray(Image.open(io.BytesIO(content)))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def images(labels: list[Any], start: int = 0, mode: str = "RGB") -> list[dict[str, Any]]:
    return [
        {"image": {"bytes": picture(start + i, mode), "path": None}, "label": label} for i, label in enumerate(labels)
    ]


def texts(labels: list[Any], start: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"a line about {start + i}", "label": label} for i, label in enumerate(labels)]


def write(path: Path, rows: list[dict[str, Any]], names: list[str] | None = None) -> str:
    """Write rows as Parquet, or as JSON lines where the name ends so; `names` are noted as those of the classes."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        table = pa.Table.from_pylist(rows)
        if names:
            table = table.replace_schema_metadata({"label_names": json.dumps(names)})
        pq.write_table(table, path)
    return str(path)


def settings(source: str, **changes: Any) -> LabelledSettings:
    return LabelledSettings(source=source, **changes)
