"""What separates the values of a CSV file, and values that stay as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.common.errors import WinnowError
from engine.data.csv_files import HEAD_LINES, read_csv

ROWS = [
    {"instruction": 'Say "a; b, c | d"', "output": "1,5"},
    {"instruction": "two\nlines\tand a tab", "output": "-0,25"},
    {"instruction": "", "output": "007"},
]


def written(separator: str, rows: list[dict[str, str]] = ROWS) -> str:
    quoted = [
        ['"' + value.replace('"', '""') + '"' for value in values] for values in [rows[0], *map(dict.values, rows)]
    ]
    return "".join(separator.join(values) + "\r\n" for values in quoted)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(separator: str, tmp_path: Path) -> None:
    """Separators inside quotes do not count, and decimal commas stay text."""
    path = tmp_path / "a.csv"
    path.write_text(written(separator), newline="")
    assert read_csv(path, 0, None).rows == ROWS
    path.write_text("\ufeff" + f"sep={separator}\n" + written(separator), newline="")
    assert read_csv(path, 1, 1).rows == ROWS[1:2]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a;b\n1,5;2,5\n", [{"a": "1,5", "b": "2,5"}]),  # a comma in every value, none in the names
        ("name;size, cm\nx;1\ny;2\n", [{"name": "x", "size, cm": "1"}, {"name": "y", "size, cm": "2"}]),
        ("text\nhello\n", [{"text": "hello"}]),
        ("a,b\nx; y,z\n", [{"a": "x; y", "b": "z"}]),
        ("a,b|c\n1,2\n", [{"a": "1", "b|c": "2"}]),
    ],
)
def test_the_first_line_and_the_rows_tell(content: str, rows: list[dict[str, str]], tmp_path: Path) -> None:
    """What occurs in the first line alone, or in the rows alone, does not separate."""
    (tmp_path / "a.csv").write_text(content)
    assert read_csv(tmp_path / "a.csv", 0, None).rows == rows


def test_nobody_guesses_between_two_separators(tmp_path: Path) -> None:
    """If two would cut every row alike, the file is refused."""
    (tmp_path / "a.csv").write_text("a;b,c\n1;2,3\n")
    with pytest.raises(WinnowError, match=r"a\.csv: commas or semicolons could separate the values, for each gives"):
        read_csv(tmp_path / "a.csv", 0, None)


def test_lines_are_counted_from_the_first_of_the_file(tmp_path: Path) -> None:
    """A ragged row is named in the words of its separator, also behind a line that names it and behind the head."""
    path = tmp_path / "a.csv"
    path.write_text("sep=;\na;b\n1;2\n1;2;3\n")
    with pytest.raises(WinnowError, match=r"line 4: 3 values, but the first line names 2 columns, separated by semico"):
        read_csv(path, 0, None)
    path.write_text("a|b\n" + "1|2\n" * HEAD_LINES + '1|"open\n2|3\n')
    with pytest.raises(WinnowError, match=rf"line {HEAD_LINES + 3:,}: this is not valid CSV"):
        read_csv(path, 0, None)


def test_a_value_longer_than_the_head(tmp_path: Path) -> None:
    """A text of many lines at the beginning does not hide what separates."""
    text = "line\n" * 2 * HEAD_LINES
    (tmp_path / "a.csv").write_text(f'a;b\n"{text}";"x,y"\n')
    assert read_csv(tmp_path / "a.csv", 0, None).rows == [{"a": text, "b": "x,y"}]


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("header", ["a{}b\n", '"a"{}"b"\n\n'])
def test_quotes_that_are_not_doubled(header: str, separator: str, tmp_path: Path) -> None:
    """If every value is quoted, a quote in the middle of one is a character of it."""
    rows = [
        {"a": 'the same as "to apologize"', "b": ""},
        {"a": 'a "b" c', "b": 'two lines\n\nof "text"'},
        {"a": '"x", "y"; z', "b": "1,5"},
    ]
    text = header.format(separator) + "".join(f'"{row["a"]}"{separator}"{row["b"]}"\n\n' for row in rows)
    (tmp_path / "a.csv").write_text(text)
    assert read_csv(tmp_path / "a.csv", 0, None).rows == rows
    assert read_csv(tmp_path / "a.csv", 1, 1).rows == rows[1:2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('a,b\n"x "y" z","he said ""hi"""\n', "line 2: this is not valid CSV"),  # one doubled, one not
        ('a,b\n"x \\"y\\" z","w"\n', "line 2: this is not valid CSV"),  # escaped
        ('a,b\n"x "y" z",w\n', "line 2: this is not valid CSV"),  # one value is not quoted
        ('a,b\n"x","y"\nz"\n"Bye" he said"\n"y","z"\n', "line 3: "),  # where does the record end?
        ('a,b\n"x","y","z"\n', "line 2: 3 values"),
        ('a,b\n"x","y "z" x"\n"open', "line 2: this is not valid CSV"),
    ],
)
def test_quotes_that_could_mean_two_things(content: str, words: str, tmp_path: Path) -> None:
    """What could be read in another way is refused, and the sentence is that of the rules of CSV."""
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(WinnowError, match=words):
        read_csv(tmp_path / "a.csv", 0, None)
