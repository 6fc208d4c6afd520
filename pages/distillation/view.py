"""The first half of the page of distilled data: the finding, the inputs themselves, and the film of how they came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from engine.analysis import distillation
from engine.analysis.distillation import Inputs
from engine.common import formats
from engine.config.distillation import MAIN
from engine.storage.ledger import Run
from pages.distillation import cards as distilled_cards
from pages.distillation import charts as distilled_charts
from pages.distillation.state import View
from pages.shared import charts, run_labels, session
from pages.shared.escape import escape_markdown


def headline(view: View) -> None:
    """The finding first, and whether it is one."""
    worth, key, made = view.worth, view.key, view.made
    said = distillation.headline(worth, key, made, view.classes)
    st.subheader(said or f"{made.said()}, not measured yet.", anchor=False)
    if figures := distillation.figures(worth, key, made, view.classes):
        st.markdown(figures)
    if beside := distillation.against_random(worth, key, made):
        st.caption(beside)
    with st.container(horizontal=True, gap="small"):
        st.badge("machine-made", icon=":material/precision_manufacturing:", color="green")
        word, colour = distillation.verdict(worth, key, made)
        if word:
            st.badge(word, icon=":material/balance:", color=colour)
        wanted = len(view.recipe.sets())
        if wanted > 1:
            st.badge(
                f"{len(view.sets):,} of {formats.count(wanted, 'set')}",
                icon=":material/check:" if len(view.sets) == wanted else ":material/timelapse:",
                color="gray" if len(view.sets) == wanted else "blue",
            )
        if view.step is None:
            st.badge("still being learned", icon=":material/autorenew:", color="blue")
    session.explain(
        "Nobody wrote these inputs. A machine changed numbers step by step until a model that was trained on nothing "
        "else answered real questions well. The share says how much of the accuracy of a training on everything is "
        "left; guessing reaches some accuracy too, so compare with that. A head is the last layer of the model, drawn "
        "anew: every measurement is repeated with several, and ± is the range the mean lies in 95 times out of 100."
    )


def notes(run: Run) -> None:
    """What the engine had to do otherwise than it was told, such as smaller batches; it is part of the finding."""
    for note in run.provenance.get("notes", [])[-MOST_NOTES:]:
        st.caption(f":material/info: {escape_markdown(str(note))}")


def cards(view: View) -> None:
    """Every input of the set, class by class."""
    recipe, made, run = view.recipe, view.made, view.run.id
    if said := unchanged(made):
        st.caption(f":material/info: {said}")
    if made.pictures:
        data = distilled_cards.prepared(
            view.inputs, NO_TOKENS, "pictures", labels=recipe.synthetic.labels, near=_near(view), started=_started(view)
        )
    else:
        step = None if view.step is not None else view.snapshots[-1]
        data = distilled_cards.prepared(
            view.inputs, view.store.distilled_tokens(run, view.key, step), "texts",
            similarity=recipe.synthetic.similarity, labels=recipe.synthetic.labels, start=recipe.synthetic.start,
            near=_near(view),
        )  # fmt: skip
    distilled_cards.show(data, key="distilled_cards")
    read = (
        "Below each picture: where it started, and the nearest real pictures of its class by cosine similarity. "
        if made.pictures
        else f"Each word is the token nearest to a learned vector, by {MEASURES[recipe.synthetic.similarity]}: the "
        "fainter, the farther away. Point at one for the next nearest. "
    )
    st.caption(read + LABELS[recipe.synthetic.labels])
    session.explain(
        "A learned picture is no photograph of anything: it is what teaches the model most."
        if made.pictures
        else "What is learned are lists of numbers, and the words are only the nearest ones a dictionary has. So the "
        "text may read oddly and still teach well, and something is lost on the way: the chart below says how much."
    )


def unchanged(made: Inputs) -> str:
    """What to say of texts in which no token has changed; "" where there is none."""
    if not made.unchanged:
        return ""
    why = "the vectors moved, but not far enough to be read as other words than those they started as"
    if not made.text_counts:
        return f"No text has changed: {why}. This is no distilled text, and is not counted as such."
    one = made.unchanged == 1
    return (
        f"{made.unchanged:,} of {made.number:,} texts {'has' if one else 'have'} not changed: {why}. "
        f"{'It is' if one else 'They are'} no distilled text, but among what is measured as decoded text."
    )


MOST_NOTES = 5  # the newest; the log of the run has them all
MEASURES = {"cosine": "cosine similarity", "l2": "distance (L2)", "dot": "dot product"}
LABELS = {
    "hard": "Each input has the one label of its class.",
    "soft": "Learned labels are probabilities.",
    "unrestricted": "Learned labels are numbers of any size and sign, no probabilities; hollow bars are below zero.",
}
NO_TOKENS = pd.DataFrame(columns=["input", "position", "start", "nearest", "similarity"])


def _near(view: View) -> Mapping[int, Mapping[str, Any]]:
    """The real samples named as neighbours, by row. The store holds those of the first task."""
    if view.key.task != MAIN:
        return {}
    rows = [int(row) for each in view.inputs["near_rows"] for row in list(each)[: distilled_cards.NEIGHBOURS]]
    told = view.store.labelled(view.run.id, rows)
    images = view.store.images(view.run.id, rows) if view.pictures else {}
    return {
        row: {"words": f"{sample['instruction']} {sample['input']}".strip(), "image": images.get(row)}
        for row, sample in told.items()
    }


def _started(view: View) -> dict[int, bytes]:
    """The pictures at the first snapshot, by input."""
    first = view.store.distilled(view.run.id, view.key, view.snapshots[0])
    return {int(number): image for number, image in zip(first["input"], first["image"], strict=True) if image}


def film(view: View) -> None:
    """The inputs at one moment of their making, beside how well they taught then. The moment is in the address."""
    steps = view.snapshots
    if len(steps) < 2:
        st.caption("One moment was kept so far; a film needs two (`outer.snapshots` in the recipe).")
        return
    if st.session_state.get("distilled_step") not in (None, *steps):
        del st.session_state["distilled_step"]
    at = st.select_slider(
        "Outer step", steps, view.step if view.step in steps else steps[-1], format_func="{:,}".format,
        key="distilled_step", bind="query-params",
    )  # fmt: skip
    left, right = st.columns([3, 2], gap="large")
    with left:
        inputs = view.store.distilled(view.run.id, view.key, at)
        tokens = NO_TOKENS if view.pictures else view.store.distilled_tokens(view.run.id, view.key, at)
        look: distilled_cards.Look = "film stills" if view.pictures else "film"
        shown = distilled_cards.prepared(
            inputs, tokens, look, similarity=view.recipe.synthetic.similarity, start=view.recipe.synthetic.start
        )
        distilled_cards.show(shown, key="distilled_film")
    with right:
        for name, split, title, form in (
            ("outer_loss", "train", "Outer loss :gray[on real samples, lower is better]", ".3f"),
            ("accuracy", "valid", "Right on held-out samples :gray[higher is better]", ".1%"),
        ):
            curve = view.metrics[(view.metrics["name"] == name) & (view.metrics["split"] == split)].sort_values("step")
            if curve.empty:
                continue
            st.markdown(f"**{title}**")
            drawn = distilled_charts.film(curve, at, view.step, form)
            charts.show(drawn, key=f"distilled_{name}", alt=f"{name.replace('_', ' ')} over outer steps")
        st.caption(_when(view, at))
    session.explain(
        "One outer step trains a model on the learned inputs, asks it about real samples, and changes the inputs a "
        "little so that the next model would do better. Drag the slider to watch them change."
    )


def _when(view: View, at: int) -> str:
    if view.step is None:
        going = run_labels.active(view.run)
        return f"Which moment is best is chosen once all are there{'' if going else '; this run ended before'}."
    chosen = f"★ step {view.step:,} was best on held-out samples: it is what is shown above, measured and exported."
    return chosen if at != view.step else f"On the screen: {chosen}"
