"""The guard: a way to choose is recommended only if it beats random on one half of the validation samples.

It is chosen on the half `pick` and reported on the half `report`, which had no part in the choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.analysis.intervals import Interval
from engine.analysis.pruning import decimals
from engine.analysis.verdicts import (
    ArmFacts,
    against_random,
    comparisons,
    lower_or_higher,
    p_text,
    random_arm,
    tested,
)
from engine.common.errors import WinnowError

NOTHING = Interval(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class Pick:
    """The arm that is recommended, and how the best of the arms that choose did.

    arm: the best one, or the random arm. best: the arm that chooses whose loss on the pick half is lowest beside
    random's, "" if none can be compared. picked, better: random's loss minus that of `best` (nats, above 0 if `best` is
    better) on the pick and on the report half, over paired seeds. p: on the pick half, adjusted by Holm over all
    `compared` arms that choose. better.seeds is 0 if the run has not divided its validation samples: it was picked on
    all of them then, and none are left to report on.
    """

    arm: str
    best: str
    picked: float
    p: float
    better: Interval
    compared: int

    @property
    def sentence(self) -> str:
        """What is recommended and why, in two sentences; plain text."""
        if not self.best:
            return f"Choose at random ({self.arm}): no selection can be compared with it."
        among = f"the best of {self.compared} selections" if self.compared > 1 else "the only selection"
        best = f"{self.best}, {among},"
        p = f"p {p_text(self.p)} after Holm's correction" if math.isfinite(self.p) else "not testable"
        divided = self.better.seeds > 0
        where = "the half to pick on" if divided else "the validation samples"
        ended = f"ended {lower_or_higher(-self.picked)} in loss than random on {where}"
        reported = (
            f"On the other half it ended {_reported(self.better)}."
            if divided
            else "They were not divided, so none are left to report it on."
        )
        if self.arm == self.best:
            return f"Choose by {best} which {ended} ({p}). {reported}"
        why = "" if self.picked < 0 else ", which is not settled"
        return f"Choose at random ({self.arm}): {best} {ended}{why} ({p}). {reported}"


def pick(last: pd.DataFrame, curve: pd.DataFrame, arms: Sequence[ArmFacts]) -> Pick:
    """Recommends the best arm that chooses if it is settled to be better than random on the pick half, else random.

    `last` and `curve` are those of `verdicts`, with the columns loss_pick and loss_report. The best arm is the one
    whose mean loss is lowest beside that of random at the same tokens (`against_random`). It is recommended if that
    difference is below 0 and p at most 0.05, two-sided, by Holm over all arms that choose. If no arm differs from
    random, another one than random is recommended in at most 5 % of studies. Raises WinnowError if no arm is random.
    """
    random = random_arm(arms)
    if not random:
        raise WinnowError("Nothing can be recommended without a random arm to compare with: add one to the arms.")
    table = comparisons(last, curve, arms, "loss_pick")
    known = table[np.isfinite(table["difference"])]
    if not len(known):
        return Pick(random, "", math.nan, math.nan, NOTHING, len(table))
    best = known.sort_values("difference").iloc[0]
    found, _ = tested(-against_random(last, curve, best["arm"], random, "loss_report"))
    if last["loss_report"].equals(last["loss_pick"]):  # runs of earlier versions: all samples stand for both
        found = NOTHING
    arm = best["arm"] if best["settled"] and best["difference"] < 0 else random
    return Pick(arm, best["arm"], -best["difference"], best["p_holm"], found, len(table))


def _reported(better: Interval) -> str:
    """`0.021 lower than random (95 % interval 0.010 lower to 0.032 lower, over 5 paired seeds)`"""
    if math.isnan(better.mean):
        return "at no loss that can be compared"
    if not better.known:
        return f"{lower_or_higher(-better.mean)} than random"
    places = decimals([better.high - better.low])
    mean, low, high = (lower_or_higher(-value, places) for value in (better.mean, better.low, better.high))
    return f"{mean} than random (95 % interval {low} to {high}, over {better.seeds} paired seeds)"
