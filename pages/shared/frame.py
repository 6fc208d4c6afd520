"""The pages of the app."""

from __future__ import annotations

from pathlib import Path

import streamlit as st


def navigation() -> st.Page:
    """Offer every page at the top of the window, and return the one the address names."""
    # An icon of our own: Streamlit would fetch a Material one from the network, which may not be there.
    st.set_page_config(page_title="Winnow", page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")
    return st.navigation(
        [
            st.Page(
                "pages/overview/page.py", title="Overview", icon=":material/home:", url_path="overview", default=True
            ),
            st.Page("pages/samples/page.py", title="Samples", icon=":material/filter_alt:", url_path="samples"),
            st.Page(
                "pages/pruning/page.py",
                title="Dynamic pruning",
                icon=":material/stacked_line_chart:",
                url_path="dynamic_pruning",
            ),
            st.Page(
                "pages/kd/page.py", title="KD on pruned data", icon=":material/school:", url_path="kd_on_pruned_data"
            ),
            st.Page(
                "pages/distillation/page.py",
                title="Distilled data",
                icon=":material/science:",
                url_path="distilled_data",
            ),
            st.Page(
                "pages/playground/page.py", title="Try your own", icon=":material/edit_note:", url_path="try_your_own"
            ),
            st.Page("pages/runs/page.py", title="Runs", icon=":material/list:", url_path="runs"),
            st.Page("pages/data/page.py", title="Data & models", icon=":material/database:", url_path="data"),
        ],
        position="top",
    )
