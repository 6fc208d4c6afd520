"""Uploaded files: safe names, refusals, and the same content stored once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.common.errors import ReadOnlyError, WinnowError
from engine.data.files import kind_of_file
from engine.storage import uploads
from engine.storage.workspace import Workspace


@given(st.text(max_size=80))
def test_upload_names_are_safe(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Whatever a file is called, it lies directly in the folder of uploads, under plain characters."""
    workspace = Workspace(tmp_path_factory.getbasetemp() / "uploads-of-any-name").create()
    path = uploads.save_upload(workspace, f"{name}.jsonl", b"{}")
    assert path.parent == workspace.uploads
    assert path.is_file()
    assert all(character.isascii() and (character.isalnum() or character in "-_.") for character in path.name)
    assert uploads.is_upload(workspace, str(path))


def test_uploads_that_are_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kind of file, an empty one, one that is too large, and any in a presented workspace."""
    for name, content, sentence in (
        ("a.exe", b"x", "is not a JSONL, JSON, CSV or Parquet file"),
        ("a.csv", b"", "is empty"),
    ):
        with pytest.raises(WinnowError, match=sentence):
            uploads.save_upload(workspace, name, content)
    monkeypatch.setattr(uploads, "LIMIT_MB", 0)
    with pytest.raises(WinnowError, match="give its path instead"):
        uploads.save_upload(workspace, "a.csv", b"x,y")
    with pytest.raises(ReadOnlyError):
        uploads.save_upload(Workspace(workspace.root, read_only=True), "a.csv", b"x,y")
    assert not workspace.uploads.exists()


def test_compressed_files_keep_both_parts_of_their_ending(workspace: Workspace) -> None:
    """What is read by its ending has the same one when it is stored."""
    assert uploads.save_upload(workspace, "my set.JSONL.gz", b"x").name.endswith(".jsonl.gz")
    assert all(kind_of_file(f"a{suffix}") for suffix in uploads.SUFFIXES)


def test_same_upload_is_stored_once(workspace: Workspace) -> None:
    """The same file twice is one file; other content under the same name is another."""
    first = uploads.save_upload(workspace, "a.csv", b"x,y")
    assert uploads.save_upload(workspace, "a.csv", b"x,y") == first
    assert uploads.save_upload(workspace, "a.csv", b"x,z") != first
