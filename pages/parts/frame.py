"""The pages of the app, and the rule that no page is ever seen without the frame around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import streamlit as st

_inside: ContextVar[bool] = ContextVar("inside the frame", default=False)


def navigation() -> st.Page:
    """Offer every page at the top of the window, and return the one the address names."""
    # An icon of our own: Streamlit would fetch a Material one from the network, which may not be there.
    st.set_page_config(page_title="Winnow", page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")
    return st.navigation(
        [
            st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
            st.Page("pages/samples.py", title="Samples", icon=":material/filter_alt:"),
            st.Page("pages/dynamic_pruning.py", title="Dynamic pruning", icon=":material/stacked_line_chart:"),
            st.Page("pages/kd_on_pruned_data.py", title="KD on pruned data", icon=":material/school:"),
            st.Page("pages/distilled_data.py", title="Distilled data", icon=":material/science:"),
            st.Page("pages/try_your_own.py", title="Try your own", icon=":material/edit_note:"),
            st.Page("pages/runs.py", title="Runs", icon=":material/list:"),
            st.Page("pages/data.py", title="Data & models", icon=":material/database:"),
        ],
        position="top",
    )


@contextmanager
def around() -> Iterator[None]:
    """What app.py runs a page in."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def framed() -> None:
    """The first call of every page: where the frame is missing, start over with it, at the same address.

    Streamlit takes a folder called `pages/` for the pages of an app without a frame until one session of the server
    process has called st.navigation. The very first visit may be a link to a page; Streamlit then runs the page alone.
    """
    if not _inside.get():
        navigation()
        st.rerun()
