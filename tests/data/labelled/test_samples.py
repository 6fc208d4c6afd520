"""Labelled sets as arrays."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.common.errors import WinnowError
from engine.data.labelled.samples import Labelled, read_labelled, training_texts
from engine.data.samples import content_id
from engine.storage.parts import part_path, write_part
from engine.storage.tables import SAMPLES
from engine.storage.workspace import Workspace
from tests.data.conftest import make_tokenizer
from tests.fixtures.labelled_files import images, picture, pixels_of, settings, texts, write

LABELS = [0, 1, 2] * 10


def of(labelled: Labelled, split: str) -> list[int]:
    return labelled.row[labelled.split == split].tolist()


def test_images_of_a_file(tmp_path: Path) -> None:
    """Every image is in its place, unchanged, with its label and the name of its class."""
    rows = images(LABELS)
    labelled = read_labelled(settings(write(tmp_path / "a.parquet", rows, ["ant", "bee", "cat"])))
    assert labelled.inputs.shape == (30, 3, 6, 6)
    assert labelled.inputs.dtype == np.uint8
    for row, pixels in zip(labelled.row, labelled.inputs, strict=True):
        assert (pixels == pixels_of(rows[row]["image"]["bytes"])).all()
    assert labelled.labels.tolist() == LABELS
    assert labelled.labels.dtype == np.int64
    assert labelled.class_names == ["ant", "bee", "cat"]
    assert labelled.row.tolist() == list(range(30))
    assert (len(of(labelled, "train")), len(of(labelled, "valid")), len(of(labelled, "test"))) == (22, 2, 6)
    assert labelled.origin == (
        f"22 for training, 2 for validation, 6 for testing: rows of the Parquet file {tmp_path / 'a.parquet'}, test "
        "rows held out from them, labels from column label."
    )


def test_a_test_set_of_its_own(tmp_path: Path) -> None:
    """Its rows come last, are numbered after those of the source, and none of them is trained on."""
    train = write(tmp_path / "train.parquet", images(LABELS))
    test = write(tmp_path / "test.parquet", images([2, 0, 1, 1], start=100))
    labelled = read_labelled(settings(train, test_source=test, limit=24, test_limit=3))
    assert of(labelled, "test") == [24, 25, 26]
    assert labelled.labels[24:].tolist() == [2, 0, 1]
    assert (labelled.inputs[24] == pixels_of(picture(100))).all()
    assert sorted(of(labelled, "train") + of(labelled, "valid")) == list(range(24))
    assert labelled.origin.endswith(f", test set from the Parquet file {test}, labels from column label.")


def test_a_pattern_of_files(tmp_path: Path) -> None:
    """Files are laid end to end in the order of their names, up to the limit, and no file is opened beyond it."""
    for name, start in (("b-2", 10), ("b-1", 0), ("b-10", 20)):
        write(tmp_path / f"{name}.jsonl", [{"x": start + i, "y": i / 2} for i in range(10)])
    (tmp_path / "b-3.jsonl").write_text("this is not JSON")
    found = {"task": "numbers", "label": "y", "features": ["x"], "limit": 25}
    labelled = read_labelled(settings(str(tmp_path / "b-*.jsonl"), **found))
    assert labelled.inputs[:, 0].tolist() == [*range(10), *range(20, 30), *range(10, 15)]
    assert labelled.origin.startswith("18 for training, 2 for validation, 5 for testing: rows of the JSON file ")
    assert "b-1.jsonl and 2 more, test rows held out" in labelled.origin
    with pytest.raises(WinnowError, match=r"b-3\.jsonl, line 1: this is not valid JSON"):
        read_labelled(settings(str(tmp_path / "b-*.jsonl"), **found | {"limit": 31}))


@pytest.mark.parametrize("name", ["set/images.csv", "set/images.jsonl", "set/images.parquet"])
@pytest.mark.parametrize("column", ["image", "file_name"])
def test_paths_of_images(column: str, name: str, tmp_path: Path) -> None:
    """Paths in a column begin at the file that holds them; one that is not there is named with its row."""
    rows = images(LABELS)
    (tmp_path / "set" / "pictures").mkdir(parents=True)
    for number, row in enumerate(rows):
        (tmp_path / "set" / "pictures" / f"{number}.png").write_bytes(row["image"]["bytes"])
    named = [{column: f"pictures/{number}.png", "label": row["label"]} for number, row in enumerate(rows)]
    path = tmp_path / name
    if path.suffix == ".csv":
        path.write_text(f"{column},label\n" + "".join(f"{row[column]},{row['label']}\n" for row in named))
    else:
        write(path, named)
    labelled = read_labelled(settings(str(path)))
    assert (labelled.inputs == read_labelled(settings(write(tmp_path / "a.parquet", rows))).inputs).all()
    (tmp_path / "set" / "pictures" / "7.png").unlink()
    with pytest.raises(WinnowError, match=r"^Row 7 of the .* names the image pictures/7\.png, which cannot be read \("):
        read_labelled(settings(str(path)))


@pytest.mark.parametrize("test", ["", "test"])
def test_folders_of_images(test: str, tmp_path: Path) -> None:
    """A folder for each class, perhaps inside one for each split; the first rows are of all classes."""
    for number, row in enumerate(images(LABELS)):
        split = ("test" if number >= 24 else "train") if test else ""
        folder = tmp_path / "set" / split / f"class {row['label']}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:02}.PNG").write_bytes(row["image"]["bytes"])
    labelled = read_labelled(settings(str(tmp_path / "set")))
    assert labelled.class_names == ["class 0", "class 1", "class 2"]
    assert [labelled.class_names[label] for label in labelled.labels] == [f"class {label}" for label in LABELS]
    assert (labelled.inputs == read_labelled(settings(write(tmp_path / "a.parquet", images(LABELS)))).inputs).all()
    assert (labelled.row[labelled.split == "test"] >= 24).all() == bool(test)
    assert read_labelled(settings(str(tmp_path / "set"), limit=9, test_split="")).labels.tolist() == LABELS[:9]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    """What exists is read as it is named."""
    labelled = read_labelled(settings(write(tmp_path / "a[1]*.parquet", images(LABELS))))
    assert len(labelled) == 30


def test_saved_splits(tmp_path: Path) -> None:
    """A saved set of splits is tested on its own test split, or on a fifth if the recipe asks for it."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    parts = {
        name: datasets.Dataset.from_list(texts([0, 1] * count, start), features=features)
        for name, count, start in (("train", 10, 0), ("test", 3, 100))
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "many")
    parts["test"].save_to_disk(tmp_path / "one")
    found = {"task": "text", "max_length": 16}
    tokenizer = make_tokenizer()
    whole = read_labelled(settings(str(tmp_path / "many"), **found), tokenizer)
    assert of(whole, "test") == list(range(20, 26))
    assert whole.class_names == ["no", "yes"]
    fifth = read_labelled(settings(str(tmp_path / "many"), test_split="", **found), tokenizer)
    assert len(of(fifth, "test")) == 4
    apart = read_labelled(settings(str(tmp_path / "many"), test_source=str(tmp_path / "one"), **found), tokenizer)
    assert (apart.inputs == whole.inputs).all()
    with pytest.raises(WinnowError, match=r"no split final to test on in .*/many, which has train, test; set data"):
        read_labelled(settings(str(tmp_path / "many"), test_split="final", **found), tokenizer)


