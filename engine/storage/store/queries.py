"""The arguments of queries, and the results that are no table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scoring:
    """One ranking: every sample of a run by one metric, scored by one arm and seed in one epoch.

    Epoch 1 is before any training, which every arm and seed shares: arm "base", seed -1. `Store.scoring` does so.
    """

    run: str
    arm: str
    seed: int
    epoch: int
    metric: str


@dataclass(frozen=True)
class Facet:
    """Only samples whose `field` is `value`; with `negate` only the others.

    Several values of one field are alternatives; facets of different fields, and negated ones, must all hold.
    """

    field: str
    value: str
    negate: bool = False


@dataclass(frozen=True)
class SampleQuery:
    """Which samples of a ranking, in which order, and the threshold.

    A sample is kept if its value is above `tau` (strictly; in float64), unless a person decided otherwise: `overrides`
    holds (content id, "keep" or "prune"). Without a `tau` everything is kept that is not pruned by hand.
    `low` and `high` are included; `search` is a substring of instruction, input, response or system text, ignoring
    case.
    """

    scoring: Scoring
    descending: bool = True
    tau: float | None = None
    show: Literal["all", "kept", "pruned"] = "all"
    low: float | None = None
    high: float | None = None
    search: str = ""
    facets: tuple[Facet, ...] = ()
    by_hand: Literal["", "any", "keep", "prune"] = ""
    overrides: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Count:
    samples: int
    tokens: int  # of prompt and response together


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many values lie in each of the equal bins from `low` to `high` (percentiles 0.5 and 99.5), the last closed.

    `below` and `above` count what lies outside, `missing` the NaNs. `filtered_counts` counts what
    a query lets through, bin by bin, and equals `counts` without one. If every value is NaN every count is 0.
    """

    edges: NDArray[np.float64]  # (bins + 1,)
    counts: NDArray[np.int64]  # (bins,)
    filtered_counts: NDArray[np.int64]  # (bins,)
    below: int
    above: int
    low: float
    high: float
    minimum: float
    maximum: float
    missing: int
