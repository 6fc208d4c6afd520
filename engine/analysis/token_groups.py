"""The token scores of a sample in groups of tokens that spell whole characters, as they are read and shaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.common.characters import characters, completed


class Group(NamedTuple):
    """Tokens `first` to `stop` - 1, which spell `text` together; most are one token.

    `kl` is the mean over these tokens, in nats per token like every score, so that a letter of two tokens is no darker
    than one of a single token. None if it is no number, or if nothing predicts them (the first token of a text).
    `position` is the prediction of these tokens with the largest KL; position i predicts token i + 1.
    """

    text: str | None
    first: int
    stop: int
    kl: float | None
    position: int | None

    @property
    def predicted(self) -> int:
        """How many of these tokens are predicted: all but the first of a text."""
        return self.stop - max(1, self.first)

    @property
    def which(self) -> str:
        """` (token 2 of 3)`: the token with the largest KL, if there are several; else ""."""
        count = self.stop - self.first
        if count == 1 or self.position is None:
            return ""
        return f" (token {self.position + 2 - self.first} of {count})"


def token_groups(scores: Mapping[str, Any]) -> list[Group]:
    """The groups of `Store.token_scores` or of a trace, in order; the last, whose text is None, is what follows.

    No group reaches from a prompt into a response, or from one turn into another.
    """
    tokens, count = list(scores["tokens"]), len(scores["tokens"])
    response, turns = scores["response"], {int(turn["first"]) for turn in scores["turns"] or ()}
    borders = [
        place
        for place in range(1, count)
        if place in turns or (place > 1 and response[place - 1] != response[place - 2])
    ]
    groups = []
    for start, stop in zip([0, *borders], [*borders, count], strict=True):
        groups += [
            _group(scores, each.text, start + each.first, start + each.stop) for each in characters(tokens[start:stop])
        ]
    return [*groups, _group(scores, None, count, count + 1)]


def _group(scores: Mapping[str, Any], text: str | None, first: int, stop: int) -> Group:
    positions = range(max(0, first - 1), stop - 1)
    values = [scores["kl"][position] for position in positions]
    if not values or any(value is None or not math.isfinite(value) for value in values):
        return Group(text, first, stop, None, positions[0] if positions else None)
    most = max(positions, key=lambda position: scores["kl"][position])
    return Group(text, first, stop, math.fsum(values) / len(values), most)


def expected(scores: Mapping[str, Any], group: Group, model: str) -> list[str]:
    """The tokens that "teacher" or "student" finds likeliest at the group's position, likeliest first.

    A token that completes a character is that character.
    """
    position = group.position or 0
    before = scores["tokens"][group.first : position + 1]
    return [completed(before, token) for token in scores[f"{model}_tokens"][position]]