def test_texts(tmp_path: Path) -> None:
    """Tokens as the tokenizer writes them, cut, padded on the right, and blank rows left out and counted."""
    rows = texts([0, 1] * 10)
    rows[4]["text"], rows[7]["text"] = " \n", None
    rows[5]["text"] = "a line that is </s> far longer than the others " * 3
    tokenizer = make_tokenizer(adds_begin=True)
    found = {"task": "text", "max_length": 30}
    labelled = read_labelled(settings(write(tmp_path / "a.parquet", rows), **found), tokenizer)
    assert labelled.row.tolist() == [row for row in range(20) if row not in (4, 7)]
    assert labelled.dropped == {"no text": 2}
    assert "2 rows without text left out" in labelled.origin
    assert labelled.texts is not None
    assert labelled.mask is not None
    assert labelled.inputs.dtype == labelled.mask.dtype == np.int64
    assert labelled.inputs.shape == labelled.mask.shape == (18, 30)
    for text, ids, mask, length in zip(labelled.texts, labelled.inputs, labelled.mask, labelled.lengths, strict=True):
        expected = [0, *tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]][:30]
        assert ids[mask == 1].tolist() == expected
        assert mask.tolist() == [1] * length + [0] * (30 - length)
    assert labelled.row[labelled.truncated].tolist() == [5]
    assert tokenizer.eos_token_id not in labelled.inputs[labelled.truncated]


