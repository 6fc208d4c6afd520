"""Adding data: say where it is, look at it, say which column is what, give it a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from engine.common.errors import WinnowError
from engine.common.text import escape_text
from engine.config.data import ColumnMap, DataSettings
from pages.data import preview
from pages.data import upload as data_upload
from pages.data.known import name_of
from pages.data.models import Pair
from pages.shared import requests, session
from pages.shared.escape import escape_markdown

KEY = "data_look"  # the question to the engine, in the session of this browser tab
HUB, PATH, UPLOAD = "Hugging Face Hub", "A path on this machine", "Upload a file"
CHARACTERS = "none, count characters"
BY_NAME = "found by its usual name"
LONGEST_NAME = 60


def draw(pairs: Sequence[Pair]) -> None:
    """The whole section, as far as the person has come. `pairs` offer their tokenizers to count lengths with."""
    way = st.segmented_control(
        "Where is it?", [HUB, PATH, UPLOAD], default=HUB, required=True, key="data_from", bind="query-params"
    )
    tokenizers = {CHARACTERS: ""} | {
        model.name: model.source or model.name for pair in reversed(pairs) for model in (pair.teacher, pair.student)
    }
    with st.form("data_where", border=False):
        if way == HUB:
            left, right = st.columns([3, 1])
            left.text_input(
                "Dataset", key="data_hub", bind="query-params", placeholder="tatsu-lab/alpaca", max_chars=200
            )
            right.text_input("Split", "train", key="data_split", bind="query-params", max_chars=100)
        elif way == PATH:
            st.text_input(
                "File or saved folder", key="data_path", bind="query-params", placeholder="/data/instructions.jsonl",
                max_chars=1000, help="Parquet, JSONL, JSON or CSV, or a folder saved by the datasets library.",
            )  # fmt: skip
        else:
            st.file_uploader(
                f"A JSONL, JSON, CSV or Parquet file of at most {data_upload.LIMIT_MB} MB; "
                "what is larger can be given by its path",
                type=[suffix[1:] for suffix in data_upload.SUFFIXES],
                max_upload_size=data_upload.LIMIT_MB,
                key="data_upload",
            )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.selectbox(
                "Tokenizer that counts lengths", list(tokenizers), index=len(tokenizers) - 1, key="data_tokens",
                bind="query-params", accept_new_options=True, width=300,
                help="A model whose tokens are counted: one that was used here, or another by its Hub id.",
            )  # fmt: skip
            st.form_submit_button(
                "Look at it", type="primary", icon=":material/visibility:", on_click=_doing, args=(_look, tokenizers)
            )
    if wrong := st.session_state.pop("data_wrong", ""):
        st.error(escape_markdown(wrong), icon=":material/error:")
    question = requests.asked(KEY)
    if question is None:
        return
    if question.answer is None:
        requests.wait(KEY, "Reading the first rows", height=320)
    elif question.state == "refused":
        st.error(escape_markdown(str(question.answer.get("error"))), icon=":material/error:")
    else:
        _found(question.payload, question.answer)


def _doing(act: Callable[..., None], *arguments: Any) -> None:
    """What a button does; where it cannot, the page says why below the form."""
    try:
        act(*arguments)
    except WinnowError as error:
        st.session_state["data_wrong"] = str(error)


def _look(tokenizers: Mapping[str, str]) -> None:
    """Ask the engine about what the form says."""
    said = st.session_state
    split, way = "train", said.get("data_from")
    if way == UPLOAD:
        source = _saved(said.get("data_upload"))
    elif way == PATH:
        typed = str(said.get("data_path") or "").strip()
        source = str(Path(typed).expanduser().absolute()) if typed else ""
    else:
        source = str(said.get("data_hub") or "").strip()
        split = str(said.get("data_split") or "").strip() or split
    counter = str(said.get("data_tokens") or "")
    ask(source, split, tokenizers.get(counter, counter))


def _saved(upload: Any) -> str:
    if upload is None:
        raise WinnowError("No file has been chosen; choose one, then look at it.")
    return str(data_upload.save_upload(session.workspace(), upload.name, upload.getvalue()))


def ask(source: str, split: str, model: str, columns: ColumnMap | None = None) -> None:
    """Have the engine look at a set. Raises WinnowError where no source was given."""
    if not source:
        raise WinnowError("Nothing was named; write where the data is, then look at it.")
    settings = DataSettings(source=source, split=split, columns=columns or ColumnMap())
    if columns is None:  # another set: what was chosen and typed for the last one means nothing here
        for key in (*map(_column_key, preview.ROLES), "data_name"):
            st.session_state.pop(key, None)
    requests.put(KEY, "preview", {"data": settings.model_dump(mode="json"), "model": model})


def _found(payload: dict[str, Any], look: dict[str, Any]) -> None:
    """What the engine saw, the columns, and the name to keep it under."""
    with st.container(border=True):
        preview.problem(look)
        if look["mapping"]:
            st.markdown(f"#### {escape_markdown(preview.counted(look))}")
            st.caption(escape_markdown(preview.origin(look)))
        columns = _columns(payload, look)
        preview.draw(look, KEY)
        if look["mapping"]:
            _keep(payload, look)
    if columns != payload["data"]["columns"]:
        with session.show_errors():
            ask(payload["data"]["source"], payload["data"]["split"], payload["model"], ColumnMap(**columns))
            st.rerun()


def _columns(payload: dict[str, Any], look: dict[str, Any]) -> dict[str, str]:
    """A choice of column for each role; the answer is the mapping asked for, "" where it is found by name."""
    chosen = {}
    for place, role in zip(st.columns(3), preview.ROLES, strict=True):
        asked_for = payload["data"]["columns"][role]
        options = ["", *look["columns"]]
        by_name = (look["mapping"] or {}).get(role, "") if not asked_for else ""

        unset = f"{escape_text(by_name)} ({BY_NAME})" if by_name else BY_NAME if asked_for else "none"

        def named(column: str, unset: str = unset) -> str:
            return escape_text(column) or unset

        chosen[role] = place.selectbox(
            f"Column of the {role}", options, index=options.index(asked_for) if asked_for in options else 0,
            format_func=named, key=_column_key(role),
        )  # fmt: skip
    return chosen


def _column_key(role: str) -> str:
    return f"data_column_{role}"


def _keep(payload: dict[str, Any], look: dict[str, Any]) -> None:
    taken = [entry["name"] for entry in session.ledger().datasets()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Name", name_of(payload["data"]["source"], taken), key="data_name", max_chars=LONGEST_NAME, width=300
        )
        st.button(
            "Keep this data", type="primary", icon=":material/bookmark_add:", key="data_keep",
            on_click=_doing, args=(_keep_named, payload["data"], look),
        )  # fmt: skip
        st.button("Put it away", type="tertiary", key="data_drop", on_click=requests.drop, args=(KEY,))


def _keep_named(settings: dict[str, Any], look: dict[str, Any]) -> None:
    name = str(st.session_state.get("data_name") or "").strip()
    keep(name, settings, look)
    requests.drop(KEY)
    st.session_state["data_kept"] = name


def keep(name: str, settings: dict[str, Any], look: dict[str, Any]) -> None:
    """Remember data under a name, with the columns that were found. Raises WinnowError where the name will not do."""
    if not name or len(name) > LONGEST_NAME:
        raise WinnowError(f"Data needs a name of 1 to {LONGEST_NAME} characters; write one.")
    if name in [entry["name"] for entry in session.ledger().datasets()]:
        raise WinnowError(f"There is already data called {name}; choose another name, or remove the other first.")
    found = DataSettings.model_validate(settings | {"columns": look["mapping"]})
    session.ledger().add_dataset(name, found.model_dump(mode="json"), preview.remembered(look))
