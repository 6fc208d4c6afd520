"""Before a run may start: the engine checks its pair, and estimates what it reads, holds in memory and takes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine.common import formats
from engine.common.hashing import digest
from engine.config.kinds import Recipe
from engine.config.load import to_dict
from engine.storage.ledger import Request
from pages.shared import links, requests, session
from pages.shared.escape import escape_markdown

KEY = "pair_check"  # the request to the engine, in the session of this browser tab
STARTED = "pair_started"  # the run that was just queued


def draw(recipe: Recipe | None) -> None:
    """The button of the check, its result, and the button that starts; `recipe` is None while it cannot be run."""
    if run := st.session_state.pop(STARTED, None):
        links.switch("runs", run_open=run)
    request = requests.sent(KEY)
    same = recipe is not None and request is not None and _is_about(request, recipe)
    waiting = request is not None and request.answer is None
    ready = recipe is not None and request is not None and _ready(request, recipe)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Check the pair", icon=":material/fact_check:", disabled=recipe is None or waiting or same,
            type="secondary" if ready else "primary", key="check_pair", on_click=_check, args=(recipe,),
        )  # fmt: skip
        st.button(
            "Start the run", icon=":material/play_arrow:", disabled=not ready, key="start_run",
            type="primary" if ready else "secondary", on_click=_start, args=(recipe,),
        )  # fmt: skip
        if request is not None and not waiting and not same and recipe is not None:
            st.caption("The recipe has changed since it was checked.")
    if waiting:
        requests.wait(KEY, "Reading the data, both tokenizers and the sizes of both models", height=140)
    elif same and request is not None:
        _answer(request.answer or {}, refused=request.state == "refused")
        if recipe is not None and ready and to_dict(recipe).get("cluster", {}).get("address", "none") != "none":
            st.caption("Memory and time are those of this machine doing it alone.")


def _check(recipe: Recipe | None) -> None:
    with session.show_errors():
        if recipe is None:
            return
        requests.put(KEY, "check", {"recipe": to_dict(recipe)})


def _start(recipe: Recipe | None) -> None:
    """Queue the recipe, if the engine found no problem with exactly this one."""
    with session.show_errors():
        request = requests.sent(KEY)
        if recipe is None or request is None or not _ready(request, recipe):
            return
        st.session_state[STARTED] = session.ledger().submit(recipe)
        st.session_state["form_first"] = False  # next time the results come first again
        requests.drop(KEY)


def _ready(request: Request, recipe: Recipe) -> bool:
    return request.state == "answered" and bool((request.answer or {}).get("ok")) and _is_about(request, recipe)


def _is_about(request: Request, recipe: Recipe) -> bool:
    return digest(request.payload["recipe"]) == digest(to_dict(recipe))


def _answer(answer: dict[str, Any], refused: bool) -> None:
    if refused:
        st.error(
            escape_markdown(str(answer.get("error", "The engine could not check this recipe."))),
            icon=":material/error:",
        )
        return
    for problem in answer["problems"]:
        st.error(escape_markdown(problem), icon=":material/error:")
    for note in answer["notes"]:
        st.info(escape_markdown(note), icon=":material/info:")
    if not answer["ok"]:
        return
    teacher, student = answer["teacher"], answer["student"]
    with st.container(border=True):
        st.markdown(
            f":material/check_circle: **The pair fits.** The teacher, {_model(teacher)}, is "
            f"{teacher['parameters'] / student['parameters']:.1f} times the student, {_model(student)}."
        )
        seconds = answer["seconds"]
        facts = {
            "Reads": f"{answer['samples']:,} samples",
            "Tokens": f"{answer['tokens']:,}",
            "Memory": formats.size(answer["memory_bytes"]),
            "Teacher's cache": formats.size(answer["cache_bytes"]),
            "Takes about": formats.duration(seconds) if seconds is not None else "not known",
        }
        for column, (label, value) in zip(st.columns(len(facts)), facts.items(), strict=True):
            column.metric(label, value)


def _model(model: dict[str, Any]) -> str:
    name, origin = escape_markdown(str(model["name"])), escape_markdown(str(model["origin"]))
    return f"{name} ({origin}, {formats.parameters(model['parameters'])})"