def test_conversations_with_labels(tmp_path: Path) -> None:
    """What a classifier reads of a conversation is what was said, not the source text of its list."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = [{"text": turns, "label": label} for label in [0, 1] * 10]
    found = read_labelled(settings(write(tmp_path / "a.parquet", rows), task="text"), make_tokenizer())
    assert found.texts is not None
    assert found.texts[0] == "User: Hi\nAssistant: Hello"


def test_decimals_of_a_database(tmp_path: Path) -> None:
    """Exact numbers, as databases write them into Parquet, are numbers."""
    rows = [{"x": Decimal(i % 7) / 4, "target": Decimal(i) / 2} for i in range(10)]
    found = read_labelled(settings(write(tmp_path / "a.parquet", rows), task="numbers"))
    assert found.inputs[:3, 0].tolist() == [0, 0.25, 0.5]
    assert found.labels[:3].tolist() == [0, 0.5, 1]


def test_training_texts_are_those_of_training(tmp_path: Path) -> None:
    """An encoder is trained on them: none that is held out for testing or validation, in order, blank rows left out."""
    rows = texts([0, 1] * 20)
    rows[4]["text"] = " "
    tests = texts([0, 1] * 5, start=100)
    own = {"test_source": write(tmp_path / "test.parquet", tests)}
    for more in ({}, {"valid_fraction": 0.3, "split_seed": 3}, own):
        read = settings(write(tmp_path / "a.parquet", rows), task="text", **more)
        labelled = read_labelled(read, make_tokenizer())
        assert labelled.texts is not None
        train = [text for text, split in zip(labelled.texts, labelled.split, strict=True) if split == "train"]
        assert training_texts(read) == train
        assert 0 < len(train) < len(labelled.texts)
    with pytest.raises(WinnowError, match="too few"):
        training_texts(settings(write(tmp_path / "b.parquet", texts([0, 1])), task="text"))


def test_texts_need_amake_tokenizer() -> None:
    """Whoever reads texts says for whom."""
    with pytest.raises(ValueError, match="tokenizer"):
        read_labelled(settings("a.parquet", task="text"))


def test_digits() -> None:
    """scikit-learn's digits, grey, spread over the whole range, with a fifth of each class kept for testing."""
    from sklearn.datasets import load_digits

    labelled = read_labelled(settings("digits"))
    data = load_digits()
    assert labelled.inputs.shape == (1797, 1, 8, 8)
    assert np.abs(labelled.inputs[:, 0] - data.images * 255 / 16).max() <= 0.5
    assert labelled.labels.tolist() == data.target.tolist()
    assert labelled.class_names == list("0123456789")
    share = np.bincount(labelled.labels[labelled.split == "test"]) / np.bincount(labelled.labels)
    assert np.abs(share - 0.2).max() < 0.006
    assert len(read_labelled(settings("digits", limit=100))) == 100


def test_diabetes() -> None:
    """Numbers are given as they are, and written as text."""
    from sklearn.datasets import load_diabetes

    labelled = read_labelled(settings("diabetes", task="numbers"))
    data = load_diabetes()
    assert np.array_equal(labelled.inputs, data.data.astype(np.float32))
    assert np.array_equal(labelled.labels, data.target.astype(np.float32))
    assert labelled.inputs.dtype == labelled.labels.dtype == np.float32
    assert labelled.class_names == []
    assert labelled.features == data.feature_names
    columns = labelled.sample_columns()
    assert columns["instruction"][0].startswith("age = 0.0380759, sex = 0.0506801, bmi = 0.0616962, bp = ")
    assert columns["response"][0] == columns["label"][0] == "151"


