"""Which ways to choose samples pay: every arm that chooses beside random choice, and a sentence on the best.

Frames are those of `engine.analysis.pruning.per_epoch`: one row per arm, seed and epoch, with tokens_read, seconds and
flops summed from the start, and the losses of the validation samples. Arms share seeds, so two are compared within each
seed; intervals are Student's 95 %, over paired seeds. They cover what differs from seed to seed, the training and the
random subsets, not the choice of validation samples.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from engine.analysis.intervals import LEVEL, Interval, holm, interval, p_value
from engine.analysis.multipliers import (
    Multiplier,
    compute_at,
    loss_at,
    multiplier,
    multiplier_text,
    short_text,
)
from engine.analysis.pruning import decimals

ALPHA = 1 - LEVEL
BySeed = dict[int, dict[Hashable, Any]]
"""The final row of an arm by seed."""
Ends = defaultdict[str, BySeed]
SAME_TOKENS = 0.01  # of the tokens of an arm: batches end where samples end, so equal budgets differ by a little


@dataclass(frozen=True)
class ArmFacts:
    """An arm and what it is: one that chooses by scores, a random one, everything, or the oracle."""

    name: str
    kind: Literal["choice", "random", "everything", "oracle"]


COLUMNS = ["arm", "rival", "loss", "rival_loss", "multiplier", "low", "high", "bound"]
COLUMNS += ["net", "net_low", "net_high", "net_bound", "net_flops", "net_flops_bound"]
COLUMNS += ["difference", "p", "p_holm", "settled", "seeds"]


def verdicts(
    last: pd.DataFrame, curve: pd.DataFrame, arms: Sequence[ArmFacts], column: str = "loss_report"
) -> pd.DataFrame:
    """One row per arm that chooses, beside random choice; `column` is the loss (nats) that is compared.

    `last` has the final row of each arm and seed, `curve` all epochs of the random arm, which may go on for longer.
    Columns:

    arm, loss (mean at its end); rival, rival_loss: the strongest other arm that chooses or is random and read at most
    1 % more tokens, by its mean loss over the arm's seeds, and its loss ("" and NaN if there is none);
    multiplier, low, high, bound: of tokens (`engine.analysis.multipliers.Multiplier`); net, net_low, net_high,
    net_bound: of seconds, and net_flops, net_flops_bound: of floating-point operations, with scoring and choosing
    charged to the arm; difference, p, p_holm, settled, seeds: those of `comparisons`.

    A training that diverged, without a finite loss, bounds the multiplier: "less" than random's first budget.
    """
    random, ends = random_arm(arms), _ends(last)
    rows = []
    for compared in comparisons(last, curve, arms, column).to_dict("records"):
        arm = compared["arm"]
        gross, net, flops = (
            _multiplier(ends[arm], curve, random, column, axis) for axis in ("tokens_read", "seconds", "flops")
        )
        loss = _mean(ends[arm], column)
        rival, rival_loss = _rival(ends, arms, arm, random, column, loss - compared["difference"])
        row = compared | {"loss": loss, "rival": rival, "rival_loss": rival_loss}
        row |= {"multiplier": gross.value, "low": gross.low, "high": gross.high, "bound": gross.bound}
        row |= {"net": net.value, "net_low": net.low, "net_high": net.high, "net_bound": net.bound}
        rows.append(row | {"net_flops": flops.value, "net_flops_bound": flops.bound})
    return pd.DataFrame(rows, columns=COLUMNS).astype({"difference": "float64"})


def comparisons(last: pd.DataFrame, curve: pd.DataFrame, arms: Sequence[ArmFacts], column: str) -> pd.DataFrame:
    """Every arm that chooses against the random arm, the first of its kind in `arms`, at the arm's own tokens.

    Columns: arm; difference: of `against_random`, mean over seeds, below 0 if the arm is better; p: of its being 0;
    p_holm: adjusted over all arms that choose; settled: whether p_holm is at most 0.05; seeds: those that both have.
    """
    random, ends = random_arm(arms), _ends(last)
    rows = []
    for arm in arms:
        if arm.kind == "choice":
            difference, p = tested(_against(ends, curve, arm.name, random, column).values())
            rows.append((arm.name, difference.mean, p, difference.seeds))
    table = pd.DataFrame(rows, columns=["arm", "difference", "p", "seeds"])
    table = table.astype({"difference": "float64", "p": "float64"})  # of no rows too
    adjusted = holm(dict(zip(table["arm"], table["p"], strict=True)))
    table["p_holm"] = [adjusted[arm] for arm in table["arm"]]
    table["settled"] = table["p_holm"] <= ALPHA
    return table


def random_arm(arms: Sequence[ArmFacts]) -> str:
    """The random arm that the others are compared with: the first; "" if there is none."""
    return next((arm.name for arm in arms if arm.kind == "random"), "")


def against_random(last: pd.DataFrame, curve: pd.DataFrame, arm: str, random: str, column: str) -> pd.Series:
    """The final loss of `arm` minus that of `random` at the same tokens, by seed, for the seeds that both have.

    If the tokens that the two read differ by at most 1 %, it is random's own final loss, else the loss of random's
    curve at the arm's tokens (linear in log tokens between measured epochs). NaN or infinite if a training diverged or
    the arm's tokens lie outside of the curve.
    """
    return pd.Series(_against(_ends(last), curve, arm, random, column), dtype="float64")


def _against(ends: Ends, curve: pd.DataFrame, arm: str, random: str, column: str) -> dict[int, float]:
    of, beside = ends[arm], ends[random]
    found = {}
    for seed in sorted(of.keys() & beside.keys()):
        tokens, reached = of[seed]["tokens_read"], beside[seed][column]
        if abs(tokens - beside[seed]["tokens_read"]) > SAME_TOKENS * tokens:
            reached = loss_at(*_points(curve, random, seed, "tokens_read", column), tokens)
        found[seed] = of[seed][column] - reached
    return found


def tested(differences: Iterable[float]) -> tuple[Interval, float]:
    """Mean, interval and p of differences, one a seed; all NaN if one of them is not finite.

    To leave out the seeds in which a training diverged would choose seeds by their outcome.
    """
    values = list(differences)
    if not all(map(math.isfinite, values)):
        return Interval(math.nan, math.nan, math.nan, len(values)), math.nan
    return interval(values), p_value(values)


def _ends(last: pd.DataFrame) -> Ends:
    """The final rows; an arm without any has an empty entry."""
    ends: Ends = defaultdict(dict)
    for row in last.to_dict("records"):
        ends[row["arm"]][row["seed"]] = row
    return ends


def _points(curve: pd.DataFrame, random: str, seed: int, axis: str, column: str) -> tuple[list[float], list[float]]:
    """Compute and losses of random's curve in one seed."""
    points = curve[(curve["arm"] == random) & (curve["seed"] == seed)]
    return points[axis].to_list(), points[column].to_list()


