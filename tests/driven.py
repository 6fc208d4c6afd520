"""A page driven without a browser, as every test of a page opens it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from engine.workspace import CHECKOUT, Workspace

Show = Callable[..., AppTest]


def opener(monkeypatch: pytest.MonkeyPatch, usual: str) -> Show:
    """`show(workspace, page=usual, read_only=False, **address)`: the page after its first run, which went well."""

    def show(workspace: Workspace, page: str = usual, read_only: bool = False, **address: str) -> AppTest:
        monkeypatch.setenv("WINNOW_WORKSPACE", str(workspace.root))
        monkeypatch.setenv("WINNOW_READ_ONLY", "1" if read_only else "")
        app = AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=60).run()
        for name, value in address.items():
            app.query_params[name] = value
        app.switch_page(page).run()
        assert not app.exception
        return app

    return show
