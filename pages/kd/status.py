"""Which grid is on the screen, and what stands in its place while there is none or nothing of it is finished."""

from __future__ import annotations

import streamlit as st

from engine.analysis import kd
from engine.common import formats
from engine.config.kd import PrunedKdRecipe
from engine.storage.ledger import Run
from pages.kd import form
from pages.kd.view import View
from pages.shared import run_labels

MEASURE = 760  # pixels: width of a paragraph


def share(view: View) -> str:
    return kd.percent(view.fraction)


def nothing() -> None:
    """An empty workspace: what this page is about, and a button that fills it."""
    st.subheader("No student has been distilled in this workspace yet.", anchor=False)
    st.markdown(
        "A teacher learns from all of the data. A score then decides which samples stay, and a student starts from "
        "scratch on those alone: once from their labels only, once listening to the teacher as well. This page shows "
        "how little data is enough, how much the student should listen, and whether it matters how the samples were "
        "chosen.",
        width=MEASURE,
    )
    form.demo()


def to_come(run: Run) -> None:
    """What will stand on the page, while no student is finished."""
    if run_labels.active(run):
        st.subheader("The first student is still ahead.", anchor=False)
    elif run.state == "failed":
        st.subheader("This run failed before its first student was done.", anchor=False)
    else:
        st.subheader(f"This run was {run.state} before its first student was done.", anchor=False)
    recipe = run.parsed()
    assert isinstance(recipe, PrunedKdRecipe)
    st.markdown(
        f"It first trains {formats.count(len(recipe.used_teachers()), 'teacher')} on everything and works out "
        f"{formats.count(len(recipe.used_scores()), 'score')}, then trains "
        f"{formats.count(form.students(recipe), 'student')}. Accuracy against the share of data kept, the map of "
        "weights, and pictures of what stays and what goes will stand here, student by student.",
        width=MEASURE,
    )
