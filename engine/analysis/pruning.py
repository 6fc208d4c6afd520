"""What a dynamic-pruning run found: pure functions from its metrics to tables, intervals and sentences.

Arms share seeds, so two arms are compared by their difference within each seed. Intervals are Student's, over
seeds: with few seeds they are wide, and that is what few seeds can say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from engine.analysis import wording
from engine.analysis.intervals import Interval, interval

AXES = {"epoch": "epochs", "tokens_read": "tokens read", "seconds": "seconds"}
"""What the arms can be drawn against; tokens and seconds are summed from the start, scoring included."""

ARM_PHRASES = {
    "random": "the random subset",
    "full": "training on everything",
    "static": "staying with the first epoch's selection",
}


def per_epoch(metrics: pd.DataFrame) -> pd.DataFrame:
    """One row per arm, seed and epoch from the long metrics table of a run.

    Columns: loss, perplexity, accuracy (validation), train_loss, gap (train minus validation loss), and samples,
    tokens, steps, tau of the epoch; tokens_read, steps_taken, seconds_scoring, seconds_training and seconds are summed
    from the start. Epoch 0 is the student before training.
    """
    named = metrics["name"].where(metrics["split"] != "train", "train_" + metrics["name"])
    table = (
        metrics.assign(name=named)
        .pivot_table(index=["arm", "seed", "epoch"], columns="name", values="value", aggfunc="last")
        .reindex(columns=_COLUMNS)
        .sort_index()
    )
    costs = ["tokens", "steps", "seconds_scoring", "seconds_training"]
    read = table[costs].fillna(0.0).groupby(level=["arm", "seed"]).cumsum()
    table["tokens_read"], table["steps_taken"] = read["tokens"], read["steps"]
    table["seconds_scoring"], table["seconds_training"] = read["seconds_scoring"], read["seconds_training"]
    table["seconds"] = read["seconds_scoring"] + read["seconds_training"]
    table["gap"] = table["train_loss"] - table["loss"]
    return table.reset_index()


_COLUMNS = ["loss", "perplexity", "accuracy", "train_loss", "samples", "tokens", "steps", "tau"]
_COLUMNS += ["seconds_scoring", "seconds_training"]


def bands(table: pd.DataFrame, column: str, against: str = "epoch") -> pd.DataFrame:
    """Mean and interval of a column over seeds: arm, epoch, x (mean over the same seeds), mean, low, high, seeds."""
    rows = []
    for (arm, epoch), group in table.dropna(subset=[column]).groupby(["arm", "epoch"]):
        over = interval(group[column])
        if over.seeds:
            rows.append((arm, epoch, float(group[against].mean()), over.mean, over.low, over.high, over.seeds))
    return pd.DataFrame(rows, columns=["arm", "epoch", "x", "mean", "low", "high", "seeds"])


def ends(table: pd.DataFrame, epochs: int, seeds: Sequence[int], done: bool) -> pd.DataFrame:
    """The last epoch of every arm and seed that has come to its end.

    Dynamic pruning, and the random arm with it, may end early for too few samples. So an arm has ended if it has
    reached the last of `epochs`, if a later one of `seeds` has begun (they are worked on in this order), or if the run
    is done.
    """
    last = reached(table)
    if done:
        return last
    begun = [seed for seed in seeds if seed in set(table["seed"])]
    return last[(last["epoch"] == epochs) | last["seed"].isin(begun[:-1])]


def reached(table: pd.DataFrame) -> pd.DataFrame:
    """The latest epoch of every arm and seed, at its end or not; seeds that have trained no epoch are left out."""
    trained = table[table["epoch"] > 0]
    return trained.loc[trained.groupby(["arm", "seed"])["epoch"].idxmax()]


def finished_seeds(last: pd.DataFrame, seeds: Sequence[int], arms: Sequence[str]) -> list[int]:
    """Seeds for which every arm has come to its end."""
    reached = set(zip(last["arm"], last["seed"], strict=True))
    return [seed for seed in seeds if all((arm, seed) in reached for arm in arms)]


def difference(last: pd.DataFrame, column: str, arm: str, other: str) -> Interval:
    """`arm` minus `other` within each seed that has both."""
    return interval(differences(last, column, arm, other))


def differences(last: pd.DataFrame, column: str, arm: str, other: str) -> pd.Series:
    """`arm` minus `other` by seed, for the seeds that have both."""
    values = last.pivot(index="seed", columns="arm", values=column).reindex(columns=[arm, other])
    found = values[arm] - values[other]
    return found[np.isfinite(found)]


def cost(last: pd.DataFrame) -> pd.DataFrame:
    """What each arm spent, mean over its finished seeds: tokens, share (of what `full` read), steps, seconds."""
    spent = ["tokens_read", "steps_taken", "seconds_scoring", "seconds_training", "seconds"]
    table = last.groupby("arm")[spent].mean()
    full = table["tokens_read"].get("full", math.nan)
    table.insert(1, "share", table["tokens_read"] / full)
    table["seeds"] = last.groupby("arm")["seed"].nunique()
    return table


def ending(last: pd.DataFrame) -> str:
    """Where dynamic pruning and the arms beside it ended, in one sentence; "" while no seed has finished both."""
    means = last.groupby("arm")["perplexity"].mean()
    if "dynamic" not in means:
        return ""
    if not math.isfinite(means["dynamic"]):
        return "Dynamic pruning ended at no finite perplexity: its training diverged; try a lower learning rate."
    places = decimals(means)
    share = cost(last)["share"].get("dynamic", math.nan)
    read = f" having read {100 * share:.0f} % of the tokens" if math.isfinite(share) else ""
    others = [
        f"{name} {'ended ' * (position == 0)}at {means[arm]:.{places}f}"
        for position, (arm, name) in enumerate(_beside(means))
    ]
    beside = "; " + " and ".join(others) if others else ""
    return f"Dynamic pruning ended at perplexity {means['dynamic']:.{places}f}{read}{beside}."


def stopped_early(last: pd.DataFrame, epochs: int, done: bool) -> list[int]:
    """The epochs after which dynamic pruning ran out of samples, one for each seed in which it did.

    While the run goes on, only seeds in which another arm went further are known to have.
    """
    of_dynamic = last[last["arm"] == "dynamic"]
    furthest = of_dynamic["seed"].map(last.groupby("seed")["epoch"].max())
    early = of_dynamic[(of_dynamic["epoch"] < epochs) & (done | (of_dynamic["epoch"] < furthest))]
    return sorted(early["epoch"].tolist())


def _beside(means: pd.Series) -> list[tuple[str, str]]:
    named = [("random", "a random subset of the same size"), ("full", "training on everything")]
    return [(arm, name) for arm, name in named if math.isfinite(means.get(arm, math.nan))]


def verdict(last: pd.DataFrame, other: str = "random") -> str:
    """Whether dynamic pruning ended at another perplexity than `other` by more than seeds differ; "" without both."""
    found = difference(last, "perplexity", "dynamic", other)
    if found.seeds == 0:
        return ""
    against = ARM_PHRASES[other]
    if found.seeds == 1:
        places = decimals([found.mean])
        return (
            f"It ended {_sided(found.mean, places)} than {against}, but one seed cannot settle whether it is more "
            "than chance."
        )
    if not found.known:
        places = decimals([found.mean])
        ended = _sided(found.mean, places) + " than" if found.mean else "the same as"
        return (
            f"It ended {ended} {against} in each of {found.seeds} paired seeds: seeds that do not differ give no "
            "interval, so whether it is more than chance is not settled."
        )
    places = decimals([found.high - found.low])
    seeds = f"over {found.seeds} paired seeds on the same validation samples"
    if found.settled:
        low, high = sorted([abs(found.low), abs(found.high)])
        return (
            f"It ended {_sided(found.mean, places)} than {against} "
            f"(95 % interval {low:.{places}f} to {high:.{places}f} {seeds})."
        )
    return (
        f"It ended {_sided(found.mean, places)} than {against}, but the 95 % interval {seeds} runs from "
        f"{_sided(found.low, places)} to {_sided(found.high, places)}: not settled."
    )


def badge(last: pd.DataFrame) -> wording.Verdict:
    """Whether dynamic pruning ended at a lower perplexity than random subsets, by more than seeds differ."""
    found = difference(last, "perplexity", "dynamic", "random")
    return wording.verdict(found, "better than random", "worse than random", lower_is_better=True)


def brief(last: pd.DataFrame) -> str:
    """The finding against random subsets in one short sentence; "" without both arms."""
    found = difference(last, "perplexity", "dynamic", "random")
    if found.seeds == 0:
        return ""
    share = cost(last)["share"].get("dynamic", math.nan)
    on = f"On {100 * share:.0f} % of the tokens, c" if math.isfinite(share) else "C"
    if not found.settled:
        return f"{on}hoosing by divergence and choosing at random cannot be distinguished yet."
    return f"{on}hoosing by divergence ended {'better' if found.mean < 0 else 'worse'} than choosing at random."


def _sided(change: float, places: int) -> str:
    """A change in perplexity in words: less is better."""
    return f"{abs(change):.{places}f} {'better' if change < 0 else 'worse'}"


def decimals(values: Iterable[float], figures: int = 2) -> int:
    """How many decimals show at least `figures` figures of the smallest value: 2 at the least, 5 at the most."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return 2
    return min(max(2, figures - 1 - math.floor(math.log10(min(sizes)))), 5)