def _multiplier(of: BySeed, curve: pd.DataFrame, random: str, column: str, axis: str) -> Multiplier:
    readings, spent = [], []
    for seed, end in of.items():
        loss = end[column] if math.isfinite(end[column]) else math.inf  # diverged: any budget of random does better
        readings.append(compute_at(*_points(curve, random, seed, axis, column), loss))
        spent.append(end[axis])
    return multiplier(readings, spent)


def _rival(
    ends: Ends, arms: Sequence[ArmFacts], arm: str, random: str, column: str, at_random: float
) -> tuple[str, float]:
    """The strongest other arm within the tokens of `arm`, and its loss; `at_random` is random's at the arm's tokens."""
    most = (1 + SAME_TOKENS) * _mean(ends[arm], "tokens_read")
    losses = {random: at_random}
    for other in arms:
        if other.kind in ("choice", "random") and other.name not in (arm, random):
            of = {seed: row for seed, row in ends[other.name].items() if seed in ends[arm]}
            if len(of) == len(ends[arm]) and _mean(of, "tokens_read") <= most:
                losses[other.name] = _mean(of, column)
    finite = {name: loss for name, loss in losses.items() if math.isfinite(loss)}
    return min(finite.items(), key=lambda item: item[1], default=("", math.nan))


def _mean(of: BySeed, column: str) -> float:
    """NaN if there is none; not finite if one of the values is not."""
    return float(np.mean([row[column] for row in of.values()])) if of else math.nan


def place(table: pd.DataFrame, oracle: Interval) -> pd.Series:
    """Where each arm of the verdicts stands between random choice (0) and the oracle (1), by loss; below 0: worse.

    `oracle` is the interval of the oracle's own difference (`tested`). NaN for all if the oracle is not settled to be
    better than random: then there is nothing that the arms could have won.
    """
    most = oracle.mean if oracle.settled and oracle.mean < 0 else math.nan
    return pd.Series(table["difference"].to_numpy() / most, index=table["arm"], name="place")


