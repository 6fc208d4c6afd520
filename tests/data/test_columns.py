"""Finding which column holds what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.config.data import ColumnMap
from engine.data.columns import ColumnError, find_columns
from engine.data.records import Records

NAME = "the CSV file x.csv"


def found_in(columns: list[str], mapping: ColumnMap, rows: list[dict[str, Any]] | None = None) -> ColumnMap:
    return find_columns(Records(NAME, columns, rows or [], 0, None), mapping)


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
    found = found_in(columns, ColumnMap())
    assert (found.instruction, found.input, found.response) == expected


def test_a_mapping_wins_and_its_column_is_not_used_twice() -> None:
    """A column chosen by hand for one role is not found again for another."""
    found = found_in(["question", "answer", "output"], ColumnMap(response="output", instruction="answer"))
    assert found == ColumnMap(instruction="answer", input="", response="output")
    assert found_in(["input", "text"], ColumnMap(input="input", response="text")).input == "input"


def test_bare_text_needs_its_response_mapped_by_hand() -> None:
    """A misnamed instruction is an error, not a set without prompts."""
    assert found_in(["text", "label"], ColumnMap(response="text")).instruction == ""
    with pytest.raises(ColumnError) as caught:
        found_in(["instrction", "output"], ColumnMap())
    assert str(caught.value) == (
        "No column of the CSV file x.csv looks like the instruction; name it with columns.instruction. "
        "It has the columns instrction, output."
    )


def test_missing_response() -> None:
    """The sentence names the columns there are, but not hundreds of them."""
    with pytest.raises(ColumnError) as caught:
        found_in(["instruction", *(f"c{i}" for i in range(30))], ColumnMap())
    assert "looks like the response; name it with columns.response. It has the columns instruction, c0," in str(
        caught.value
    )
    assert str(caught.value).endswith("c18 and 11 more.")


def test_misnamed_mapping() -> None:
    """A mapped column that is not there is named together with the closest one that is."""
    with pytest.raises(ColumnError) as caught:
        found_in(["question", "reply"], ColumnMap(response="replay"))
    assert str(caught.value) == (
        "The response should be in column replay, which the CSV file x.csv lacks; did you mean reply? "
        "It has the columns question, reply."
    )
    with pytest.raises(ColumnError, match=r"set columns\.input to one it has"):
        found_in(["question", "reply"], ColumnMap(input="zzz"))


def test_one_column_for_two_roles() -> None:
    """A prompt that holds its own answer is refused."""
    with pytest.raises(ColumnError, match="mapped to two roles"):
        found_in(["question", "reply"], ColumnMap(instruction="reply", response="reply"))


def test_hostile_column_names_are_shown_without_effect() -> None:
    """A name cannot move the cursor or turn the direction of a sentence."""
    with pytest.raises(ColumnError) as caught:
        found_in(["\x1b[2J", "\u202eabc"], ColumnMap())
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


ASKED = [{"role": "user", "content": "Hi"}]
REPLIED = [{"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": ASKED + REPLIED, "prompt": "Hi"}, ("", "messages")),
        ({"talk": ASKED + REPLIED, "id": "7"}, ("", "talk")),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
            ("", "conversations"),
        ),
        ({"prompt": ASKED, "completion": REPLIED}, ("prompt", "completion")),
        ({"prompt": ASKED + REPLIED + ASKED, "completion": REPLIED}, ("prompt", "completion")),
        ({"prompt": "Hi", "completion": REPLIED}, ("prompt", "completion")),
        ({"chosen": ASKED + REPLIED, "rejected": ASKED + REPLIED}, ("", "chosen")),
        ({"messages": json.dumps(ASKED + REPLIED)}, ("", "messages")),
        ({"prompt": ASKED, "chosen": REPLIED, "rejected": REPLIED}, ("prompt", "chosen")),
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "No"}, ("prompt", "chosen")),
        ({"id": "7", "data": ["Hi", "Hello"]}, ("", "data")),
        ({"question": "Hi", "answer": "Hello", "data": ["Hi", "Hello"]}, ("question", "answer")),
    ],
)
def test_conversations_are_found_by_their_shape(row: dict[str, Any], expected: tuple[str, str]) -> None:
    """A column of whole conversations needs no name and no instruction; question and reply apart keep their roles."""
    found = found_in(list(row), ColumnMap(), [row])
    assert (found.instruction, found.response) == expected


def test_several_columns_of_conversations() -> None:
    """Which of two unnamed conversations is meant is asked, not guessed."""
    row = {"a": ASKED + REPLIED, "b": ASKED + REPLIED}
    with pytest.raises(ColumnError, match=r"Several columns .* choose one with columns\.response"):
        found_in(["a", "b"], ColumnMap(), [row])


def test_a_system_text_belongs_to_the_prompt() -> None:
    """Published sets call it system_prompt; it is found beside question and response."""
    assert found_in(["system_prompt", "question", "response"], ColumnMap()).system == "system_prompt"
