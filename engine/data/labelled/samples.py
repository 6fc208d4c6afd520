"""Labelled samples as arrays: images, texts or rows of numbers, each with its class or the number to be predicted."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.common.text import printable
from engine.config.data import LabelledSettings, Task
from engine.data.columns import NAMED_COLUMNS
from engine.data.images import decode_images, pngs
from engine.data.labelled.classes import class_labels
from engine.data.labelled.columns import find_column
from engine.data.labelled.features import Regression, read_regression
from engine.data.labelled.sources import Pool, read_pool
from engine.data.labelled.splits import hold_out
from engine.data.labelled.texts import Tokens, read_texts, tokenise
from engine.data.samples import content_id
from engine.data.sources import as_text, clean_text
from engine.data.tokenizers import tokenizer_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TEST_FRACTION = 0.2  # of the rows, if there is no test set
NO_TEXT = "no text"


@dataclass(frozen=True, eq=False)
class Labelled:
    """n samples in the order of their source; those of a test set of its own come after the others.

    The arrays are one for all splits: `inputs[split == "train"]` is what is trained on.
    """

    dataset: str  # changes with everything in the settings, the tokenizer and the content
    origin: str  # a sentence
    task: Task
    inputs: NDArray[Any]  # uint8 (n, C, H, W), C 1 or 3; token ids int64 (n, L); or float32 (n, d)
    mask: NDArray[np.int64] | None  # of texts (n, L): 1 for tokens, 0 for padding
    labels: NDArray[Any]  # int64 (n,), from 0; or float32 (n,) if numbers are predicted
    class_names: list[str]  # by label; empty if numbers are predicted
    split: NDArray[np.str_]  # (n,): "train", "valid" or "test"
    row: NDArray[np.int32]  # (n,): position in the source; those of a test set of its own follow the rows of the source
    texts: list[str] | None
    features: list[str]  # names of the d numbers; empty if the samples are images or texts
    used: list[str]  # the columns that the samples were made of, the label last
    unused: list[dict[str, str]]  # the others, each {"column", "why"}
    fields: list[dict[str, str]]  # of each sample, the other columns that hold one value, as text
    lengths: NDArray[np.int32]  # (n,): tokens of a text; 0 for images and numbers
    truncated: NDArray[np.bool_]  # (n,): the text was longer than `max_length`
    dropped: dict[str, int]  # reason: rows that were read and are not here

    def __len__(self) -> int:
        return len(self.labels)

    def sample_columns(self) -> dict[str, Any]:
        """The columns of the samples table, one value per sample.

        A text, or numbers as "age = 0.04, bmi = 0.06", is the instruction, and the label the response; images have an
        image and no text. The content id is that of the input, whatever its label.
        """
        count = len(self)
        labels = [self.class_names[label] if self.class_names else f"{label:g}" for label in self.labels.tolist()]
        if self.task == "images":
            images: Any = pngs(self.inputs)
            instructions, responses = [""] * count, [""] * count
            contents = [_pixels_id(image) for image in self.inputs]
        else:
            images = pa.nulls(count)
            instructions, responses = self.texts or [self._numbers(values) for values in self.inputs.tolist()], labels
            contents = [content_id(instruction, "", "") for instruction in instructions]
        return {
            "dataset": pa.repeat(self.dataset, count),
            "row": self.row,
            "content_id": contents,
            "split": self.split.tolist(),
            "instruction": instructions,
            "input": pa.repeat("", count),
            "response": responses,
            "system": pa.nulls(count),
            "turns": pa.nulls(count),
            "fields": [list(fields.items()) for fields in self.fields],
            "length": self.lengths,
            "response_length": np.zeros(count, dtype=np.int32),
            "truncated": self.truncated,
            "image": images,
            "label": labels,
        }

    def _numbers(self, values: Sequence[float]) -> str:
        return ", ".join(f"{name} = {value:.6g}" for name, value in zip(self.features, values, strict=True))


def read_labelled(
    settings: LabelledSettings, tokenizer: PreTrainedTokenizerBase | None = None, longest: int | None = None
) -> Labelled:
    """Read, check and split a labelled set. Texts need the tokenizer of the network that reads them.

    Texts are cut to `max_length` tokens, and to `longest` if the network reads no more.

    The test set is `test_source`, else the split `test_split` of a source that has splits, else a fifth of the rows,
    at most `test_limit`; round(valid_fraction · n) of the n rows that are left are for validation. Both are drawn at
    random by `split_seed`, from each class its share, and no class loses its last training row.

    Raises WinnowError with one sentence, naming file and row, if anything cannot be used; ValueError if texts are read
    without a tokenizer.
    """
    if settings.task == "text" and tokenizer is None:
        raise ValueError("labelled texts cannot be read without a tokenizer")
    rows = _read_rows(settings)
    pool, texts = rows.pool, rows.texts
    names: list[str] = []
    tokens: Tokens | None = None
    inputs: NDArray[Any]
    if rows.numbers:
        inputs, names = rows.numbers.inputs, rows.numbers.names
    elif texts is None:
        images = [record.pop(rows.column, None) for record in pool.rows]
        inputs = decode_images(images, pool.place, settings.size, pool.folder)
    else:
        assert tokenizer is not None
        most = min(settings.max_length, longest or settings.max_length)
        tokens = tokenise(texts, [pool.place(row) for row in rows.kept], tokenizer, most)
        inputs = tokens.ids
    split = _split(rows, settings)
    row = np.array(rows.kept, dtype=np.int32)
    used = [*(names or [rows.column]), rows.label]
    dropped = len(pool.rows) - len(row)
    unused = rows.unused
    log.info("columns used: %s; not used: %s", ", ".join(map(printable, used)), _reasons(unused) or "none")
    return Labelled(
        dataset=digest(
            {
                "settings": settings.model_dump(exclude=set() if settings.features else {"features"}),
                "tokenizer": tokenizer_hash(tokenizer) if texts is not None and tokenizer is not None else None,
                "content": _content_hash(inputs, rows.labels, row, split),
                "texts": None if texts is None else digest(texts),
                "names": [rows.class_names, names],
            }
        ),
        origin=_origin(rows, split, dropped, _cut(tokens, settings, longest)),
        task=settings.task,
        inputs=inputs,
        mask=tokens.mask if tokens else None,
        labels=rows.labels,
        class_names=rows.class_names,
        split=split,
        row=row,
        texts=texts,
        features=names,
        used=used,
        unused=unused,
        fields=[_fields(pool.rows[position], set(used)) for position in rows.kept],
        lengths=tokens.lengths if tokens else np.zeros(len(row), dtype=np.int32),
        truncated=tokens.truncated if tokens else np.zeros(len(row), dtype=np.bool_),
        dropped={NO_TEXT: dropped} if dropped else {},
    )


def training_texts(settings: LabelledSettings) -> list[str]:
    """The texts that `read_labelled` puts into the training split, in their order, before tokenization.

    Raises WinnowError as `read_labelled` does.
    """
    rows = _read_rows(settings)
    assert rows.texts is not None
    return [text for text, split in zip(rows.texts, _split(rows, settings), strict=True) if split == "train"]


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows that can be used, with their labels, before their inputs become arrays."""

    pool: Pool
    kept: list[int]  # positions in the pool, of n rows
    label: str  # the column of the labels
    column: str  # of the inputs; "" if they are all columns of numbers
    labels: NDArray[Any]  # (n,)
    class_names: list[str]
    texts: list[str] | None  # n, if the task is text
    numbers: Regression | None  # if numbers are predicted

    @property
    def unused(self) -> list[dict[str, str]]:
        """The columns that no model reads, each {"column", "why"}."""
        if self.numbers:
            return self.numbers.unused
        what = "image" if self.texts is None else "text"
        others = [column for column in self.pool.slices[0].columns if column not in (self.column, self.label)]
        return [{"column": column, "why": f"models read the {what} alone"} for column in others]


