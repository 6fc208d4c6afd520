"""Tables that are written as one JSON object, and objects that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest

from engine.common.errors import WinnowError
from engine.data.json_files import read_json

ROWS = [{"instruction": f"Say {i}", "output": f"é{i}", "meta": {"from": "web"}} for i in range(12)]


def read(folder: Path, document: Any, indent: int | None = None) -> list[dict[str, Any]]:
    (folder / "a.json").write_text(json.dumps(document, indent=indent), encoding="utf-8")
    return read_json(folder / "a.json", 0, None).rows


def sentence(folder: Path, document: Any) -> str:
    with pytest.raises(WinnowError) as caught:
        read(folder, document)
    return str(caught.value)


@pytest.mark.parametrize("index", [None, [f"{i}" for i in range(40, 52)]])
@pytest.mark.parametrize("indent", [0, 2])
@pytest.mark.parametrize("orient", ["columns", "index", "split", "records", "table"])
def test_every_orient_of_pandas(
    orient: Literal["columns", "index", "split", "records", "table"],
    indent: int,
    index: list[str] | None,
    tmp_path: Path,
) -> None:
    """Rows keep their order and their values, on one line or on many."""
    pd.DataFrame(ROWS, index=index).to_json(tmp_path / "a.json", orient=orient, indent=indent)
    records = read_json(tmp_path / "a.json", 2, 3)
    rows = [{key: value for key, value in row.items() if key != "index"} for row in records.rows]
    assert (rows, records.total) == (ROWS[2:5], 12)


@pytest.mark.parametrize(
    "document",
    [
        {"version": "1.1", "data": ROWS},
        {"examples": ROWS, "about": {"by": "somebody"}},
        {"instruction": ["a", "b"], "output": ["c", None]},
    ],
)
def test_rows_inside_an_object(document: dict[str, Any], tmp_path: Path) -> None:
    """A list of rows under a usual name, and lists by column."""
    rows = read(tmp_path, document)
    assert rows in (ROWS, [{"instruction": "a", "output": "c"}, {"instruction": "b", "output": None}])


@pytest.mark.parametrize("row", [{"user": "Hi", "assistant": "Hello"}, {"author": "Ann", "text": "Hi", "label": 1}])
def test_rows_that_look_like_turns(row: dict[str, Any], tmp_path: Path) -> None:
    """Question and reply in one object, or texts of people, are rows and not one conversation."""
    assert read(tmp_path, {"data": [row] * 3}) == [row] * 3


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "a", "output": "b"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"output": "b", "meta": {"from": "web"}, "tags": ["x"]},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_one_object_is_one_row(row: dict[str, Any], indent: int | None, tmp_path: Path) -> None:
    """An object that could be a row is one, also over several lines."""
    assert read(tmp_path, row, indent) == [row]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"train": ROWS, "test": ROWS[:2]}, "no set of rows: it holds train (a list of 12), test (a list of 2); write"),
        ({"model": {"a": 1}, "data": {"b": 2}}, "no set of rows: it holds model (an object of 1), data (an object"),
        ({f"k{i}": {"a": i} for i in range(9)}, "k4 (an object of 1) and 4 more; write one object per row, as pandas"),
        ({}, "is one object and no set of rows: it holds nothing; write"),
        ({"x" * 5000: {"a": 1}}, "x… (an object of 1); write"),
        ({"a": {"0": 1, "1": 2}, "b": {"0": 1}}, "column b has 1 rows that are not those of column a, which has 2;"),
        ({"a": [1, 2], "b": [1]}, "column b has 1 rows that are not those of column a, which has 2;"),
        ({"columns": ["a"], "data": [[1], [1, 2]]}, "item 1 of data is 2 values, but columns names 1;"),
        ({"columns": ["a"], "data": [[1], 3]}, "item 1 of data is a number, but columns names 1;"),
        ({"columns": ["a", "a"], "data": [[1, 2]]}, "names a column twice in columns;"),
        ({"columns": [["a", "b"]], "data": [[1]]}, "it holds columns (a list of 1), data (a list of 1);"),
        ("text", "holds a text and no rows; write one object per row"),
    ],
)
def test_other_shapes_are_named(document: Any, words: str, tmp_path: Path) -> None:
    """Whatever is not a table says what it is instead."""
    said = sentence(tmp_path, document)
    assert said.startswith(str(tmp_path / "a.json"))
    assert words in said
    assert len(said) < 1000
