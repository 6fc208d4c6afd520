"""The way out of the page of distilled data: the set on the screen as files, and the lines that train on it."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from engine.config.distillation import SetKey
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
        lines = snippet(view.run.id, view.key)
        st.download_button(
            f"Download {view.made.said()}", packer(view.run.id, view.key),
            file_name=f"{view.run.id}-{view.key.name}.zip", mime="application/zip", type="primary",
            icon=":material/download:", on_click="ignore", key="distilled_take_zip",
        )  # fmt: skip
        kind = "pictures" if view.made.pictures else "texts"
        st.caption(
            f"A zip with the {kind} and labels (Parquet), the learned numbers and rates (safetensors), a manifest "
            "that says how they were made and what they are worth, and these lines, which train on them:"
        )
        st.code(lines, language="python")


@contextmanager
def _exported(run: str, key: SetKey) -> Iterator[Path]:
    """The export of one set in a folder that is gone afterwards."""
    from engine.export.distilled import export_distilled  # here: only who takes something away waits for it

    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        out = Path(folder) / "export"
        export_distilled(session.workspace(), session.ledger(), session.store(), run, out=out, key=key)
        yield out


@st.cache_data(show_spinner=False, max_entries=50)
def snippet(run: str, key: SetKey) -> str:
    """The Python of the export's card; "" where it has none."""
    with _exported(run, key) as out:
        found = re.search(r"```python\n(.*?)\n```", (out / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return found[1] if found else ""


def packer(run: str, key: SetKey) -> Callable[[], bytes]:
    """What makes the zip. It runs when somebody asks, outside the page."""

    def pack() -> bytes:
        packed = io.BytesIO()
        with _exported(run, key) as out, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(out.iterdir()):
                archive.write(path, path.name)
        return packed.getvalue()

    return pack
