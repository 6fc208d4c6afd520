"""The preview of a set, as the page that adds data shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from engine.analysis.datasets import NOT_READ
from engine.common.errors import WinnowError
from engine.config.data import ColumnMap, DataSettings
from engine.data.preview import READ_ROWS, preview
from engine.data.samples import readable
from engine.data.sources import read_rows


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_set_that_is_understood(tmp_path: Path) -> None:
    """Columns, mapping, first rows, counts and lengths arrive as plain JSON."""
    rows: list[dict[str, object]] = [{"question": "q" * i, "answer": "a", "n": i} for i in range(1, 11)]
    source = write(tmp_path / "a.jsonl", [*rows, {"question": "q", "answer": None, "n": None}])
    found = json.loads(json.dumps(preview(DataSettings(source=source, template="plain"), rows=2)))
    assert found == {
        "columns": ["question", "answer", "n"],
        "rows": [{"question": "q", "answer": "a", "n": "1"}, {"question": "qq", "answer": "a", "n": "2"}],
        "total": 11,
        "read": 11,
        "problem": None,
        "mapping": {"instruction": "question", "input": "", "response": "answer", "system": ""},
        "unused": [{"column": "n", "why": NOT_READ}],
        "origin": f"Rows 0 to 10 of 11, counted from 0, from the JSON file {source}.",
        "dropped": {"no response": 1},
        "repaired": 0,
        "lengths": {"unit": "characters", "median": 8, "p95": 12, "max": 12},
    }


def test_lengths_in_tokens(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """With a tokenizer, lengths are those the models would read, before any cut."""
    source = write(tmp_path / "a.jsonl", [{"question": "Add 17 and 23." * i, "answer": "40"} for i in range(1, 8)])
    found = preview(DataSettings(source=source), tokenizer)
    lengths = sorted(sample.length for sample in readable(read_rows(source).rows, "alpaca", tokenizer, None))
    assert found["lengths"]["unit"] == "tokens"
    assert found["lengths"]["median"] == lengths[3]
    assert found["lengths"]["max"] == lengths[-1]


def test_columns_that_are_not_understood_can_still_be_seen(tmp_path: Path) -> None:
    """Columns that have to be mapped by hand are shown, with hostile names and values made harmless to store."""
    source = write(tmp_path / "a.jsonl", [{"text": "nul \0", "half \ud800": [1]}, {"text": None}])
    found = preview(DataSettings(source=source))
    assert found["columns"] == ["text", "half \ufffd"]
    assert found["rows"] == [{"text": "nul \ufffd", "half \ufffd": "[1]"}, {"text": None, "half \ufffd": None}]
    assert found["problem"].startswith("No column of the JSON file")
    assert found["mapping"] is found["lengths"] is found["dropped"] is None
    mapped = preview(DataSettings(source=source, columns=ColumnMap(response="text")))
    assert mapped["problem"] is None
    assert mapped["mapping"]["response"] == "text"


def test_a_large_set_is_read_in_part(tmp_path: Path) -> None:
    """However long a set is, no more rows are read than the counts need, within the limit that is set."""
    source = write(tmp_path / "a.jsonl", [{"question": "q", "answer": "a"}] * (READ_ROWS + 5))
    found = preview(DataSettings(source=source))
    assert found["read"] == READ_ROWS
    assert found["total"] is None
    assert len(found["rows"]) == 20
    assert preview(DataSettings(source=source, skip=1, limit=7))["read"] == 7


def test_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    """If there is nothing to preview, the error is its sentence."""
    with pytest.raises(WinnowError, match="There is no file"):
        preview(DataSettings(source=str(tmp_path / "a.csv")))


def test_alpaca(real_data: Path) -> None:
    """A Parquet file has its number of rows in its metadata."""
    found = preview(DataSettings(source=str(real_data / "alpaca.parquet")))
    assert found["total"] == 52_002
    assert found["read"] == READ_ROWS
    assert found["mapping"] == {"instruction": "instruction", "input": "input", "response": "output", "system": ""}


def test_conversations_are_previewed_as_turns(tmp_path: Path) -> None:
    """People see who says what, not the JSON of a list."""
    talk = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    found = preview(DataSettings(source=write(tmp_path / "a.jsonl", [{"conversations": talk, "id": "a"}] * 3)))
    assert found["rows"][0]["conversations"] == "User: Hi\nAssistant: Hello"
    assert found["mapping"]["response"] == "conversations"
    assert found["unused"] == [{"column": "id", "why": NOT_READ}]
