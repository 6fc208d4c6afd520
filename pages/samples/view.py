"""The controls of the Samples page: which scores, which threshold, and which samples are listed.

Every widget here is bound to the address, so its key is also the name of a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import streamlit as st

from engine.analysis.rankings import metric_of, pruning_recipe, threshold_of
from engine.common import formats
from engine.common.text import one_line
from engine.config.rankings import RANKINGS, SIGNED_METRICS
from engine.storage.ledger import Override, Run
from engine.storage.store import Facet, SampleQuery, Scoring, Store

VALUES = 50  # a field with more values than this is text, not a category
ANY_DATA = "any data"
AROUND = "around the threshold"
SHOW = ["all", AROUND, "kept", "pruned"]
OVERRIDES: dict[str, Literal["any", "keep", "prune"]] = {
    "by hand": "any",
    "kept by hand": "keep",
    "pruned by hand": "prune",
}
FILTERS: dict[str, object] = {"q": "", "where": [], "show": "all", "hand": None, "low": None, "high": None}


@dataclass(frozen=True)
class Choice:
    """One ranking: the scores of one epoch of one seed by one metric."""

    run: Run
    scoring: Scoring
    seed: int  # of the epochs after the first, which all seeds share
    descending: bool
    scored: int
    epochs: list[int]

    @property
    def label(self) -> str:
        name = RANKINGS[self.scoring.metric]
        return name if name[:2].isupper() else name[0].upper() + name[1:]


@dataclass(frozen=True)
class Threshold:
    tau: float
    growth: float  # percent an epoch
    own: float  # tau unless another one is set
    origin: str  # where `own` comes from
    coming: list[tuple[int, float]]  # (epoch, tau) of the next epochs
    least: int | None  # the run stops below this many samples


def choose(store: Store, runs: Sequence[Run]) -> Choice | Run:
    """The controls of the first row; the run itself if nothing of it has been scored yet."""
    named = st.query_params.get("rank")
    if named in RANKINGS:  # links may name a metric as recipes do
        st.session_state.setdefault("rank", named)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        by_id = {run.id: run for run in _of_data(runs)}
        ids = list(by_id)
        newest = next((index for index, run_id in enumerate(ids) if len(store.scorings(run_id))), 0)
        selected = st.selectbox(
            "Run", ids, newest, key="run", bind="query-params", on_change=_new_run, args=(store, by_id), width=300,
            help="The newest run that has scores, unless you choose another.",
        )  # fmt: skip
        run = by_id[selected]
        scored = _scored(store, run)
        if not len(scored):
            return run
        metrics = _metrics(scored)
        own = metric_of(run)
        metric = st.selectbox(
            "Rank by", metrics, metrics.index(own) if own in metrics else 0, format_func=RANKINGS.__getitem__,
            key="rank", bind="query-params", on_change=_new_scores, width=300,
        )  # fmt: skip
        order = st.segmented_control(
            "Order", ["high first", "low first"], key="order", default="high first", required=True,
            bind="query-params", on_change=first_page,
        )  # fmt: skip
        seeds = sorted({int(seed) for seed in scored["seed"] if seed >= 0})
        seed = seeds[0] if seeds else -1
        if len(seeds) > 1:
            seed = st.selectbox("Seed", seeds, key="seed", bind="query-params", on_change=first_page, width=90)
        mine = scored[(scored["metric"] == metric) & (scored["seed"].isin([-1, seed]))]
        epochs = sorted({int(epoch) for epoch in mine["epoch"]})
        epoch = epochs[0]
        if len(epochs) > 1:
            epoch = _epoch(epochs)
        scoring = store.scoring(run.id, seed, epoch, metric)
        count = mine[(mine["epoch"] == epoch)]["samples"].max()
    return Choice(run, scoring, seed, order == "high first", int(count), epochs)


def _scored(store: Store, run: Run) -> pd.DataFrame:
    """What can be ranked here: the scores before any training, and those of dynamic pruning in later epochs."""
    scored = store.scorings(run.id)
    return scored[scored["arm"].isin(["base", "dynamic"])]


def _metrics(scored: pd.DataFrame) -> list[str]:
    return [metric for metric in RANKINGS if metric in set(scored["metric"])]


def _of_data(runs: Sequence[Run]) -> Sequence[Run]:
    """The runs on the selected data; there is nothing to select while all runs read the same."""
    sources = {run.id: one_line(str(run.recipe["data"]["source"]).rsplit("/", 1)[-1], 40) for run in runs}
    if len(set(sources.values())) < 2:
        return runs
    names = [ANY_DATA, *dict.fromkeys(sources.values())]
    selected = st.selectbox("Data", names, key="data", bind="query-params", on_change=_new_scores, width=180)
    return runs if selected == ANY_DATA else [run for run in runs if sources[run.id] == selected]


def _epoch(epochs: list[int]) -> int:
    if len(epochs) > 8:
        return int(st.selectbox("Epoch", epochs, key="epoch", bind="query-params", on_change=first_page, width=90))
    epoch = st.segmented_control(
        "Epoch", epochs, default=epochs[0], key="epoch", required=True, bind="query-params", on_change=first_page,
        help="Epoch 1 is scored before any training, so it is the same for every seed.",
    )  # fmt: skip
    return int(epoch)


def expected(store: Store, choice: Choice) -> int:
    """How many samples of the run are to be scored."""
    known = store.splits(choice.run.id)
    return int(known[known["split"] == "train"]["samples"].sum())


def facets(store: Store, run: str) -> pd.DataFrame:
    """The fields one can filter by and compare: those with a handful of values."""
    return store.facets(run, most=VALUES)


def first_page() -> None:
    st.session_state["page"] = 1


def _new_scores() -> None:
    """Thresholds and ranges of one score do not apply to another."""
    first_page()
    for key in ("tau", "low", "high"):
        st.session_state[key] = None


def _new_run(store: Store, runs: Mapping[str, Run]) -> None:
    """A run opens ranked by what it ranks by itself."""
    _new_scores()
    run = runs.get(st.session_state["run"])
    if run is not None and metric_of(run) in _metrics(_scored(store, run)):
        st.session_state["rank"] = metric_of(run)


def threshold(store: Store, choice: Choice) -> Threshold:
    """The threshold as a number to type, and its growth; the handle in the histogram moves the same number."""
    recipe = pruning_recipe(choice.run)
    pruning = recipe.pruning if recipe else None
    own, origin = own_threshold(store, choice)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        typed = st.number_input(
            "Threshold (τ)", value=None, min_value=_least(choice), step=_step(own), format="%.6g", key="tau",
            bind="query-params", placeholder=f"{own:.4g}", on_change=first_page, width=170,
            help="A sample is kept if its score is above this. Drag the handle, or type an exact number.",
        )  # fmt: skip
        growth = st.slider(
            "Growth of τ each epoch (α)", 0.0, 100.0, 100 * pruning.tau_growth if pruning else 10.0, 0.5,
            format="%.3g %%", key="growth", bind="query-params", width=280,
        )  # fmt: skip
        if typed is not None and not math.isclose(typed, own, rel_tol=1e-9):
            st.button(
                f"Back to {origin}, {formats.value(own, 4)}", icon=":material/undo:", type="tertiary", key="own_tau",
                on_click=_set, args=("tau", None),
            )  # fmt: skip
    tau = own if typed is None else typed
    highest = choice.run.provenance.get("tau_max") if pruning and pruning.metric == choice.scoring.metric else None
    last = recipe.training.epochs if recipe else 0
    ahead = min(6, max(3, last - choice.scoring.epoch))
    epoch, coming = choice.scoring.epoch, []
    for step in range(1, ahead + 1) if tau >= 0 else ():  # one below zero cannot grow by a share of itself
        coming.append((epoch + step, min(tau * (1 + growth / 100) ** step, highest or math.inf)))
    return Threshold(tau, growth, own, origin, coming, pruning.min_samples if pruning else None)


def own_threshold(store: Store, choice: Choice) -> tuple[float, str]:
    """The threshold that the run itself used on these scores, else the median."""
    tau = threshold_of(store, choice.run, choice.scoring)
    if tau is not None:
        return tau, "the run's own"
    median = store.quantiles(choice.scoring, [0.5])[0]
    return (0.0 if math.isnan(median) else median), "the median"


def _least(choice: Choice) -> float | None:
    """The lowest threshold that makes sense; None if the score may be below zero."""
    return None if choice.scoring.metric in SIGNED_METRICS else 0.0


def _step(own: float) -> float:
    return 10.0 ** (math.floor(math.log10(abs(own))) - 1) if own else 0.01


def _set(key: str, value: object) -> None:
    st.session_state[key] = value
    first_page()


def set_tau(choice: Choice, tau: float) -> None:
    """Set the threshold that the handle of the histogram was dragged to."""
    least = _least(choice)
    _set("tau", tau if least is None else max(least, tau))


def set_range(low: float | None, high: float | None) -> None:
    _set("low", low)
    _set("high", high)


def filters(store: Store, choice: Choice, tau: float, decided: dict[str, Override]) -> SampleQuery:
    """The controls of the list, as chips that can be cleared one by one or all at once."""
    known = facets(store, choice.run.id)
    options: dict[str, Facet] = {}
    for field, value in zip(known["field"], known["value"], strict=True):
        for negate, verb in ((False, "is"), (True, "is not")):
            name = one_line(f"{field} {verb} {value or '(empty)'}", 80)
            options[name] = Facet(field, value, negate)
    picked = {name: options[name] for name in st.session_state.get("where", []) if name in options}
    held = {facet.field for facet in picked.values() if not facet.negate}
    offered = [name for name, facet in options.items() if name in picked or facet.negate or facet.field not in held]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        search = st.text_input(
            "Search", key="q", type="search", live="300ms", bind="query-params", on_change=first_page, width=260,
            placeholder="words in prompt or response",
        )  # fmt: skip
        selected = []
        if offered:  # a sample has one value of a field, so a second one of the same field is not offered
            selected = st.multiselect(
                "Fields", offered, key="where", bind="query-params", on_change=first_page, width=280,
                placeholder="any value", select_all=False,
            )  # fmt: skip
        low, high = _range()
        show = st.segmented_control(
            "Show", SHOW, key="show", default="all", required=True, bind="query-params", on_change=first_page
        )
        override = None
        if decided:
            override = st.pills("Decided", list(OVERRIDES), key="hand", bind="query-params", on_change=first_page)
        if any(st.session_state.get(key) not in (empty, None) for key, empty in FILTERS.items()):
            st.button("Clear all", icon=":material/filter_alt_off:", type="tertiary", key="clear", on_click=_clear)
    return SampleQuery(
        scoring=choice.scoring,
        descending=choice.descending,
        tau=tau,
        show="kept" if show == "kept" else "pruned" if show == "pruned" else "all",
        low=low,
        high=high,
        search=search,
        facets=tuple(options[name] for name in selected),
        by_hand=OVERRIDES.get(override or "", ""),
        overrides=tuple((sample.content_id, sample.decision) for sample in decided.values() if sample.decision),
    )


def _range() -> tuple[float | None, float | None]:
    """The range that a brush in the histogram sets, as two numbers that can be typed."""
    with st.popover("Range", icon=":material/straighten:"):
        low, high = (
            st.number_input(
                label, value=None, format="%.6g", key=key, bind="query-params", on_change=first_page, placeholder=most
            )
            for label, key, most in (("From", "low", "lowest"), ("To", "high", "highest"))
        )
        st.caption("Or drag across the histogram; a click beside the handle clears it.")
    if low is not None or high is not None:
        ends = [
            formats.value(end, 4) if end is not None else name for end, name in ((low, "lowest"), (high, "highest"))
        ]
        st.button(
            f"{ends[0]} to {ends[1]}", icon=":material/close:", key="clear_range", help="Clear this range",
            on_click=set_range, args=(None, None),
        )  # fmt: skip
    return low, high


def _clear() -> None:
    for key, empty in FILTERS.items():
        st.session_state[key] = empty
    first_page()
