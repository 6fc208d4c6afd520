"""Conversations are recognised by their shape, and read up to the last reply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.common.errors import WinnowError
from engine.config.data import ColumnMap
from engine.data.records import Records
from engine.data.sources import NO_INSTRUCTION, NO_RESPONSE, UNREADABLE, Rows, to_rows
from engine.data.turns import UNKNOWN, Turn, answered, is_whole, turns_of

HI, HELLO = Turn("user", "Hi"), Turn("assistant", "Hello")


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
        [{"role": "User ", "content": "Hi"}, {"role": "model", "content": [{"type": "text", "text": "Hello"}]}],
        json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]),
        str([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]),
        "[{'author': 'user', 'text': 'Hi'}\n {'author': 'assistant', 'text': 'Hello'}]",
        [{"from": "human", "content": "Hi"}, {"from": "gpt", "content": "Hello"}],
        {"from": ["human", "gpt"], "value": ["Hi", "Hello"]},
        [{"user": "Hi"}, {"assistant": "Hello"}],
        [{"assistant": "Hello", "human": "Hi", "system": None}],
        {"user": "Hi", "assistant": "Hello"},
        {"id": 7, "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
        [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Hello"}]}],
    ],
)
def test_every_way_of_writing_a_conversation(value: Any) -> None:
    """Protects people whose set is in the form of OpenAI, of ShareGPT, in parts, by speaker, in lists as `datasets`
    writes them, or as the text of a list inside a CSV."""
    assert turns_of(value) == [HI, HELLO]


def test_a_gap_between_braces_inside_a_text_is_left_alone() -> None:
    """Commas are put between the objects of an array that pandas wrote, not into code that somebody said."""
    said = 'if (a) {b} {c} it\'s "d"'
    value = str([{"role": "user", "content": said}]).replace("]", " {'role': 'assistant', 'content': '} {'}]")
    assert turns_of(value) == [Turn("user", said), Turn("assistant", "} {")]


@pytest.mark.parametrize(
    "value",
    [
        None, "", "Hi", "[1, 2]", "[not JSON {", [], ["Hi", "Hello"], [{"role": "user"}], [{"content": "Hi"}],
        {"role": "user", "content": "Hi"}, [{"role": 1, "content": "Hi"}], 7, [{"user": "Hi"}], {}, [{}],
        {"text": ["Hi", "Hello"], "label": ["A", "B"]}, [{"user": "Hi", "assistant": 3}], "[{'role': }]",
        [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
    ],
)  # fmt: skip
def test_what_is_no_conversation(value: Any) -> None:
    """Text, lists of text and turns with pictures are not taken for conversations of text."""
    assert turns_of(value) is None


def test_calls_of_tools_are_kept_as_text() -> None:
    """A turn that only calls a tool has no content, and its call is what the assistant said."""
    call = {"type": "function", "function": {"name": "weather", "arguments": "{}"}}
    value = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "21"}]
    assert turns_of(value) == [Turn("assistant", json.dumps([call])), Turn("tool", "21")]
    part = {"type": "tool_use", "name": "weather", "input": {}}
    value = [{"role": "assistant", "content": [{"type": "text", "text": "I look."}, part]}]
    assert turns_of(value) == [Turn("assistant", f"I look.\n{json.dumps(part)}")]


def test_what_nobody_answers_is_left_out() -> None:
    """Turns after the last reply, and turns without text, are not read."""
    assert answered([HI, HELLO, Turn("user", "  "), Turn("user", "And?"), Turn("assistant", " ")]) == [HI, HELLO]
    assert answered([HI]) == []
    assert is_whole([HI, HELLO])
    assert not is_whole([HELLO])
    assert not is_whole([HI, HELLO, HI])


def rows_of(records: list[dict[str, Any]], **columns: str) -> Rows:
    names = list(dict.fromkeys(name for record in records for name in record))
    return to_rows(Records("a list", names, records, 0, len(records)), ColumnMap(**columns))


def test_a_question_and_a_reply_are_a_sample_like_any_other() -> None:
    """A conversation of one question is listed by question and reply; a longer one by all that came before."""
    system = {"role": "system", "content": "Be brief."}
    one = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = rows_of([{"m": [system, *one]}, {"m": [*one, *one]}], response="m").rows
    assert (rows[0]["system"], rows[0]["instruction"], rows[0]["response"]) == ("Be brief.", "Hi", "Hello")
    assert rows[1]["instruction"] == "User: Hi\nAssistant: Hello\nUser: Hi"
    assert rows[1]["turns"] == [HI, HELLO, HI, HELLO]


def test_prompt_and_completion_as_lists_and_a_system_column() -> None:
    """What TRL writes as two lists is one conversation, with the system text of a column before it."""
    record = {
        "p": [{"role": "user", "content": "Hi"}],
        "c": [{"role": "assistant", "content": "Hello"}],
        "s": "Be kind.",
    }
    [row] = rows_of([record], instruction="p", response="c", system="s").rows
    assert row["turns"] == [Turn("system", "Be kind."), HI, HELLO]
    [row] = rows_of([{"p": [{"role": "user", "content": "Hi"}], "c": "Hello"}], instruction="p", response="c").rows
    assert row["turns"] == [HI, HELLO]
    [row] = rows_of(
        [{"p": "Hi", "past": [{"role": "user", "content": "So?"}], "c": "Hello"}],
        instruction="p",
        input="past",
        response="c",
    ).rows
    assert row["turns"] == [HI, Turn("user", "So?"), HELLO]


def test_conversations_that_cannot_be_read_are_counted() -> None:
    """One bad row neither stops the set nor is lost without a word."""
    good = {"m": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    rows = rows_of(
        [
            good,
            *[good] * 20,
            {"m": [{"role": "user", "content": "Hi"}]},
            {"m": "no conversation"},
            {"m": [{"role": "narrator", "content": "Once"}, {"role": "assistant", "content": "Hello"}]},
            {"m": None},
        ],
        response="m",
    )
    assert len(rows.rows) == 21
    assert rows.dropped == {NO_RESPONSE: 2, UNREADABLE: 1, UNKNOWN: 1}


def test_columns_that_no_model_reads_are_named() -> None:
    """Choices beside a question stay fields, and the set says so."""
    rows = rows_of([{"q": "Which?", "choices": ["a", "b"], "a": "b"}], instruction="q", response="a")
    assert rows.unused == ["choices"]


def test_texts_by_turns_under_a_usual_name() -> None:
    """UltraChat's lists of texts are turns of user and assistant; another list of texts, as of choices, is not."""
    [row] = rows_of([{"id": 1, "data": ["Hi", "Hello", "And?"]}], response="data").rows
    assert row["turns"] == [HI, HELLO]
    [row] = rows_of([{"q": "Which?", "a": ["Hi", "Hello"]}], instruction="q", response="a").rows
    assert (row["turns"], row["response"]) == ([], '["Hi", "Hello"]')


