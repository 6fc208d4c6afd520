"""Try your own: where do teacher and student part on words you choose?"""

from __future__ import annotations

import streamlit as st

from pages.shared import session

st.title("Where do two models part on your own words?", anchor=False)

from pages.playground import answer, form
from pages.shared import links, requests, waiting

runs = form.can_be_asked(session.scored_runs())
if not runs:
    st.subheader("There is no pair of models here yet.", anchor=False)
    st.markdown(
        "Once a run has loaded a teacher and a student, both can be asked about anything you type, and this page shows "
        "word by word where their expectations differ.",
        width=760,
    )
    for coming in session.scored_runs()[:1]:
        waiting.still_running(coming, waiting.rows_scored(coming.id))
    links.show("overview", "See what this workspace holds", icon=":material/home:")
    st.stop()
if session.read_only():
    st.markdown(
        "This page asks the engine, and a workspace that is open read-only asks nothing. What the run itself read can "
        "be seen word by word on the Samples page.",
        width=760,
    )
    links.show("samples", "See the samples", icon=":material/filter_alt:")
    st.stop()

st.markdown(
    "Both models read your text from the left and guess every next word. Where their guesses differ, the student still "
    "has something to learn from the teacher."
)
run, student = form.pair(runs)
wrong = form.sample(run, student)
if wrong:
    st.warning(wrong, icon=":material/edit_note:")

if request := requests.answered(form.KEY, "Both models are reading your text", height=300):
    answer.draw(session.store(), run, request.payload, request.answer or {})
