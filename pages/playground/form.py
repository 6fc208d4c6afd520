"""What to ask: which pair of models, which student, which sample."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from engine.storage.ledger import Run
from pages.playground.examples import EXAMPLES, Example
from pages.shared import requests
from pages.shared.escape import escape_markdown

KEY = "try_trace"  # the question to the engine, in the session of this browser tab
LONGEST = 2000  # characters of each text: they are kept in the address
STUDENTS = {"before training": "base", "after dynamic pruning": "dynamic"}
MISSING = "Write a response too: the models are compared on what they expect at each of its words."
NOTHING = "Write an instruction or an input: the response must answer something."


def can_be_asked(runs: Sequence[Run]) -> list[Run]:
    """Runs whose pair of models is known, finished ones first, else newest first."""
    known = [run for run in runs if "teacher_hash" in run.provenance]
    return sorted(known, key=lambda run: run.state != "done")


def pair(runs: Sequence[Run]) -> tuple[Run, str]:
    """The controls that choose the run whose pair is asked, and which of its students."""
    by_id = {run.id: run for run in runs}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        chosen = st.selectbox(
            "Pair of models of the run", list(by_id), key="try_run", bind="query-params", width=340,
            on_change=_again,
        )  # fmt: skip
        run = by_id.get(chosen, runs[0])
        label = next(iter(STUDENTS))
        if run.kind == "dynamic-pruning" and run.state == "done":
            label = st.segmented_control(
                "Student", list(STUDENTS), default=label, required=True, key="try_student", bind="query-params",
                on_change=_again,
            )  # fmt: skip
    models = run.recipe["models"]
    st.caption(
        f"{escape_markdown(models['student'])} is the student, {escape_markdown(models['teacher'])} the teacher."
    )
    return run, STUDENTS.get(label, "base")


def sample(run: Run, student: str) -> str:
    """The three texts, and examples that fill them. What was sent is asked at once; the answer is what was wrong."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("For example", width="content")
        for position, example in enumerate(EXAMPLES):
            st.button(example.label, key=f"try_example_{position}", type="tertiary", on_click=_take, args=(example,))
    with st.form("try_form"):
        left, middle, right = st.columns([3, 2, 3], gap="medium")
        left.text_area(
            "Instruction", key="try_instruction", bind="query-params", max_chars=LONGEST, height=120,
            placeholder="What is the capital of France?",
        )  # fmt: skip
        middle.text_area(
            "Input (may stay empty)", key="try_input", bind="query-params", max_chars=LONGEST, height=120,
            placeholder="what the instruction is about",
        )  # fmt: skip
        right.text_area(
            "Response", key="try_response", bind="query-params", max_chars=LONGEST, height=120,
            placeholder="what a model should answer, or what you doubt it would",
        )  # fmt: skip
        st.form_submit_button("See where they part", type="primary", icon=":material/difference:", on_click=_ask)
    # A link that carries a response is a view of its answer; it is asked once, by whoever opens it.
    linked = KEY not in st.session_state and "try_asked" not in st.session_state and bool(_text("try_response"))
    sent = st.session_state.pop("try_again", False)
    if not (sent or linked):
        return ""
    if not _text("try_response").strip():
        requests.drop(KEY)
        return MISSING
    if not (_text("try_instruction").strip() or _text("try_input").strip()):
        requests.drop(KEY)
        return NOTHING
    st.session_state["try_asked"] = True
    requests.put(
        KEY,
        "trace",
        {
            "run": run.id,
            "student": student,
            "instruction": _text("try_instruction"),
            "input": _text("try_input"),
            "response": _text("try_response"),
        },
    )
    return ""


def _text(key: str) -> str:
    """What was typed; the browser alone keeps it short, and a link need not come from a browser."""
    return str(st.session_state.get(key) or "")[:LONGEST]


def _take(example: Example) -> None:
    for part in ("instruction", "input", "response"):
        st.session_state[f"try_{part}"] = getattr(example, part)
    _ask()


def _ask() -> None:
    st.session_state["try_again"] = True


def _again() -> None:
    """Another pair or student is asked the same, where something has been asked."""
    st.session_state["try_again"] = KEY in st.session_state