def test_numbers_of_a_csv_file(tmp_path: Path) -> None:
    """Numbers written as text are numbers; other columns stay with the sample as words, and why is said."""
    lines = ["id,sort,size,target", *(f"{i},sort {i % 2},{i / 4},{i * i}" for i in range(12))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    labelled = read_labelled(settings(str(tmp_path / "a.csv"), task="numbers"))
    assert labelled.features == ["size"]
    assert labelled.inputs[3].tolist() == [0.75]
    assert labelled.labels[3] == 9
    assert labelled.fields[3] == {"id": "3", "sort": "sort 1"}
    assert labelled.used == ["size", "target"]
    assert labelled.unused == [{"column": "id", "why": "only numbers the rows"}, {"column": "sort", "why": "text"}]
    assert labelled.origin.endswith("; columns not used: id (only numbers the rows), sort (text).")


def regression(path: Path, columns: dict[str, list[Any]], **changes: Any) -> Labelled:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return read_labelled(settings(write(path, rows), task="numbers", label="target", **changes))


TEN = [3, 1, 4, 15, 9, 2, 6, 5, 35, 8]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Unnamed: 0", [5, 5, 1, 1, 2, 2, 3, 3, 4, 4]),  # an index that was written twice, of frames put together
        ("column 1", list(range(10))),
        ("ID", TEN),
        ("row_number", TEN),
        ("index", [f"{value}" for value in TEN]),
        ("sample id", [float(value) for value in TEN]),
        ("x", list(range(7, 17))),
        ("x", list(range(10, 0, -1))),
        ("x", [f"{value}" for value in range(100, 200, 10)]),
    ],
)
def test_columns_that_number_the_rows_are_no_features(name: str, values: list[Any], tmp_path: Path) -> None:
    """Rows that are sorted by their target would let a network read the answer off the row number."""
    columns = {name: values, "size": [value / 2 for value in TEN], "target": [i / 2 for i in range(10)]}
    found = regression(tmp_path / "a.jsonl", columns)
    assert found.features == ["size"]
    assert found.unused == [{"column": name, "why": "only numbers the rows"}]
    named = regression(tmp_path / "a.jsonl", columns, features=[name])
    assert named.features == [name]
    assert named.inputs[:, 0].tolist() == [float(value) for value in values]
    assert named.unused == [{"column": "size", "why": "not among data.features"}]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("year", [2001, 2001, 2002, 2002, 2003, 2003, 2004, 2004, 2005, 2005]),
        ("x", [i / 2 for i in range(10)]),  # a grid of measurements
        ("x", [float(i) for i in range(10)]),
        ("x", [*range(9), 10]),
        ("id", [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        ("index", [101.5, 99.0, 98.5, 103.0, 100.0, 97.5, 101.0, 104.0, 96.0, 95.5]),
        ("x", [4] * 10),
    ],
)
def test_columns_that_only_look_like_numbering(name: str, values: list[Any], tmp_path: Path) -> None:
    """What repeats, is measured or leaves one out tells more than the place of its row."""
    found = regression(tmp_path / "a.jsonl", {name: values, "target": [i / 2 for i in range(10)]})
    assert found.features == [name]
    assert found.unused == []


def test_numbering_that_begins_again_in_each_file(tmp_path: Path) -> None:
    """Each file of a pattern, and a test set, has its own first row."""
    for part in "abt":
        write(tmp_path / f"{part}.jsonl", [{"n": i, "size": i % 3, "target": i / 2} for i in range(10)])
    found = settings(str(tmp_path / "[ab].jsonl"), task="numbers", test_source=str(tmp_path / "t.jsonl"))
    assert read_labelled(found).features == ["size"]


