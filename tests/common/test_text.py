"""Text from outside inside sentences. What is written out for the screen: tests/pages/shared/test_escape.py."""

from __future__ import annotations

from engine.common.text import printable, reason


def test_a_reason_is_the_first_line_without_its_stop() -> None:
    assert reason(ValueError("  No such file: a.csv.\nTraceback …")) == "No such file: a.csv"
    assert reason(KeyError()) == "KeyError"


def test_text_in_a_sentence_is_short_and_shows_no_control_characters() -> None:
    assert printable("a\x1b[31mb\u202ec") == "a\ufffd[31mb\ufffdc"
    assert len(printable("x" * 500)) == 201
