"""The pieces of the overview: what the workspace holds, its findings, and where to go from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import streamlit as st

from engine.analysis import run_labels, verdicts
from engine.analysis.pruning_results import results_of
from engine.analysis.rankings import base_metric
from engine.analysis.tournament import brief
from engine.analysis.wording import listed
from engine.common import formats
from engine.common.text import one_line
from engine.config.kinds import DISTILLATION, KD, KINDS, PRUNING, Kind
from engine.config.rankings import METRICS
from engine.storage.ledger import Run
from engine.storage.store import SampleQuery, Store
from pages.overview import distillation_card, kd_card
from pages.shared import arm_charts, charts, empty, frame, links, session
from pages.shared.arm_styles import styles
from pages.shared.escape import escape_markdown

CHART = 280  # pixels: height of a card's chart
DIVERGENCE = {"kl": "divergence", "kl_response": "divergence over the responses"}


def welcome() -> None:
    """An empty workspace: what Winnow does, and one button that shows it."""
    empty.nothing(
        "Nothing yet. The demo changes that in a few minutes.",
        "Winnow lets a large language model and a small one read the same instructions, measures for every sample how "
        "far the small one is from the large one, and trains the small one only on samples where it still has "
        "something to learn. The demo does all of that on this machine, with instructions that Winnow writes itself: a "
        "tenth of its answers are wrong on purpose, to show what the measure finds and what it cannot distinguish.",
    )
    empty.demo(["demo-kl"], key="start_demo", label="Build the demo", help="Small models, nothing to download.")


def holds(runs: Sequence[Run], store: Store) -> str:
    """What is here, in a sentence or two of Markdown."""
    sizes: dict[str, int] = {}
    for run in runs:
        source = PurePath(str(run.recipe["data"]["source"])).name
        sizes[source] = sizes.get(source) or int(store.splits(run.id)["samples"].sum())
    read = [f"{formats.count(size, 'sample')} of {escape_markdown(source)}" for source, size in sizes.items() if size]
    by_hand = len(session.ledger().overrides())
    sentences = [f"Samples read: {listed(read)}."] * bool(read) + [run_labels.tally(runs)]
    sentences += [f"You have decided about {formats.count(by_hand, 'sample')} by hand."] * bool(by_hand)
    return " ".join(sentences)


def findings_row(runs: Sequence[Run], store: Store) -> None:
    """The findings side by side, two in a row if there are four.

    What the scores show, what pruning by them did, what a teacher makes up for, how good a few learned inputs are.
    """

    def newest(kind: Kind[Any]) -> Run | None:
        return next((run for run in runs if run.kind == kind.name and run.state == "done"), None)

    scored = next((run for run in runs if base_metric(store, run)), None)
    offered = (
        (_concentration, scored),
        (_pruning, newest(PRUNING) if scored else None),
        (kd_card.draw, newest(KD)),
        (distillation_card.draw, newest(DISTILLATION)),
    )
    cards = [(draw, run) for draw, run in offered if run is not None]
    wide = 2 if len(cards) == 4 else 3
    for first in range(0, len(cards), wide):
        row = cards[first : first + wide]
        for (draw, run), column in zip(row, st.columns(len(row)), strict=True):
            with column.container(border=True, height="stretch"):
                draw(run, store)


def _concentration(run: Run, store: Store) -> None:
    metric = base_metric(store, run)
    scoring = store.scoring(run.id, run.recipe.get("seeds", [0])[0], 1, metric)
    half, total = store.half_of_total(scoring)
    name = DIVERGENCE.get(metric, METRICS[metric])
    carry = "carries" if half == 1 else "carry"
    st.subheader(f"{half:,} of {formats.count(total, 'sample')} {carry} half of all {name}.", anchor=False)
    st.caption(f"Before any training, in {escape_markdown(run.id)}.")
    charts.show(
        charts.concentration(store.concentration(scoring), (half, total), name).update_layout(height=CHART),
        key="concentration",
        alt=f"Share of samples against share of all {name}; {half} of {total} samples carry half",
    )
    session.explain(
        "All samples in a row, those first on which the two models disagree most. The steeper the curve rises, the "
        "fewer samples hold most of what the small model has left to learn. On the dotted line all samples would hold "
        "the same."
    )
    st.caption("First among them:")
    with st.container(gap="xxsmall"):
        first = store.page(SampleQuery(scoring), offset=0, limit=3)
        for row, instruction in zip(first["row"], first["instruction"], strict=True):
            label = escape_markdown(one_line(str(instruction), 90))
            links.show("samples", label, run=run.id, rank=metric, sample=str(row))
    st.space("stretch")
    address = {"run": run.id, "rank": metric}
    if half:
        least = store.page(SampleQuery(scoring), offset=half - 1, limit=1)["value"].iloc[0]
        address["low"] = repr(float(least))
    links.show("samples", "See them", onward=True, **address)


def _pruning(run: Run, store: Store) -> None:
    results = results_of(store, run)
    if results is None:
        st.subheader("Dynamic pruning ended before its first epoch did.", anchor=False)
    else:
        st.subheader(escape_markdown(brief(results)), anchor=False)
        best = verdicts.finding(results.verdicts)
        st.caption(f"{escape_markdown(best.reason) if best else ''} In {escape_markdown(run.id)}.")
        st.markdown("**Perplexity** :gray[lower is better]")
        charts.show(
            arm_charts.curves(results.table, styles(results), "perplexity", "tokens_read", height=CHART),
            key="pruning_card", alt="Perplexity of every arm against the tokens it has read",
        )  # fmt: skip
        session.explain(
            "Every line is the same small model trained on another choice of samples. Further left has read less, "
            "lower is better."
        )
    st.space("stretch")
    links.results(run, "See how", onward=True)


SAMPLES_STEP = ("samples", "Which samples matter?", "Rank them, move the threshold, read them token by token.")
PLAYGROUND_STEP = ("playground", "Where do the two models differ?", "Type a prompt and see it word by word.")
STEPS = (
    (
        "kd",
        "How little data, how much teacher?",
        "Train students on what a score keeps, with a teacher and without.",
    ),
    ("distillation", "How much can a handful of samples teach?", "Learn a few inputs per class, and read them."),
    ("data", "What about your own data?", "From the Hub, a path or a file, with a preview before it is used."),
)
"""Page, question and explanation of each step, in the order a newcomer would take them."""


def next_steps(runs: Sequence[Run]) -> None:
    """Where to go from here."""
    st.header("Where to go next", anchor=False)
    scored = any(KINDS[run.kind].scores_text for run in runs)
    steps = [SAMPLES_STEP, PLAYGROUND_STEP] * scored + [*STEPS]
    titles = {folder: title for folder, title, *_ in frame.PAGES}
    grid = st.grid(len(steps), min_column_width=240)
    for page, question, explanation in steps:
        with grid.cell(), st.container(border=True):
            st.markdown(f"**{question}**  \n:gray[{explanation}]")
            links.show(page, titles[page], onward=True)
