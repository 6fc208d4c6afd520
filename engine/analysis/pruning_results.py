"""What a run of dynamic pruning has measured: its arms epoch by epoch, and where those of finished seeds ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from engine.analysis import pruning
from engine.common.formats import count
from engine.config.kinds import PRUNING
from engine.config.pruning import DynamicPruningRecipe
from engine.storage.ledger import Run

if TYPE_CHECKING:
    from engine.storage.store import Store


@dataclass(frozen=True)
class Results:
    """The metrics of a run, one row per arm, seed and epoch, and where the arms of its finished seeds ended."""

    run: Run
    recipe: DynamicPruningRecipe
    table: pd.DataFrame  # of `pruning.per_epoch`
    finished: list[int]  # seeds
    last: pd.DataFrame  # rows of `table`
    usage: pd.DataFrame  # of `Store.usage`
    samples: int  # that the arms choose from

    def early_stop(self) -> str:
        """In how many seeds dynamic pruning stopped for want of samples, and when; "" if in none."""
        epochs = self.recipe.training.epochs
        early = pruning.stopped_early(self.last, epochs, self.run.state == "done")
        if not early:
            return ""
        after = " and ".join(map(str, sorted(set(early))))
        return (
            f"In {count(len(early), 'seed')} it stopped after epoch {after} of {epochs}: "
            f"fewer than {self.recipe.pruning.min_samples:,} samples were above the threshold."
        )

    def cost(self) -> pd.DataFrame:
        """`pruning.cost` of the finished seeds, or of what there is so far."""
        return pruning.cost(self.last if len(self.last) else pruning.reached(self.table))


def results_of(store: Store, run: Run) -> Results | None:
    """The results of a run of kind PRUNING; None while no epoch of it has been trained."""
    recipe = run.recipe_as(PRUNING)
    table = pruning.per_epoch(store.metrics(run.id))
    if not (table["epoch"] > 0).any():
        return None
    ended = pruning.ends(table, recipe.training.epochs, recipe.seeds, run.state == "done")
    finished = pruning.finished_seeds(ended, recipe.seeds, recipe.arms)
    counted = store.splits(run.id).set_index("split")["samples"]
    # Arms are compared over the same seeds: what has ended of a seed waits until all of it has.
    last = ended[ended["seed"].isin(finished)]
    return Results(run, recipe, table, finished, last, store.usage(run.id), int(counted.get("train", 0)))
