"""The histogram in which the threshold is dragged, and the counts behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from engine.storage.store import Count, Histogram, SampleQuery, Scoring, Store

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "winnow_histogram",
    html='<div class="histogram">\n<svg role="group" aria-label="Histogram"></svg>\n<div class="tip"></div></div>',
    css=(_HERE / "histogram.css").read_text(encoding="utf-8"),
    js=(_HERE / "histogram.js").read_text(encoding="utf-8"),
)
STEPS = 240  # about how many thresholds the handle can be set to; one to three pixels each


def grid(histogram: Histogram) -> list[float]:
    """Round thresholds over the range of the histogram, in equal steps of 1, 2 or 5 times a power of ten."""
    span = histogram.high - histogram.low
    if not span > 0:
        return [histogram.low]
    rough = span / STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * (1 - 1e-9))
    first, last = math.floor(histogram.low / step), math.ceil(histogram.high / step)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(index * step, digits) for index in range(first, last + 1)]


def decided_by_hand(store: Store, query: SampleQuery) -> pd.DataFrame:
    """The samples of this ranking that people decided about."""
    return store.page(SampleQuery(query.scoring, by_hand="any", overrides=query.overrides), 0, len(query.overrides))


def counts(store: Store, scoring: Scoring, taus: Sequence[float], by_hand: pd.DataFrame) -> list[Count]:
    """How many samples and tokens each threshold keeps, with what people decided by hand.

    `by_hand` has columns value, decision and length of the samples that people decided about.
    """
    counted = store.kept_counts(scoring, list(taus))
    if not len(by_hand):
        return counted
    at = np.asarray(taus)[:, None]
    values, lengths = by_hand["value"].to_numpy(dtype=float), by_hand["length"].to_numpy(dtype=np.int64)
    above = values[None, :] > at
    keep, prune = (by_hand["decision"].to_numpy() == decision for decision in ("keep", "prune"))
    change = (keep & ~above).astype(np.int64) - (prune & above).astype(np.int64)
    return [
        Count(count.samples + int(samples), count.tokens + int(tokens))
        for count, samples, tokens in zip(counted, change.sum(axis=1), (change * lengths).sum(axis=1), strict=True)
    ]


def draw(
    histogram: Histogram,
    taus: Sequence[float],
    kept: Sequence[Count],
    now: Count,
    total: int,
    *,
    tau: float,
    low: float | None,
    high: float | None,
    coming: Sequence[tuple[int, float]],
    axis: str,
    filtered: bool,
    on_tau: Callable[[float], None],
    on_range: Callable[[float | None, float | None], None],
) -> None:
    """Draw it. `on_tau` gets the threshold that the handle was dragged to, `on_range` the range that was brushed."""

    def drag() -> None:
        on_tau(float(st.session_state["histogram"].tau))

    def brush() -> None:
        ends = st.session_state["histogram"].range
        on_range(ends["low"], ends["high"])

    _mount(
        key="histogram",
        data={
            "edges": [float(edge) for edge in histogram.edges],
            "counts": [int(count) for count in histogram.counts],
            "filtered": [int(count) for count in histogram.filtered_counts] if filtered else None,
            "below": int(histogram.below),
            "above": int(histogram.above),
            "minimum": None if math.isnan(histogram.minimum) else float(histogram.minimum),
            "maximum": None if math.isnan(histogram.maximum) else float(histogram.maximum),
            "taus": list(taus),
            "kept": [count.samples for count in kept],
            "now": now.samples,
            "total": total,
            "tau": tau,
            "low": low,
            "high": high,
            "coming": [list(pair) for pair in coming],
            "axis": axis,
        },
        on_tau_change=drag,
        on_range_change=brush,
    )
