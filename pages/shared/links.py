"""Links from page to page. A page is named by its folder; this is the one place that knows where its script stands."""

from __future__ import annotations

import streamlit as st

from engine.config.kinds import KINDS
from engine.storage.ledger import Run


def script(page: str) -> str:
    return f"pages/{page}/page.py"


def show(page: str, label: str, *, icon: str | None = None, onward: bool = False, **address: str) -> None:
    """A link with the parameters of its address; `label` is Markdown, and an arrow follows it if it leads `onward`."""
    st.page_link(
        script(page), label=label, icon=":material/arrow_forward:" if onward else icon,
        icon_position="right" if onward else "left", query_params=address,
    )  # fmt: skip


def results(run: Run, label: str, *, onward: bool = False) -> None:
    """A link to the page that shows what came of a run."""
    kind = KINDS[run.kind]
    show(kind.page, label, onward=onward, **{kind.query: run.id})


def switch(page: str, **address: str) -> None:
    """Go to a page at once."""
    st.switch_page(script(page), query_params=address)
