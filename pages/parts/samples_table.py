"""The ranked list: one page of fifty samples."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.store import SampleQuery, Store
from pages.parts import words
from pages.parts.samples_view import Choice

ROWS = 50
SHOWN, ROW_PIXELS = 16, 35  # rows seen at once; the rest of the fifty scrolls, so that the histogram stays near
VERDICTS = {"kept": "blue", "pruned": "orange", "kept by hand": "blue", "pruned by hand": "orange"}


def verdict(kept: bool, decision: str) -> str:
    return f"{'kept' if kept else 'pruned'}{' by hand' if decision else ''}"


def offset(store: Store, query: SampleQuery, matching: int) -> int:
    """Where the page begins: a numbered page, or the rows on both sides of the threshold."""
    if st.session_state.get("show") == "around the threshold" and query.tau is not None:
        return max(0, min(store.offset_at(query, query.tau) - ROWS // 2, matching - ROWS))
    pages = max(1, -(-matching // ROWS))
    if st.session_state.get("page", 1) > pages:
        st.session_state["page"] = pages
    return ROWS * (min(int(st.session_state.get("page", 1)), pages) - 1)


def pages(matching: int) -> None:
    """The numbers under the list; around the threshold there is only one page."""
    if matching > ROWS and st.session_state.get("show") != "around the threshold":
        with st.container(horizontal=True, horizontal_alignment="center"):
            st.pagination(-(-matching // ROWS), key="page", bind="query-params")


def draw(store: Store, choice: Choice, query: SampleQuery, rows: pd.DataFrame, highest: float) -> None:
    """Draw the rows of one page; choosing one opens it."""
    field = _telling_field(store, choice)
    seed = max(choice.scoring.seed, 0) if choice.scoring.seed >= 0 else int(st.session_state.get("seed") or 0)
    sparks = store.sparks(choice.run.id, [int(row) for row in rows["row"]], choice.scoring.metric, seed)
    columns: dict[str, object] = {
        "rank": rows["rank"],
        "value": rows["value"],
        "verdict": [[verdict(bool(k), d)] for k, d in zip(rows["kept"], rows["decision"], strict=True)],
    }
    if field:
        columns["field"] = [words.one_line(dict(fields).get(field, ""), 40) for fields in rows["fields"]]
    prompts = [f"{i}\n{more}" if more else i for i, more in zip(rows["instruction"], rows["input"], strict=True)]
    columns["prompt"] = [words.snippet(text, query.search) for text in prompts]
    columns["response"] = [words.snippet(text, query.search) for text in rows["response"]]
    columns["length"] = rows["length"]
    if len(choice.epochs) > 1:
        columns["sparks"] = [sparks.get(int(row), []) for row in rows["row"]]
    listed = [int(row) for row in rows["row"]]
    config = st.column_config
    st.dataframe(
        pd.DataFrame(columns),
        key="table",
        alt=f"Samples ranked by {choice.label}",
        hide_index=True,
        height=ROW_PIXELS * min(len(rows), SHOWN) + 39,
        on_select=lambda: _open(listed),
        selection_mode="single-cell",
        column_config={
            "rank": config.NumberColumn("#", width=56, format="localized"),
            "value": config.ProgressColumn(
                choice.label, width=140, format="%.3g", min_value=0.0, max_value=highest or 1.0, color="gray"
            ),
            "verdict": config.MultiselectColumn(
                "Kept", width=110, options=list(VERDICTS), color=list(VERDICTS.values()), help="kept: the score is above τ"
            ),
            "field": config.TextColumn(words.literal(field or ""), width=90),
            "prompt": config.TextColumn("Prompt", width=350),
            "response": config.TextColumn("Response", width=320),
            "length": config.NumberColumn("Tokens", width=70, format="localized"),
            "sparks": config.LineChartColumn("Over epochs", width=110, y_min=0.0, color="gray"),
        },
    )


def _telling_field(store: Store, choice: Choice) -> str | None:
    """The field worth a column: `task` or a like name where there is one, else the first with few values."""
    fields = list(dict.fromkeys(store.facets(choice.run.id)["field"]))
    named = [field for field in fields if field.lower() in ("task", "category", "label", "kind", "type", "source")]
    return (named or fields or [None])[0]


def _open(listed: list[int]) -> None:
    cells = st.session_state["table"]["selection"]["cells"]
    if cells and 0 <= cells[0][0] < len(listed):
        st.query_params["sample"] = str(listed[cells[0][0]])
