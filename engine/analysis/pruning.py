"""What a dynamic-pruning run measured: pure functions from its metrics to tables of its arms, epoch by epoch.

Arms are compared in `engine.analysis.verdicts`. Intervals are Student's, over seeds: with few seeds they are wide, and
that is what few seeds can say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from engine.analysis.intervals import interval

AXES = {"epoch": "epochs", "tokens_read": "tokens read", "seconds": "seconds"}
"""What the arms can be drawn against; tokens and seconds are summed from the start, scoring included."""


def per_epoch(metrics: pd.DataFrame) -> pd.DataFrame:
    """One row per arm, seed and epoch from the long metrics table of a run.

    Columns: loss, perplexity, accuracy (all validation samples), loss_pick and loss_report (parts of them; runs of
    earlier versions have no parts, and all samples stand for each), train_loss, gap (train minus validation loss), and
    samples, tokens, steps, tau of the epoch; tokens_read, steps_taken, seconds_scoring, seconds_training, seconds and
    flops are summed from the start. Epoch 0 is the student before training.
    """
    before, behind = (metrics["split"].map(names).fillna("") for names in (_BEFORE, _BEHIND))
    table = (
        metrics.assign(name=before + metrics["name"] + behind)
        .pivot_table(index=["arm", "seed", "epoch"], columns="name", values="value", aggfunc="last")
        .reindex(columns=_COLUMNS)
        .sort_index()
    )
    costs = ["tokens", "steps", "seconds_scoring", "seconds_training", "flops_scoring", "flops_training"]
    read = table[costs].fillna(0.0).groupby(level=["arm", "seed"]).cumsum()
    table["tokens_read"], table["steps_taken"] = read["tokens"], read["steps"]
    table["seconds_scoring"], table["seconds_training"] = read["seconds_scoring"], read["seconds_training"]
    table["seconds"] = read["seconds_scoring"] + read["seconds_training"]
    unknown = table["flops_training"].isna() & (table.index.get_level_values("epoch") > 0)
    table["flops"] = (read["flops_scoring"] + read["flops_training"]).mask(unknown)
    for part in ("loss_pick", "loss_report"):
        table[part] = table[part].fillna(table["loss"])
    table["gap"] = table["train_loss"] - table["loss"]
    return table.reset_index()


_BEFORE, _BEHIND = {"train": "train_"}, {"pick": "_pick", "report": "_report"}  # what a split adds to a name
_COLUMNS = ["loss", "perplexity", "accuracy", "loss_pick", "loss_report", "train_loss", "samples", "tokens", "steps"]
_COLUMNS += ["tau", "seconds_scoring", "seconds_training", "flops_scoring", "flops_training"]


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


def stopped_early(last: pd.DataFrame, epochs: int, done: bool) -> list[int]:
    """The epochs after which dynamic pruning ran out of samples, one for each seed in which it did.

    While the run goes on, only seeds in which another arm went further are known to have.
    """
    of_dynamic = last[last["arm"] == "dynamic"]
    furthest = of_dynamic["seed"].map(last.groupby("seed")["epoch"].max())
    early = of_dynamic[(of_dynamic["epoch"] < epochs) & (done | (of_dynamic["epoch"] < furthest))]
    return sorted(early["epoch"].tolist())


def decimals(values: Iterable[float], figures: int = 2) -> int:
    """How many decimals show at least `figures` figures of the smallest value: 2 at the least, 5 at the most."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return 2
    return min(max(2, figures - 1 - math.floor(math.log10(min(sizes)))), 5)
