"""Sentences of the page of samples, from the numbers on the screen."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from engine.analysis import samples
from engine.common.characters import from_bytes
from engine.storage.store import Count
from tests.fixtures.tiny import tiny_recipe


def test_sentences() -> None:
    """Numbers are said in words, and singular and plural are right."""
    assert samples.kept(Count(731, 63), Count(1800, 100)) == ("Kept 731 of 1,800 samples (41 %), 63 % of the tokens.")
    assert samples.kept(Count(1, 1), Count(1, 1), 1).endswith("100 % of the tokens; 1 decided by hand.")
    assert samples.missing(2) == "2 samples have no score (the model gave NaN) and cannot be kept."
    assert samples.partial(5, 5) == ""
    assert "Only 5 of 9 samples" in samples.partial(5, 9)
    assert "keep 9 → 5 and then stop: fewer than 4" in samples.coming([Count(9, 9), Count(5, 5), Count(3, 3)], 10, 4)


def test_scores_of_several_students_are_said_to_be_that(tmp_path: Path) -> None:
    """Only if they are: not before training, and not in an exact study."""
    exact, fast = (tiny_recipe(tmp_path, scoring__refresh=refresh) for refresh in ("exact", "while_training"))
    assert samples.approximate(fast, 2).startswith("These scores were made while training: ")
    assert samples.approximate(fast, 1) == samples.approximate(exact, 2) == samples.approximate(None, 1) == ""


def test_what_stands_out_is_named_whole() -> None:
    """The tokens of one character count together, and are named as that character."""
    begun, lam, mim = (from_bytes(bytes([byte])) for byte in (0xD9, 0x84, 0x85))
    scores = {
        "tokens": ["say", begun, mim],
        "response": [True, True, True],
        "turns": None,
        "kl": [0.5, 0.3, 0.2],
        "teacher_tokens": [["x"], [mim], ["."]],
        "teacher_probs": [[0.5], [0.75], [0.5]],
        "student_tokens": [[" y"], [lam], ["."]],
        "student_probs": [[0.25], [0.5], [0.5]],
    }
    sentence = samples.stands_out(2, 4, "KL", 0.3, scores, None)
    assert sentence.endswith(
        "80 % of its KL comes from “م”, which is 2 tokens: there the teacher expects “x” (50 %), "
        "the student “␣y” (25 %)."
    )
    scores["kl"] = [0.1, 0.3, 0.6]
    assert "60 % of its KL comes from one token, the end: there both expect “.”" in samples.stands_out(
        2, 4, "KL", 0.3, scores, None
    )


def test_breakdown_is_honest_about_chance() -> None:
    """A difference between field values that chance could make is not announced as a finding."""
    clear = pd.DataFrame({"value": ["yes", "no"], "samples": [200, 1800], "kept": [180, 540]})
    assert samples.breakdown("corrupted", clear, "KL") == (
        "KL keeps 90 % of the 200 samples with corrupted = yes, but only 30 % of the 1,800 samples with corrupted = no."
    )
    faint = pd.DataFrame({"value": ["a", "b"], "samples": [10, 12], "kept": [5, 5]})
    assert "chance" in samples.breakdown("field", faint, "KL")
    assert "nothing to compare" in samples.breakdown("field", clear[:1], "KL")


def test_breakdown_names_what_it_cannot_distinguish() -> None:
    """Beside the most common value, each other one is kept more, kept less, or not distinguished."""
    kinds = {
        "value": ["no", "off topic", "wrong answer", "swapped", "easy"],
        "samples": [1939, 46, 45, 44, 60],
        "kept": [1322, 45, 31, 33, 10],
    }
    assert samples.compared("corrupted", pd.DataFrame(kinds)) == (
        "Beside corrupted = no (68 %), it keeps clearly more of off topic, keeps clearly less of easy and "
        "cannot distinguish wrong answer and swapped from it."
    )
    assert samples.compared("corrupted", pd.DataFrame(kinds)[:2]) == ""
    even = pd.DataFrame({"value": ["a", "b", "c"], "samples": [10, 10, 10], "kept": [1, 5, 9]})
    assert samples.compared("task", even) == ""


def test_blocks_of_a_sample() -> None:
    """Without token scores the drawer shows a conversation turn by turn, and other samples by their parts."""
    plain = {"turns": None, "system": "", "instruction": "Add.", "input": "1", "response": "2"}
    assert samples.blocks(plain) == [("Prompt", "Add.\n1"), ("Response", "2")]
    assert samples.blocks(plain | {"system": "Be brief."})[0] == ("System", "Be brief.")
    turns = [{"speaker": "user", "text": "Hi"}, {"speaker": "assistant", "text": "Hello"}]
    assert samples.blocks(plain | {"turns": turns}) == [("User", "Hi"), ("Assistant", "Hello")]
