"""Samples: which samples matter, and where do we cut?"""

from __future__ import annotations

import streamlit as st

from pages.shared import session
from pages.shared.escape import escape_markdown

st.title("Which samples matter, and where do we cut?", anchor=False)

from engine.analysis import run_labels, samples
from engine.storage.ledger import Run
from engine.storage.store import SampleQuery
from pages.samples import breakdown, download, drawer, overrides, view
from pages.samples import listing as samples_list
from pages.shared import copy_link, waiting
from pages.shared import histogram as samples_cut

runs = session.scored_runs()
if not runs:
    waiting.no_runs()
    st.stop()

store, ledger = session.store(), session.ledger()
choice = view.choose(store, runs)
if isinstance(choice, Run):
    waiting.not_scored(choice)
    st.stop()

st.caption(escape_markdown(run_labels.subject(choice.run)))
waiting.still_running(choice.run, waiting.rows_scored(choice.run.id))

# The answer stands first; the controls it depends on are drawn into their places below it.
answer, picture, handles, filters, listing = (st.container() for _ in range(5))
decided = ledger.overrides()
with handles:
    threshold = view.threshold(store, choice)
with filters:
    query = view.filters(store, choice, threshold.tau, decided)

total, matching = store.count(SampleQuery(choice.scoring)), store.count(query)
histogram = store.histogram(choice.scoring, query=query)
by_hand = samples_cut.decided_by_hand(store, query)
taus = samples_cut.grid(histogram)
steps = [tau for _, tau in threshold.coming]
now, *rest = samples_cut.counts(store, choice.scoring, [threshold.tau, *steps, *taus], by_hand)

with answer:
    st.subheader(samples.kept(now, total, len(by_hand)), anchor=False)
    cut = samples.cut(threshold.tau, threshold.own, threshold.origin)
    st.text(f"{cut} {samples.coming(rest[: len(steps)], threshold.growth, threshold.least)}")
    for remark in (
        samples.partial(choice.scored, view.expected(store, choice)),
        samples.missing(histogram.missing),
    ):
        if remark:
            st.caption(remark)

with picture:
    samples_cut.draw(
        histogram, taus, rest[len(steps) :], now, total.samples,
        tau=threshold.tau, low=query.low, high=query.high, coming=threshold.coming,
        axis=f"{choice.label}, {samples.unit(choice.scoring.metric)}",
        filtered=matching.samples < total.samples,
        on_cut=view.set_tau, on_range=view.set_range,
    )  # fmt: skip
    session.explain(
        "Each bar is a group of samples. The further right it stands, the more teacher and student disagree about "
        "them, and the more there is to learn from them. Blue stays in the training set, hatched orange is left out. "
        "The dotted lines show where the bar would stand in the coming epochs."
    )

with listing:
    st.text(samples.listed(matching, total, query, choice.label))
    if matching.samples:
        around = st.session_state.get("show") == view.AROUND
        start = samples_list.offset(store, query, matching.samples, around=around)
        rows = store.page(query, start, samples_list.ROWS)
        opened = drawer.DRAWER.row()
        samples_list.draw(store, choice, query, rows, histogram.high, opened, drawer.DRAWER.open)
        if not around:
            samples_list.numbers(matching.samples)
    with st.container(horizontal=True, vertical_alignment="center"):
        download.draw(query)
        if not session.read_only():
            overrides.draw(store, query, matching.samples, decided)
        copy_link.draw(key="link", also={"run": choice.run.id})

breakdown.draw(store, choice, threshold.tau)
drawer.open_if_asked(choice, query, answer)
