"""Settings of data: instruction sets, corpora, labelled samples."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.config.base import Count, Settings


class ColumnMap(Settings):
    """Which column of the source holds what; if a name is empty, the column is found by its usual names."""

    instruction: str = ""
    """The column of the instruction."""
    input: str = ""
    """The column of what the instruction is about."""
    response: str = ""
    """The column of the response, or of whole conversations."""
    system: str = ""
    """The column of the system text, which belongs to the prompt."""


class DataSettings(Settings):
    """An instruction set: rows of instruction, input and response, or conversations."""

    source: str
    """A Hub id; a Parquet, JSONL, JSON or CSV file, the last three also compressed (`.gz`, `.zst`); a pattern of files
    (`data/train-*.parquet`); a folder of files named by split as on the Hub, or one saved by `datasets`; or `demo`."""
    split: str = "train"
    """The split of a Hub set or of a folder."""
    columns: ColumnMap = ColumnMap()
    template: Literal["auto", "chat", "alpaca", "plain"] = "auto"
    """How a row becomes a prompt: in the chat template of the tokenizer, as in Alpaca, or plainly. By default
    conversations are read in the chat template, or plainly if the tokenizer has none, and other rows as in Alpaca."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Rows left out at the beginning."""
    limit: Count | None = None
    """Most rows read; by default all."""
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The share of the samples held out for validation."""
    valid_only: dict[str, str] = {}
    """Holds out only samples that have these values in these columns, such as `{checked = "yes"}`; by default any."""
    split_seed: int = 0
    """Draws the samples that are held out."""


class CorpusSettings(Settings):
    """Text that models trained from scratch learn from."""

    source: str = ""
    """As `data.source`; if it is empty, the rows of the data that the run does not use."""
    split: str = "train"
    """The split of a Hub set or of a folder."""
    columns: ColumnMap = ColumnMap()
    skip: Annotated[int, Field(ge=0)] = 0
    """Rows left out at the beginning."""
    limit: Count | None = None
    """Most rows read; by default all."""


Task = Literal["images", "text", "numbers"]


class LabelledSettings(Settings):
    """Labelled samples, with a test set of their own, or with a fifth of the rows held out for testing."""

    source: str
    """`digits` or `diabetes` (scikit-learn's own), `demo-feelings`, `demo-topics`; or a Hub id, file, pattern or folder
    as for an instruction set. Images may be files named in a column, by a path that begins at the file that holds it,
    or lie in a folder for each class, perhaps inside one for each split."""
    config: str = ""
    """The configuration of a Hub set that has several."""
    split: str = "train"
    """The split of a Hub set or folder that is trained on."""
    test_source: str = ""
    """A source of its own for the test set."""
    test_split: str = "test"
    """The split of a Hub set or folder that is tested on, if there is no `test_source`."""
    task: Task = "images"
    """What the samples are: images or texts with a class, or rows of numbers with a number to be predicted."""
    input: str = ""
    """The column of the image or of the text; if it is empty, the column is found by its usual names."""
    label: str = ""
    """The column of the label; if it is empty, the column is found by its usual names."""
    features: list[str] = []
    """The columns that numbers are predicted from; by default all that hold numbers, but those that only number the
    rows."""
    size: Annotated[int, Field(ge=4)] | None = None
    """Images are scaled to this many pixels a side; by default they stay as they are."""
    max_length: Annotated[int, Field(ge=4)] = 64
    """Most tokens of a text."""
    streaming: bool = False
    """Whether only the first `limit` rows of a Hub set are read instead of all its files."""
    limit: Count | None = None
    """Most rows read; by default all."""
    test_limit: Count | None = None
    """Most samples of the test set; by default all."""
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The share of the training samples held out for validation."""
    split_seed: int = 0
    """Draws what is held out, and the views of images, flipped labels and random subsets that all seeds share."""

    @model_validator(mode="after")
    def _streamed_to_an_end(self) -> LabelledSettings:
        if self.streaming and self.limit is None:
            raise ValueError("data.streaming needs data.limit: how many rows to read")
        return self
