"""Try your own: where do teacher and student part on words you choose?"""

from __future__ import annotations

import streamlit as st

from pages.parts import context

context.framed()
st.title("Where do two models part on your own words?", anchor=False)

from pages.parts import samples_waiting, try_answer, try_form, try_waiting  # noqa: E402
from pages.parts.words import literal  # noqa: E402

runs = try_form.can_be_asked(context.scored_runs())
if not runs:
    st.subheader("There is no pair of models here yet.", anchor=False)
    st.markdown(
        "Once a run has loaded a teacher and a student, both can be asked about anything you type, and this page shows "
        "word by word where their expectations differ.",
        width=760,
    )
    for coming in context.scored_runs()[:1]:
        samples_waiting.still_running(coming, samples_waiting.rows_scored(coming.id))
    st.page_link("pages/overview.py", label="See what this workspace holds", icon=":material/home:")
    st.stop()
if context.read_only():
    st.markdown(
        "This page asks the engine, and a workspace that is open read-only asks nothing. What the run itself read can "
        "be seen word by word on the Samples page.",
        width=760,
    )
    st.page_link("pages/samples.py", label="See the samples", icon=":material/filter_alt:")
    st.stop()

st.markdown(
    "Both models read your text from the left and guess every next word. Where their guesses differ, the student still "
    "has something to learn from the teacher."
)
run, student = try_form.pair(runs)
wrong = try_form.sample(run, student)
if wrong:
    st.warning(wrong, icon=":material/edit_note:")

question = try_waiting.asked(try_form.KEY)
if question is not None and question.answer is None:
    try_waiting.wait(try_form.KEY, "Both models are reading your words", height=300)
elif question is not None and question.answer is not None and question.state == "refused":
    st.error(literal(str(question.answer.get("error"))), icon=":material/error:")
elif question is not None and question.answer is not None:
    try_answer.draw(context.store(), run, question.payload, question.answer)
