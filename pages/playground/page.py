"""Try your own: where do teacher and student differ on a sample you type?"""

from __future__ import annotations

import streamlit as st

from pages.shared import session

st.title("Where do two models differ on your own text?", anchor=False)

from pages.playground import answer, form
from pages.shared import empty, links, requests, run_progress

runs = form.with_models(session.scored_runs())
if not runs:
    empty.nothing(
        "There is no pair of models here yet.",
        "Once a run has loaded a teacher and a student, both can read anything you type, and this page shows word by "
        "word where their expectations differ.",
    )
    for coming in session.scored_runs()[:1]:
        run_progress.follow(coming)
    links.show("overview", "See what this workspace holds", icon=":material/home:")
    st.stop()
if session.read_only():
    st.markdown(
        "This page sends requests to the engine, which a workspace that is open read-only does not allow. The samples "
        "of the run can be read word by word on the Samples page.",
        width=empty.WIDTH,
    )
    links.show("samples", "See the samples", icon=":material/filter_alt:")
    st.stop()

st.markdown(
    "Both models read your text from the left and guess every next word. Where their guesses differ, the student still "
    "has something to learn from the teacher."
)
run, student = form.pair(runs)
problem = form.sample(run, student)
if problem:
    st.warning(problem, icon=":material/edit_note:")

if request := requests.answered(form.KEY, "Both models are reading your text", height=300):
    answer.draw(session.store(), run, request.payload, request.answer or {})