def _read_rows(settings: LabelledSettings) -> _Rows:
    if settings.task == "numbers" and settings.input:
        raise WinnowError(
            "data.input names one column, and numbers are read from all columns that hold numbers; leave it out."
        )
    if settings.task != "numbers" and settings.features:
        raise WinnowError(
            "data.features names columns of numbers, and images and texts are read from one column, data.input; leave "
            "it out."
        )
    pool = read_pool(settings)
    label = find_column(pool, "label", settings.label, "data.label")
    kept = list(range(len(pool.rows)))
    if settings.task == "numbers":
        numbers = read_regression(pool, label, settings.features)
        return _Rows(pool, kept, label, "", numbers.targets, [], None, numbers)
    role = "image" if settings.task == "images" else "text"
    column = find_column(pool, role, settings.input, "data.input", label)
    texts = None
    if role == "text":
        texts, kept = read_texts(pool, column)
    labels, class_names = class_labels(pool, label, kept)
    return _Rows(pool, kept, label, column, labels, class_names, texts, None)


def _split(rows: _Rows, settings: LabelledSettings) -> NDArray[np.str_]:
    pool, count = rows.pool, len(rows.kept)
    groups = rows.labels if rows.class_names else np.zeros(count, dtype=np.int64)  # numbers have no classes
    test = np.array(rows.kept) >= pool.train
    if pool.test_name is None:
        tested = round(TEST_FRACTION * count)
        test = hold_out(groups, min(tested, settings.test_limit or tested), settings.split_seed)
    left = np.flatnonzero(~test)
    validated = max(round(settings.valid_fraction * len(left)), 1)
    split = np.where(test, "test", "train").astype("<U5")
    split[left[hold_out(groups[left], validated, settings.split_seed + 1)]] = "valid"
    for name in ("train", "valid", "test"):
        if not (split == name).any():
            raise WinnowError(
                f"The {count:,} rows that can be used from {pool.name} are too few to leave any for "
                f"{_PURPOSE[name]}, with one of each class to train on; give more rows."
            )
    return split


