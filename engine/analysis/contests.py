"""Ways that are compared side by side: which differences are settled, how many are not, and the strongest rival.

Values are paired by the index of their series: seeds, or fresh starts. Differences that are read together are a family,
in which Holm's correction decides what is settled; intervals stay those of each difference alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from engine.analysis.intervals import LEVEL, Interval, holm, interval, p_value
from engine.analysis.wording import Measure
from engine.common.formats import count


@dataclass(frozen=True)
class Family:
    """Differences that are read together, by name, and those of them that Holm's correction settles."""

    over: Mapping[str, Interval]
    settled: frozenset[str]

    @property
    def better(self) -> list[str]:
        """Settled above zero, the largest first."""
        return sorted((name for name in self.settled if self.over[name].mean > 0), key=self._mean, reverse=True)

    @property
    def worse(self) -> list[str]:
        """Settled below zero, the lowest first."""
        return sorted((name for name in self.settled if self.over[name].mean < 0), key=self._mean)

    def _mean(self, name: str) -> float:
        return self.over[name].mean

    def tally(self, noun: str, baseline: str) -> str:
        """`Of 5 scores, 1 ends above random, 2 end below, 2 are not settled.`"""
        above, below = len(self.better), len(self.worse)
        unsettled = len(self.over) - above - below
        return (
            f"Of {count(len(self.over), noun)}, {above} {_ends(above)} above {baseline}, {below} {_ends(below)} below, "
            f"{unsettled} {'is' if unsettled == 1 else 'are'} not settled."
        )

    def rule(self, one: str, many: str = "") -> str:
        """What settles a difference of this family, whose members are called so."""
        tested = sum(over.known for over in self.over.values())
        corrected = f", by Holm's correction over {count(tested, one, many)}" if tested > 1 else ""
        return (
            f"Settled: p at most 5 % in a paired t-test{corrected}. One value, or values that are all equal, settle "
            "nothing."
        )


def family(differences: Mapping[str, pd.Series]) -> Family:
    """Of paired differences, one value a seed each; those without a value are left out."""
    known = {name: values for name, each in differences.items() if len(values := each.dropna())}
    adjusted = holm({name: p_value(values) for name, values in known.items()})
    settled = frozenset(name for name, p in adjusted.items() if p <= 1 - LEVEL)
    return Family({name: interval(values) for name, values in known.items()}, settled)


def strongest(values: Mapping[str, pd.Series], but: str = "") -> str | None:
    """The name with the highest mean, `but` left out; None if nothing else has one."""
    means = {name: float(each.mean()) for name, each in values.items() if name != but and len(each.dropna())}
    return max(means, key=means.__getitem__) if means else None


def standing(
    values: Mapping[str, pd.Series], baseline: str, measure: Measure, noun: str, names: Mapping[str, str]
) -> str:
    """The best that beats a baseline, beside its strongest rival, and how many beat it, lose to it, or are not settled.

    `values` are accuracies by seed, those of the baseline among them; `names` says what each is called. That the best
    is ahead of its rival rests on their difference alone: of several that are equal the first two are nearer to each
    other than any two named beforehand. "" without the baseline, or with nothing beside it.
    """
    if baseline not in values:
        return ""
    against = family({name: each - values[baseline] for name, each in values.items() if name != baseline})
    if not against.over:
        return ""
    called, tally = names[baseline], against.tally(noun, names[baseline])
    if len(against.over) == 1:
        ((name, over),) = against.over.items()
        settled = "" if against.settled else ", not settled"
        side = "above" if over.mean >= 0 else "below"
        return f"{names[name]} ends {measure.size(over.mean)} {side} {called} ({measure.spread(over)}{settled})."
    if not against.better:
        best = max(against.over, key=lambda name: against.over[name].mean)
        over = against.over[best]
        away = f"{measure.difference(over.mean)} ({measure.spread(over)})"
        return f"no {noun} beats {called}; the nearest is {names[best]}, {away}. {tally}"
    best = against.better[0]
    over, rival = against.over[best], strongest(values, best)
    first = f"{names[best]} beats {called} by {measure.size(over.mean)} ({measure.spread(over)})"
    if rival == baseline or rival is None:
        return f"{first}, its strongest rival. {tally}"
    return f"{first}; its strongest rival, {names[rival]}, is {behind(values[best] - values[rival], measure)}. {tally}"


def behind(differences: pd.Series, measure: Measure) -> str:
    """How far a rival is from the best, by the differences to it: `0.3 points behind (±0.8, not settled)`."""
    over = interval(differences.dropna())
    settled = "" if over.settled else ", not settled"
    side = "behind" if over.mean >= 0 else "ahead"
    return f"{measure.size(over.mean)} {side} ({measure.spread(over, brief=True)}{settled})"


def _ends(number: int) -> str:
    return "ends" if number == 1 else "end"
