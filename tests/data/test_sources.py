"""From a source to rows: every row accounted for, every text safe to store, every failure one sentence."""

from __future__ import annotations

import json
import unicodedata
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.common.errors import WinnowError
from engine.config.data import ColumnMap
from engine.data.demo.instructions import demo_corpus, demo_samples
from engine.data.records import Records
from engine.data.sources import NO_INSTRUCTION, NO_RESPONSE, as_text, clean_text, read_rows, to_rows

HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m\x07",
    "\u202eright to left\u202c",
    "**bold** ![x](http://a.b/c.png)",
    "e\u0301 \ufb01 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "'; DROP TABLE samples; --",
    "tab\tcarriage\rline\nend ",
)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def sentence(*arguments: Any, **named: Any) -> str:
    with pytest.raises(WinnowError) as caught:
        read_rows(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_keep_their_position_and_every_other_column(tmp_path: Path) -> None:
    """A row can be found again in its source whatever was skipped or dropped before it."""
    source = write(
        tmp_path / "a.jsonl", [{"q": "no"}] + [{"question": f"Q{i}", "answer": f"A{i}", "n": i} for i in range(6)]
    )
    rows = read_rows(source, skip=2, limit=3)
    assert [row["row"] for row in rows.rows] == [2, 3, 4]
    texts = {"instruction": "Q1", "input": "", "response": "A1", "system": "", "turns": []}
    assert rows.rows[0] == {"row": 2, **texts, "fields": {"n": "1"}}
    assert rows.unused == ["n"]
    assert rows.columns == ColumnMap(instruction="question", input="", response="answer")
    assert rows.origin == f"Rows 2 to 4, counted from 0, from the JSON file {source}."
    assert rows.dropped == {}


def test_unusable_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    """Null, blank and missing answers, and questions that are not there, never vanish unseen."""
    source = write(
        tmp_path / "a.jsonl",
        [
            {"instruction": "a", "input": "", "output": "kept"},
            {"instruction": "b", "output": None},
            {"instruction": "c", "output": ""},
            {"instruction": "d", "output": " \n\t"},
            {"instruction": "e"},
            {"instruction": None, "output": "x"},
            {"instruction": " ", "input": "", "output": "x"},
            {"instruction": "", "input": "asked by its input", "output": "kept"},
        ],
    )
    rows = read_rows(source)
    assert [row["row"] for row in rows.rows] == [0, 7]
    assert rows.dropped == {NO_RESPONSE: 4, NO_INSTRUCTION: 2}
    assert rows.read == 8


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={name: st.none() | st.text(max_size=4) for name in ("instruction", "input", "output", "other")},
        ),
        min_size=1,
        max_size=20,
    )
)
def test_every_row_is_kept_or_counted(records: list[dict[str, Any]]) -> None:
    """No row is lost and none is counted twice, whatever is missing."""
    columns = ColumnMap(instruction="instruction", input="input", response="output")
    usable = [
        bool((row.get("output") or "").strip())
        and row.get("instruction") is not None
        and bool((row["instruction"] + (row.get("input") or "")).strip())
        for row in records
    ]
    source = Records("a list", ["instruction", "input", "output", "other"], list(records), 100, len(records))
    if not any(usable):
        with pytest.raises(WinnowError, match=f"None of the {len(records)} rows read from a list can be used"):
            to_rows(source, columns)
        return
    rows = to_rows(source, columns)
    assert [row["row"] - 100 for row in rows.rows] == [i for i, kept in enumerate(usable) if kept]
    assert rows.read == len(records)


