"""Comparisons of distilled sets: with more inputs, with more inner steps, and with the cost of all real samples."""

from __future__ import annotations

import math

import streamlit as st

from engine.analysis import distillation, run_labels
from engine.analysis.distilled_sets import Axis, DistilledSet
from engine.analysis.wording import flops, took
from engine.common import formats
from pages.distillation import figures
from pages.shared import charts, session

DRAWN = ("embeddings", "text_labels", "text", "random")


def sizes(shown: DistilledSet) -> None:
    """Accuracy against the number of inputs per class, and against the number of inner steps."""
    left, right = st.columns(2, gap="large")
    with left:
        _along(shown, "per_class", "More inputs", "inputs per class")
    with right:
        _along(shown, "inner_steps", "More inner steps", "inner steps")
    session.explain(
        "Every point is a set of its own, learned from the start. An inner step is one step of the model that is "
        "trained on the learned inputs while these are being learned."
    )


def _along(shown: DistilledSet, axis: Axis, title: str, label: str) -> None:
    several = len(shown.measured_along(axis)) > 1
    covered = " :gray[bars: 95 % over fresh starts, of one distillation each]" if several else ""
    st.markdown(f"**{title}**{covered}")
    if not several:
        st.caption(_missing(shown, axis, label))
        return
    evaluations, curves = shown.evaluations, shown.curves_along(axis, DRAWN)
    full = evaluations.accuracy(shown.key, "full")
    charts.show(
        figures.against(
            curves, {method: evaluations.name(method) for method in curves}, label,
            full.mean if full.seeds else None, shown.guessing.share,
        ), key=f"distilled_{axis}_chart", alt=f"Accuracy against {label} for {len(curves)} kinds of training data",
    )  # fmt: skip
    if sentence := distillation.more(evaluations, shown.measured_along(axis), axis, label):
        st.caption(sentence)


def _missing(shown: DistilledSet, axis: Axis, label: str) -> str:
    """Why there is no curve, and how one is got. Markdown."""
    recipe, setting = shown.recipe, {"per_class": "synthetic.per_class", "inner_steps": "inner.steps"}[axis]
    asked = recipe.synthetic.per_class if axis == "per_class" else recipe.inner.steps
    if len(asked) < 2:
        return f"One number of {label} was tried. List several under `{setting}`, such as `[1, 2, 5, 10]`, for a curve."
    if run_labels.active(shown.run):
        return f"Still to come: {formats.count(len(asked), 'set')} with {', '.join(map(str, asked))} {label}."
    return f"Fewer than two numbers of {label} were measured for this student."


def cost(shown: DistilledSet) -> None:
    """What training on the set takes beside training on everything, and what the set itself cost."""
    evaluations, key = shown.evaluations, shown.key
    method = "embeddings" if len(evaluations.measured(key, "embeddings")) else "text"
    saved = distillation.saved(evaluations, key, method)
    if not saved:
        st.caption("What a training takes is known once this set and all real samples have been measured.")
        return
    st.markdown(f"**{saved}**")
    if paid := distillation.paid(evaluations, key, method, shown.distilling):
        st.markdown(paid)
    columns = {"seconds": ("Seconds", took), "steps": ("Steps", "{:,.0f}".format), "flops": ("Operations", flops)}
    with st.container(horizontal=True, gap="large"):
        for column, (title, shape) in columns.items():
            mine, whole = evaluations.mean(key, method, column), evaluations.mean(key, "full", column)
            if math.isfinite(mine) and math.isfinite(whole) and whole:
                st.metric(
                    title, shape(mine), f"{formats.share(mine, whole)} of {shape(whole)}", delta_color="off",
                    delta_arrow="off", width="content",
                )  # fmt: skip
    session.explain(
        "A distilled set is expensive to make and cheap to use: it pays if many models are trained on the same "
        "task, or if the data itself cannot be kept."
    )
