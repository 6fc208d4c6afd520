"""Reading a set: from its source to rows of instruction, input and response, with every row accounted for."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from engine.common.errors import WinnowError
from engine.common.text import printable, reason
from engine.config.data import ColumnMap
from engine.data.columns import find_columns
from engine.data.files import SUFFIXES, read_file
from engine.data.hub import read_hub, read_saved
from engine.data.records import Records

DEMO = "demo"
DEMO_CORPUS = "demo-corpus"  # clean rows of the same tasks, none of them in the demo set
DEMO_CORPUS_ROWS = 12_000  # if no limit is given; the program could go on
NO_RESPONSE = "no response"
NO_INSTRUCTION = "no instruction"
REPLACEMENT = "\ufffd"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Row(TypedDict):
    row: int  # position in the source, from 0, whatever `skip` is
    instruction: str
    input: str
    response: str
    fields: dict[str, str]  # every other column that is not null, as text


@dataclass
class Rows:
    rows: list[Row]
    columns: ColumnMap  # the columns actually used
    dropped: dict[str, int]  # reason: rows that were read and cannot be used
    repaired: int  # rows in which a character that no UTF-8 text may hold, or a NUL, became U+FFFD
    fingerprint: str  # hash of the content of `rows`
    origin: str  # a sentence

    @property
    def read(self) -> int:
        """Rows read from the source; each is either in `rows` or counted in `dropped`."""
        return len(self.rows) + sum(self.dropped.values())


def read_rows(
    source: str,
    split: str = "train",
    skip: int = 0,
    limit: int | None = None,
    columns: ColumnMap | None = None,
) -> Rows:
    """Rows `skip` to `skip + limit` of `demo`, `demo-corpus`, a local file or saved folder, or a Hub id `owner/name`.

    Relative paths start at the current directory. Rows with a null or blank response, or without an instruction,
    are dropped and counted. Raises WinnowError with one sentence if nothing can be used.
    """
    records = load_records(source, split, skip, limit)
    return to_rows(records, find_columns(records.columns, columns or ColumnMap(), records.name))


def load_records(
    source: str,
    split: str = "train",
    skip: int = 0,
    limit: int | None = None,
    config: str = "",
    streaming: bool = False,
) -> Records:
    """The same slice with the columns as they are. Raises WinnowError if it is empty or cannot be read.

    `config` names one of several sets of a Hub dataset. `streaming` reads no more of it than the slice; what lies on
    this machine is read so anyway.
    """
    records = _load(source, split, skip, limit, config, streaming)
    twice = [column for column, count in Counter(records.columns).items() if count > 1]
    if twice:
        raise WinnowError(f"Two columns of {records.name} are called {printable(twice[0])}; rename one of them.")
    if not records.rows and records.total:
        raise WinnowError(f"After skipping {skip:,} rows none is left in {records.name}, which has {records.total:,}.")
    if not records.rows:
        raise WinnowError(f"There are no rows in {records.name}; choose another.")
    return records


def _load(source: str, split: str, skip: int, limit: int | None, config: str, streaming: bool) -> Records:
    if source in (DEMO, DEMO_CORPUS):
        require_train(split, "The demo")
        return _demo(source, skip, limit)
    try:
        path = Path(source).expanduser().absolute()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError) as error:
        raise WinnowError(f"Nothing can be read at {printable(source)} ({reason(error)}); check the path.") from error
    if is_folder:
        return read_saved(path, split, skip, limit)
    if is_file:
        require_train(split, str(path))
        return read_file(path, skip, limit)
    if _HUB_ID.fullmatch(source) and path.suffix.lower() not in SUFFIXES:
        return read_hub(source, split, skip, limit, config, streaming)
    raise WinnowError(_missing(path))


def require_train(split: str, name: str) -> None:
    if split != "train":
        raise WinnowError(f"{name} has no splits, so there is no split {printable(split)}; leave the split out.")


def _missing(path: Path) -> str:
    listable = path.parent.is_dir() and os.access(path.parent, os.R_OK | os.X_OK)
    beside = [entry.name for entry in path.parent.iterdir()] if listable else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {printable(close[0])}?" if close else "check the path, or write a Hub dataset as owner/name."
    return f"There is no file {path}; {hint}"


def _demo(source: str, skip: int, limit: int | None) -> Records:
    from engine.data.demo.instructions import demo_corpus, demo_samples

    if source == DEMO_CORPUS:
        written = demo_corpus(DEMO_CORPUS_ROWS if limit is None else skip + limit)
        name, total = "the text corpus of Winnow's own demo", None
    else:
        written = demo_samples()
        name, total = "Winnow's own demo set", len(written)
    rows: list[dict[str, Any]] = [dict(row) for row in written[skip : None if limit is None else skip + limit]]
    return Records(name, list(written[0]), rows, skip, total)


def to_rows(records: Records, columns: ColumnMap) -> Rows:
    """Sort the columns into their roles, drop what cannot be used, and count it. Empties `records.rows`.

    Raises WinnowError if no row is left, or if the column of a role holds bytes that are not text.
    """
    kept: list[Row] = []
    dropped: Counter[str] = Counter()
    repaired = 0
    content = hashlib.sha256()
    read = len(records.rows)
    roles = {column for column in columns.model_dump().values() if column}
    records.rows.reverse()  # so that each record can be freed once its row is made
    for position in range(records.skip, records.skip + read):
        record = records.rows.pop()
        instruction, prompt_input, response = (
            column_text(record, column, position, records.name)
            for column in (columns.instruction, columns.input, columns.response)
        )
        if response is None or not response.strip():
            dropped[NO_RESPONSE] += 1
            continue
        if columns.instruction and (instruction is None or not (instruction.strip() or (prompt_input or "").strip())):
            dropped[NO_INSTRUCTION] += 1
            continue
        raw = [instruction or "", prompt_input or "", response]
        fields = {
            name: text for name, value in record.items() if name not in roles and (text := as_text(value)) is not None
        }
        clean = [clean_text(text) for text in raw]
        clean_fields = {clean_text(name): clean_text(text) for name, text in fields.items()}
        repaired += clean != raw or clean_fields != fields
        # No text holds a NUL any more, so with the number of fields in front this reads back in one way only.
        parts = [
            str(position),
            str(len(clean_fields)),
            *clean,
            *(part for item in clean_fields.items() for part in item),
        ]
        content.update("\0".join(parts).encode() + b"\0")
        kept.append(
            {"row": position, "instruction": clean[0], "input": clean[1], "response": clean[2], "fields": clean_fields}
        )
    if not kept:
        why = ", ".join(f"{count:,} with {cause}" for cause, count in dropped.items())
        raise WinnowError(
            f"None of the {read:,} rows read from {records.name} can be used ({why}); "
            "choose other columns or another source."
        )
    of = f" of {records.total:,}" if records.total is not None else ""
    origin = f"Rows {records.skip:,} to {records.skip + read - 1:,}{of}, counted from 0, from {records.name}."
    return Rows(kept, columns, dict(dropped), repaired, content.hexdigest()[:16], origin)


def column_text(record: dict[str, Any], column: str, position: int, name: str) -> str | None:
    """The value of a column as text. Raises WinnowError naming the row if it is bytes that are not text."""
    value = record.get(column) if column else None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise WinnowError(
                f"Row {position:,} of {name} holds bytes in column {printable(column)} that are not UTF-8 text; "
                "choose another column."
            ) from None
    return as_text(value)


def as_text(value: Any) -> str | None:
    """A value as a person would write it: numbers as digits, lists and objects as JSON, None and NaN as None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_opaque)
    return _opaque(value)


def _opaque(value: Any) -> str:
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else str(value)


def clean_text(text: str) -> str:
    """The same text with NUL and lone surrogates, which neither UTF-8 nor the store can hold, as U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(REPLACEMENT, text)
    return text
