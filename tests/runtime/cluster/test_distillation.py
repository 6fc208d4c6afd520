"""A distillation on a cluster: the sets and evaluations of a local run, wherever each of them is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config.distillation import DistillationRecipe
from engine.models.tensor_cache import load_tensors
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace, open_workspace
from tests.runtime.cluster.conftest import Machines, do, until
from tests.studies.test_distillation import everything, sentences
from tests.studies.test_distillation import recipe as tiny_distillation
from tests.studies.test_prompting import folder as model_folder
from tests.studies.test_prompting import llama, words_tokenizer

pytestmark = pytest.mark.cluster

SEEDS = [0, 1]
WORDS = ["[UNK]", "<s>", "label", ":", "glad", "sorry", "the", "story", "lovely", "bright", "awful", "dull"]
SETS = 2 * len(SEEDS)  # of two tasks
# Of each task all data and three selections of real samples; of each set three evaluations; two tasks, and prompts.
UNITS = SETS + 2 * (1 + 3) + 3 * SETS + 4 + 1


def sources(folder: Path) -> tuple[Path, Path]:
    return folder / "films.csv", folder / "other.csv"


def recipe(folder: Path, **cluster: Any) -> DistillationRecipe:
    """Two tasks, two seeds and prompts; the sources are written if they are gone."""
    films, other = sources(folder)
    sentences(films)
    sentences(other, other=True)
    return tiny_distillation(
        films,
        other={"source": str(other), "task": "text", "max_length": 16},
        seeds=SEEDS,
        outer__steps=80,
        outer__snapshots=20,
        prompting={"model": str(folder / "llama"), "samples": 6, "draws": 2},
        cluster=cluster or "none",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sources and the language model are."""
    folder = tmp_path_factory.mktemp("distillation")
    model_folder(folder / "llama", llama(vocab=len(WORDS)), words_tokenizer(WORDS))
    return folder


@pytest.fixture(scope="module")
def local(folder: Path) -> tuple[Workspace, str]:
    """The same distillation in this process."""
    workspace = open_workspace(folder / "workspace", read_only=False)
    return workspace, do(workspace, recipe(folder))


def assert_same(workspace: Workspace, run: str, local: tuple[Workspace, str]) -> None:
    """Every row of every table to the bit, and every set where an export looks for it."""
    ended = Ledger(workspace).run(run)
    assert ended.state == "done", ended.error
    assert everything(workspace, run) == everything(*local)
    kept, expected = ended.provenance["distilled"], Ledger(local[0]).run(local[1]).provenance["distilled"]
    assert {name: each["step"] for name, each in kept.items()} == {n: each["step"] for n, each in expected.items()}
    for name, each in kept.items():
        here, there = load_tensors(workspace, each["output"]), load_tensors(local[0], expected[name]["output"])
        assert here is not None
        assert there is not None
        assert all((here.tensors[part] == tensor).all() for part, tensor in there.tensors.items())


def learning(ledger: Ledger, run: str) -> list[str]:
    """The nodes that learn a set at the moment."""
    return [each.node for each in ledger.attempts(run) if not each.outcome and each.name.startswith("learning ")]


def test_nodes_that_share_nothing_but_a_storage(
    machines: Machines, workspace: Workspace, ledger: Ledger, tmp_path: Path, folder: Path, local: tuple[Workspace, str]
) -> None:
    """Workers have what the engine read and what others learned, even if the data is gone before they begin."""

    def remove_the_data(ledger: Ledger, run: str) -> None:
        until(lambda: ledger.attempts(run))
        for source in sources(folder):
            source.unlink()

    storage = tmp_path / "storage"
    run = do(workspace, recipe(folder, **machines.settings, storage=f"file://{storage}"), remove_the_data)
    assert_same(workspace, run, local)
    attempts = ledger.attempts(run)
    assert {attempt.outcome for attempt in attempts} == {"done"}
    assert len({attempt.name for attempt in attempts}) == len(attempts) == UNITS
    last = max(attempt.ended or 0.0 for attempt in attempts if attempt.name.startswith("learning "))
    assert all(last <= attempt.began for attempt in attempts if attempt.name.startswith("decoded text, "))
    assert list(storage.rglob("outputs/*.safetensors"))
    assert not list(storage.rglob("*.training.safetensors"))


def test_a_node_is_killed_while_it_learns(
    machines: Machines, workspace: Workspace, ledger: Ledger, folder: Path, local: tuple[Workspace, str]
) -> None:
    """Another node goes on from the last checkpoint, and nothing else is done twice."""
    killed: list[str] = []

    def kill(ledger: Ledger, run: str) -> None:
        def begun() -> bool:
            """Whether every set that is being learned has a checkpoint."""
            return 0 < len(learning(ledger, run)) == len(list(workspace.outputs.glob("*.training.safetensors")))

        until(begun)
        killed.extend(learning(ledger, run)[:1])
        nodes = {node.node_id[:6]: node for node in machines.cluster.worker_nodes}
        machines.cluster.remove_node(nodes[killed[0].split()[1]], allow_graceful=False)

    run = do(workspace, recipe(folder, **machines.settings), kill)
    assert_same(workspace, run, local)
    attempts = ledger.attempts(run)
    (lost,) = (attempt for attempt in attempts if attempt.outcome != "done")
    assert (lost.node, lost.outcome, lost.why) == (killed[0], "lost", "the node was lost")
    again = [attempt for attempt in attempts if attempt.name == lost.name]
    assert [attempt.outcome for attempt in again] == ["lost", "done"]
    assert again[1].node != lost.node
    assert len(attempts) == UNITS + 1
    log = ledger.log_path(run).read_text(encoding="utf-8")
    assert f"[{again[1].node}] {lost.name.removeprefix('learning ')} goes on from outer step " in log
    assert not list(workspace.outputs.glob("*.training.safetensors"))
