"""Files and folders appear atomically."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.common.atomic import remove_leftovers, sweep, write_atomically, write_folder_atomically
from engine.common.errors import WinnowError
from engine.common.paths import CHECKOUT


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


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Protects the disk: a half-written folder of a killed process goes, other folders and the finished one stay."""
    for name in (".model.0a1b2c3d.tmp", ".model-2.0a1b2c3d.tmp", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("x")
    remove_leftovers(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model-2.0a1b2c3d.tmp", "model"]


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    """Protects the disk, and a writer at work: old leftovers go at any depth, in a shared folder fresh ones stay."""
    for name in ("part.parquet", ".part.parquet.0a1b2c3d.tmp", "run/scores/.x.parquet.0a1b2c3d.tmp", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / "run" / "scores" / ".x.parquet.0a1b2c3d.tmp", (0, 0))
    sweep(tmp_path, 3600.0)
    left = {".hidden", ".part.parquet.0a1b2c3d.tmp", "part.parquet"}
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == left
    sweep(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".hidden", "part.parquet"}
    remove_leftovers(tmp_path / "none" / "there")
    sweep(tmp_path / "none")


WRITE = """
import sys
from pathlib import Path
from engine.common.atomic import write_atomically
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


def test_a_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    """Parents are made, an empty folder is replaced, and nothing else is left."""
    folder = tmp_path / "deep" / "set"
    folder.mkdir(parents=True)

    def fill(temporary: Path) -> None:
        (temporary / "inside").mkdir()
        (temporary / "inside" / "a.txt").write_text("a")
        (temporary / "b.txt").write_text("b")
        assert list(folder.iterdir()) == []

    assert write_folder_atomically(folder, fill) == folder
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.txt")) == ["b.txt", "inside/a.txt"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_folder_that_cannot_be_filled_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fill(temporary: Path) -> None:
        (temporary / "half.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_folder_atomically(tmp_path / "set", fill)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_stays(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old.txt").write_text("old")
    with pytest.raises(OSError, match="not empty"):
        write_folder_atomically(tmp_path / "set", lambda temporary: (temporary / "new.txt").write_text("new"))
    assert (tmp_path / "set" / "old.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
