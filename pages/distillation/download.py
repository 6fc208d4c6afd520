"""Export of the distilled set on the screen: its files, and the program that trains on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import streamlit as st

from engine.analysis.distilled_sets import DistilledSet
from engine.config.distillation import SetKey
from engine.export.distilled import TEMPLATES, export_distilled
from pages.shared import download, session


def draw(shown: DistilledSet) -> None:
    """The button and what it opens; nothing while the set is still being learned."""
    if shown.step is None:
        return
    panel = st.popover(
        "Export this set", icon=":material/download:", on_change="rerun", key="distilled_take", width="content"
    )
    if not panel.open:
        return
    with panel, session.show_errors():
        download.button(
            f"Download {shown.inputs.phrase()}", writer(shown.run.id, shown.key), f"{shown.run.id}-{shown.key.name}",
            key="distilled_take_zip",
        )  # fmt: skip
        kind = "pictures" if shown.pictures else "texts"
        st.caption(
            f"A zip with the {kind} and labels (Parquet), the learned numbers and rates (safetensors), a manifest "
            "that says how they were made and how they were evaluated, and a program that trains on them without "
            "Winnow:"
        )
        st.code(program(), language="python")


@cache
def program() -> str:
    """train.py of every export."""
    return (TEMPLATES / "train.py").read_text(encoding="utf-8")


def writer(run: str, key: SetKey) -> Callable[[Path], object]:
    """What writes the export of one set into a folder. It runs on request, outside the page."""
    workspace, ledger, store = session.workspace(), session.ledger(), session.store()
    return lambda out: export_distilled(workspace, ledger, store, run, out=out, key=key)
