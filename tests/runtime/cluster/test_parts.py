"""Files that nodes exchange, and how parts are recorded: a unit done twice leaves one part."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from engine.common.errors import WinnowError
from engine.config.load import parse_recipe
from engine.models.tensor_cache import load_tensors, save_tensors
from engine.runtime.cluster import artifacts
from engine.runtime.cluster.artifacts import ArtifactSync
from engine.runtime.cluster.coordinator import Coordinator
from engine.runtime.cluster.storage import Storage
from engine.storage.ledger import Ledger
from engine.storage.parts import Part, read_table, write_part
from engine.storage.workspace import Workspace, open_workspace

RECIPE = {"kind": "score", "data": {"source": "x"}, "models": {"teacher": "t", "student": "s"}}


def address(folder: Path, apart: bool) -> str:
    return f"file://{folder / 'storage'}" if apart else ""


def staged(coordinator: Coordinator, folder: Path, worker: str, seconds: float, apart: bool) -> Part:
    """A part as a worker writes it; the same unit takes other seconds each time, so that the files differ."""
    root = folder / worker if apart else coordinator.workspace.root
    staging = Workspace(root / "staging" / coordinator.run_id / worker)
    columns = {
        "arm": ["base"],
        "seed": [-1],
        "epoch": [1],
        "row": np.array([0], dtype=np.int32),
        "metric": ["kl"],
        "value": np.array([0.5], dtype=np.float32),
    }
    part = write_part(staging, coordinator.run_id, "scores", "base-e001-00000", columns, seconds)
    storage = Storage(address(folder, apart), root)
    storage.push([storage.name_of(part.path(staging))])
    return part


@pytest.fixture(params=[False, True], ids=["a shared workspace", "a storage of its own"])
def apart(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def coordinator(workspace: Workspace, ledger: Ledger, tmp_path: Path, apart: bool) -> Coordinator:
    return Coordinator(workspace.root, ledger.submit(parse_recipe(RECIPE)), address(tmp_path, apart))


def test_a_unit_done_twice_leaves_one_part(
    coordinator: Coordinator, ledger: Ledger, tmp_path: Path, apart: bool
) -> None:
    """A node that was taken for lost and was not reports late: what was recorded first stays."""
    first, second = (staged(coordinator, tmp_path, name, seconds, apart) for name, seconds in (("a", 1.0), ("b", 2.0)))
    assert first.sha256 != second.sha256
    coordinator.record_parts("a", [first])
    coordinator.record_parts("b", [second])
    assert ledger.parts(coordinator.run_id) == [first]
    assert read_table(coordinator.workspace, [first], "scores").num_rows == 1
    again = Coordinator(coordinator.workspace.root, coordinator.run_id, address(tmp_path, apart))  # of the resumed run
    assert again.has("scores", first.name)


def test_a_part_that_arrives_damaged_is_not_recorded(
    coordinator: Coordinator, ledger: Ledger, tmp_path: Path, apart: bool
) -> None:
    """What is recorded is what was written, or nothing."""
    part = staged(coordinator, tmp_path, "a", 1.0, apart)
    root = Path(address(tmp_path, True).removeprefix("file://")) if apart else coordinator.workspace.root
    file = next((root / "staging").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WinnowError, match="did not arrive as it was written"):
        coordinator.record_parts("a", [part])
    assert ledger.parts(coordinator.run_id) == []


@pytest.mark.parametrize("apart", [True], indirect=True)
def test_parts_that_were_never_recorded_are_removed(coordinator: Coordinator, tmp_path: Path, apart: bool) -> None:
    """A killed worker's half-finished files do not pile up on the storage."""
    staged(coordinator, tmp_path, "a", 1.0, apart)
    coordinator.storage.remove(f"staging/{coordinator.run_id}")
    assert not (tmp_path / "storage" / "staging" / coordinator.run_id).exists()
    coordinator.storage.remove("staging/another")  # nothing is there, and nothing happens


def test_an_unusable_storage_is_named(tmp_path: Path) -> None:
    """A wrong address is reported in one sentence, before anything is computed."""
    with pytest.raises(WinnowError, match=r"cluster\.storage is nowhere://bucket"):
        Storage("nowhere://bucket", tmp_path)
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "model").write_text("weights")
    blocked = Storage(f"file://{tmp_path / 'file'}", tmp_path / "here")
    with pytest.raises(WinnowError, match=r"could not be written .*check cluster\.storage"):
        blocked.push(["model"])


