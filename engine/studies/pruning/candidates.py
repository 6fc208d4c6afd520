"""What the arms of a study choose from: every ranking, filter and grouping of the training samples that they name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.config.arms import ArmSettings
from engine.config.pruning import DynamicPruningRecipe
from engine.config.rankings import FIELD, METRICS, MODEL_RANKINGS, STATE_RANKINGS
from engine.data.samples import EncodedSample
from engine.data.sources import Row
from engine.pruning import geometry
from engine.pruning.duplicates import near_duplicates, similar_states
from engine.pruning.filters import outliers, unknown_to_teacher
from engine.pruning.instruction_scores import band, by_states, cluster_distance, cluster_labels, response_length

Floats = NDArray[np.float64]
Scores = Mapping[str, NDArray[np.floating]]

SEED = 0  # of clusters, forests and hashes, which all seeds of a run share
CLUSTERS = "clusters"
PASS = "pass"
STATE_FILTERS = {"similar_states", "outliers"}
_PASS_RANKINGS = {*METRICS, *STATE_RANKINGS, "student_band", "ifd"}


@dataclass(frozen=True)
class Cost:
    """What choosing took."""

    seconds: float = 0.0
    flops: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.flops + other.flops)


@dataclass
class Candidates:
    """The n training samples; arrays are (n,), in their order. `costs` belong to what has the same name."""

    lengths: NDArray[np.int64]  # tokens of prompt and response
    rankings: dict[str, Floats] = field(default_factory=dict)
    left_out: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    clusters: NDArray[np.int64] | None = None
    costs: dict[str, Cost] = field(default_factory=dict)

    def cost_of(self, arm: ArmSettings, metric: str) -> Cost:
        """What an arm has cost before its first step; what several arms use is charged to each of them."""
        used = [*arm.selection.weights(metric), *filter_names(arm)]
        used += [CLUSTERS] * (arm.selection.spread == "clusters") + [PASS] * needs_pass(arm, metric)
        return sum((self.costs.get(name, Cost()) for name in used), Cost())


def filter_names(arm: ArmSettings) -> list[str]:
    """Each filter of an arm with its value, which arms that agree share."""
    return [f"{name} {value:g}" for name, value in arm.selection.leave_out.used.items()]


def needs_states(arm: ArmSettings, metric: str) -> bool:
    """Whether an arm looks at the teacher's mean states."""
    selection = arm.selection
    return bool(
        STATE_RANKINGS.keys() & selection.weights(metric).keys()
        or selection.spread == "clusters"
        or STATE_FILTERS & selection.leave_out.used.keys()
    )


def needs_pass(arm: ArmSettings, metric: str) -> bool:
    """Whether both models must have read every sample before an arm can choose."""
    known = "unknown_to_teacher" in arm.selection.leave_out.used
    return bool(known or needs_states(arm, metric) or _PASS_RANKINGS & arm.selection.weights(metric).keys())


class CandidateMaker:
    """Makes the candidates of a recipe from what has been measured; each ranking, filter and grouping once."""

    def __init__(
        self,
        recipe: DynamicPruningRecipe,
        samples: Sequence[EncodedSample],
        texts: Sequence[Row],
        states: NDArray[np.float32],
    ) -> None:
        """`texts` are those of `samples`; `states` (n, 64) may be empty if no arm needs them."""
        self.recipe = recipe
        self.samples = samples
        self.texts = texts
        self.states = states
        self.made = Candidates(np.array([sample.length for sample in samples], dtype=np.int64))

    def make(self, measured: Scores, costs: Mapping[str, Cost]) -> Candidates:
        """`measured` holds the metrics of the pass and the rankings that models were asked for; `costs` theirs."""
        self.made.costs.update(costs)
        for name in self.recipe.rankings:
            if name in METRICS or name in MODEL_RANKINGS:
                self.made.rankings[name] = measured[name].astype(np.float64)
            elif name != "random":
                self.made.rankings[name] = self._timed(name, partial(self._ranking, name, measured))
        for arm in self.recipe.entries:
            self._filters(arm, measured)
            if arm.selection.spread == "clusters" and self.made.clusters is None:
                self.made.clusters = self._timed(CLUSTERS, lambda: cluster_labels(self.states, self._count(), SEED))
        return self.made

    def _timed(self, name: str, make: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        made = make()
        self.made.costs[name] = Cost(time.perf_counter() - started)
        return made

    def _ranking(self, name: str, measured: Scores) -> Floats:
        if name == "length":
            return response_length(np.array([sample.response_length for sample in self.samples]))
        if name == "student_band":
            return band(measured["nll_student"])
        if name.startswith(FIELD):
            return field_values(name.removeprefix(FIELD), self.texts)
        return self._of_states(name)

    def _of_states(self, name: str) -> Floats:
        clusters, most = self._count(), most_selected(self.recipe, len(self.samples))
        match name:
            case "cluster_far":
                return cluster_distance(self.states, clusters, SEED)
            case "cluster_near":
                return -cluster_distance(self.states, clusters, SEED)
            case "inliers":
                return by_states(lambda known: geometry.inliers(known, SEED), self.states)
            case "herding":
                return by_states(lambda known: geometry.herding(known, most), self.states)
            case _:
                return by_states(lambda known: geometry.k_center(known, most, SEED), self.states)

    def _count(self) -> int:
        """Clusters, of which there cannot be more than samples."""
        return min(self.recipe.scoring.clusters, int(np.isfinite(self.states).all(1).sum()))

    def _filters(self, arm: ArmSettings, measured: Scores) -> None:
        for name, (kind, value) in zip(filter_names(arm), arm.selection.leave_out.used.items(), strict=True):
            if name in self.made.left_out:
                continue
            self.made.left_out[name] = self._timed(name, partial(self._left_out, kind, value, measured))

    def _left_out(self, kind: str, value: float, measured: Scores) -> NDArray[np.bool_]:
        match kind:
            case "near_duplicates":
                return near_duplicates(self._whole_texts(), value, SEED)
            case "similar_states":
                return similar_states(self.states, value)
            case "unknown_to_teacher":
                return unknown_to_teacher(measured["nll_teacher"], value)
            case _:
                return outliers(self.states, value, SEED)

    def _whole_texts(self) -> list[str]:
        return [
            "\n".join(text for _, text in row["turns"])
            if row["turns"]
            else "\n".join(filter(None, (row["system"], row["instruction"], row["input"], row["response"])))
            for row in self.texts
        ]


def most_selected(recipe: DynamicPruningRecipe, samples: int) -> int:
    """How many samples a greedy selection must order: those of the largest budget, with room for short ones."""
    budgets = [budget for arm in recipe.entries if (budget := recipe.budget_of(arm)) and budget.fraction < 1]
    largest = max((budget.fraction for budget in budgets), default=1.0)
    return min(samples, math.ceil(2 * largest * samples))


def field_values(column: str, texts: Iterable[Row]) -> Floats:
    """The numbers in a column that the models do not read; NaN for what is no number.

    Raises WinnowError if there is no such column, or no number in it.
    """
    rows = list(texts)
    known = {name for row in rows for name in row["fields"]}
    if column not in known:
        raise WinnowError(
            f"An arm ranks by field:{printable(column)}, and the source has no such column beside those that are read; "
            f"there are {', '.join(map(printable, sorted(known))) or 'none'}."
        )
    values = np.array([_number(row["fields"].get(column, "")) for row in rows])
    if not np.isfinite(values).any():
        raise WinnowError(f"An arm ranks by field:{printable(column)}, and no value of that column is a number.")
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
