"""Files to take away, made in a temporary folder when they are asked for; a read-only workspace is left as it is."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import streamlit as st


def zipped(write: Callable[[Path], object]) -> bytes:
    """What `write` puts into the folder it is given, which does not exist yet, as one zip without subfolders."""
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        out = Path(folder) / "export"
        write(out)
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(out.iterdir()):
                compressed = path.suffix == ".parquet"
                archive.write(path, path.name, zipfile.ZIP_STORED if compressed else None)
    return packed.getvalue()


def button(label: str, write: Callable[[Path], object], name: str, *, key: str) -> None:
    """A button that downloads `NAME.zip` with what `write` puts into a folder."""
    st.download_button(
        label, lambda: zipped(write), file_name=f"{name}.zip", mime="application/zip", type="primary",
        icon=":material/download:", on_click="ignore", key=key,
    )  # fmt: skip
