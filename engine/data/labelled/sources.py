"""The rows of a labelled set, and of its test set, laid end to end."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.config.data import LabelledSettings
from engine.data.demo.texts import feelings, topics
from engine.data.loading import has_splits, load_parts, local_path, require_train
from engine.data.records import Records
from engine.data.shards import is_pattern


@dataclass
class Pool:
    """The training rows, then those of a test set of its own."""

    rows: list[dict[str, Any]]
    starts: list[int]  # position in `rows` of the first row of each slice
    slices: list[Records]  # where they came from; their own `rows` are empty
    train: int  # rows before the test set; all of them if there is none

    @property
    def name(self) -> str:
        """What to call the training rows in a sentence."""
        more = bisect_right(self.starts, self.train - 1) - 1
        return f"{self.slices[0].name} and {more:,} more" if more else self.slices[0].name

    @property
    def test_name(self) -> str | None:
        """What to call the test set, if there is one."""
        first = bisect_right(self.starts, self.train - 1)
        parts = self.slices[first:]
        return f"{parts[0].name}{f' and {len(parts) - 1:,} more' if len(parts) > 1 else ''}" if parts else None

    def source_of(self, row: int) -> tuple[int, str]:
        """Position (from 0) in its own source, and the name of that source."""
        number = bisect_right(self.starts, row) - 1
        return row - self.starts[number], self.slices[number].name

    def folder(self, row: int) -> Path | None:
        """Where the relative paths in a row begin, if it is from a local file."""
        return self.slices[bisect_right(self.starts, row) - 1].folder

    def place(self, row: int) -> str:
        """How a sentence about a row begins."""
        position, name = self.source_of(row)
        return f"Row {position:,} of {name}"


def read_pool(settings: LabelledSettings) -> Pool:
    """Read the rows of `source` and, if there is one, of its test set.

    The test set is `test_source`, else the split `test_split` if the source has splits and that is not empty.
    Raises WinnowError if anything named is missing, empty or broken, or if both are the same.
    """
    slices = _read(settings, settings.source, settings.split, settings.limit)
    train = sum(len(part.rows) for part in slices)
    slices += _read_test(settings, slices[0].splits)
    rows: list[dict[str, Any]] = []
    starts = []
    for part in slices:
        starts.append(len(rows))
        rows += part.rows
        part.rows = []
    return Pool(rows, starts, slices, train)


def _read_test(settings: LabelledSettings, splits: Sequence[str]) -> list[Records]:
    source, split = settings.source, settings.test_split
    if settings.test_source:
        source = settings.test_source
        split = split if source not in BUILT_IN and has_splits(source) else "train"
    elif not splits or not split:
        return []
    elif split not in splits:
        names = ", ".join(printable(known) for known in splits)
        raise WinnowError(
            f"There is no split {printable(split)} to test on in {printable(source)}, which has {names}; set "
            'data.test_split to one of them, or to "" so that a fifth of the rows is held out.'
        )
    if (source, split) == (settings.source, settings.split):
        raise WinnowError(
            f"Training and testing would use the same rows of {printable(source)}; choose another data.test_source or "
            "data.test_split, or leave both empty so that a fifth of the rows is held out."
        )
    return _read(settings, source, split, settings.test_limit)


def _read(settings: LabelledSettings, source: str, split: str, limit: int | None) -> list[Records]:
    """The first `limit` rows, one slice for each file. A configuration is one of `settings.source` alone."""
    config = settings.config if source == settings.source else ""
    if config and (source in BUILT_IN or is_pattern(source) or local_path(source).exists()):
        raise WinnowError(
            f"data.config chooses one of several sets of a Hub dataset, and {printable(source)} is none; leave it out."
        )
    if source in BUILT_IN:
        require_train(split, f"The set {source}")
        records = BUILT_IN[source]()
        records.rows = records.rows[:limit]
        return [records]
    parts = load_parts(source, split, 0, limit, config, settings.streaming)
    parts[0].splits, splits = [], parts[0].splits
    used = [part for part in parts if part.rows]
    used[0].splits = splits
    return used


def _digits() -> Records:
    """1,797 handwritten digits of 8 x 8 pixels (Alpaydin, Kaynak 1998), their values 0 to 16 spread over 0 to 255."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    rows: list[dict[str, Any]] = []
    for pixels, label in zip(data.images, data.target.tolist(), strict=True):
        written = io.BytesIO()
        Image.fromarray((pixels * (255 / 16)).round().astype("uint8")).save(written, "PNG")
        rows.append({"image": written.getvalue(), "label": label})
    names = [str(name) for name in data.target_names]
    return Records("scikit-learn's digits", ["image", "label"], rows, 0, len(rows), {"label": names})


def _diabetes() -> Records:
    """442 patients: ten measures, centred and scaled, and the progression of the disease (Efron et al. 2004)."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    columns = [*data.feature_names, "target"]
    rows = [
        dict(zip(columns, [*values, target], strict=True))
        for values, target in zip(data.data.tolist(), data.target.tolist(), strict=True)
    ]
    return Records("scikit-learn's diabetes set", columns, rows, 0, len(rows))


def _texts(name: str, write: Callable[[], list[dict[str, str]]]) -> Records:
    rows: list[dict[str, Any]] = [*write()]
    return Records(name, ["text", "label"], rows, 0, len(rows))


BUILT_IN: dict[str, Callable[[], Records]] = {
    "digits": _digits,
    "diabetes": _diabetes,
    "demo-feelings": partial(_texts, "the demo's opinions", feelings),
    "demo-topics": partial(_texts, "the demo's four topics", topics),
}
