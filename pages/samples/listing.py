"""The ranked list: one page of fifty samples, each a line that opens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from engine.common import formats
from engine.common.text import one_line
from engine.storage.store import SampleQuery, Store
from pages.samples.view import Choice, facets
from pages.shared import escape

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "winnow_list",
    html='<div class="list">\n<table><thead></thead><tbody></tbody></table></div>',
    css=(_HERE / "listing.css").read_text(encoding="utf-8"),
    js=(_HERE / "listing.js").read_text(encoding="utf-8"),
)
ROWS = 50
TASKS = ("task", "category", "label", "kind", "type", "source")


def verdict(kept: bool, decision: str) -> str:
    return f"{'kept' if kept else 'pruned'}{' by hand' if decision else ''}"


def offset(store: Store, query: SampleQuery, matching: int, *, around: bool) -> int:
    """Where the page begins: a numbered page, or the rows on both sides of the threshold."""
    if around and query.tau is not None:
        return max(0, min(store.offset_at(query, query.tau) - ROWS // 2, matching - ROWS))
    pages = max(1, -(-matching // ROWS))
    page = min(max(1, int(st.session_state.get("page", 1))), pages)
    if page != st.session_state.get("page", 1):
        st.session_state["page"] = page
    return ROWS * (page - 1)


def numbers(matching: int) -> None:
    """The page numbers under the list."""
    if matching > ROWS:
        with st.container(horizontal=True, horizontal_alignment="center"):
            st.pagination(-(-matching // ROWS), key="page", bind="query-params")


def draw(
    store: Store,
    choice: Choice,
    query: SampleQuery,
    rows: pd.DataFrame,
    highest: float,
    opened: int | None,
    on_open: Callable[[int], None],
) -> None:
    """Draw the rows of one page. A bar is full at `highest`; `on_open` gets the row that was clicked."""
    run, listed = choice.run.id, [int(row) for row in rows["row"]]
    field = category_field(list(facets(store, run)["field"]))
    sparks = {}
    if len(choice.epochs) > 1:
        sparks = store.values_by_epoch(run, listed, choice.scoring.metric, choice.seed)

    def open_() -> None:
        row = int(st.session_state["list"].open)
        if row in listed:
            on_open(row)

    _mount(
        key="list",
        data={
            "label": choice.label,
            "field": one_line(field, 40) if field else "",
            "opened": opened,
            "tau": formats.value(query.tau, 4) if query.tau is not None else "",
            "rows": [_line(row, query, field, highest, sparks) for row in rows.to_dict("records")],
        },
        on_open_change=open_,
    )


def _line(
    row: dict[Any, Any], query: SampleQuery, field: str | None, highest: float, sparks: dict[int, list[float]]
) -> dict[str, Any]:
    value = float(row["value"])
    prompt = f"{row['instruction']}\n{row['input']}" if row["input"] else row["instruction"]
    spark = [None if math.isnan(number) else number for number in sparks.get(int(row["row"]), [])]
    return {
        "row": int(row["row"]),
        "rank": int(row["rank"]),
        "value": formats.value(value, 4),
        "part": 0.0 if math.isnan(value) or not highest > 0 else min(1.0, max(0.0, value / highest)),
        "above": query.tau is None or value > query.tau,
        "kept": bool(row["kept"]),
        "verdict": verdict(bool(row["kept"]), row["decision"]),
        "field": one_line(dict(row["fields"]).get(field, ""), 40) if field else "",
        "prompt": escape.highlighted(prompt, query.search),
        "response": escape.highlighted(row["response"], query.search),
        "tokens": int(row["length"]),
        "spark": spark,
    }


def category_field(fields: Sequence[str]) -> str | None:
    """The field that gets a column: `task` or a similar name if there is one, else the first."""
    named = [field for field in fields if field.lower() in TASKS]
    return next(iter([*named, *fields]), None)