def test_fingerprint_follows_content_and_position() -> None:
    """Two sets have one fingerprint only if the same text stands in the same places."""

    def fingerprint(*rows: tuple[str, str, str, dict[str, str]], skip: int = 0) -> str:
        records = [{"instruction": i, "input": p, "output": o, **fields} for i, p, o, fields in rows]
        columns = ColumnMap(instruction="instruction", input="input", response="output")
        return to_rows(Records("a list", [], records, skip, None), columns).fingerprint

    plain: Any = ("i", "p", "o", {"f": "v"})
    bare: Any = ("i", "p", "o", {})
    others = [
        fingerprint(("i", "po", "o", {"f": "v"})),
        fingerprint(("ip", "", "o", {"f": "v"})),
        fingerprint(("i", "p", "o", {})),
        fingerprint(("i", "p", "o", {"f": "v", "g": "w"})),
        fingerprint(("i", "p", "o", {"fv": ""})),
        fingerprint(plain, plain),
        fingerprint(plain, skip=1),
        fingerprint(bare, bare, bare),
        fingerprint(("i", "p", "o", {"1": "", "i": "p", "o": "2", "": "i", "p": "o"})),  # spells two more rows
    ]
    assert fingerprint(plain) == fingerprint(plain)
    assert len({fingerprint(plain), *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("007", "007"),
        (7, "7"),
        (0.1, "0.1"),
        (True, "true"),
        (None, None),
        (float("nan"), None),
        (["a", 1, None, "é"], '["a", 1, null, "é"]'),
        ({"bytes": b"123", "when": date(2020, 1, 2)}, '{"bytes": "<3 bytes>", "when": "2020-01-02"}'),
        (b"\xff\x00", "<2 bytes>"),
        (date(2020, 1, 2), "2020-01-02"),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_values_that_are_not_text(value: Any, text: str | None) -> None:
    """Numbers, lists and objects are shown as a person would write them."""
    assert as_text(value) == text


def test_columns_of_other_types_are_read_as_text(tmp_path: Path) -> None:
    """A set whose answers are numbers or lists can be used; bytes that are no text cannot, and are named."""
    path = tmp_path / "a.parquet"
    columns = {"question": ["a", "b"], "answer": [1.5, None], "answers": [["x"], ["y", "z"]], "raw": [b"ok", b"\xff"]}
    pq.write_table(pa.table(columns), path)
    assert read_rows(str(path)).rows[0]["response"] == "1.5"
    assert [row["response"] for row in read_rows(str(path), columns=ColumnMap(response="answers")).rows] == [
        '["x"]',
        '["y", "z"]',
    ]
    assert read_rows(str(path), limit=1, columns=ColumnMap(response="raw")).rows[0]["response"] == "ok"
    assert sentence(str(path), columns=ColumnMap(response="raw")) == (
        f"Row 1 of the Parquet file {path} holds bytes in column raw that are not UTF-8 text; choose another column."
    )


@given(st.text(st.characters()))
def test_clean_text_can_be_stored(text: str) -> None:
    """Only NUL and lone surrogates change, each into one replacement character."""
    clean = clean_text(text)
    assert clean.encode().decode() == clean
    assert len(clean) == len(text)
    for before, after in zip(text, clean, strict=True):
        broken = before == "\0" or unicodedata.category(before) == "Cs"
        assert after == ("\ufffd" if broken else before)


def test_hostile_text_comes_through_unchanged(tmp_path: Path) -> None:
    """Markup, escapes and marks are kept as they are; what cannot be stored is replaced and counted."""
    records = [{"instruction": text, "output": text, text: text} for text in HOSTILE]
    source = write(tmp_path / "a.jsonl", [*records, {"instruction": "nul \0", "output": "half \ud83d", "\udc00": "x"}])
    rows = read_rows(source)
    for text, row in zip(HOSTILE, rows.rows, strict=False):
        assert (row["instruction"], row["response"], row["fields"]) == (text, text, {text: text})
    assert rows.rows[-1]["instruction"] == "nul \ufffd"
    assert rows.rows[-1]["response"] == "half \ufffd"
    assert rows.rows[-1]["fields"] == {"\ufffd": "x"}
    assert rows.repaired == 1


def test_alpaca(real_data: Path) -> None:
    """The published set reads as its authors describe it: 52,002 rows, 28 of them without an answer."""
    rows = read_rows(str(real_data / "alpaca.parquet"))
    assert len(rows.rows) == 52_002 - 28
    assert rows.dropped == {NO_RESPONSE: 28}
    assert rows.repaired == 0
    assert rows.columns == ColumnMap(instruction="instruction", input="input", response="output")
    first = read_rows(str(real_data / "alpaca.parquet"), limit=2000)
    assert first.rows == rows.rows[: len(first.rows)]
    assert first.read == 2000


def test_demo_and_its_corpus() -> None:
    """The demo is a source like any other, and what it knows about its answers is kept beside them."""
    rows = read_rows("demo", skip=10, limit=5)
    for row, written in zip(rows.rows, demo_samples()[10:15], strict=True):
        assert row["response"] == written["response"]
        assert row["fields"]["corrupted"] == written["corrupted"]
        assert row["fields"]["task"] == written["task"]
    assert rows.origin == f"Rows 10 to 14 of {len(demo_samples()):,}, counted from 0, from Winnow's own demo set."
    corpus = read_rows("demo-corpus", skip=10, limit=5)
    assert [row["response"] for row in corpus.rows] == [row["response"] for row in demo_corpus(15)[10:]]


def test_relative_paths_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path means what it means in a shell."""
    write(tmp_path / "a.jsonl", [{"prompt": "p", "completion": "c"}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in ("a.jsonl", "./a.jsonl", "~/a.jsonl"):
        assert read_rows(source).rows[0]["response"] == "c"


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    """A wrong path is named in full, with the closest name beside it."""
    write(tmp_path / "alpaca.jsonl", [{"prompt": "p", "completion": "c"}])
    assert (
        sentence(str(tmp_path / "alpca.jsonl"))
        == f"There is no file {tmp_path}/alpca.jsonl; did you mean alpaca.jsonl?"
    )
    nowhere = sentence(str(tmp_path / "no" / "such.csv"))
    assert nowhere == f"There is no file {tmp_path}/no/such.csv; check the path, or write a Hub dataset as owner/name."
    for source in ("alpaca", "https://a.b/c.jsonl", "a/b/c", "x/y.csv", "nul\0", "~nobody-here/a.csv", "x" * 5000):
        assert "check the path" in sentence(source)
    (tmp_path / "empty").mkdir()
    assert "is a folder, but was not written by" in sentence(str(tmp_path / "empty"))


def test_files_and_the_demo_have_no_splits(tmp_path: Path) -> None:
    """A split that would be ignored is refused."""
    source = write(tmp_path / "a.jsonl", [{"prompt": "p", "completion": "c"}])
    assert sentence(source, split="test") == f"{source} has no splits, so there is no split test; leave the split out."
    assert sentence("demo", split="test").startswith("The demo has no splits")


def test_nothing_to_read(tmp_path: Path) -> None:
    """An empty set, a slice past the end, and a set in which no row can be used each say so."""
    for name in ("a.jsonl", "a.json", "a.csv"):
        (tmp_path / name).write_bytes(b"")
        assert sentence(str(tmp_path / name)).startswith("There are no rows in the ")
    (tmp_path / "a.csv").write_text("instruction,output\n")
    assert sentence(str(tmp_path / "a.csv")) == f"There are no rows in the CSV file {tmp_path}/a.csv; choose another."
    (tmp_path / "b.json").write_text("[]")
    assert "There are no rows" in sentence(str(tmp_path / "b.json"))
    pq.write_table(pa.table({"instruction": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert "There are no rows" in sentence(str(tmp_path / "a.parquet"))

    source = write(tmp_path / "c.jsonl", [{"prompt": "p", "completion": ""}] * 3)
    assert sentence(source, skip=3) == f"After skipping 3 rows none is left in the JSON file {source}, which has 3."
    assert sentence(source) == (
        f"None of the 3 rows read from the JSON file {source} can be used (3 with no response); "
        "choose other columns or another source."
    )


def test_columns_are_checked(tmp_path: Path) -> None:
    """A missing or misnamed column and two columns of one name are named together with the file."""
    source = write(tmp_path / "a.jsonl", [{"prompt": "p", "reply_text": "c"}])
    assert sentence(source) == (
        f"No column of the JSON file {source} looks like the response; name it with columns.response. "
        "It has the columns prompt, reply_text."
    )
    assert sentence(source, columns=ColumnMap(response="replytext")) == (
        f"The response should be in column replytext, which the JSON file {source} lacks; did you mean reply_text? "
        "It has the columns prompt, reply_text."
    )
    (tmp_path / "a.csv").write_text("prompt,output,output\na,b,c\n")
    assert sentence(str(tmp_path / "a.csv")).startswith("Two columns of the CSV file")
