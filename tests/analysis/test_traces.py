"""Sentences about one sample that two models have read."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import traces
from engine.common.characters import from_bytes
from tests.fixtures.traces import trace


def test_agreement_on_the_token() -> None:
    """If both expect the same token, the sentence compares how certain they are."""
    same = trace() | {"student_tokens": [[" x"], ["Paris"], ["<end>"]], "student_probs": [[0.2], [0.4], [0.8]]}
    assert traces.largest_difference(same).endswith(
        "both expect “Paris”, the teacher with 92 %, the student with 40 %."
    )


def test_end_of_response_and_missing_numbers() -> None:
    """The models may differ at the end of the text, and all scores may be NaN."""
    assert "differ most at its end:" in traces.largest_difference(trace() | {"kl": [9.0, 0.1, 2.0]})
    assert (
        traces.largest_difference(trace() | {"kl": [9.0, math.nan, None]}) == "The scores of this response are all NaN."
    )


def test_a_character_of_several_tokens() -> None:
    """It is named whole, with the token of it where they differ most, which is shown as what it completes."""
    begun, lam, mim = (from_bytes(bytes([byte])) for byte in (0xD9, 0x84, 0x85))
    read = {
        "tokens": ["Where?", "\n", begun, mim],
        "response": [False, True, True, True],
        "kl": [9.0, 0.5, 2.0, 1.2],
        "teacher_tokens": [["\n"], [begun], [mim], ["<end>"]],
        "student_tokens": [["\n"], [begun], [lam], ["<end>"]],
        "teacher_probs": [[0.9], [0.92], [0.7], [0.9]],
        "student_probs": [[0.2], [0.31], [0.6], [0.8]],
    }
    assert traces.largest_difference(trace() | read) == (
        "In the response, teacher and student differ most at “م” (token 2 of 2): the teacher expects “م” (70 %), "
        "the student “ل” (60 %)."
    )


@given(st.integers(1, 10**6))
def test_ordinals(number: int) -> None:
    """1st, 2nd, 3rd, and the teens that break the rule."""
    ending = traces.ordinal(number)[-2:]
    assert (ending == "st") == (number % 10 == 1 and number % 100 != 11)
    assert (ending == "nd") == (number % 10 == 2 and number % 100 != 12)
    assert (ending == "rd") == (number % 10 == 3 and number % 100 != 13)