_PURPOSE = {"train": "training", "valid": "validation", "test": "testing"}


def _cut(tokens: Tokens | None, settings: LabelledSettings, longest: int | None) -> str:
    """What was cut because the network reads less than `max_length`; also said in the log."""
    if tokens is None or longest is None or longest >= settings.max_length or not tokens.truncated.any():
        return ""
    cut = f"{int(tokens.truncated.sum()):,} texts cut to {longest:,} tokens, as many as the model reads"
    log.warning("%s", cut)
    return f"; {cut}"


def _origin(rows: _Rows, split: NDArray[np.str_], dropped: int, cut: str) -> str:
    pool = rows.pool
    counts = ", ".join(f"{int((split == name).sum()):,} for {purpose}" for name, purpose in _PURPOSE.items())
    test = f"test set from {pool.test_name}" if pool.test_name else "test rows held out from them"
    left_out = f", {dropped:,} rows without text left out" if dropped else ""
    others = f"; columns not used: {_reasons(rows.unused)}" if rows.unused else ""
    return f"{counts}: rows of {pool.name}, {test}, labels from column {rows.label}{left_out}{cut}{others}."


def _reasons(unused: Sequence[dict[str, str]]) -> str:
    """`id (only numbers the rows), note (text)`"""
    shown = ", ".join(f"{printable(each['column'])} ({each['why']})" for each in unused[:NAMED_COLUMNS])
    return shown + (f" and {len(unused) - NAMED_COLUMNS:,} more" if len(unused) > NAMED_COLUMNS else "")


def _fields(record: dict[str, Any], used: set[str]) -> dict[str, str]:
    return {
        clean_text(name): clean_text(text)
        for name, value in record.items()
        if name not in used and isinstance(value, str | bool | int | float) and (text := as_text(value)) is not None
    }


def _content_hash(*arrays: NDArray[Any]) -> str:
    content = hashlib.sha256()
    for array in arrays:
        content.update(f"{array.dtype.str} {array.shape} ".encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def _pixels_id(pixels: NDArray[np.uint8]) -> str:
    """Sixteen hex digits of the pixels alone: the same image has the same id in every file, format and order."""
    return hashlib.sha256(f"{pixels.shape} ".encode() + pixels.tobytes()).hexdigest()[:16]
