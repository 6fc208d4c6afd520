"""An instruction set: from the rows of a source to rows of instruction, input and response, each accounted for."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.config.data import ColumnMap
from engine.data.columns import conversation, conversation_columns, find_columns, is_empty
from engine.data.loading import load_records
from engine.data.records import Records
from engine.data.turns import SPEAKERS, UNKNOWN, Turn, answered, transcript

NO_RESPONSE = "no response"
NO_INSTRUCTION = "no instruction"
UNREADABLE = "a conversation that cannot be read as text"
REPLACEMENT = "\ufffd"
_SURROGATE = re.compile("[\ud800-\udfff]")


class Row(TypedDict):
    row: int  # position in the source, from 0, whatever `skip` is
    instruction: str  # of a conversation, what comes before the last reply
    input: str
    response: str  # of a conversation, the last reply
    system: str
    turns: list[Turn]  # of a conversation, all of them; else empty
    fields: dict[str, str]  # every other column that is not null, as text


@dataclass
class Rows:
    rows: list[Row]
    columns: ColumnMap  # the columns actually used
    dropped: dict[str, int]  # reason: rows that were read and cannot be used
    repaired: int  # rows in which a character that no UTF-8 text may hold, or a NUL, became U+FFFD
    fingerprint: str  # hash of the content of `rows`
    origin: str  # a sentence
    unused: list[str]  # columns that the models do not read; they are fields

    @property
    def conversations(self) -> bool:
        """Whether the set holds conversations."""
        return any(row["turns"] for row in self.rows)

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
    return to_rows(records, find_columns(records, columns or ColumnMap()))


def to_rows(records: Records, columns: ColumnMap) -> Rows:
    """Sort the columns into their roles, drop what cannot be used, and count it. Empties `records.rows`.

    Raises WinnowError if no row is left, or if the column of a role holds bytes that are not text.
    """
    kept: list[Row] = []
    dropped: Counter[str] = Counter()
    repaired = 0
    content = hashlib.sha256()
    read = len(records.rows)
    roles = [column for column in columns.model_dump().values() if column]
    conversations = conversation_columns(records, [columns.instruction, columns.input, columns.response])
    records.rows.reverse()  # so that each record can be freed once its row is made
    for position in range(records.skip, records.skip + read):
        record = records.rows.pop()
        texts = _texts(record, columns, conversations, *records.source_of(position))
        if isinstance(texts, str):
            dropped[texts] += 1
            continue
        fields = {
            name: text for name, value in record.items() if name not in roles and (text := as_text(value)) is not None
        }
        *raw, turns = texts
        clean = [clean_text(text) for text in raw]
        clean_turns = [Turn(clean_text(turn.speaker), clean_text(turn.text)) for turn in turns]
        clean_fields = {clean_text(name): clean_text(text) for name, text in fields.items()}
        repaired += clean != raw or clean_fields != fields or clean_turns != turns
        instruction, prompt_input, response, system = clean
        # No text holds a NUL any more, so with the number of fields in front this reads back in one way only.
        parts = [
            str(position),
            str(len(clean_fields)),
            *clean[: 4 if system else 3],
            *(part for item in clean_fields.items() for part in item),
            *(part for turn in clean_turns for part in turn),
        ]
        content.update("\0".join(parts).encode() + b"\0")
        kept.append(
            {
                "row": position,
                "instruction": instruction,
                "input": prompt_input,
                "response": response,
                "system": system,
                "turns": clean_turns,
                "fields": clean_fields,
            }
        )
    if not kept:
        why = ", ".join(f"{count:,} with {cause}" for cause, count in dropped.items())
        raise WinnowError(
            f"None of the {read:,} rows read from {records.name} can be used ({why}); "
            "choose other columns or another source."
        )
    of = f" of {records.total:,}" if records.total is not None else ""
    origin = f"Rows {records.skip:,} to {records.skip + read - 1:,}{of}, counted from 0, from {records.name}."
    unused = [column for column in records.columns if column not in roles]
    return Rows(kept, columns, dict(dropped), repaired, content.hexdigest()[:16], origin, unused)


def _texts(
    record: dict[str, Any], columns: ColumnMap, conversations: Mapping[str, bool], position: int, name: str
) -> tuple[str, str, str, str, list[Turn]] | str:
    """Instruction, input, response, system and turns of a record, or why it cannot be used."""

    def text(column: str) -> str | None:
        return column_text(record, column, position, name)

    system = text(columns.system) or ""
    roles = (columns.instruction, columns.input, columns.response)
    if any(column not in conversations and is_objects(record.get(column)) for column in roles):
        return UNREADABLE
    if not any(column in conversations for column in roles):
        instruction, prompt_input, response = (
            text(columns.instruction),
            text(columns.input) or "",
            text(columns.response),
        )
        if response is None or not response.strip():
            return NO_RESPONSE
        if columns.instruction and (instruction is None or not (instruction.strip() or prompt_input.strip())):
            return NO_INSTRUCTION
        return instruction or "", prompt_input, response, system, []
    turns: list[Turn] = []
    for column, speaker in ((columns.instruction, "user"), (columns.input, "user"), (columns.response, "assistant")):
        value = record.get(column) if column else None
        if is_empty(value):
            continue
        if column in conversations:
            found = conversation(column, value)
            if found is None:
                return UNREADABLE
            turns = found if _repeats(found, turns) else turns + found
        elif said := text(column):
            turns.append(Turn(speaker, said))
    known = all(turn.speaker in SPEAKERS.values() for turn in turns)
    turns = answered(turns)
    if not turns:
        return NO_RESPONSE if known else UNKNOWN
    asked = columns.instruction or conversations.get(columns.response)
    if asked and all(turn.speaker == "assistant" for turn in turns):
        return NO_INSTRUCTION
    if any(turn.speaker not in SPEAKERS.values() for turn in turns):
        return UNKNOWN
    own = turns[0].text if turns[0].speaker == "system" else ""
    if system.strip() and system.strip() not in own:
        turns = [Turn("system", f"{system}\n\n{own}" if own else system), *turns[1 if own else 0 :]]
    before = turns[1:-1] if turns[0].speaker == "system" else turns[:-1]
    system = turns[0].text if turns[0].speaker == "system" else ""
    # One question and one reply read like any other sample; what is longer needs the names of its speakers.
    instruction = before[0].text if len(before) == 1 else transcript(before)
    return instruction, "", turns[-1].text, system, turns


def _repeats(turns: Sequence[Turn], before: Sequence[Turn]) -> bool:
    """Whether a conversation begins with the turns that stand in the column before it, its system text aside."""
    asked = [turn.text.strip() for turn in turns if turn.speaker != "system"]
    said = [turn.text.strip() for turn in before if turn.speaker != "system"]
    return bool(said) and asked[: len(said)] == said


def is_objects(value: Any) -> bool:
    """Whether a value is a list of objects: no text that a model could be given."""
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


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
