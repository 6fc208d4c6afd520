"""Reading local files, whole and broken."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.common.errors import WinnowError
from engine.data.files import read_file
from engine.data.parquet_files import BATCH_ROWS

ROWS = [{"instruction": f"Say {i}", "input": "", "output": str(i)} for i in range(10)]
Write = Callable[[Path], object]


def write_parquet(path: Path, rows: list[dict[str, Any]] = ROWS) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)


def write_csv(path: Path, rows: list[dict[str, Any]] = ROWS, delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_lines(path: Path, rows: list[dict[str, Any]] = ROWS) -> None:
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")


def write_list(path: Path, rows: list[dict[str, Any]] = ROWS) -> None:
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def write_pretty(path: Path, rows: list[dict[str, Any]] = ROWS) -> None:
    path.write_text("\n".join(json.dumps(row, indent=2) for row in rows), encoding="utf-8")


def write_tabs(path: Path) -> None:
    write_csv(path, delimiter="\t")


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return packed


def compressed(write: Write, compress: Callable[[bytes], bytes]) -> Write:
    """What `write` writes, compressed in two pieces, one behind the other."""

    def write_compressed(path: Path) -> None:
        write(path)
        content = path.read_bytes()
        path.write_bytes(compress(content[:50]) + compress(content[50:]))

    return write_compressed


KINDS: dict[str, Write] = {
    "a.parquet": write_parquet,
    "a.csv": write_csv,
    "a.jsonl": write_lines,
    "a.json": write_list,
    "lines.json": write_lines,
    "LIST.JSONL": write_list,
    "pretty.json": write_pretty,
    "a.tsv": write_tabs,
    "a.jsonl.gz": compressed(write_lines, gzip.compress),
    "a.csv.GZ": compressed(write_csv, gzip.compress),
    "a.json.gz": compressed(write_list, gzip.compress),
    "a.jsonl.zst": compressed(write_lines, zstd),
    "a.tsv.zst": compressed(write_tabs, zstd),
    "a.json.zst": compressed(write_list, zstd),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("skip", "limit"), [(0, None), (0, 4), (3, 5), (4, 100), (10, None), (2, 3), (25, 2)])
def test_every_kind_gives_the_same_slice(name: str, skip: int, limit: int | None, tmp_path: Path) -> None:
    """Rows, columns and positions do not depend on the kind of file."""
    KINDS[name](tmp_path / name)
    records = read_file(tmp_path / name, skip, limit)
    assert records.rows == ROWS[skip : None if limit is None else skip + limit]
    assert records.skip == skip
    assert records.total in (10, None)
    if records.rows:
        assert records.columns == ["instruction", "input", "output"]
    if limit is None:
        assert records.total == 10


def test_slices_across_batches_and_row_groups(tmp_path: Path) -> None:
    """A slice that begins and ends inside Parquet batches is exact."""
    path = tmp_path / "long.parquet"
    pq.write_table(pa.table({"n": list(range(3 * BATCH_ROWS))}), path, row_group_size=2 * BATCH_ROWS + 7)
    for skip, limit in ((BATCH_ROWS - 1, 3), (2 * BATCH_ROWS + 6, 2), (5, 2 * BATCH_ROWS + 9), (3 * BATCH_ROWS, 1)):
        expected = list(range(3 * BATCH_ROWS))[skip : skip + limit]
        assert [row["n"] for row in read_file(path, skip, limit).rows] == expected


@pytest.mark.parametrize(
    ("noted", "names"),
    [
        ({"label_names": '["a", "b"]'}, {"": ["a", "b"]}),
        (
            {
                "huggingface": json.dumps(
                    {
                        "info": {
                            "features": {
                                "y": {"_type": "ClassLabel", "names": ["c"]},
                                "n": {"dtype": "int64", "_type": "Value"},
                                "l": [{"dtype": "int64", "_type": "Value"}],
                            }
                        }
                    }
                )
            },
            {"y": ["c"]},
        ),
        ({"label_names": "not JSON", "huggingface": "[1]"}, {}),
        ({"label_names": "[1, 2]", "huggingface": '{"info": {"features": ["y"]}}'}, {}),
        ({"label_names": '"ab"', "huggingface": '{"info": {"features": {"y": {"names": []}}}}'}, {}),
        ({}, {}),
    ],
)
def test_names_of_classes(noted: dict[str, str], names: dict[str, list[str]], tmp_path: Path) -> None:
    """The names that Parquet files note are found; a note of another kind does no harm."""
    pq.write_table(pa.table({"y": [0]}).replace_schema_metadata(noted), tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet", 0, None).class_names == names


def test_csv_values_stay_as_written(tmp_path: Path) -> None:
    """Nothing is guessed: no number loses its zeros, no "NA" becomes nothing, no date becomes a time."""
    rows = [{"instruction": "NA", "output": "007"}, {"instruction": "2020-01-01", "output": "1.0"}]
    rows.append({"instruction": 'a "quoted", line\nand another', "output": "x" * 200_000})
    write_csv(tmp_path / "a.csv", rows)
    assert read_file(tmp_path / "a.csv", 0, None).rows == rows


def test_rows_of_json_may_differ_in_their_keys(tmp_path: Path) -> None:
    """A column that only later rows have is a column."""
    rows: list[dict[str, Any]] = [{"a": "1"}, {"a": None, "b": 2}, {"c": [1, {"d": "é"}]}]
    write_lines(tmp_path / "a.jsonl", rows)
    records = read_file(tmp_path / "a.jsonl", 0, None)
    assert records.rows == rows
    assert records.columns == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_byte_order_mark(name: str, tmp_path: Path) -> None:
    """Files saved by spreadsheets begin with a mark that belongs to no column."""
    KINDS[name](tmp_path / name)
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert read_file(tmp_path / name, 0, None).rows == ROWS


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    """The nameless index column of many CSV exports does no harm."""
    (tmp_path / "a.csv").write_text(", output\n0,x\n")
    assert read_file(tmp_path / "a.csv", 0, None).rows == [{"column 1": "0", "output": "x"}]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(rows=st.lists(st.fixed_dictionaries({"instruction": TEXT, "output": TEXT}), min_size=1, max_size=5))
@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.json"])
def test_any_text_survives(name: str, rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever characters a sample is made of, a file gives them back unchanged."""
    path = tmp_path_factory.mktemp("text") / name
    KINDS[name](path, rows)  # type: ignore[call-arg]
    assert read_file(path, 0, None).rows == rows