@pytest.mark.parametrize(
    ("written", "values"),
    [
        (["0,5", "1", "-2,25"], [0.5, 1, -2.25]),
        (["1.234,5", "2.345", "12"], [1234.5, 2345, 12]),
        (["1\u00a0234,5", "2\u00a0000", "7"], [1234.5, 2000, 7]),
        (["1,5E+03", "2,5e-1", "1"], [1500, 0.25, 1]),
        (["1,234.5", "2,345", "0.5"], [1234.5, 2345, 0.5]),
        (["1,234,567", "2,345", "1"], [1234567, 2345, 1]),
        (["0,123", "2,345", "1"], [0.123, 2.345, 1]),
        (["1.234", "2.345", "1"], [1.234, 2.345, 1]),
    ],
)
@pytest.mark.parametrize("column", ["x", "target"])
def test_numbers_as_people_write_them(written: list[str], values: list[float], column: str, tmp_path: Path) -> None:
    """Decimal commas and marks between thousands are read if the whole column is written so."""
    columns: dict[str, list[Any]] = {"x": [3, 1, 2] * 3, "target": [1, 2, 5] * 3} | {column: written * 3}
    found = regression(tmp_path / "a.jsonl", columns)
    read = found.inputs[:, 0] if column == "x" else found.labels
    assert read.tolist() == [pytest.approx(value) for value in values * 3]


def test_another_column_tells_how_a_file_writes_numbers(tmp_path: Path) -> None:
    """1,234 and 1.234 have two readings; a column of the same file with one reading settles both."""
    for mark, comma, point in (("0,5", 1.234, 1234.0), ("0.5", 1234.0, 1.234)):
        columns: dict[str, list[Any]] = {
            "a": ["1,234"] * 9,
            "b": ["1.234"] * 9,
            "c": [mark] * 9,
            "target": [1, 2, 5] * 3,
        }
        found = regression(tmp_path / "a.jsonl", columns)
        assert found.inputs[0].tolist() == [pytest.approx(comma), pytest.approx(point), 0.5]


def test_texts_with_commas_are_texts(tmp_path: Path) -> None:
    """A list of numbers, or a comma that some rows have and others have not, makes no number of a text."""
    columns: dict[str, list[Any]] = {
        "list": ["1,2,3"] * 9, "sometimes": ["1,5", "about 2", "3,5"] * 3, "none": [None] * 9, "x": [3, 1, 2] * 3,
        "target": [1, 2, 5] * 3,
    }  # fmt: skip
    found = regression(tmp_path / "a.jsonl", columns)
    assert found.features == ["x"]
    assert {each["column"]: each["why"] for each in found.unused} == {
        "list": "text",
        "sometimes": "text",
        "none": "empty",
    }


