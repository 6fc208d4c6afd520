"""Settings of data: instruction sets, corpora, labelled samples."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.config.base import Count, Settings


class ColumnMap(Settings):
    """Which column of the source holds what; an empty name means: find it by its usual names."""

    instruction: str = ""
    input: str = ""
    response: str = ""


class DataSettings(Settings):
    """Where samples come from: a Hub id, a Parquet, JSONL, JSON or CSV file, a saved `datasets` folder, or `demo`."""

    source: str
    split: str = "train"
    columns: ColumnMap = ColumnMap()
    template: Literal["alpaca", "plain"] = "alpaca"
    skip: Annotated[int, Field(ge=0)] = 0
    limit: Count | None = None
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: int = 0


class CorpusSettings(Settings):
    """Text that models made from scratch are trained on first; an empty source means the source of the data."""

    source: str = ""
    split: str = "train"
    columns: ColumnMap = ColumnMap()
    skip: Annotated[int, Field(ge=0)] = 0
    limit: Count | None = None


Task = Literal["images", "text", "numbers"]


class LabelledSettings(Settings):
    """Labelled samples: `digits` or `diabetes` (scikit-learn's own), a Hub id, a local file, or a pattern of files.

    Without a test set of its own (`test_source`, else the split `test_split` of a Hub set) a fifth of the rows is kept
    apart for testing.
    """

    source: str
    config: str = ""  # of a Hub set that has several
    split: str = "train"
    test_source: str = ""
    test_split: str = "test"
    task: Task = "images"
    input: str = ""  # the column of the image, or of the text; empty: find it by its usual names
    label: str = ""
    size: Annotated[int, Field(ge=4)] | None = None  # scale images to this many pixels a side
    max_length: Annotated[int, Field(ge=4)] = 64  # tokens of a text
    streaming: bool = False  # read only the first `limit` rows of a Hub set instead of all its files
    limit: Count | None = None
    test_limit: Count | None = None
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: int = 0

    @model_validator(mode="after")
    def _streamed_to_an_end(self) -> LabelledSettings:
        if self.streaming and self.limit is None:
            raise ValueError("data.streaming needs data.limit: how many rows to read")
        return self
