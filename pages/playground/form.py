"""The request: which pair of models, which student, which sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from engine.config.kinds import PRUNING
from engine.data.turns import is_whole, parse_transcript
from engine.storage.ledger import Run
from pages.playground.examples import EXAMPLES, Example
from pages.shared import requests
from pages.shared.escape import escape_markdown

KEY = "try_trace"  # the request to the engine, in the session of this browser tab
LONGEST = 2000  # characters of each text: they are kept in the address
STUDENTS = {"before training": "base", "after dynamic pruning": "dynamic"}
MISSING = "Write a response too: the models are compared on the next word they expect at each of its words."
NOTHING = "Write an instruction or an input: the response must answer something."
UNANSWERED = "End with what the assistant replies, on a line that begins with “Assistant:”."
ONE, SEVERAL = "One question", "A conversation"
CONVERSATION = "User: What is the capital of France?\nAssistant: Paris.\nUser: And of Italy?\nAssistant: Rome."


def with_models(runs: Sequence[Run]) -> list[Run]:
    """Runs whose pair of models is known, finished ones first, else newest first."""
    known = [run for run in runs if "teacher_hash" in run.provenance]
    return sorted(known, key=lambda run: run.state != "done")


def pair(runs: Sequence[Run]) -> tuple[Run, str]:
    """The controls that choose the run whose models read the text, and which of its students."""
    by_id = {run.id: run for run in runs}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        selected = st.selectbox(
            "Pair of models of the run", list(by_id), key="try_run", bind="query-params", width=340,
            on_change=_resend,
        )  # fmt: skip
        run = by_id.get(selected, runs[0])
        label = next(iter(STUDENTS))
        if run.kind == PRUNING.name and run.state == "done":
            label = st.segmented_control(
                "Student", list(STUDENTS), default=label, required=True, key="try_student", bind="query-params",
                on_change=_resend,
            )  # fmt: skip
    models = run.recipe["models"]
    st.caption(
        f"{escape_markdown(models['student'])} is the student, {escape_markdown(models['teacher'])} the teacher."
    )
    return run, STUDENTS.get(label, "base")


def sample(run: Run, student: str) -> str:
    """The text, and examples that fill it. Sends the request; returns what is missing if it cannot be sent."""
    usual = SEVERAL if run.provenance.get("conversations") else ONE
    several = st.segmented_control(
        "What do they read?", [ONE, SEVERAL], default=usual, required=True, key="try_kind", bind="query-params"
    ) == SEVERAL  # fmt: skip
    if several:
        _conversation()
    else:
        _question()
    # A link that carries a response shows its answer: the request is sent once, when the link is opened.
    text = _text("try_turns") if several else _text("try_response")
    linked = KEY not in st.session_state and "try_sent" not in st.session_state and bool(text)
    sent = st.session_state.pop("try_send", False)
    if not (sent or linked):
        return ""
    problem = _problem(several)
    if problem:
        requests.drop(KEY)
        return problem
    st.session_state["try_sent"] = True
    typed: dict[str, Any] = {"turns": parse_transcript(text)}
    if not several:
        typed = {part: _text(f"try_{part}") for part in ("instruction", "input", "response")}
    requests.put(KEY, "trace", {"run": run.id, "student": student, **typed})
    return ""


def _problem(several: bool) -> str:
    """What is missing in what was typed; "" if nothing is."""
    if several:
        turns = parse_transcript(_text("try_turns"))
        return "" if is_whole(turns) and turns[-1].text else UNANSWERED
    if not _text("try_response").strip():
        return MISSING
    return "" if _text("try_instruction").strip() or _text("try_input").strip() else NOTHING


def _conversation() -> None:
    with st.form("try_form"):
        st.text_area(
            "Turns, each on a line that begins with System:, User: or Assistant:", key="try_turns",
            bind="query-params", max_chars=3 * LONGEST, height=190, placeholder=CONVERSATION,
        )  # fmt: skip
        st.form_submit_button("See where they differ", type="primary", icon=":material/difference:", on_click=_send)


def _question() -> None:
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("For example", width="content")
        for position, example in enumerate(EXAMPLES):
            st.button(example.label, key=f"try_example_{position}", type="tertiary", on_click=_fill, args=(example,))
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
            placeholder="what a model should answer, or should not",
        )  # fmt: skip
        st.form_submit_button("See where they differ", type="primary", icon=":material/difference:", on_click=_send)


def _text(key: str) -> str:
    """What was typed, and no more: the limits of the browser do not hold for links."""
    return str(st.session_state.get(key) or "")[: 3 * LONGEST if key == "try_turns" else LONGEST]


def _fill(example: Example) -> None:
    for part in ("instruction", "input", "response"):
        st.session_state[f"try_{part}"] = getattr(example, part)
    _send()


def _send() -> None:
    st.session_state["try_send"] = True


def _resend() -> None:
    """Another pair or student reads the same text, if one has been sent."""
    st.session_state["try_send"] = KEY in st.session_state