def test_columns_are_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is read and what is not stands in the log of the run, whatever the samples are."""
    caplog.set_level("INFO", logger="engine.data")
    rows = [row | {"id": i} for i, row in enumerate(texts([1, 5] * 10))]
    labelled = read_labelled(settings(write(tmp_path / "a.jsonl", rows), task="text"), make_tokenizer())
    assert labelled.unused == [{"column": "id", "why": "models read the text alone"}]
    assert "columns used: text, label; not used: id (models read the text alone)" in caplog.messages
    assert "column label has 2 classes: 1, 5" in caplog.messages


@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        (["b", "a", "c"] * 5, [1, 0, 2] * 5, ["a", "b", "c"]),
        ([1.0, 0.0] * 5, [1, 0] * 5, ["0", "1"]),
        ([True, False] * 5, [1, 0] * 5, ["false", "true"]),
        (["1", "0", "2"] * 5, [1, 0, 2] * 5, ["0", "1", "2"]),
        (["1", "none"] * 5, [0, 1] * 5, ["1", "none"]),
        ([1, 5] * 5, [0, 1] * 5, ["1", "5"]),
        ([10, 9, 100] * 5, [1, 0, 2] * 5, ["9", "10", "100"]),
        ([0, 1, 3] * 5, [0, 1, 2] * 5, ["0", "1", "3"]),
        ([-1, 1] * 5, [0, 1] * 5, ["-1", "1"]),
        (["+1", "-1"] * 5, [1, 0] * 5, ["-1", "1"]),
        ([1.0, 2.0, 4.0] * 5, [0, 1, 2] * 5, ["1", "2", "4"]),
        (["1.0", "2.0", "1"] * 5, [0, 1, 0] * 5, ["1", "2"]),
        (["042", "007", "100"] * 5, [1, 0, 2] * 5, ["007", "042", "100"]),
        (["9007199254740993", "9007199254740992"] * 5, [1, 0] * 5, ["9007199254740992", "9007199254740993"]),
        ([Decimal("4.0"), Decimal("2.0")] * 5, [1, 0] * 5, ["2", "4"]),
        (["pos", " pos", "neg "] * 5, [1, 1, 0] * 5, ["neg", "pos"]),
        (["00", "0", "7"] * 5, [1, 0, 2] * 5, ["0", "00", "7"]),
        ([str(10 * i) for i in range(30)] * 12, list(range(30)) * 12, [str(10 * i) for i in range(30)]),
    ],
)
def test_kinds_of_labels(values: list[Any], labels: list[int], names: list[str], tmp_path: Path) -> None:
    """Names are numbered in alphabetical order, whole numbers, wherever they begin, by their value; codes are names.
    Space around a label is no part of it."""
    labelled = read_labelled(settings(write(tmp_path / "a.parquet", images(values))))
    assert labelled.labels.tolist() == labels
    assert labelled.class_names == names


def test_columns_are_found_or_named(tmp_path: Path) -> None:
    """The first usual name wins, a name that is given wins over all, and what is left over becomes a field."""
    rows = [
        {"Img": row["image"], "coarse_label": row["label"] // 2, "fine_label": row["label"], "note": f"n{i}"}
        for i, row in enumerate(images(LABELS))
    ]
    source = write(tmp_path / "a.parquet", rows)
    assert read_labelled(settings(source)).labels.tolist() == LABELS
    labelled = read_labelled(settings(source, label="coarse_label", input="Img"))
    assert labelled.labels.tolist() == [label // 2 for label in LABELS]
    assert labelled.fields[2] == {"fine_label": "2", "note": "n2"}


def test_one_id_for_one_content(tmp_path: Path) -> None:
    """The id of a set changes with whatever changes its samples, and with nothing else."""
    source, other = (write(tmp_path / f"{name}.parquet", images(LABELS)) for name in "ab")
    changed = images(LABELS)
    changed[3]["image"]["bytes"] = picture(99)
    ids = {"": read_labelled(settings(source)).dataset}
    assert read_labelled(settings(source)).dataset == ids[""]
    for change in ({"limit": 29}, {"valid_fraction": 0.2}, {"split_seed": 1}, {"size": 5}, {"test_limit": 3}):
        ids[str(change)] = read_labelled(settings(source, **change)).dataset
    ids["source"] = read_labelled(settings(other)).dataset
    ids["pixels"] = read_labelled(settings(write(Path(source), changed))).dataset
    ids["label"] = read_labelled(settings(write(Path(source), images([*LABELS[:-1], 0])))).dataset
    ids["names"] = read_labelled(settings(write(Path(source), images(LABELS), ["a", "b", "c"]))).dataset
    source = write(tmp_path / "t.parquet", texts(LABELS))
    for name, tokenizer in (("t", make_tokenizer()), ("tokenizer", make_tokenizer(vocab_size=300))):
        ids[name] = read_labelled(settings(source, task="text"), tokenizer).dataset
    ids["length"] = read_labelled(settings(source, task="text", max_length=9), make_tokenizer()).dataset
    assert len(set(ids.values())) == len(ids)


def test_the_samples_table(tmp_path: Path, workspace: Workspace) -> None:
    """Images and texts fit the table, and can be looked at there."""
    rows = [row | {"file": f"{i}.png"} for i, row in enumerate(images(["cat", "dog"] * 10))]
    labelled = read_labelled(settings(write(tmp_path / "a.parquet", rows)))
    written = _written(workspace, labelled)
    assert [pixels_of(png).tolist() for png in written["image"]] == labelled.inputs.tolist()
    assert written["label"] == ["cat", "dog"] * 10
    assert written["instruction"] == written["response"] == [""] * 20
    assert written["fields"][3] == [("file", "3.png")]
    assert len(set(written["content_id"])) == 20
    assert written["split"] == labelled.split.tolist()

    rows = texts(["cat", "dog"] * 10)
    rows[5]["text"] = rows[0]["text"]
    labelled = read_labelled(settings(write(tmp_path / "t.parquet", rows), task="text"), make_tokenizer())
    written = _written(workspace, labelled)
    assert written["instruction"] == [row["text"] for row in rows]
    assert written["response"] == written["label"] == ["cat", "dog"] * 10
    assert written["image"] == [None] * 20
    assert written["length"] == labelled.lengths.tolist()
    assert written["content_id"][0] == written["content_id"][5] == content_id(rows[0]["text"], "", "")


def _written(workspace: Workspace, labelled: Labelled) -> dict[str, list[Any]]:
    write_part(workspace, "r1", "samples", labelled.task, labelled.sample_columns())
    return pq.read_table(part_path(workspace, "r1", "samples", labelled.task), schema=SAMPLES).to_pydict()


def test_the_same_picture_has_one_id(tmp_path: Path) -> None:
    """The content id is that of the pixels: neither label, format nor position changes it."""
    rows = images([0, 1] * 5)
    rows[5]["image"] = {"bytes": picture(0, kind="BMP"), "path": "elsewhere.bmp"}
    columns = read_labelled(settings(write(tmp_path / "a.parquet", rows))).sample_columns()
    assert columns["content_id"][5] == columns["content_id"][0] != columns["content_id"][1]


def test_cifar10(real_data: Path) -> None:
    """Real images arrive with their classes, and training and test files do not mix."""
    test = real_data / "cifar10_test.parquet"
    if not test.is_file():
        pytest.skip(f"there is no {test}")
    labelled = read_labelled(settings(str(test), limit=200))
    assert labelled.inputs.shape == (200, 3, 32, 32)
    assert labelled.class_names[:3] == ["airplane", "automobile", "bird"]
    rows = pq.ParquetFile(test).read_row_group(0).slice(0, 200).to_pylist()
    assert labelled.labels.tolist() == [row["label"] for row in rows]
    assert (labelled.inputs[7] == pixels_of(rows[7]["image"]["bytes"])).all()
    apart = read_labelled(
        settings(str(real_data / "cifar10_train-*.parquet"), test_source=str(test), limit=300, test_limit=50)
    )
    assert of(apart, "test") == list(range(300, 350))
    assert (apart.inputs[300:] == labelled.inputs[:50]).all()


def test_sst2(real_data: Path) -> None:
    """Real sentences arrive with their classes."""
    train, test = (real_data / f"sst2_{name}.parquet" for name in ("train", "test"))
    if not train.is_file() or not test.is_file():
        pytest.skip(f"there is no {train} or no {test}")
    found = settings(str(train), task="text", test_source=str(test), limit=300, test_limit=100)
    labelled = read_labelled(found, make_tokenizer())
    assert labelled.class_names == ["negative", "positive"]
    assert len(labelled) == 400
    assert of(labelled, "test") == list(range(300, 400))
    assert labelled.texts is not None
    assert labelled.texts[300:] == pq.read_table(test)["text"].to_pylist()[:100]
    sorted_by_class = real_data / "imdb_train.parquet"
    if sorted_by_class.is_file():
        with pytest.raises(WinnowError, match=r"has the label negative, and two classes are needed; if the rows are"):
            read_labelled(settings(str(sorted_by_class), task="text", limit=200), make_tokenizer())


def test_sets_keep_their_hash() -> None:
    """Cached teachers, scores and finished cells of earlier workspaces belong to the hash of their data."""
    known = {
        "digits": "d2c7877b0bb9dd20",
        "diabetes": "3d3d8d66204031eb",
    }
    found = {
        "digits": read_labelled(settings("digits", limit=100)).dataset,
        "diabetes": read_labelled(settings("diabetes", task="numbers")).dataset,
    }
    assert found == known
