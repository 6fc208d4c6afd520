"""Samples: which samples matter, and where do we cut?"""

from __future__ import annotations

import streamlit as st

from pages.parts import context

context.framed()
st.title("Which samples matter, and where do we cut?", anchor=False)

from engine.ledger import Run  # noqa: E402
from engine.store import SampleQuery  # noqa: E402
from pages.parts import (  # noqa: E402
    copy_link,
    run_words,
    samples_cut,
    samples_drawer,
    samples_finds,
    samples_hand,
    samples_list,
    samples_view,
    samples_waiting,
    samples_words,
    takeaway,
    words,
)

runs = context.scored_runs()
if not runs:
    samples_waiting.no_runs()
    st.stop()

store, ledger = context.store(), context.ledger()
choice = samples_view.choose(store, runs)
if isinstance(choice, Run):
    samples_waiting.not_scored(choice)
    st.stop()

st.caption(words.literal(run_words.subject(choice.run)))
samples_waiting.still_running(choice.run, samples_waiting.rows_scored(choice.run.id))

# The answer stands first; the controls it depends on are drawn into their places below it.
answer, picture, handles, filters, listing = (st.container() for _ in range(5))
decided = ledger.overrides()
with handles:
    threshold = samples_view.threshold(store, choice)
with filters:
    query = samples_view.filters(store, choice, threshold.tau, decided)

total, matching = store.count(SampleQuery(choice.scoring)), store.count(query)
histogram = store.histogram(choice.scoring, query=query)
by_hand = samples_cut.decided_by_hand(store, query)
taus = samples_cut.grid(histogram)
steps = [tau for _, tau in threshold.coming]
now, *rest = samples_cut.counts(store, choice.scoring, [threshold.tau, *steps, *taus], by_hand)

with answer:
    st.subheader(samples_words.kept(now, total, len(by_hand)), anchor=False)
    cut = samples_words.cut(threshold.tau, threshold.own, threshold.origin)
    st.text(f"{cut} {samples_words.coming(rest[: len(steps)], threshold.growth, threshold.least)}")
    for remark in (
        samples_words.partial(choice.scored, samples_view.expected(store, choice)),
        samples_words.missing(histogram.missing),
    ):
        if remark:
            st.caption(remark)

with picture:
    samples_cut.draw(
        histogram, taus, rest[len(steps) :], now, total.samples,
        tau=threshold.tau, low=query.low, high=query.high, coming=threshold.coming,
        axis=f"{choice.label}, {samples_words.unit(choice.scoring.metric)}",
        filtered=matching.samples < total.samples,
        on_cut=samples_view.set_tau, on_range=samples_view.set_range,
    )  # fmt: skip
    context.plain(
        "Each bar is a group of samples. The further right it stands, the more teacher and student disagree about "
        "them, and the more there is to learn from them. Blue stays in the training set, hatched orange is left out. "
        "The dotted lines show where the bar would stand in the coming epochs."
    )

with listing:
    st.text(samples_words.listed(matching, total, query, choice.label))
    if matching.samples:
        around = st.session_state.get("show") == samples_view.AROUND
        start = samples_list.offset(store, query, matching.samples, around=around)
        rows = store.page(query, start, samples_list.ROWS)
        opened = samples_drawer.asked()
        samples_list.draw(store, choice, query, rows, histogram.high, opened, samples_drawer.go)
        if not around:
            samples_list.numbers(matching.samples)
    with st.container(horizontal=True, vertical_alignment="center"):
        takeaway.take_away(query)
        if not context.read_only():
            samples_hand.draw(store, query, matching.samples, decided)
        copy_link.draw(key="link", also={"run": choice.run.id})

samples_finds.draw(store, choice, threshold.tau)
samples_drawer.open_if_asked(choice, query, answer)
