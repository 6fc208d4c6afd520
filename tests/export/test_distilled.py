"""A distilled set that is taken away: whole, loadable elsewhere, and trainable with the lines of its own card."""

from __future__ import annotations

import importlib
import json
import math
import runpy
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from engine.common.errors import ReadOnlyError, WinnowError
from engine.common.hashing import file_sha256
from engine.config.distillation import OTHER, DistillationRecipe, SetKey
from engine.config.models import NetworkSettings
from engine.distillation.learn import attention_loss, weighted_loss
from engine.distillation.optimizers import Optimizer
from engine.export.distilled import TEMPLATES, accuracies, export_distilled
from engine.models.networks import make_network
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.storage.workspace import Workspace
from tests.fixtures.distillation_workspace import distillation_recipe, fill_distilled_workspace
from tests.fixtures.pruning_workspace import HOSTILE
from tests.fixtures.store_parts import submit

WIDTH = 16


@contextmanager
def filled(workspace: Workspace, recipe: DistillationRecipe, **how: Any) -> Iterator[tuple[Store, str]]:
    run = fill_distilled_workspace(workspace, recipe, width=WIDTH, **how)
    with closing(Store(workspace)) as store:
        store.sync(Ledger(workspace))
        yield store, run


@pytest.fixture
def student(tmp_path: Path) -> str:
    """The folder of the smallest BERT."""
    config = BertConfig(
        vocab_size=40, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path / "student"
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


def imported(out: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """train.py of an export as a module, with its student.py beside it."""
    monkeypatch.syspath_prepend(str(out))
    monkeypatch.delitem(sys.modules, "student", raising=False)
    monkeypatch.delitem(sys.modules, "train", raising=False)
    return importlib.import_module("train")


@pytest.mark.parametrize(("model", "shape"), [("mlp", (1, 8, 8)), ("cnn", (1, 8, 8)), ("cnn", (3, 16, 16))])
def test_the_exported_network_is_the_one_it_was_learned_for(
    model: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects student.py of images, which repeats Winnow's networks so that it needs none of Winnow."""
    settings = NetworkSettings(model=model, width=16, depth=2)
    theirs = runpy.run_path(str(TEMPLATES / "student_images.py"))["make_student"](
        {"network": settings.model_dump(), "classes": 5, "shape": list(shape)}, seed=4
    )
    ours = make_network(settings, "images", shape, 5, seed=4).eval()
    inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    assert torch.equal(theirs(inputs), ours(inputs))


def test_exported_code_needs_no_winnow() -> None:
    """Protects people without a checkout: the programs of an export import nothing of the engine."""
    for path in TEMPLATES.glob("*.py"):
        assert "engine" not in path.read_text(encoding="utf-8"), path


def test_everything_is_there(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects what is taken away: texts, labels and tensors of the chosen snapshot, counted and hashed."""
    recipe = distillation_recipe(transfer=("roberta-base",))
    out = tmp_path / "out"
    with filled(workspace, recipe, unchanged=[1]) as (store, run):
        manifest = export_distilled(workspace, ledger, store, run, out=out)
        key = recipe.sets()[0]
        chosen = store.distilled(run, key)
        evaluations = store.evaluations(run)
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md", "data.parquet", "distilled.safetensors", "manifest.json", "student.py", "train.py",
    ]  # fmt: skip
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8")) == manifest
    rows = pq.read_table(out / "data.parquet").to_pylist()
    assert [list(row) for row in rows] == [["text", "label", "labels", "changed", "length"]] * 2
    assert [row["text"] for row in rows] == chosen["text"].tolist()
    assert [row["labels"] for row in rows] == chosen["labels"].tolist()
    assert [row["label"] for row in rows] == ["negative", "positive"] == manifest["class_names"]
    kept = ledger.run(run).provenance["distilled"][key.name]
    assert file_sha256(workspace.outputs / f"{kept['output']}.safetensors") == manifest["distilled"]["sha256"]
    for file in ("data", "distilled"):
        assert file_sha256(out / manifest[file]["file"]) == manifest[file]["sha256"]
    assert manifest["distilled"]["tensors"]["inputs"] == {"dtype": "F32", "shape": [2, 14, WIDTH]}
    assert manifest["set"] == {"name": key.name, **key._asdict()}
    assert (manifest["step"], manifest["inputs"], manifest["tokens"]) == (kept["step"], 2, 24)
    assert manifest["recipe"] == ledger.run(run).recipe
    assert manifest["provenance"]["versions"] == {"winnow": "0.1.0"}
    own = evaluations[
        (evaluations["method"] == "text") & (evaluations["trained"] == key.student) & (evaluations["per_class"] == 1)
    ]
    mine = own[own["inner_steps"] == key.inner_steps]["accuracy"]
    (found,) = [a for a in manifest["accuracy"] if (a["method"], a["trained"]) == ("text", key.student)]
    assert found["eval_seeds"] == 10
    assert found["mean"] == pytest.approx(mine.mean())
    assert found["high"] - found["mean"] == pytest.approx(2.262157 * mine.std() / math.sqrt(10))  # t of 9 degrees
    assert found["mean"] - found["low"] == pytest.approx(found["high"] - found["mean"])
    assert {a["method"] for a in manifest["accuracy"] if a["trained"] == "roberta-base"} == {"random", "text"}


def test_a_text_that_nothing_changed_is_no_distilled_text(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects honesty: sentences that read as the samples they began as are named and counted as nothing."""
    with filled(workspace, distillation_recipe(), unchanged=[1]) as (store, run):
        one = export_distilled(workspace, ledger, store, run, out=tmp_path / "one")
    changed = [row["changed"] for row in pq.read_table(tmp_path / "one" / "data.parquet").to_pylist()]
    assert changed[0] > 0
    assert changed[1] == 0
    assert (one["changed_tokens"], one["unchanged"]) == (changed[0], [1])
    assert one["note"].startswith("Token by token, 1 of 2 texts still reads as the real sample it started from")
    assert one["note"] in (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    with filled(workspace, distillation_recipe(start="noise")) as (store, run):
        none = export_distilled(workspace, ledger, store, run, out=tmp_path / "none")
    assert (none["unchanged"], none["note"]) == ([], "")
    assert "Token by token" not in (tmp_path / "none" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("optimizer", "attention"), [("sgd", False), ("momentum", False), ("adam", False), ("sgd", True)]
)
def test_the_program_beside_a_set_trains(
    workspace: Workspace,
    ledger: Ledger,
    tmp_path: Path,
    student: str,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: Any,
    attention: bool,
) -> None:
    """Protects the promise of the card: train.py takes the very steps that Winnow's students take."""
    recipe = distillation_recipe(students=(student,), optimizer=optimizer, attention_labels=attention)
    out = tmp_path / "out"
    with filled(workspace, recipe) as (store, run):
        export_distilled(workspace, ledger, store, run, out=out)
    program = imported(out, monkeypatch)
    model = program.main()
    assert not model.training
    trained = dict(model.named_parameters())

    torch.manual_seed(0)  # the same fresh head
    model = AutoModelForSequenceClassification.from_pretrained(
        student, num_labels=2, ignore_mismatched_sizes=True, attn_implementation="eager"
    ).eval()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    data = load_file(out / "distilled.safetensors")
    names = [name for name in before if "word_embeddings" not in name]
    parameters = [model.get_parameter(name) for name in names]
    inner = Optimizer(optimizer)
    state = inner.init([weight.detach().clone() for weight in parameters])
    for step, rate in enumerate(data["rates"]):
        with torch.no_grad():
            for weight, value in zip(parameters, state, strict=False):
                weight.copy_(value)
        seen = model(inputs_embeds=data["inputs"], output_attentions=True)
        loss = weighted_loss(seen.logits, data["labels"])
        if attention:
            first = torch.stack([layer[:, :, 0] for layer in seen.attentions], 1)
            loss = loss + attention_loss(first, data["attention"].log())
        gradients = torch.autograd.grad(loss, parameters)
        state = inner.update(state, gradients, rate, step)
    moved = 0.0
    for name, value in zip(names, state, strict=False):
        limit = 1e-3 if optimizer == "adam" else 1e-5  # Adam divides by what may be near zero
        torch.testing.assert_close(trained[name].detach(), value, rtol=limit, atol=limit)
        moved = max(moved, float((trained[name].detach() - before[name]).abs().max()))
    assert moved > 1e-2
    (table,) = [name for name in before if "word_embeddings" in name]
    assert torch.equal(trained[table].detach(), before[table])


def test_pictures_train_the_network_they_were_learned_for(
    workspace: Workspace, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects learned pictures: PNGs to look at, tensors to train on, and lines that lower the loss on them."""
    recipe = distillation_recipe(task="images", inner_steps=(20,))
    out = tmp_path / "out"
    with filled(workspace, recipe) as (store, run):
        key = recipe.sets()[0]
        manifest = export_distilled(workspace, ledger, store, run, out=out, key=key)
        images = store.distilled(run, key)["image"].tolist()
    table = pq.read_table(out / "data.parquet")
    assert table.column_names == ["image", "label", "labels"]
    assert table.column("image").to_pylist() == images
    assert (manifest["changed_tokens"], manifest["unchanged"], manifest["note"]) == (0, [], "")
    assert "| `mlp` | learned pictures | 0." in (out / "README.md").read_text(encoding="utf-8")
    program = imported(out, monkeypatch)
    trained = program.main()
    data = load_file(out / "distilled.safetensors")
    fresh = make_network(recipe.students[0], "images", (1, 8, 8), 10, seed=0)
    with torch.no_grad():
        first = weighted_loss(fresh(data["inputs"]), data["labels"])
        assert weighted_loss(trained(data["inputs"]), data["labels"]) < first


def test_the_set_that_is_asked_for(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects against handing out another set: that of the other task has its own classes, texts and tensors."""
    recipe = distillation_recipe(other=True)
    with filled(workspace, recipe) as (store, run):
        other = next(key for key in recipe.sets() if key.task == OTHER)
        manifest = export_distilled(workspace, ledger, store, run, out=tmp_path / "out", key=other)
        assert manifest["class_names"] == ["sports", "science"]
        assert manifest["distilled"]["output"] == ledger.run(run).provenance["distilled"][other.name]["output"]
        five = next(key for key in recipe.sets() if key.per_class == 5)
        assert export_distilled(workspace, ledger, store, run, out=tmp_path / "5", key=five)["inputs"] == 10


def test_untrusted_text_is_not_in_the_card(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects people who open the card: names of classes and texts are in the data, and nowhere in the page."""
    out = tmp_path / "out"
    recipe = distillation_recipe(students=("a`b\n```\n<script>x",))
    with filled(workspace, recipe, hostile=True) as (store, run):
        manifest = export_distilled(workspace, ledger, store, run, out=out)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert manifest["class_names"] == [*HOSTILE[0]]
    assert not any(text in card for pair in HOSTILE for text in pair)
    assert card.count("\n```") == 0


def test_a_student_that_is_on_no_hub(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects people who run the program: a student trained from scratch has to be fetched first."""
    for name, model in (("made", "scratch:reader"), ("found", "prajjwal1/bert-tiny")):
        with filled(workspace, distillation_recipe(students=(model,))) as (store, run):
            export_distilled(workspace, ledger, store, run, out=tmp_path / name)
        card = (tmp_path / name / "README.md").read_text(encoding="utf-8")
        assert ("is not on the Hub: write its folder" in card) == (name == "made")


def test_the_interval_of_few_eval_seeds(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a small run: one eval seed has a mean and no interval, and what was not measured is not there."""
    recipe = distillation_recipe()
    with filled(workspace, recipe) as (store, run):
        evaluations = store.evaluations(run)
    key = recipe.sets()[0]
    single = accuracies(evaluations[evaluations["eval_seed"] == 0], key)
    assert {(each["low"], each["high"], each["eval_seeds"]) for each in single} == {(None, None, 1)}
    longer = key._replace(inner_steps=10)
    found = {each["method"]: each for each in accuracies(evaluations[evaluations["method"] != "text"], longer)}
    assert "text" not in found
    own = evaluations[(evaluations["inner_steps"] == 10) & (evaluations["method"] == "embeddings")]["accuracy"]
    assert found["embeddings"]["mean"] == pytest.approx(np.mean(own))


def test_what_cannot_be_exported(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects the one sentence of every refusal, and that a refusal leaves nothing behind."""
    out = tmp_path / "out"
    other = submit(ledger)
    recipe = distillation_recipe(per_class=(1, 2), inner_steps=(5,))
    queued = fill_distilled_workspace(workspace, recipe, state="queued")
    with filled(workspace, recipe, state="running", sets=1) as (store, run):
        first, second = recipe.sets()
        with pytest.raises(WinnowError, match="is of kind score, not distillation"):
            export_distilled(workspace, ledger, store, other, out=out)
        with pytest.raises(WinnowError, match=r"No set of run .* is finished yet"):
            export_distilled(workspace, ledger, store, queued, out=out)
        with pytest.raises(WinnowError, match=rf"no finished set {second.name}; it has {first.name}\."):
            export_distilled(workspace, ledger, store, run, out=out, key=second)
        kept = ledger.run(run).provenance["distilled"]
        file = workspace.outputs / f"{kept[first.name]['output']}.safetensors"
        whole = file.read_bytes()
        for torn in (whole[:-4], whole[:20], b"", b"\x02\x00\x00\x00\x00\x00\x00\x00[]", b"\xff" * 40):
            file.write_bytes(torn)
            with pytest.raises(WinnowError, match="are damaged"):
                export_distilled(workspace, ledger, store, run, out=out)
        file.unlink()
        with pytest.raises(WinnowError, match="are gone"):
            export_distilled(workspace, ledger, store, run, out=out)
        file.write_bytes(whole)
        ledger.set_provenance(run, distilled={first.name: kept[first.name] | {"step": 3}})
        with pytest.raises(WinnowError, match="recorded with 0"):
            export_distilled(workspace, ledger, store, run, out=out)
        ledger.set_provenance(run, distilled={})
        with pytest.raises(WinnowError, match="has not kept the tensors"):
            export_distilled(workspace, ledger, store, run, out=out)
        ledger.set_provenance(run, distilled=kept)
        assert not out.exists()
        assert [path.name for path in tmp_path.iterdir()] == ["workspace"]
        assert export_distilled(workspace, ledger, store, run, out=out)["inputs"] == 2
        with pytest.raises(WinnowError, match="already holds something"):
            export_distilled(workspace, ledger, store, run, out=out)
        shown = Workspace(workspace.root, read_only=True)
        with pytest.raises(ReadOnlyError):
            export_distilled(shown, ledger, store, run, out=workspace.root / "exports" / "x", key=SetKey(*first))
