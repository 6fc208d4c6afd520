"""Labelled sets that cannot be used: one sentence each, naming file and row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.common.errors import WinnowError
from engine.data.labelled.samples import read_labelled
from tests.data.conftest import make_tokenizer
from tests.fixtures.labelled_files import images, picture, settings, texts, write

Rows = list[dict[str, Any]]


def sentence(source: str, **changes: Any) -> str:
    with pytest.raises(WinnowError) as caught:
        read_labelled(settings(source, **changes), make_tokenizer() if changes.get("task") == "text" else None)
    error = str(caught.value)
    assert error.endswith(".")
    assert "\n" not in error
    return error


def with_label(row: int, label: Any) -> Rows:
    rows = images([0, 1] * 5)
    rows[row]["label"] = label
    return rows


def with_image(row: int, image: Any) -> Rows:
    rows = images([0, 1] * 5)
    rows[row]["image"] = image
    return rows


def renamed(old: str, new: str) -> Rows:
    return [{new if key == old else key: value for key, value in row.items()} for row in images([0, 1] * 5)]


BAD_IMAGES: dict[str, tuple[Rows, str]] = {
    "no label column": (
        renamed("label", "lable"),
        "No column of the Parquet file {} looks like the label; name it with data.label. It has the columns image, "
        "lable.",
    ),
    "no image column": (
        renamed("image", "pixels"),
        "No column of the Parquet file {} looks like the image; name it with data.input. It has the columns pixels, "
        "label.",
    ),
    "two columns alike": (
        [row | {"Label": 1} for row in images([0, 1])],
        "Columns label and Label of the Parquet file {} could both be the label; choose one with data.label.",
    ),
    "missing label": (with_label(3, None), "Row 3 of the Parquet file {} has no label;"),
    "fraction": (
        [row | {"label": label} for row, label in zip(images([0] * 4), [0.0, 1.0, 1.5, 0.0], strict=True)],
        "Row 2 of the Parquet file {} has the label 1.5, which is neither a whole number nor the name of a class;",
    ),
    "fraction as text": (
        images(["0", "1", "1.5"]),
        "Row 2 of the Parquet file {} has the label 1.5, which is neither a whole number nor the name of a class;",
    ),
    "list": (
        [row | {"label": [1]} for row in images([0, 1])],
        "Row 0 of the Parquet file {} has the label [1], which is neither",
    ),
    "blank": (images(["a", "b", " "]), "Row 2 of the Parquet file {} has no label;"),
    "measurements": (
        images([10 * i for i in range(30)]),
        "Column label has 30 different numbers in 30 rows of the Parquet file {}, too many to be classes. If numbers "
        'are to be predicted from numbers, set data.task to "numbers";',
    ),
    "not public": (
        images([-1] * 6),
        "Every row read from the Parquet file {} has the label -1, and two classes are needed; if the rows are sorted "
        "by class, shuffle the file first or raise data.limit. Sets whose labels are not public have -1 everywhere:",
    ),
    "one class": (images([0] * 6), "Every row read from the Parquet file {} has the label 0, and two classes are"),
    "sizes": (
        with_image(4, picture(4, size=(8, 6))),
        "Row 4 of the Parquet file {} holds an image of 8 x 6 pixels where those before it have 6 x 6; set data.size",
    ),
    "grey among colours": (
        with_image(4, picture(4, "L")),
        "Row 4 of the Parquet file {} holds an image of mode L where those before it are RGB; convert all to one mode",
    ),
    "transparent among colours": (
        with_image(9, picture(9, "RGBA")),
        "Row 9 of the Parquet file {} holds an image of mode RGBA where those before it are RGB; convert all",
    ),
    "cut off": (
        with_image(2, picture(2, size=(40, 40))[:900]),
        "Row 2 of the Parquet file {} holds an image that cannot be decoded (",
    ),
    "no image at all": (with_image(2, b"hello"), "Row 2 of the Parquet file {} holds an image that is none of PNG,"),
    "null": (with_image(2, None), "Row 2 of the Parquet file {} holds no image where one should be; leave the row"),
    "text": (
        [row | {"image": "cat.png"} for row in images([0, 1])],
        "Row 0 of the Parquet file {} names the image cat.png, which cannot be read (there is no such file); mend the",
    ),
    "gone": (
        with_image(2, {"bytes": None, "path": "/nowhere/cat.png"}),
        "Row 2 of the Parquet file {} names the image /nowhere/cat.png, which cannot be read (",
    ),
    "too few": (
        images([0, 1]),
        "The 2 rows that can be used from the Parquet file {} are too few to leave any for val",
    ),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_images_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    """The sentence names the row that is wrong, whatever else is in the file."""
    rows, words = BAD_IMAGES[case]
    if case in ("sizes", "grey among colours", "transparent among colours", "cut off", "no image at all"):
        for row in rows:  # plain bytes, as some files have them
            row["image"] = row["image"] if isinstance(row["image"], bytes) else row["image"]["bytes"]
    path = tmp_path / "a.parquet"
    assert sentence(write(path, rows)).startswith(words.format(path))


def test_names_and_labels_that_do_not_fit(tmp_path: Path) -> None:
    """A class that is named and has no row is named; a label beyond the names is too."""
    path = tmp_path / "a.parquet"
    error = sentence(write(path, images([0, 1] * 5), ["ant", "bee", "cat"]))
    assert error.startswith(f"No row read from the Parquet file {path} has the label 2 (cat), which the set names;")
    error = sentence(write(path, images([0, 1, -1, 1]), ["ant", "bee"]))
    assert error.startswith(f"Row 2 of the Parquet file {path} has the label -1, but the set names 2 classes, 0 to 1;")
    assert "labels are not public write -1: choose another split." in error
    error = sentence(write(path, images([0, 1, 2, 1]), ["ant", "bee"]))
    assert error.startswith(f"Row 2 of the Parquet file {path} has the label 2, but the set names 2 classes, 0 to 1;")


def test_mixed_kinds_of_labels(tmp_path: Path) -> None:
    """Numbers and names in one column are named by their rows."""
    path = tmp_path / "a.jsonl"
    found = {"task": "text"}
    error = sentence(write(path, texts([0, 1, "one", 0])), **found)
    assert error.startswith(
        f"Row 2 of the JSON file {path} has the label one, and row 0 of the JSON file {path} has 0;"
    )


def test_columns_that_are_named_wrongly(tmp_path: Path) -> None:
    """A column that is not there is not guessed, one column is not two things, and numbers need no input column."""
    source = write(tmp_path / "a.parquet", texts([0, 1] * 5))
    found = {"task": "text"}
    error = sentence(source, label="labels", **found)
    assert error.startswith("The label should be in column labels, which the Parquet file ")
    assert error.endswith(" lacks; did you mean label? It has the columns text, label.")
    assert "set data.input to one it has" in sentence(source, input="xyz", **found)
    assert "Column label of the Parquet file " in sentence(source, input="label", **found)
    assert sentence(source, task="numbers", input="text").startswith("data.input names one column, and numbers are")
    error = sentence(source, task="numbers")
    assert error.endswith("other than label holds numbers to learn from. It has the columns text, label.")


def test_the_test_set_belongs_to_the_training_set(tmp_path: Path) -> None:
    """Unknown classes, other class names, missing columns, other sizes and the very same rows are all refused."""
    train = write(tmp_path / "train.parquet", images(["ant", "bee"] * 5))
    test = tmp_path / "test.parquet"
    error = sentence(train, test_source=write(test, images(["ant", "cow"])))
    assert error.startswith(f"Row 1 of the Parquet file {test} has the label cow, which no training row")
    error = sentence(train, test_source=write(test, [{"image": picture(1), "class": "ant"}]))
    assert f"but the Parquet file {test} lacks it; it has the columns image, class." in error
    error = sentence(train, test_source=write(test, [{"image": {"bytes": picture(1, size=(9, 9))}, "label": "ant"}]))
    assert error.startswith(
        f"Row 0 of the Parquet file {test} holds an image of 9 x 9 pixels where those before it have"
    )
    assert sentence(train, test_source=train).startswith("Training and testing would use the same rows of ")
    train = write(tmp_path / "train.parquet", images([0, 1] * 5), ["ant", "bee"])
    error = sentence(train, test_source=write(test, images([0, 1]), ["bee", "ant"]))
    assert error.startswith(f"The classes of the Parquet file {test} are not those of the Parquet file {train}, or not")
    error = sentence(train, test_source=write(test, images([0, 1, 2])))
    assert error.startswith(f"Row 2 of the Parquet file {test} has the label 2, but the set names 2 classes, 0 to 1;")
    train = write(tmp_path / "train.parquet", images([0, 1] * 5))
    error = sentence(train, test_source=write(test, images([0, 1, 2])))
    assert error.startswith(f"Row 2 of the Parquet file {test} has the label 2, which no training row")
    error = sentence(train, test_source=write(test, images([-1, -1])))
    assert error.startswith(f"Row 0 of the Parquet file {test} has the label -1, which no training row")
    assert error.endswith("Sets whose labels are not public write -1: choose another split.")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "has no number in column x,"),
        (None, "has no number in column x,"),
        (float("inf"), "has inf in column x,"),
    ],
)
@pytest.mark.parametrize("column", ["x", "target"])
def test_numbers_that_are_none(value: Any, words: str, column: str, tmp_path: Path) -> None:
    """A feature or a target without a finite value is named by row and column."""
    rows = [{"x": float(i), "target": i / 2} for i in range(10)]
    rows[6][column] = value
    path = tmp_path / "a.parquet"
    error = sentence(write(path, rows), task="numbers")
    assert error.startswith(f"Row 6 of the Parquet file {path} {words.replace(' x,', f' {column},')}")


def test_a_word_among_numbers(tmp_path: Path) -> None:
    """A column of a CSV file that is numbers in some rows only is not left out in silence."""
    (tmp_path / "a.csv").write_text("x,target\n1,2\n,3\nlots,4\n")
    assert "Row 1 of the CSV file " in (error := sentence(str(tmp_path / "a.csv"), task="numbers"))
    assert "has no number in column x, where every row needs one;" in error
    (tmp_path / "a.csv").write_text("x,target\n1,2\nlots,4\n")
    assert "has lots in column x" in sentence(str(tmp_path / "a.csv"), task="numbers")


@pytest.mark.parametrize("column", ["x", "target"])
def test_numbers_of_two_styles(column: str, tmp_path: Path) -> None:
    """A decimal comma beside a decimal point in one column is never guessed at: both rows are named."""
    rows = [{"x": f"{i},5", "target": f"{i},25"} for i in range(10)]
    rows[4][column] = "0.5"
    path = tmp_path / "a.jsonl"
    assert sentence(write(path, rows), task="numbers").startswith(
        f"Row 4 of the JSON file {path} has 0.5 in column {column}, and row 0 of the JSON file {path} has "
        f"{'0,5' if column == 'x' else '0,25'}: decimal commas and decimal points in one column;"
    )


def test_a_comma_of_two_readings(tmp_path: Path) -> None:
    """1,234 is a little more than one or more than a thousand; if nothing in the file tells, nobody guesses."""
    rows = [{"x": i, "target": f"{i + 1},234"} for i in (3, 1, 2)]
    path = tmp_path / "a.jsonl"
    assert sentence(write(path, rows), task="numbers").startswith(
        f"Row 0 of the JSON file {path} has 4,234 in column target, whose comma may be that of decimals or of thousands"
    )


def test_features_that_are_named_wrongly(tmp_path: Path) -> None:
    """A feature that is not there, is the label, is no number, or is asked of texts is a sentence of its own."""
    source = write(tmp_path / "a.parquet", [{"x": i * i, "y": "word", "target": i / 2} for i in range(12)])
    found = {"task": "numbers"}
    error = sentence(source, features=["z"], **found)
    assert error.startswith("The feature should be in column z, which the Parquet file ")
    assert "set data.features to one it has" in error
    assert sentence(source, features=["x", "target"], **found).startswith("Column target is the label, and cannot be")
    assert "has word in column y, where every row needs one;" in sentence(source, features=["y"], **found)
    assert sentence(source, task="text", features=["x"]).startswith("data.features names columns of numbers, and")
    source = write(tmp_path / "b.parquet", [{"id": i, "target": i / 2} for i in range(12)])
    error = sentence(source, **found)
    assert error.endswith("Column id only numbers the rows; if not, name it in data.features.")


def test_objects_are_no_texts(tmp_path: Path) -> None:
    """A list of objects other than turns is refused instead of being read as its source text."""
    rows = [row | {"text": [{"type": "image"}]} for row in texts([0, 1] * 5)]
    path = tmp_path / "a.jsonl"
    assert sentence(write(path, rows), task="text").startswith(
        f"Row 0 of the JSON file {path} has objects in column text that are no turns of a conversation"
    )


def test_texts_that_are_all_blank(tmp_path: Path) -> None:
    """If nothing is left after dropping, the sentence names the source."""
    rows = [row | {"text": "  "} for row in texts([0, 1] * 5)]
    path = tmp_path / "a.parquet"
    assert sentence(write(path, rows), task="text").startswith(f"No row of the Parquet file {path} can be used;")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (lambda folder: str(folder / "none-*.parquet"), "No file matches the pattern "),
        (lambda folder: str(folder / "**.parquet"), "The pattern "),
        (lambda folder: str(folder / "none.parquet"), "There is no file "),
        (lambda _: "x" * 5000 + "*", "No file matches the pattern "),
        (lambda folder: f"{folder}/{'x' * 5000}/*", "The pattern "),
        (lambda _: "~nobody-of-that-name/*", "The pattern "),
        (lambda folder: write(folder / "empty.jsonl", []), "There are no rows in "),
    ],
)
def test_nothing_to_read(source: Callable[[Path], str], words: str, tmp_path: Path) -> None:
    """A pattern without a match, a missing file and an empty one."""
    assert sentence(source(tmp_path)).startswith(words)


def test_splits_of_what_has_none(tmp_path: Path) -> None:
    """Neither a set that comes with scikit-learn nor a pattern has splits."""
    assert "has no splits" in sentence("digits", split="test")
    assert sentence("digits", config="small").startswith("data.config chooses one of several sets of a Hub dataset,")
    write(tmp_path / "a.parquet", images([0, 1] * 5))
    assert "has no splits" in sentence(str(tmp_path / "*.parquet"), split="test")
