"""One sample, opened in a drawer beside a list of samples; which one stands in the address, so that a link opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared import copy_link, session


class Drawer:
    """The drawer of one page. The address names its sample by row, as `parameter`."""

    def __init__(self, parameter: str, *, width: int, key: str) -> None:
        self.parameter, self.width, self.key = parameter, width, key

    def row(self) -> int | None:
        """The row named in the address; None if there is none, or if it is not a number."""
        text = st.query_params.get(self.parameter, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

    def open(self, row: int) -> None:
        st.query_params[self.parameter] = str(row)

    def _close(self) -> None:
        st.query_params.pop(self.parameter, None)

    def draw(self, run: str, body: Callable[[int, dict[str, Any]], None], place: DeltaGenerator) -> None:
        """Open the sample named in the address, `body` drawing it; a warning in `place` if the run has no such row."""
        row = self.row()
        if row is None:
            return
        if session.store().sample(run, row) is None:
            place.warning(f"The link names sample {row:,}, which this run does not have.", icon=":material/link_off:")
            return

        def content() -> None:
            with session.show_errors():
                row = self.row()
                sample = session.store().sample(run, row) if row is not None else None
                if row is not None and sample is not None:
                    body(row, sample)

        # Made here and not at import: the drawer of one visit must not close over the view of another.
        st.dialog("Sample", width=self.width, position="right", on_dismiss=self._close)(content)()

    def header(self, before: int | None, after: int | None, also: Mapping[str, str]) -> None:
        """Previous and next, with the arrow keys, and a link to the sample; `also` are other parameters of the link."""
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            for name, icon, shortcut, row in (
                ("Previous", "arrow_back", "Left", before),
                ("Next", "arrow_forward", "Right", after),
            ):
                st.button(
                    name, icon=f":material/{icon}:", shortcut=shortcut, key=f"{self.key}_{name.lower()}",
                    disabled=row is None, on_click=self.open, args=(row,),
                )  # fmt: skip
            copy_link.draw(key=f"{self.key}_link", also=also)
