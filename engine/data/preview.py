"""A preview of a set: its columns, how they are read, its first rows and how long its samples are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.analysis.datasets import NOT_READ
from engine.common.errors import WinnowError
from engine.config.data import DataSettings
from engine.data.columns import conversation, find_columns
from engine.data.loading import load_records
from engine.data.samples import readable
from engine.data.sources import as_text, clean_text, to_rows
from engine.data.templates import pieces, resolve_template
from engine.data.turns import transcript

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

READ_ROWS = 2000  # rows behind the counts and lengths, so that the preview of a large set is quick


def preview(settings: DataSettings, tokenizer: PreTrainedTokenizerBase | None = None, rows: int = 20) -> dict[str, Any]:
    """What the first READ_ROWS rows of a set hold, as plain JSON types.

    `columns` of the source; `rows`: the first ones, column to text, null if a value is missing; `total` rows of
    the source, null if only reading on would tell; `read`: rows behind what follows. `mapping`: role to column;
    `unused`: columns that the models do not read, each with `why`; `origin`; `dropped`: reason to count; `repaired`
    rows; `lengths`: unit ("tokens" or "characters" of prompt and response), median, p95, max. If the columns cannot be
    mapped, `problem` is the sentence that says why, and these last are null, so that the columns can still be shown and
    mapped by hand.

    Raises WinnowError if the source cannot be read at all.
    """
    limit = min(settings.limit or READ_ROWS, READ_ROWS)
    records = load_records(settings.source, settings.split, settings.skip, limit)
    found: dict[str, Any] = {
        "columns": [clean_text(column) for column in records.columns],
        "rows": [
            {clean_text(column): _shown(column, record.get(column)) for column in records.columns}
            for record in records.rows[:rows]
        ],
        "total": records.total,
        "read": len(records.rows),
        "problem": None,
        "mapping": None,
        "unused": None,
        "origin": None,
        "dropped": None,
        "repaired": None,
        "lengths": None,
    }
    try:
        usable = to_rows(records, find_columns(records, settings.columns))
    except WinnowError as error:
        return found | {"problem": str(error)}
    template = resolve_template(settings.template, usable.conversations, tokenizer)
    if tokenizer is None:
        lengths = [sum(len(piece.text) for piece in pieces(template, row)) for row in usable.rows]
    else:
        lengths = [sample.length for sample in readable(usable.rows, template, tokenizer, None)] or [0]
    return found | {
        "mapping": usable.columns.model_dump(),
        "unused": [{"column": clean_text(column), "why": NOT_READ} for column in usable.unused],
        "origin": usable.origin,
        "dropped": usable.dropped,
        "repaired": usable.repaired,
        "lengths": {"unit": "characters" if tokenizer is None else "tokens", **_summary(lengths)},
    }


def _shown(column: str, value: Any) -> str | None:
    turns = conversation(column, value)
    text = transcript(turns) if turns else as_text(value)
    return None if text is None else clean_text(text)


def _summary(lengths: Sequence[int]) -> dict[str, int]:
    median, p95 = np.percentile(lengths, [50, 95])
    return {"median": round(median), "p95": round(p95), "max": max(lengths)}