def broken_parquet(path: Path) -> None:
    write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])


def torn_page(path: Path) -> None:
    pq.write_table(
        pa.table({"a": ["some text " * 50] * 1000}),
        path,
        write_page_checksum=True,
        use_dictionary=False,
        compression="none",
    )
    content = bytearray(path.read_bytes())
    content[2000:2020] = b"!" * 20  # still text: only the checksum tells
    path.write_bytes(bytes(content))


def no_text(path: Path) -> None:
    """The name of a column, which schema and statistics repeat, is not UTF-8."""
    pq.write_table(pa.table({"column": ["a"]}), path)
    path.write_bytes(path.read_bytes().replace(b"column", b"\xe9olumn"))


BROKEN: list[tuple[str, bytes | Write, str]] = [
    ("a.parquet", broken_parquet, "is not a whole Parquet file"),
    ("a.parquet", torn_page, "is not a whole Parquet file"),
    ("a.parquet", no_text, "is not a whole Parquet file"),
    ("a.parquet", b"", "is not a whole Parquet file"),
    ("a.parquet", b"instruction,output\n", "is not a whole Parquet file"),
    ("a.jsonl", b'{"a": 1}\n\n{"a": 2,,}\n', "line 3: this is not valid JSON (expecting property name"),
    ("a.jsonl", b'{"a": 1}\n[1, 2]\n', "line 2: this is a list; each line must be an object"),
    ("a.jsonl", b'{"a": 1}\n"text"\n', "line 2: this is a text"),
    ("a.jsonl", b'{"a": 1}\n3\n', "line 2: this is a number"),
    ("a.jsonl", b'{"a": 1}\nnull\n', "line 2: this is null"),
    ("a.jsonl", b'{"a": 1}\n{"a": 2} {"a": 3}\n', "line 2: this is 2 values; each line must be an object"),
    ("a.jsonl", b'{"a": ' + b"[" * 200_000 + b"\n", "line 1: this is not valid JSON (maximum recursion"),
    ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}\n", "line 1: this is not valid JSON (Exceeds the limit"),
    ("a.jsonl", b'{"a": "fine"}\n{"a": "caf\xe9"}\n', "line 2: this is not UTF-8 (byte 24 of the file"),
    ("a.jsonl", '{"a": 1}\n'.encode("utf-16"), "line 1: this is not UTF-8 (byte 0 of the file"),
    ("a.json", b'[{"a": 1},\n{"a": 2},\n{"a" 3}]', "line 3: this is not valid JSON"),
    ("a.json", b'[{"a": 1}, "text"]', "item 1 of the list is a text; each must be an object"),
    ("a.json", b'{\n"a": [{"b": 1}\n}', "line 3: this is not valid JSON"),
    ("a.json", b'{"a": 1,\n"b": 2}\n3', "line 3: this is a number beside others"),
    ("a.tsv", b"a\tb\n1\n", "line 2: 1 values, but the first line names 2 columns, separated by tabs"),
    ("a.csv.gz", gzip.compress(b"a,b\n1,2\n3,caf\xe9\n"), "line 3: this is not UTF-8 (byte 13 of the unpacked file"),
    ("a.csv.gz", gzip.compress(b"a,b\n1,2\n3,4,5\n"), "line 3: 3 values, but the first line names 2 columns"),
    ("a.jsonl.zst", zstd(b'{"a": 1}\n{"a" 2}\n'), "line 2: this is not valid JSON"),
    ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 9)[:-9], "is not a whole gzip file (Truncated"),
    ("a.json.zst", zstd(b'{"a": 1}\n' * 9)[:-5], "is not a whole zstd file (Truncated"),
    ("a.csv.gz", b"a,b\n1,2\n", "is not a whole gzip file"),
    ("a.csv.zst", b"a,b\n1,2\n", "is not a whole zstd file"),
    ("a.parquet.gz", b"text", "is not a kind of file that Winnow reads"),
    (".gz", b"text", "is not a kind of file that Winnow reads"),
    ("a.csv", b"a,b\n1,2\n3,4,5\n", "line 3: 3 values, but the first line names 2 columns"),
    ("a.csv", b"a,b\n1,2\n\n3\n", "line 4: 1 values, but the first line names 2 columns"),
    ("a.csv", b'a,b\n1,"x"y\n', "line 2: this is not valid CSV"),
    ("a.csv", b'a,b\n1,"open\n2,3\n', "line 3: this is not valid CSV (unexpected end of data"),
    ("a.csv", b"a,b\n1,caf\xe9\n", "line 2: this is not UTF-8 (byte 9 of the file"),
    ("a.csv", b"\xef\xbb\xbfcaf\xe9,b\n", "line 1: this is not UTF-8 (byte 6 of the file"),
    ("a.txt", b"text", "is not a kind of file that Winnow reads; save it as one of .parquet, .jsonl, .json, .csv"),
    ("noending", b"text", "is not a kind of file that Winnow reads"),
]


