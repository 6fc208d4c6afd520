"""What a run of dynamic pruning has measured: its arms epoch by epoch, where those of finished seeds ended, and which
ways to choose pay."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from engine.analysis import pruning, verdicts
from engine.analysis.intervals import Interval
from engine.analysis.picks import Pick, pick
from engine.analysis.verdicts import ArmFacts
from engine.common.errors import WinnowError
from engine.common.formats import count
from engine.config.kinds import PRUNING
from engine.config.pruning import DynamicPruningRecipe
from engine.storage.ledger import Ledger, Run

if TYPE_CHECKING:
    from engine.storage.store import Store
    from engine.storage.workspace import Workspace

COMPARED = "loss_report"
"""The loss that arms are compared by: that of the validation samples on which nothing was chosen."""

_COLUMNS = ["arm", "seed", "tokens_read", "seconds", "flops", "loss_pick", COMPARED]


@dataclass(frozen=True)
class Results:
    """The metrics of a run, one row per arm, seed and epoch, and where the arms of its finished seeds ended."""

    run: Run
    recipe: DynamicPruningRecipe
    facts: list[ArmFacts]  # in the order of the recipe
    table: pd.DataFrame  # of `pruning.per_epoch`
    finished: list[int]  # seeds
    last: pd.DataFrame  # rows of `table`
    curve: pd.DataFrame  # of `random_curve`
    usage: pd.DataFrame  # of `Store.usage`
    samples: int  # that the arms choose from

    @cached_property
    def ends(self) -> pd.DataFrame:
        """Of `last`, the columns that arms are compared by."""
        return self.last[_COLUMNS]

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """`verdicts.verdicts` of the finished seeds."""
        return verdicts.verdicts(self.ends, self.curve, self.facts, COMPARED)

    @cached_property
    def headline(self) -> str:
        """`verdicts.headline`: which way to choose pays, and by how much."""
        return verdicts.headline(self.verdicts)

    @cached_property
    def pick(self) -> Pick | None:
        """What is recommended; None if no arm is random, or none has ended."""
        return pick(self.ends, self.curve, self.facts) if self.random and len(self.last) else None

    @cached_property
    def place(self) -> pd.Series:
        """`verdicts.place`: where each arm that chooses stands between random (0) and the oracle (1)."""
        return verdicts.place(self.verdicts, self.against_random(self._of_kind("oracle")))

    @property
    def random(self) -> str:
        """The random arm that the others are compared with; "" if there is none."""
        return verdicts.random_arm(self.facts)

    def against_random(self, arm: str) -> Interval:
        """The final loss of an arm minus that of random choice at the same tokens, over the finished seeds."""
        return verdicts.tested(self.differences(arm))[0]

    def differences(self, arm: str) -> pd.Series:
        """The same, seed by seed."""
        return verdicts.against_random(self.ends, self.curve, arm, self.random, COMPARED)

    def _of_kind(self, kind: str) -> str:
        return next((arm.name for arm in self.facts if arm.kind == kind), "")

    def early_stop(self) -> str:
        """In how many seeds dynamic pruning stopped for want of samples, and when; "" if in none."""
        epochs = self.recipe.training.epochs
        early = pruning.stopped_early(self.last, epochs, self.run.state == "done")
        if not early:
            return ""
        after = " and ".join(map(str, sorted(set(early))))
        return (
            f"In {count(len(early), 'seed')} dynamic stopped after epoch {after} of {epochs}: "
            f"fewer than {self.recipe.pruning.min_samples:,} samples were above the threshold."
        )

    def reached(self) -> pd.DataFrame:
        """Where the arms of the finished seeds ended, or how far they have come while no seed is finished."""
        return self.last if len(self.last) else pruning.reached(self.table)


def results_of(store: Store, run: Run) -> Results | None:
    """The results of a run of kind PRUNING; None while no epoch of it has been trained."""
    recipe = run.recipe_as(PRUNING)
    table = pruning.per_epoch(store.metrics(run.id))
    if not (table["epoch"] > 0).any():
        return None
    facts = [ArmFacts(arm.name, arm.kind) for arm in recipe.entries]
    ended = pruning.ends(table, recipe.training.epochs, recipe.seeds, run.state == "done")
    finished = pruning.finished_seeds(ended, recipe.seeds, recipe.arm_names)
    counted = store.splits(run.id).set_index("split")["samples"]
    # Arms are compared over the same seeds: what has ended of a seed waits until all of it has.
    last = ended[ended["seed"].isin(finished)]
    curve = random_curve(table, facts)
    return Results(run, recipe, facts, table, finished, last, curve, store.usage(run.id), int(counted.get("train", 0)))


def open_results(workspace: Workspace, ledger: Ledger, run: Run) -> Results:
    """The results of a run without the app, read from its parts.

    Raises WinnowError if it has no arms, or none of their epochs has been trained.
    """
    from engine.storage.store import Store  # opening a database takes a moment, and the app has one open

    if run.kind != PRUNING.name:
        raise WinnowError(f"Run {run.id} has no arms to compare: it is of the kind {run.kind}.")
    store = Store.in_memory(workspace, run.id)
    store.sync(ledger)
    found = results_of(store, run)
    if found is None:
        raise WinnowError(f"No epoch of run {run.id} has been trained yet; ask again later.")
    return found


def random_curve(table: pd.DataFrame, facts: list[ArmFacts]) -> pd.DataFrame:
    """Random choice at every budget that was measured: rows of `table` after the first epoch, sorted by tokens.

    The learning rate is constant and random subsets are drawn anew, so the state after each epoch is what a run of that
    budget would end with. Everything is what random choice reads if it reads all; its rows bear the random arm's name.
    """
    random = verdicts.random_arm(facts)
    names = {arm.name: random for arm in facts if arm.kind == "everything" or arm.name == random}
    rows = table.loc[table["arm"].isin(names) & (table["epoch"] > 0) & bool(random), _COLUMNS]
    return rows.assign(arm=rows["arm"].map(names)).sort_values(["seed", "tokens_read"], kind="stable")
