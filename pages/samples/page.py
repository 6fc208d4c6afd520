"""Samples: which samples matter, and where is the threshold?"""

from __future__ import annotations

from functools import partial

import streamlit as st

from pages.shared import session
from pages.shared.escape import escape_markdown

st.title("Which samples matter, and where is the threshold?", anchor=False)

from engine.analysis import model_pairs, rankings, run_labels, samples
from engine.storage.ledger import Run
from engine.storage.store import SampleQuery
from pages.samples import breakdown, download, drawer, listing, overrides, status, view
from pages.shared import copy_link, histogram, run_progress

runs = session.scored_runs()
if not runs:
    status.nothing()
    st.stop()

store, ledger = session.store(), session.ledger()
choice = view.choose(store, runs)
if isinstance(choice, Run):
    status.to_come(choice)
    st.stop()

st.caption(escape_markdown(run_labels.subject(choice.run)))
run_progress.follow(choice.run)

# The answer stands first; the controls it depends on are drawn into their places below it.
answer, chart, handles, filters, ranked = (st.container() for _ in range(5))
decided = ledger.overrides()
with handles:
    threshold = view.threshold(store, choice)
with filters:
    query = view.filters(store, choice, threshold.tau, decided)

total, matching = store.count(SampleQuery(choice.scoring)), store.count(query)
bins = store.histogram(choice.scoring, query=query)
by_hand = histogram.decided_by_hand(store, query)
taus = histogram.grid(bins)
steps = [tau for _, tau in threshold.coming]
now, *rest = histogram.counts(store, choice.scoring, [threshold.tau, *steps, *taus], by_hand)

with answer:
    st.subheader(samples.kept(now, total, len(by_hand)), anchor=False)
    origin = samples.threshold(threshold.tau, threshold.own, threshold.origin)
    st.text(f"{origin} {samples.coming(rest[: len(steps)], threshold.growth, threshold.least)}")
    for remark in (
        samples.partial(choice.scored, view.expected(store, choice)),
        samples.missing(bins.missing),
        samples.approximate(rankings.pruning_recipe(choice.run), choice.scoring.epoch),
        escape_markdown(model_pairs.own_logits(choice.run.provenance)),
    ):
        if remark:
            st.caption(remark)

with chart:
    histogram.draw(
        bins, taus, rest[len(steps) :], now, total.samples,
        tau=threshold.tau, low=query.low, high=query.high, coming=threshold.coming,
        axis=f"{choice.label}, {samples.unit(choice.scoring.metric)}",
        filtered=matching.samples < total.samples,
        on_tau=partial(view.set_tau, choice), on_range=view.set_range,
    )  # fmt: skip
    session.explain(
        "Each bar is a group of samples. The further right it stands, the more teacher and student disagree about "
        "them, and the more there is to learn from them. Blue stays in the training set, hatched orange is left out. "
        "The dotted lines show where the threshold would be in the coming epochs."
    )

with ranked:
    st.text(samples.listed(matching, total, query, choice.label))
    if matching.samples:
        around = st.session_state.get("show") == view.AROUND
        start = listing.offset(store, query, matching.samples, around=around)
        rows = store.page(query, start, listing.ROWS)
        listing.draw(store, choice, query, rows, bins.high, drawer.DRAWER.row(), drawer.DRAWER.open)
        if not around:
            listing.numbers(matching.samples)
    with st.container(horizontal=True, vertical_alignment="center"):
        download.draw(query)
        if not session.read_only():
            overrides.draw(store, query, matching.samples, decided)
        copy_link.draw(key="link", also={"run": choice.run.id})

breakdown.draw(store, choice, threshold.tau)
drawer.open_if_asked(choice, query, answer)
