"""What a run ranks its samples by, which of its scores to look at, and where a value stands among them."""

from __future__ import annotations

from dataclasses import dataclass

from engine.config.kinds import KINDS, PRUNING
from engine.config.pruning import DynamicPruningRecipe
from engine.storage.ledger import Run
from engine.storage.store import Scoring, Store


def pruning_recipe(run: Run) -> DynamicPruningRecipe | None:
    """The recipe of a run of dynamic pruning; None for a run of another kind."""
    return run.recipe_as(PRUNING) if run.kind == PRUNING.name else None


def metric_of(run: Run) -> str:
    """The metric a run ranks by."""
    recipe = pruning_recipe(run)
    return recipe.pruning.metric if recipe else "kl"


def base_metric(store: Store, run: Run) -> str:
    """`metric_of` a run that has scored every sample by it before any training; "" if it has not."""
    if not KINDS[run.kind].scores_text:
        return ""
    metric, table = metric_of(run), store.scorings(run.id)
    return metric if ((table["epoch"] == 1) & (table["metric"] == metric)).any() else ""


def scoring_of(store: Store, run: Run, student: str, metric: str) -> Scoring | None:
    """The scores by the student `base`, or the last ones of the first seed by `dynamic`; None if there are none."""
    table = store.scorings(run.id)
    table = table[table["metric"] == metric]
    if student == "base":
        return store.scoring(run.id, -1, 1, metric) if (table["arm"] == "base").any() else None
    seed = run.recipe.get("seeds", [0])[0]
    epochs = table.loc[(table["arm"] == "dynamic") & (table["seed"] == seed), "epoch"]
    return store.scoring(run.id, seed, int(epochs.max()), metric) if len(epochs) else None


def threshold_of(store: Store, run: Run, scoring: Scoring) -> float | None:
    """The threshold that the run itself used on these scores; None if it used none."""
    if run.kind != PRUNING.name or metric_of(run) != scoring.metric:
        return None
    steps = store.thresholds(run.id)
    steps = steps[(steps["epoch"] == scoring.epoch) & ((steps["seed"] == scoring.seed) | (scoring.seed < 0))]
    first = run.provenance.get("tau") if scoring.epoch == 1 else None
    return float(steps["tau"].iloc[0]) if len(steps) else first


@dataclass(frozen=True)
class Place:
    """Where a value stands among the samples of one ranking."""

    rank: int  # from 1; the sample itself is one more than `of`
    of: int
    tau: float | None  # the run's own threshold there


def place(store: Store, run: Run, scoring: Scoring, value: float) -> Place:
    """The rank of a value from high, and the threshold the run used on those scores."""
    above = store.kept_counts(scoring, [value])[0].samples
    histogram = store.histogram(scoring, bins=1)
    of = int(histogram.counts.sum()) + histogram.below + histogram.above
    return Place(above + 1, of, threshold_of(store, run, scoring))