def test_a_prompt_that_the_conversation_repeats_is_read_once() -> None:
    """UltraChat has the first question in a column of its own; mapped beside the conversation it is no second turn."""
    system = {"role": "system", "content": "Be brief."}
    record = {"p": "Hi", "m": [system, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    [row] = rows_of([record], instruction="p", response="m").rows
    assert row["turns"] == [Turn("system", "Be brief."), HI, HELLO]


def test_a_column_of_system_texts_beside_system_turns() -> None:
    """Neither of two system texts is left out, and the same one is read once."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    records = [
        {"s": text, "m": [*turns, {"role": "assistant", "content": "Hello"}]} for text in ("Be kind.", "Be brief.")
    ]
    assert [row["system"] for row in rows_of(records, response="m", system="s").rows] == [
        "Be kind.\n\nBe brief.",
        "Be brief.",
    ]


def test_what_nobody_asked_or_said_is_dropped() -> None:
    """An empty list is no reply "[]", and a reply alone is no conversation."""
    hello = {"role": "assistant", "content": "Hello"}
    good = {"p": [{"role": "user", "content": "Hi"}], "c": [hello]}
    rows = rows_of([good, good | {"c": []}, good | {"p": []}], instruction="p", response="c")
    assert [row["turns"] for row in rows.rows] == [[HI, HELLO]]
    assert rows.dropped == {NO_RESPONSE: 1, NO_INSTRUCTION: 1}
    rows = rows_of([{"m": good["p"] + good["c"]}, {"m": [hello]}], response="m")
    assert rows.dropped == {NO_INSTRUCTION: 1}


def test_objects_are_no_text() -> None:
    """Objects that are no turns, and turns with pictures among the first rows, are never read as their source text."""
    good = {"m": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    picture = {"m": [{"role": "user", "content": [{"type": "image"}]}, {"role": "assistant", "content": "Hello"}]}
    assert rows_of([picture, good, good], response="m").dropped == {UNREADABLE: 1}
    with pytest.raises(WinnowError, match="2 with a conversation that cannot be read as text"):
        rows_of([{"m": [{"name": "f", "arguments": {}}]}] * 2, response="m")
    with pytest.raises(WinnowError, match="1 with a turn of an unknown speaker"):
        rows_of([{"m": [{"author": "me", "utterance": "Hi"}, {"author": "you", "utterance": "Hello"}]}], response="m")
