"""Where things lie, and whether they may be changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.common.errors import ReadOnlyError, WinnowError
from engine.common.paths import CHECKOUT
from engine.storage.workspace import Workspace, open_workspace


def test_which_workspace_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the order in which a workspace is found: the argument, WINNOW_WORKSPACE, cache/ of the checkout."""
    monkeypatch.setenv("WINNOW_WORKSPACE", str(tmp_path / "from-environment"))
    assert open_workspace(tmp_path / "named").root == tmp_path / "named"
    assert open_workspace().root == tmp_path / "from-environment"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_workspace("~/home").root == tmp_path / "home"
    monkeypatch.delenv("WINNOW_WORKSPACE")
    assert open_workspace().root == (CHECKOUT / "cache").resolve()


@pytest.mark.parametrize(
    ("value", "read_only"), [("1", True), ("True", True), ("yes", True), ("0", False), ("", False)]
)
def test_read_only_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, read_only: bool) -> None:
    """Protects a presentation started with WINNOW_READ_ONLY, which an explicit argument overrules."""
    monkeypatch.setenv("WINNOW_READ_ONLY", value)
    assert open_workspace(tmp_path).read_only is read_only
    assert open_workspace(tmp_path, read_only=not read_only).read_only is not read_only


def test_read_only_says_what_cannot_be_done(tmp_path: Path) -> None:
    """Protects a presenter's visitors: the refusal names the action and how to lift it."""
    Workspace(tmp_path).require_writable("start a run")
    with pytest.raises(ReadOnlyError, match=r"read-only, so Winnow cannot start a run; start it without --read-only"):
        Workspace(tmp_path, read_only=True).require_writable("start a run")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Protects people from a traceback when --workspace names a place where nothing can be made."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WinnowError, match=r"The workspace .*file/inside cannot be made \(.*\); name another with"):
        open_workspace(tmp_path / "file" / "inside")