def test_a_storage_without_credentials_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries of cloud storage have errors of their own; those end in one sentence as well."""

    def refuse(*_: object) -> None:
        raise LookupError("no credentials")  # as botocore's, this is no OSError

    monkeypatch.setattr(LocalFileSystem, "exists", refuse)
    storage = Storage(f"file://{tmp_path}", tmp_path / "here")
    for ask in (storage.pull, storage.remote_files, storage.remove):
        with pytest.raises(WinnowError, match=r"file://.*/models could not be .* \(no credentials\); .* environment"):
            ask("models")


def test_nodes_see_what_others_have_published(
    workspace: Workspace, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two mirrors of one storage end with the same files, each downloaded once; half-written files are left out."""
    monkeypatch.setattr(artifacts.ray, "get", lambda answer: answer)
    run, address = ledger.submit(parse_recipe(RECIPE)), f"file://{tmp_path / 'storage'}"
    coordinator = Actor(Coordinator(workspace.root, run, address))
    nodes = [Storage(address, tmp_path / name) for name in ("one", "other")]
    one, other = (ArtifactSync(node, coordinator, f"staging/{run}/{node.root.name}") for node in nodes)
    folder = nodes[0].root / "models" / "a"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("1")
    (folder / ".weights.tmp").write_text("half")
    one.publish()
    other.fetch()
    assert nodes[1].local_files("models") == nodes[0].remote_files("models") == ["models/a/weights"]
    assert (nodes[1].root / "models" / "a" / "weights").read_text() == "1"
    (tmp_path / "storage" / "models" / "a" / "weights").unlink()  # a second download would not find it
    other.publish()  # has nothing of its own
    one.fetch()
    other.fetch()
    assert nodes[0].remote_files("models") == nodes[0].remote_files("outputs") == []
    (folder / "words").write_text("2")
    one.publish()
    later = ArtifactSync(
        Storage(address, tmp_path / "later"), Actor(Coordinator(workspace.root, run, address)), "staging/later"
    )
    later.restore([])  # a resumed run lists the address
    later.fetch()
    assert later.storage.local_files("models") == ["models/a/words"]
    assert not later.storage.pull("models/b/weights")
    assert not list((tmp_path / "storage" / "staging").rglob("w*"))


def test_a_storage_that_has_lost_parts_gets_them_again(
    workspace: Workspace, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that was emptied before a run is resumed does not end it; what is there stays as it is."""
    monkeypatch.setattr(artifacts.ray, "get", lambda answer: answer)
    run, address = ledger.submit(parse_recipe(RECIPE)), f"file://{tmp_path / 'storage'}"
    scores = {"arm": ["base"], "seed": [-1], "epoch": [1], "row": [0], "metric": ["kl"], "value": [0.5]}
    parts = [write_part(workspace, run, "scores", name, scores) for name in ("base-e001-00000", "base-e001-00001")]
    storage = Storage(address, workspace.root)
    names = [storage.name_of(part.path(workspace)) for part in parts]
    storage.push(names)
    lost, kept = (tmp_path / "storage" / name for name in names)
    lost.unlink()
    kept.write_text("as it is")
    ArtifactSync(storage, Actor(Coordinator(workspace.root, run, address)), f"staging/{run}/engine").restore(parts)
    assert lost.read_bytes() == parts[0].path(workspace).read_bytes()
    assert kept.read_text() == "as it is"


def test_checkpoints_stay_on_their_node(tmp_path: Path) -> None:
    """A finished set goes to every node; a checkpoint, which still changes, stays where it is."""
    address = f"file://{tmp_path / 'storage'}"
    one, other = (open_workspace(tmp_path / name, read_only=False) for name in ("one", "other"))
    save_tensors(one, "finished", {}, {"step": 3})
    (one.outputs / "begun.training.safetensors").write_bytes(b"of one node")
    here, there = Storage(address, one.root), Storage(address, other.root)
    here.push(here.local_files("outputs"), "staging/one")
    assert there.remote_files("outputs") == ["outputs/finished.safetensors"]
    assert there.pull("outputs/finished.safetensors")
    found = load_tensors(other, "finished")
    assert found is not None
    assert found.facts == {"step": 3}
    assert [path.name for path in other.outputs.iterdir()] == ["finished.safetensors"]


class Actor:
    """A local object with the interface of an actor of Ray."""

    def __init__(self, wrapped: Coordinator) -> None:
        self.wrapped = wrapped

    def __getattr__(self, method: str) -> SimpleNamespace:
        return SimpleNamespace(remote=getattr(self.wrapped, method))
