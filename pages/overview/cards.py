"""The pieces of the overview: what the workspace holds, its findings, and where to go from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import streamlit as st

from engine.analysis import pruning, run_labels
from engine.analysis.pruning_results import results_of
from engine.common import formats
from engine.common.text import one_line
from engine.config.load import load_recipe
from engine.config.pruning import METRICS
from engine.storage.ledger import Run
from engine.storage.store import SampleQuery, Store
from pages.overview import distillation_card, kd_card
from pages.shared import arm_charts, charts, links, session
from pages.shared.escape import escape_markdown

DEMO = "demo-kl"
CHART, MEASURE = 280, 760  # pixels: height of a card's chart, width of a paragraph
DIVERGENCE = {"kl": "divergence", "kl_response": "divergence over the responses"}


def welcome() -> None:
    """An empty workspace: what Winnow does, and one button that shows it."""
    st.subheader("Nothing yet. The demo changes that in a few minutes.", anchor=False)
    st.markdown(
        "Winnow lets a large language model and a small one read the same instructions, measures for every sample how "
        "far the small one is from the large one, and trains the small one only where it still has something to "
        "learn. The demo does all of that here, on this machine, with instructions Winnow writes itself: a tenth of "
        "its answers are wrong on purpose, so that one can see what the measure finds and what it cannot tell apart.",
        width=MEASURE,
    )
    if session.read_only():
        st.caption("This workspace is open read-only; open it without `--read-only` to start the demo.")
        return
    st.button("Build the demo", type="primary", icon=":material/play_arrow:", key="start_demo", on_click=_start_demo)


def _start_demo() -> None:
    with session.show_errors():
        session.ledger().submit(load_recipe(DEMO))


def holds(runs: Sequence[Run], store: Store) -> str:
    """What is here, in a sentence or two of Markdown."""
    sets: dict[str, int] = {}
    for run in runs:
        source = PurePath(str(run.recipe["data"]["source"])).name
        sets[source] = sets.get(source) or _samples(store, run.id)
    read = {source: count for source, count in sets.items() if count}
    named = _listed(
        [f"{formats.count(count, 'sample')} of {escape_markdown(source)}" for source, count in read.items()]
    )
    by_hand = len(session.ledger().overrides())
    return (
        (f"It has read {named}. " if read else "")
        + run_labels.tally(runs)
        + (f" You have spoken about {formats.count(by_hand, 'sample')} yourself." if by_hand else "")
    )


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _samples(store: Store, run: str) -> int:
    return int(store.splits(run)["samples"].sum())


def findings_row(runs: Sequence[Run], store: Store) -> None:
    """The findings side by side, two in a row where there are four.

    What the scores say, what pruning by them did, what a teacher makes up for, what a few learned inputs are worth.
    """
    scored = next((run for run in runs if _base_metric(store, run)), None)
    pruned = next((run for run in runs if run.kind == "dynamic-pruning" and run.state == "done"), None)
    students = next((run for run in runs if run.kind == "pruned-kd" and run.state == "done"), None)
    inputs = next((run for run in runs if run.kind == "distillation" and run.state == "done"), None)
    offered = (
        (_concentration, scored),
        (_pruning, pruned if scored else None),
        (kd_card.draw, students),
        (distillation_card.draw, inputs),
    )
    cards = [(draw, run) for draw, run in offered if run is not None]
    wide = 2 if len(cards) == 4 else 3
    for first in range(0, len(cards), wide):
        row = cards[first : first + wide]
        for (draw, run), column in zip(row, st.columns(len(row)), strict=True):
            with column.container(border=True, height="stretch"):
                draw(run, store)


def _base_metric(store: Store, run: Run) -> str:
    """The metric a run ranks by where it has scored every sample before training; "" where it has not."""
    if run.kind not in ("dynamic-pruning", "score"):
        return ""
    metric = run.recipe.get("pruning", {}).get("metric", "kl")
    table = store.scorings(run.id)
    return metric if ((table["epoch"] == 1) & (table["metric"] == metric)).any() else ""


def _concentration(run: Run, store: Store) -> None:
    metric = _base_metric(store, run)
    scoring = store.scoring(run.id, run.recipe.get("seeds", [0])[0], 1, metric)
    half, everything = store.half_of_total(scoring)
    name = DIVERGENCE.get(metric, METRICS[metric])
    st.subheader(
        f"{half:,} of {formats.count(everything, 'sample')} {'carries' if half == 1 else 'carry'} half of all {name}.",
        anchor=False,
    )
    st.caption(f"Before any training, in {escape_markdown(run.id)}.")
    charts.show(
        charts.concentration(store.concentration(scoring), (half, everything), name).update_layout(height=CHART),
        key="concentration",
        alt=f"Share of samples against share of all {name}; {half} of {everything} samples carry half",
    )  # fmt: skip
    session.explain(
        "All samples in a row, those first on which the two models disagree most. The steeper the curve rises, the "
        "fewer samples hold most of what the small model has left to learn. The dotted line is what it would look "
        "like if all held the same."
    )
    st.caption("First among them:")
    with st.container(gap="xxsmall"):
        first = store.page(SampleQuery(scoring), offset=0, limit=3)
        for row, instruction in zip(first["row"], first["instruction"], strict=True):
            label = escape_markdown(one_line(str(instruction), 90))
            links.show("samples", label, run=run.id, rank=metric, sample=str(row))
    st.space("stretch")
    link = {"run": run.id, "rank": metric}
    if half:
        least = store.page(SampleQuery(scoring), offset=half - 1, limit=1)["value"].iloc[0]
        link["low"] = repr(float(least))
    links.show("samples", "See them", onward=True, **link)


def _pruning(run: Run, store: Store) -> None:
    found = results_of(store, run)
    ending = pruning.ending(found.last) if found else ""
    if found is None or not ending:
        st.subheader("Dynamic pruning ended before its first epoch did.", anchor=False)
    else:
        st.subheader(pruning.brief(found.last) or ending, anchor=False)
        ended = f"{ending} {pruning.verdict(found.last)}" if pruning.brief(found.last) else ""
        st.caption(f"{ended} In {escape_markdown(run.id)}.")
        st.markdown("**Perplexity** :gray[lower is better]")
        charts.show(
            arm_charts.curves(found.table, "perplexity", "tokens_read", height=CHART), key="pruning_card",
            alt="Perplexity of every arm against the tokens it has read",
        )  # fmt: skip
        session.explain(
            "Every line is the same small model trained on another choice of samples. Further left has read less, "
            "lower is better."
        )
    st.space("stretch")
    links.results(run, "See how", onward=True)


def next_steps(runs: Sequence[Run]) -> None:
    """Where to go from here, in the order a newcomer would."""
    st.header("Where to go next", anchor=False)
    scored = any(run.kind in ("dynamic-pruning", "score") for run in runs)
    steps = [
        ("samples", "Samples", "Which samples matter?", "Rank them, move the bar, read them token by token."),
        ("playground", "Try your own", "Where do the two models part?", "Type a prompt and see it word by word."),
    ] * scored
    steps += [
        (
            "kd",
            "KD on pruned data",
            "How little data, how much teacher?",
            "Train students on what a score keeps, with a teacher and without.",
        ),
        (
            "distillation",
            "Distilled data",
            "What would a handful of samples have to say?",
            "Learn a few inputs per class, and read them.",
        ),
        (
            "data",
            "Data & models",
            "What about your own data?",
            "From the Hub, a path or a file, seen before it is run.",
        ),
    ]
    grid = st.grid(len(steps), min_column_width=240)
    for page, label, question, said in steps:
        with grid.cell(), st.container(border=True):
            st.markdown(f"**{question}**  \n:gray[{said}]")
            links.show(page, label, onward=True)
