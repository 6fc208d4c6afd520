"""Finding which column holds what."""

from __future__ import annotations

import pytest

from engine.config.data import ColumnMap
from engine.data.columns import ColumnError, find_columns

NAME = "the CSV file x.csv"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["instruction", "input", "output"], ("instruction", "input", "output")),
        (["Prompt", "Completion"], ("Prompt", "", "Completion")),
        (["context", "question", "answer", "id"], ("question", "context", "answer")),
        (["output", "response", "query"], ("query", "", "response")),
        (["input", "output"], ("input", "", "output")),
        (["context", "response"], ("context", "", "response")),
    ],
)
def test_usual_names(columns: list[str], expected: tuple[str, str, str]) -> None:
    """The sets people have are understood without a mapping."""
    found = find_columns(columns, ColumnMap(), NAME)
    assert (found.instruction, found.input, found.response) == expected


def test_a_mapping_wins_and_its_column_is_not_used_twice() -> None:
    """A column chosen by hand for one role is not found again for another."""
    found = find_columns(["question", "answer", "output"], ColumnMap(response="output", instruction="answer"), NAME)
    assert found == ColumnMap(instruction="answer", input="", response="output")
    assert find_columns(["input", "text"], ColumnMap(input="input", response="text"), NAME).input == "input"


def test_bare_text_needs_its_response_mapped_by_hand() -> None:
    """A misnamed instruction is an error, not a set without prompts."""
    assert find_columns(["text", "label"], ColumnMap(response="text"), NAME).instruction == ""
    with pytest.raises(ColumnError) as caught:
        find_columns(["instrction", "output"], ColumnMap(), NAME)
    assert str(caught.value) == (
        "No column of the CSV file x.csv looks like the instruction; name it with columns.instruction. "
        "It has the columns instrction, output."
    )


def test_missing_response() -> None:
    """The sentence names the columns there are, but not hundreds of them."""
    with pytest.raises(ColumnError) as caught:
        find_columns(["instruction", *(f"c{i}" for i in range(30))], ColumnMap(), NAME)
    assert "looks like the response; name it with columns.response. It has the columns instruction, c0," in str(
        caught.value
    )
    assert str(caught.value).endswith("c18 and 11 more.")


def test_misnamed_mapping() -> None:
    """A mapped column that is not there is named together with the closest one that is."""
    with pytest.raises(ColumnError) as caught:
        find_columns(["question", "reply"], ColumnMap(response="replay"), NAME)
    assert str(caught.value) == (
        "The response should be in column replay, which the CSV file x.csv lacks; did you mean reply? "
        "It has the columns question, reply."
    )
    with pytest.raises(ColumnError, match=r"set columns\.input to one it has"):
        find_columns(["question", "reply"], ColumnMap(input="zzz"), NAME)


def test_one_column_for_two_roles() -> None:
    """A prompt that holds its own answer is refused."""
    with pytest.raises(ColumnError, match="mapped to two roles"):
        find_columns(["question", "reply"], ColumnMap(instruction="reply", response="reply"), NAME)


def test_hostile_column_names_are_shown_without_effect() -> None:
    """A name cannot move the cursor or turn the direction of a sentence."""
    with pytest.raises(ColumnError) as caught:
        find_columns(["\x1b[2J", "\u202eabc"], ColumnMap(), NAME)
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)