@dataclass(frozen=True)
class Finding:
    """The verdict in parts, plain text, for a page that shows the multiplier larger than the rest."""

    arm: str  # the best selection: furthest below random among those that are settled to be better, else among all
    won: bool  # whether it is settled to be better
    said: str  # what follows for random choice; "" if a selection has won
    ended: str  # where the best and its strongest rival ended beside random
    tested: str  # what that rests on: `95 % over 5 paired seeds`, `p 0.07`; "" for one seed
    multiplier: str  # of tokens, if it has won: `1.4 times (1.2 to 1.7)`
    net: str  # of seconds: `0.9 net of choosing`
    counted: str  # what became of all selections

    @property
    def reason(self) -> str:
        """The finding without the multiplier."""
        return f"{self.ended}{f' ({self.tested})' if self.tested else ''}. {self.counted}."


def finding(table: pd.DataFrame) -> Finding | None:
    """The best selection, and whether it pays; None while no arm can be compared with random."""
    known = table[np.isfinite(table["difference"])]
    if not len(known):
        return None
    better = known[known["settled"] & (known["difference"] < 0)]
    best = (better if len(better) else known).sort_values("difference").iloc[0]
    arm, ended, counted = best["arm"], _ended(best), _counted(table)
    if known["seeds"].max() == 1:
        return Finding(arm, False, "One seed settles nothing", ended, "", "", "", counted)
    if not len(better):
        said = f"As far as {_seeds(known)} can tell, random is as good"
        p = f"p {p_text(best['p_holm'])}" if math.isfinite(best["p_holm"]) else "not testable"
        return Finding(arm, False, said, ended, p, "", "", counted)
    gross = Multiplier(best["multiplier"], best["low"], best["high"], best["bound"], best["seeds"])
    net = Multiplier(best["net"], best["net_low"], best["net_high"], best["net_bound"], best["seeds"])
    tested = f"95 % over {_seeds(known)}"
    return Finding(arm, True, "", ended, tested, multiplier_text(gross), f"{short_text(net)} net of choosing", counted)


def headline(table: pd.DataFrame) -> str:
    """The verdict in two sentences: the best selection and its strongest rival, then what became of all; plain text.

    "" while no arm can be compared with random.
    """
    found = finding(table)
    if found is None:
        return ""
    if found.won:
        times = f"compute multiplier {found.multiplier}; {found.net} ({found.tested})"
        return f"{found.ended}; {times}. {found.counted}."
    return f"{found.said}: {found.reason}"


def p_text(p: float) -> str:
    """`0.03`, `< 0.001`"""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _ended(row: pd.Series) -> str:
    """Where an arm ended beside random, and where its strongest rival did."""
    at_random = row["loss"] - row["difference"]
    if row["rival_loss"] == at_random:
        return f"{row['arm']} ended {lower_or_higher(row['difference'])} in loss than random, its strongest rival"
    return (
        f"{row['arm']} ended {lower_or_higher(row['difference'])} in loss than random, and its strongest rival, "
        f"{row['rival']}, {lower_or_higher(row['rival_loss'] - at_random)}"
    )


def lower_or_higher(difference: float, places: int | None = None) -> str:
    """A difference to random in words: `0.021 lower`; by default with two figures."""
    figures = decimals([difference]) if places is None else places
    return f"{abs(difference):.{figures}f} {'lower' if difference < 0 else 'higher'}"


def _seeds(known: pd.DataFrame) -> str:
    least, most = known["seeds"].min(), known["seeds"].max()
    return f"{most} paired seeds" if least == most else f"{least} to {most} paired seeds"


def _counted(table: pd.DataFrame) -> str:
    """`1 of 9 selections is better than random after Holm's correction, 3 are worse, 5 are not settled`"""
    lower = table["difference"] < 0
    better, worse = int((table["settled"] & lower).sum()), int((table["settled"] & ~lower).sum())
    if len(table) == 1:
        found = "better than" if better else "worse than" if worse else "not settled against"
        return f"It is the only selection compared, and {found} random"
    return (
        f"{better or 'None'} of {len(table)} selections {_is(better)} better than random after Holm's correction, "
        f"{worse or 'none'} {_is(worse)} worse, {len(table) - better - worse or 'none'} "
        f"{_is(len(table) - better - worse)} not settled"
    )


def _is(number: int) -> str:
    return "are" if number > 1 else "is"
