"""The way out of the page of distilled data: the set on the screen as files, and the program that trains on it."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import streamlit as st

from engine.config.distillation import SetKey
from engine.export.distilled import TEMPLATES, export_distilled
from pages.distillation.state import View
from pages.shared import session


def draw(view: View) -> None:
    """The button and what it opens; nothing while the set is still being learned."""
    if view.step is None:
        return
    panel = st.popover(
        "Take it away", icon=":material/download:", on_change="rerun", key="distilled_take", width="content"
    )
    if not panel.open:
        return
    with panel, session.show_errors():
        st.download_button(
            f"Download {view.made.said()}", packer(view.run.id, view.key),
            file_name=f"{view.run.id}-{view.key.name}.zip", mime="application/zip", type="primary",
            icon=":material/download:", on_click="ignore", key="distilled_take_zip",
        )  # fmt: skip
        kind = "pictures" if view.made.pictures else "texts"
        st.caption(
            f"A zip with the {kind} and labels (Parquet), the learned numbers and rates (safetensors), a manifest "
            "that says how they were made and what they are worth, and a program that trains on them without Winnow:"
        )
        st.code(program(), language="python")


@contextmanager
def _exported(run: str, key: SetKey) -> Iterator[Path]:
    """The export of one set in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        out = Path(folder) / "export"
        export_distilled(session.workspace(), session.ledger(), session.store(), run, out=out, key=key)
        yield out


@cache
def program() -> str:
    """train.py of every export."""
    return (TEMPLATES / "train.py").read_text(encoding="utf-8")


def packer(run: str, key: SetKey) -> Callable[[], bytes]:
    """What makes the zip. It runs when somebody asks, outside the page."""

    def pack() -> bytes:
        packed = io.BytesIO()
        with _exported(run, key) as out, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(out.iterdir()):
                archive.write(path, path.name)
        return packed.getvalue()

    return pack
