"""Winnow's frame: the pages and the bar beside them. Run with `streamlit run app.py`."""

from __future__ import annotations

from pages.shared import frame

page = frame.navigation()

# Imported after the navigation is on its way, so that the window is not empty while they load.
from engine.runtime import supervisor  # noqa: E402
from pages.shared import engine_bar, session  # noqa: E402

with session.show_errors():
    engine_bar.draw(start=lambda: supervisor.start_detached(session.workspace()))
    page.run()
