"""Adding data: name the source, preview it, map its columns, give it a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from engine.analysis.datasets import name_of, row_counts
from engine.analysis.model_pairs import Pair
from engine.common.errors import WinnowError
from engine.common.text import escape_text
from engine.config.data import ColumnMap, DataSettings
from engine.config.models import exit_layer
from engine.storage import uploads
from pages.data import preview
from pages.shared import requests, session
from pages.shared.escape import escape_markdown

KEY = "data_look"  # the request to the engine, in the session of this browser tab
HUB, PATH, UPLOAD = "Hugging Face Hub", "A path on this machine", "Upload a file"
CHARACTERS = "none, count characters"
BY_NAME = "found by its usual name"
LONGEST_NAME = 60


def draw(pairs: Sequence[Pair]) -> None:
    """The whole section, as far as it has been filled in. `pairs` offer their tokenizers to count lengths with."""
    way = st.segmented_control(
        "Where is it?", [HUB, PATH, UPLOAD], default=HUB, required=True, key="data_from", bind="query-params"
    )
    tokenizers = {CHARACTERS: ""} | {
        model.name: model.source or model.name
        for pair in reversed(pairs)
        for model in (pair.teacher, pair.student)  # an exit of a teacher reads as it does
        if exit_layer(model.name) is None
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
                "File, pattern or folder", key="data_path", bind="query-params", placeholder="/data/instructions.jsonl",
                max_chars=1000, help="Parquet, JSONL, JSON or CSV, also compressed (.gz, .zst); a pattern such as "
                "/data/train-*.parquet; or a folder of such files, or one saved by the datasets library.",
            )  # fmt: skip
        else:
            st.file_uploader(
                f"A JSONL, JSON, CSV or Parquet file of at most {uploads.LIMIT_MB} MB; "
                "what is larger can be given by its path",
                type=[suffix[1:] for suffix in uploads.SUFFIXES],
                max_upload_size=uploads.LIMIT_MB,
                key="data_upload",
            )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.selectbox(
                "Tokenizer that counts lengths", list(tokenizers), index=len(tokenizers) - 1, key="data_tokens",
                bind="query-params", accept_new_options=True, width=300,
                help="A model whose tokens are counted: one that was used here, or another by its Hub id.",
            )  # fmt: skip
            st.form_submit_button(
                "Preview",
                type="primary",
                icon=":material/visibility:",
                on_click=_attempt,
                args=(_request_preview, tokenizers),
            )
    if wrong := st.session_state.pop("data_wrong", ""):
        st.error(escape_markdown(wrong), icon=":material/error:")
    if request := requests.answered(KEY, "Reading the first rows", height=320):
        _preview(request.payload, request.answer or {})


def _attempt(act: Callable[..., None], *arguments: Any) -> None:
    """What a button does; if it fails, the reason stands below the form."""
    try:
        act(*arguments)
    except WinnowError as error:
        st.session_state["data_wrong"] = str(error)


def _request_preview(tokenizers: Mapping[str, str]) -> None:
    """Request a preview of what the form names."""
    fields = st.session_state
    split, way = "train", fields.get("data_from")
    if way == UPLOAD:
        source = _stored(fields.get("data_upload"))
    elif way == PATH:
        typed = str(fields.get("data_path") or "").strip()
        source = str(Path(typed).expanduser().absolute()) if typed else ""
    else:
        source = str(fields.get("data_hub") or "").strip()
        split = str(fields.get("data_split") or "").strip() or split
    counter = str(fields.get("data_tokens") or "")
    request_preview(source, split, tokenizers.get(counter, counter))


def _stored(upload: Any) -> str:
    if upload is None:
        raise WinnowError("No file has been chosen; choose one first.")
    return str(uploads.save_upload(session.workspace(), upload.name, upload.getvalue()))


def request_preview(source: str, split: str, model: str, columns: ColumnMap | None = None) -> None:
    """Have the engine preview a set. Raises WinnowError if no source was given."""
    if not source:
        raise WinnowError("No source was given; write where the data is.")
    settings = DataSettings(source=source, split=split, columns=columns or ColumnMap())
    if columns is None:  # another set: columns and names of the last one do not apply
        for key in (*map(_column_key, preview.ROLES), "data_name"):
            st.session_state.pop(key, None)
    requests.put(KEY, "preview", {"data": settings.model_dump(mode="json"), "model": model})


def _preview(payload: dict[str, Any], found: dict[str, Any]) -> None:
    """The preview, the columns, and the name to save it under."""
    with st.container(border=True):
        preview.problem(found)
        if found["mapping"]:
            st.markdown(f"#### {escape_markdown(row_counts(found))}")
            st.caption(escape_markdown(preview.origin(found)))
        columns = _columns(payload, found)
        preview.draw(found, KEY)
        if found["mapping"]:
            _save(payload, found)
    if columns != payload["data"]["columns"]:
        with session.show_errors():
            request_preview(payload["data"]["source"], payload["data"]["split"], payload["model"], ColumnMap(**columns))
            st.rerun()


def _columns(payload: dict[str, Any], found: dict[str, Any]) -> dict[str, str]:
    """A choice of column for each role; returns the mapping, "" for columns that are found by name."""
    columns = {}
    for place, role in zip(st.columns(4), preview.ROLES, strict=True):
        requested = payload["data"]["columns"].get(role, "")
        options = ["", *found["columns"]]
        by_name = (found["mapping"] or {}).get(role, "") if not requested else ""

        unset = f"{escape_text(by_name)} ({BY_NAME})" if by_name else BY_NAME if requested else "none"

        def named(column: str, unset: str = unset) -> str:
            return escape_text(column) or unset

        columns[role] = place.selectbox(
            _ROLE[role], options, index=options.index(requested) if requested in options else 0,
            format_func=named, key=_column_key(role),
        )  # fmt: skip
    return columns


_ROLE = {
    "instruction": "Column of the instruction",
    "input": "Column of the input",
    "response": "Column of the response, or of conversations",
    "system": "Column of the system text",
}


def _column_key(role: str) -> str:
    return f"data_column_{role}"


def _save(payload: dict[str, Any], found: dict[str, Any]) -> None:
    taken = [entry["name"] for entry in session.ledger().datasets()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Name", name_of(payload["data"]["source"], taken), key="data_name", max_chars=LONGEST_NAME, width=300
        )
        st.button(
            "Save this data", type="primary", icon=":material/bookmark_add:", key="data_keep",
            on_click=_attempt, args=(_save_named, payload["data"], found),
        )  # fmt: skip
        st.button("Discard", type="tertiary", key="data_drop", on_click=requests.drop, args=(KEY,))


def _save_named(settings: dict[str, Any], found: dict[str, Any]) -> None:
    name = str(st.session_state.get("data_name") or "").strip()
    save(name, settings, found)
    requests.drop(KEY)
    st.session_state["data_kept"] = name


def save(name: str, settings: dict[str, Any], found: dict[str, Any]) -> None:
    """Save data under a name, with the columns that were found. Raises WinnowError if the name cannot be used."""
    if not name or len(name) > LONGEST_NAME:
        raise WinnowError(f"Data needs a name of 1 to {LONGEST_NAME} characters; write one.")
    if name in [entry["name"] for entry in session.ledger().datasets()]:
        raise WinnowError(f"There is already data called {name}; choose another name, or remove the other first.")
    data = DataSettings.model_validate(settings | {"columns": found["mapping"]})
    session.ledger().add_dataset(name, data.model_dump(mode="json"), preview.stored(found))