# Named without their content: a packed file holds the second it was made in, so that processes would disagree.
@pytest.mark.parametrize(("name", "content", "words"), BROKEN, ids=[f"{name}: {words}" for name, _, words in BROKEN])
def test_a_broken_file_is_one_sentence(name: str, content: bytes | Write, words: str, tmp_path: Path) -> None:
    """Every way a file can be wrong names the file, the place if there is one, and what to do."""
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    with pytest.raises(WinnowError) as caught:
        read_file(path, 0, None)
    sentence = str(caught.value)
    assert words in sentence
    assert sentence.startswith(str(path))
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    """The row and the column are named, since a Parquet file has no lines."""
    buffers = pa.array([b"fine", b"fine", b"caf\xe9"], pa.binary()).buffers()
    pq.write_table(
        pa.table({"id": [1, 2, 3], "output": pa.StringArray.from_buffers(3, *buffers[1:])}), tmp_path / "a.parquet"
    )
    with pytest.raises(
        WinnowError, match=r"Row 2 of the Parquet file .*a\.parquet has a text in column output"
    ) as caught:
        read_file(tmp_path / "a.parquet", 1, None)
    assert "UTF-8" in str(caught.value)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal by the system is passed on in its own words."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.csv").write_text("a,b\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WinnowError, match=r"a\.csv cannot be read \(Permission denied\)"):
        read_file(tmp_path / "a.csv", 0, None)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Whatever bytes are changed, lost or added, nothing but a sentence comes out."""
    path = tmp_path / name
    KINDS[name](path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    with suppress(WinnowError):
        read_file(path, 0, None)
