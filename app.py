"""Winnow's frame: the pages and the bar beside them. Run with `streamlit run app.py`."""

from __future__ import annotations

from pages.parts import frame

page = frame.navigation()

# Imported after the navigation is on its way, so that the window is not empty while they load.
from engine import service  # noqa: E402
from pages.parts import context, frame_bar  # noqa: E402

with context.told():
    frame_bar.draw(start=lambda: service.start_detached(context.workspace()))
    with frame.around():
        page.run()
