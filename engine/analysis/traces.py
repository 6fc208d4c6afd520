"""Sentences about one sample that teacher and student have read: where they differ most, and how it would rank.

A trace is the answer of a query worker to a request of the same name. Plain text, no Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.analysis.rankings import Place
from engine.analysis.token_groups import Group, expected, token_groups
from engine.common import formats
from engine.common.text import visible_text, visible_token
from engine.config.rankings import METRICS

STUDENTS = {"base": "before any training", "dynamic": "in its last epoch"}
"""The students that can be asked: the state each is in."""


def largest_difference(trace: Mapping[str, Any]) -> str:
    """The part of a response with the largest KL, one token or those of a character, and what each model expected."""
    scored = [
        group
        for group in token_groups(trace)
        if group.position is not None and group.kl is not None and trace["response"][group.position]
    ]
    if not scored:
        return "The scores of this response are all NaN."
    most = max(scored, key=lambda group: group.kl or 0.0)
    end = "where it was truncated" if trace["truncated"] else "at its end"
    where = end if most.text is None else f"at {_quoted(visible_text(most.text))}{most.which}"
    teacher, student = _expected(trace, "teacher", most), _expected(trace, "student", most)
    if trace["teacher_tokens"][most.position][0] == trace["student_tokens"][most.position][0]:
        words = (
            f"both expect {teacher.rsplit(' (', 1)[0]}, the teacher with {_percent(trace, 'teacher', most)}, "
            f"the student with {_percent(trace, 'student', most)}"
        )
    else:
        words = f"the teacher expects {teacher}, the student {student}"
    return f"In the response, teacher and student differ most {where}: {words}."


def _expected(trace: Mapping[str, Any], model: str, group: Group) -> str:
    return f"{_quoted(visible_token(expected(trace, group, model)[0]))} ({_percent(trace, model, group)})"


def _quoted(visible: str) -> str:
    """A token inside a sentence, without the space that most tokens begin with."""
    return f"“{visible.strip('␣') or visible}”"


def _percent(trace: Mapping[str, Any], model: str, group: Group) -> str:
    return formats.share(trace[f"{model}_probs"][group.position][0], 1)


def standing(place: Place, value: float, metric: str, student: str) -> str:
    """`Its KL of 1.32 would rank 41st among the 1,800 samples of this run before any training; …`."""
    name = METRICS[metric] if metric != "kl" else "KL"
    sentence = (
        f"Its {name} of {formats.value(value)} would rank {ordinal(place.rank)} among the {place.of:,} samples of this "
        f"run {STUDENTS[student]}"
    )
    if place.tau is None:
        return f"{sentence}."
    side, action = ("above", "keep") if value > place.tau else ("not above", "prune")
    return f"{sentence}; {side} the threshold of {formats.value(place.tau)}, so the run would {action} it."


def ordinal(number: int) -> str:
    """`1st`, `22nd`, `113th`, `1,041st`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
