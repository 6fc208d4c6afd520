"""Where things lie, whether they may be changed, and files that are put in place whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.common.atomic import write_atomically
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


def test_write_atomically_puts_the_file_in_place(tmp_path: Path) -> None:
    """Protects the plain case: folders are made, the new text replaces the old, nothing else is left."""
    path = tmp_path / "deep" / "file.txt"
    for text in ("old", "new"):
        assert write_atomically(path, lambda temporary, text=text: temporary.write_text(text)) == path
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    """Protects the old file when the disk is full half-way: it stays, and the sentence says what to do."""
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fill(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(WinnowError, match=r"file.txt could not be written \(No space left on device\); free some disk"):
        write_atomically(path, fill)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_that_fails_otherwise_leaves_nothing(tmp_path: Path) -> None:
    """Protects a folder from half-written leftovers of an interrupted or mistaken write."""

    def fill(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file.txt", fill)
    assert list(tmp_path.iterdir()) == []


WRITE = """
import sys
from pathlib import Path
from engine.workspace import write_atomically
path = Path(sys.argv[1])
print("start", flush=True)
number = 0
while True:
    number += 1
    write_atomically(path, lambda temporary: temporary.write_bytes(b"%08d" % number * 200_000))
"""


@pytest.mark.kill
def test_killed_while_writing(tmp_path: Path) -> None:
    """Protects every file of a workspace: a writer killed at any moment leaves the old file or the new one."""
    path = tmp_path / "file.bin"
    chance = random.Random(0)
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "start\n"
        time.sleep(chance.uniform(0.0, 0.15))
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        if path.exists():
            data = path.read_bytes()
            assert data == data[:8] * 200_000
