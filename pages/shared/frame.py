"""The pages of the app."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.shared import links

# Folder, title, icon and address of each page; addresses stay as they are, because people keep links.
PAGES = (
    ("overview", "Overview", "home", "overview"),
    ("samples", "Samples", "filter_alt", "samples"),
    ("pruning", "Dynamic pruning", "stacked_line_chart", "dynamic_pruning"),
    ("kd", "KD on pruned data", "school", "kd_on_pruned_data"),
    ("distillation", "Distilled data", "science", "distilled_data"),
    ("playground", "Try your own", "edit_note", "try_your_own"),
    ("runs", "Runs", "list", "runs"),
    ("data", "Data & models", "database", "data"),
)


def navigation() -> st.Page:
    """Offer every page at the top of the window, and return the one the address names."""
    # An icon of our own: Streamlit would fetch a Material one from the network, which may not be there.
    st.set_page_config(page_title="Winnow", page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")
    pages = [
        st.Page(
            links.script(folder), title=title, icon=f":material/{icon}:", url_path=address,
            default=folder == PAGES[0][0],
        )
        for folder, title, icon, address in PAGES
    ]  # fmt: skip
    return st.navigation(pages, position="top")


def first_visit() -> None:
    """Start over with the navigation, at the same address. All that `pages/<number>_<address>.py` do.

    Streamlit takes a folder called pages/ for the pages of an app without navigation until one session of the server
    process has called st.navigation. The very first visit may be a link to a page: without a file of that name
    Streamlit says that there is no such page, and shows the first one.
    """
    navigation()
    st.rerun()
