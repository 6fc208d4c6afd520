"""Sentences about one sample that teacher and student have read: where they differ most, and how it would rank.

A trace is the answer of a query worker to a request of the same name. Plain text, no Markdown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from engine.analysis.rankings import Place
from engine.common import formats
from engine.common.text import visible_token
from engine.config.pruning import METRICS

STUDENTS = {"base": "before any training", "dynamic": "in its last epoch"}
"""The students that can be asked: the state each is in."""


def largest_difference(trace: Mapping[str, Any]) -> str:
    """The token of the response with the largest KL, and the next token that each model expected there."""
    kl, tokens, start = trace["kl"], trace["tokens"], int(trace["response_start"])
    scored = [
        position for position in range(start, len(kl)) if kl[position] is not None and math.isfinite(kl[position])
    ]
    if not scored:
        return "The scores of this response are all NaN."
    most = max(scored, key=lambda position: kl[position])
    end = "where it was truncated" if trace["truncated"] else "at its end"
    where = f"at {_quoted(tokens[most + 1])}" if most + 1 < len(tokens) else end
    teacher, student = _expected(trace, "teacher", most), _expected(trace, "student", most)
    if trace["teacher_tokens"][most][0] == trace["student_tokens"][most][0]:
        expected = (
            f"both expect {teacher.rsplit(' (', 1)[0]}, the teacher with {_percent(trace, 'teacher', most)}, "
            f"the student with {_percent(trace, 'student', most)}"
        )
    else:
        expected = f"the teacher expects {teacher}, the student {student}"
    return f"In the response, teacher and student differ most {where}: {expected}."


def _expected(trace: Mapping[str, Any], model: str, position: int) -> str:
    return f"{_quoted(trace[f'{model}_tokens'][position][0])} ({_percent(trace, model, position)})"


def _quoted(token: str) -> str:
    """A token inside a sentence, without the space that most tokens begin with."""
    return f"“{visible_token(token.strip(' ') or token)}”"


def _percent(trace: Mapping[str, Any], model: str, position: int) -> str:
    return formats.share(trace[f"{model}_probs"][position][0], 1)


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
