"""Sets that lie in several files, named by a pattern or by their folder."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.common.errors import WinnowError
from engine.config.data import LabelledSettings
from engine.data.labelled.samples import read_labelled
from engine.data.loading import load_records
from engine.data.sources import read_rows

ROWS = [{"instruction": f"Say {i}", "input": "", "output": str(i)} for i in range(30)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, default=str) + "\n" for row in rows)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".csv":
        path.write_text("".join(",".join(map(str, values)) + "\n" for values in [rows[0], *map(dict.values, rows)]))
    else:
        path.write_text(lines)
    return path


def shards(folder: Path, split: str = "train", kind: str = ".parquet", first: int = 0) -> Path:
    """Three files of 8, 2 and 20 rows."""
    for number, (start, end) in enumerate(((0, 8), (8, 10), (10, 30))):
        write(folder / f"{split}-{number + first:05}-of-00003{kind}", ROWS[start:end])
    return folder


def outputs(source: object, **slice_of: Any) -> list[str]:
    return [row["response"] for row in read_rows(str(source), **slice_of).rows]


def sentence(source: object, **slice_of: Any) -> str:
    with pytest.raises(WinnowError) as caught:
        read_rows(str(source), **slice_of)
    return str(caught.value)


@pytest.mark.parametrize("kind", [".parquet", ".jsonl", ".csv", ".jsonl.gz"])
@pytest.mark.parametrize(("skip", "limit"), [(0, None), (0, 24), (7, 2), (8, 2), (9, 12), (10, None), (29, 5), (3, 1)])
@pytest.mark.parametrize("source", ["data/train-*{}", "data/train-?????-of-*{}", "data", ""])
def test_shards_are_one_set(source: str, skip: int, limit: int | None, kind: str, tmp_path: Path) -> None:
    """A slice runs over all files, whatever their kind, and each row keeps its position in the whole."""
    shards(tmp_path / "data", kind=kind)
    rows = read_rows(str(tmp_path / source.format(kind)), skip=skip, limit=limit)
    expected = ROWS[skip : None if limit is None else skip + limit]
    assert [row["response"] for row in rows.rows] == [row["output"] for row in expected]
    assert [row["row"] for row in rows.rows] == list(range(skip, skip + len(expected)))
    total = " of 30" if kind == ".parquet" or limit is None or skip + limit > 30 else ""
    assert rows.origin.startswith(f"Rows {skip} to {skip + len(expected) - 1}{total}, counted from 0, from the ")
    assert rows.origin.endswith(f"{tmp_path}/data/train-00000-of-00003{kind} and 2 more.")


def test_a_sentence_about_a_row_names_its_file(tmp_path: Path) -> None:
    """Positions in a sentence are those in the file that must be mended."""
    shards(tmp_path)
    path = write(tmp_path / "train-00001-of-00003.parquet", [{**row, "output": b"\xff"} for row in ROWS[8:10]])
    assert f"Row 0 of the Parquet file {path} holds bytes in column output" in sentence(tmp_path / "*", skip=1)
    assert f"Row 1 of the Parquet file {path} holds bytes" in sentence(tmp_path, skip=9)
    assert "After skipping 31 rows none is left in the Parquet file " in sentence(tmp_path, skip=31)


def test_a_missing_shard(tmp_path: Path) -> None:
    """A part of a set is never read in silence; a pattern that leaves the missing file out says that it is meant."""
    shards(tmp_path)
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    for source in (tmp_path, tmp_path / "train-*.parquet"):
        assert sentence(source).startswith(
            f"{tmp_path}/train-00001-of-00003.parquet is missing: 2 of 3 shards are there; get it, or name those that"
        )
    assert outputs(tmp_path / "train-0000[02]-of-00003.parquet") == [str(i) for i in (*range(8), *range(10, 30))]
    shards(tmp_path / "from-one", first=1)
    assert len(outputs(tmp_path / "from-one")) == 30
    (tmp_path / "from-one" / "train-00001-of-00003.parquet").unlink()
    assert "train-00001-of-00003.parquet is missing" in sentence(tmp_path / "from-one")


def test_hidden_files_match_no_pattern(tmp_path: Path) -> None:
    """macOS puts a "._name" beside each file on other disks; it is no part of the set."""
    shards(tmp_path)
    (tmp_path / "._train-00000-of-00003.parquet").write_bytes(b"\0\5\26\7")
    assert len(outputs(tmp_path / "*.parquet")) == 30


def test_shards_of_two_sets(tmp_path: Path) -> None:
    """What an earlier download has left behind is not read as more rows."""
    shards(tmp_path)
    left = write(tmp_path / "train-00000-of-00001.parquet", ROWS)
    assert f"{tmp_path}/train-00000-of-00003.parquet and {left.name} do not belong to one set" in sentence(tmp_path)
    left.rename(tmp_path / "train-00002-of-00003-abcdef.parquet")
    assert "train-00002-of-00003-abcdef.parquet do not belong to one set of shards" in sentence(tmp_path / "*.parquet")


@pytest.mark.parametrize("kind", [".parquet", ".csv"])
def test_shards_of_different_columns(kind: str, tmp_path: Path) -> None:
    """A column that one file lacks would be empty there without a word."""
    write(tmp_path / f"a{kind}", ROWS[:2])
    write(tmp_path / f"b{kind}", [{"instruction": "a", "output": "b"}])
    said = sentence(tmp_path / f"*{kind}")
    assert f"b{kind} and the " in said
    assert "have different columns: only one of them has input;" in said


def test_objects_may_lack_what_is_null(tmp_path: Path) -> None:
    """JSON files need not have the same keys, as their rows need not."""
    write(tmp_path / "a.jsonl", [{"instruction": "a", "output": "b"}])
    write(tmp_path / "b.jsonl", [{"instruction": "a", "input": "c", "output": "d"}])
    records = load_records(str(tmp_path / "*.jsonl"))
    assert (len(records.rows), records.columns) == (2, ["instruction", "output", "input"])


LAYOUTS: list[tuple[list[str], dict[str, str]]] = [
    (["train.jsonl", "test.jsonl", "sample_submission.jsonl"], {"train": "0", "test": "1"}),
    (["data/train-00000-of-00001-ab12.jsonl", "data/test-00000-of-00001-cd34.jsonl"], {"train": "0", "test": "1"}),
    (
        ["data/train_sft-00000-of-00001.jsonl", "data/test_sft-00000-of-00001.jsonl"],
        {"train_sft": "0", "test_sft": "1"},
    ),
    (["train/part-1.jsonl", "dev/part-1.jsonl"], {"train": "0", "validation": "1"}),
    (["my_train_file1.jsonl", "my_val_file1.jsonl"], {"train": "0", "validation": "1"}),
    (["set-training.jsonl.gz", "set-evaluation.jsonl.gz"], {"train": "0", "test": "1"}),
]


@pytest.mark.parametrize(("names", "splits"), LAYOUTS)
def test_splits_of_a_folder(names: list[str], splits: dict[str, str], tmp_path: Path) -> None:
    """Splits are found as the Hub finds them, and a split that is not there is named with those that are."""
    for number, name in enumerate(names):
        write(tmp_path / name, [ROWS[number]])
    (tmp_path / "dataset_infos.json").write_text("{}")
    (tmp_path / "README.md").write_text("about")
    for split, output in splits.items():
        assert outputs(tmp_path, split=split) == [output]
        assert sorted(load_records(str(tmp_path), split).splits) == sorted(splits)
    assert sentence(tmp_path, split="final").startswith(
        f"There is no split final in the files of the folder {tmp_path};"
    )


def test_folders_that_are_not_one_set(tmp_path: Path) -> None:
    """Files of two kinds or in two places could hold the same rows; a folder without files holds none."""
    assert "holds no data files (.parquet, .jsonl, .json, .csv, .tsv), also not" in sentence(tmp_path)
    write(tmp_path / "b.jsonl", ROWS)
    assert sentence(tmp_path, split="test").startswith(f"The folder {tmp_path} has no splits")
    write(tmp_path / "b.jsonl.gz", ROWS)
    assert "holds files that end in .jsonl and .jsonl.gz, and they could hold the same rows;" in sentence(tmp_path)
    write(tmp_path / "data" / "c.csv", ROWS)
    assert "holds data files both itself and in data; name those to be read by a pattern" in sentence(tmp_path)


def test_labelled_folders_have_test_splits(tmp_path: Path) -> None:
    """A folder with a test split is tested on it; as a test set of its own a folder without splits is read whole."""

    def rows(count: int) -> list[dict[str, Any]]:
        return [{"x": i * i / 7, "target": float(i)} for i in range(count)]

    for split in ("train", "test"):
        for number in range(2):
            write(
                tmp_path / "many" / "data" / f"{split}-{number:05}-of-00002.parquet",
                rows(12 if split == "train" else 3),
            )
    found = read_labelled(LabelledSettings(source=str(tmp_path / "many"), task="numbers", test_limit=5))
    assert (len(found), (found.split == "test").sum()) == (29, 5)
    assert f"{tmp_path}/many/data/test-00000-of-00002.parquet and 1 more" in found.origin
    write(tmp_path / "one" / "part.csv", rows(4))
    found = read_labelled(
        LabelledSettings(source=str(tmp_path / "many"), test_source=str(tmp_path / "one"), task="numbers", limit=15)
    )
    assert (len(found), (found.split == "test").sum()) == (19, 4)
    write(tmp_path / "many" / "data" / "train-00001-of-00002.parquet", [*rows(3), {"x": None, "target": 1.0}])
    with pytest.raises(WinnowError, match=r"^Row 3 of the Parquet file .*/train-00001-of-00002\.parquet has no number"):
        read_labelled(LabelledSettings(source=str(tmp_path / "many"), task="numbers"))
