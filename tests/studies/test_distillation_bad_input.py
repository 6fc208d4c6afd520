"""What a distillation cannot use, and what goes wrong on its way: a sentence that names it, or a note to go on."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CanineConfig, CanineForSequenceClassification

from engine.common.errors import WinnowError
from engine.config.data import LabelledSettings
from engine.config.distillation import DistillationRecipe
from engine.data.labelled.samples import Labelled
from engine.distillation.learn import MAX_ROLLBACKS, OuterLoop
from engine.export.distilled import export_distilled
from engine.models.functional import ImageModel
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.storage.workspace import Workspace
from engine.studies import labelled
from engine.studies.distillation import learning, study
from engine.studies.job import Job
from tests.studies.test_distillation import (
    STEPS,
    begin,
    bert,
    do,
    everything,
    recipe,
    resumed,
    sentences,
    table,
    texts_of,
)


def refused(workspace: Workspace, wanted: DistillationRecipe) -> str:
    """The sentence a run ends with."""
    run, state = begin(workspace, wanted)
    assert state == "failed"
    sentence = Ledger(workspace).run(run).error
    assert "\n" not in sentence
    assert "Traceback" not in Ledger(workspace).log_path(run).read_text(encoding="utf-8")
    return sentence


def rows(path: Path, given: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("text", "label"), *given])
    return path


def log(workspace: Workspace, run: str) -> str:
    return Ledger(workspace).log_path(run).read_text(encoding="utf-8")


def notes(workspace: Workspace, run: str) -> list[str]:
    found: list[str] = Ledger(workspace).run(run).provenance.get("notes", [])
    return found


# -- recipes ----------------------------------------------------------------------------------------------------------


def test_more_inputs_than_samples(workspace: Workspace) -> None:
    """Inputs that start from samples need as many of them; the class that has too few is named with its count."""
    sentence = refused(workspace, recipe(synthetic__per_class=[30]))
    assert sentence.startswith("synthetic.per_class asks for 30 inputs of each class, and the class ")
    assert sentence.endswith("training samples; ask for fewer.")


def test_noise_needs_no_samples(workspace: Workspace) -> None:
    """Where inputs start as noise their number is free; real sets are then as large as they can be."""
    run = do(workspace, recipe(synthetic__per_class=[30], synthetic__initialization="noise", evaluation__steps=1))
    assert (table(workspace, run, "distilled").groupby(["step", "best"]).size() == 300).all()


def test_longer_than_the_model_reads(workspace: Workspace, tmp_path: Path) -> None:
    """The length, the special tokens, the context and the student are all in the sentence."""
    source = sentences(tmp_path / "films.csv")
    student = bert(tmp_path / "bert", workspace, texts_of(source), context=10)
    wanted = recipe(source, students=[{"model": student}], scratch={}, synthetic__length=9, data__max_length=10)
    sentence = refused(workspace, wanted)
    assert sentence == (
        "synthetic.length is 9, and with 2 special tokens that is more than the 10 tokens "
        f"{student} can read; lower it."
    )
    assert do(workspace, recipe(**{**wanted.model_dump(), "source": source, "synthetic__length": 8}))


def test_texts_longer_than_the_model_reads(workspace: Workspace, tmp_path: Path) -> None:
    """They are cut to what it reads, however much the recipe allows, and counted."""
    source = sentences(tmp_path / "films.csv")
    student = bert(tmp_path / "bert", workspace, texts_of(source), context=7)
    run = do(workspace, recipe(source, students=[{"model": student}], scratch={}, synthetic__length=4))
    samples = table(workspace, run, "samples")
    assert samples["length"].max() == 7
    cut = int(samples["truncated"].sum())
    assert cut
    assert (
        f"; {cut:,} texts cut to 7 tokens, as many as the model reads"
        in (Ledger(workspace).run(run).provenance["data_origin"])
    )


def test_a_class_that_nobody_belongs_to(workspace: Workspace, tmp_path: Path) -> None:
    """Labels that name a class without a training sample: nothing can be learned for it."""
    kinds = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["glad", "sorry", "neither"])}
    )
    given = {"text": [f"the {word} film" for word in ("good", "bad") * 20], "label": [0, 1] * 20}
    datasets.Dataset.from_dict(given, features=kinds).to_parquet(tmp_path / "films.parquet")
    sentence = refused(workspace, recipe(tmp_path / "films.parquet"))
    assert "neither" in sentence
    assert "films.parquet" in sentence


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 0, 2, 2], "The class middle of digits has no training sample, so nothing can be distilled for it; "),
        ([0, 0, 0, 0], "digits has one class, low; distillation needs at least two."),
    ],
)
def test_classes_are_counted_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, labels: list[int], words: str
) -> None:
    """A class without samples is refused even if the reader of the data accepts it."""
    read = labelled.read_labelled

    def rigged(settings: LabelledSettings, tokenizer: Any, longest: int | None) -> Labelled:
        found = read(settings, tokenizer, longest)
        names = ["low", "middle", "high"][: max(labels) + 1]
        return replace(found, labels=np.resize(np.array(labels), len(found)), class_names=names)

    monkeypatch.setattr(labelled, "read_labelled", rigged)
    assert refused(workspace, recipe()).startswith(words)


def test_only_one_class(workspace: Workspace, tmp_path: Path) -> None:
    """Nothing can be told apart."""
    source = rows(tmp_path / "one.csv", [(f"film {place}", "glad") for place in range(40)])
    sentence = refused(workspace, recipe(source))
    assert "one.csv" in sentence
    assert "glad" in sentence


def test_texts_without_a_known_word(workspace: Workspace, tmp_path: Path) -> None:
    """A class all of whose texts are strange to the student has no word to start from."""
    source = sentences(tmp_path / "films.csv")
    student = bert(tmp_path / "bert", workspace, texts_of(source))
    given = [("the lovely story", "glad") if place % 2 else ("xyzzy plugh", "sorry") for place in range(60)]
    strange = rows(tmp_path / "strange.csv", given)
    sentence = refused(workspace, recipe(strange, students=[{"model": student}], scratch={}))
    assert "sorry" in sentence
    assert 'synthetic.initialization = "noise"' in sentence


# -- students that cannot be used ------------------------------------------------------------------------------------


def test_a_folder_that_is_no_model(workspace: Workspace, tmp_path: Path) -> None:
    """The folder is named, and what it should hold."""
    (tmp_path / "nothing").mkdir()
    student = str(tmp_path / "nothing")
    sentence = refused(workspace, recipe(sentences(tmp_path / "films.csv"), students=[{"model": student}], scratch={}))
    assert sentence.startswith(f"The folder {student} holds no ")
    assert "config.json" in sentence


def test_an_encoder_without_word_embeddings(workspace: Workspace, tmp_path: Path) -> None:
    """CANINE hashes letters; there is no table by which a vector could be read as a word."""
    source = sentences(tmp_path / "films.csv")
    folder = Path(bert(tmp_path / "canine", workspace, texts_of(source)))  # its tokenizer stays
    config = CanineConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_hash_buckets=32,
        max_position_embeddings=32, downsampling_rate=1, upsampling_kernel_size=1, local_transformer_stride=4,
    )  # fmt: skip
    CanineForSequenceClassification(config).save_pretrained(folder)
    sentence = refused(workspace, recipe(source, students=[{"model": str(folder)}], scratch={}))
    assert sentence.startswith(f"{folder} has no table of token embeddings, so learned vectors could not be read")


# -- numbers that go wrong -------------------------------------------------------------------------------------------


def poisoned(when: Callable[[int], bool]) -> Callable[..., Tensor]:
    """`ImageModel.forward` whose logits in the outer loop are NaN whenever `when` is true of their count."""
    read, counted = ImageModel.forward, [0]

    def rigged(self: ImageModel, weights: list[Tensor], *inputs: Tensor) -> Tensor:
        logits = read(self, weights, *inputs)
        if not torch.is_grad_enabled():  # a measurement
            return logits
        counted[0] += 1
        return logits * math.nan if when(counted[0]) else logits

    return rigged


def test_a_loss_that_is_no_number(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: the run rolls back, notes it in its provenance, and goes on to its end."""
    monkeypatch.setattr(ImageModel, "forward", poisoned(lambda count: count == 4))
    run = do(workspace, recipe())
    (note,) = notes(workspace, run)
    assert note.startswith("The loss of main-mlp-k1-T2-s0 was no number or exploded at outer step 3; went back to ")
    assert note[1:-1] in log(workspace, run)
    losses = table(workspace, run, "metrics").query("name == 'outer_loss'")["value"]
    assert len(losses) == 3
    assert losses.notna().all()
    assert table(workspace, run, "distilled")["labels"].map(lambda labels: math.isfinite(sum(labels))).all()


def test_a_loss_that_never_is_a_number(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """For ever: the run ends with the settings that would help, and with what it had recorded."""
    monkeypatch.setattr(ImageModel, "forward", poisoned(lambda count: True))
    run, state = begin(workspace, recipe(outer__steps=20))
    assert state == "failed"
    assert Ledger(workspace).run(run).error == (
        f"The distillation diverged {MAX_ROLLBACKS + 1} times, also at 1/256 of its learning rates; lower "
        "inner.learning_rate or outer.learning_rate."
    )
    assert len(notes(workspace, run)) == MAX_ROLLBACKS
    assert set(table(workspace, run, "distilled")["step"]) == {0, 7}


def short_of_memory(monkeypatch: pytest.MonkeyPatch, fits: Callable[[OuterLoop, int], bool]) -> None:
    """Outer steps for which there is no memory unless `fits(outer, samples)`."""
    step = OuterLoop.step

    def rigged(self: OuterLoop, number: int, inputs: tuple[Tensor, ...], classes: Tensor) -> float:
        if not fits(self, len(classes)):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, number, inputs, classes)

    monkeypatch.setattr(OuterLoop, "step", rigged)


def test_out_of_memory(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is halved first, then the window; each is noted once, and the run ends with all its parts."""
    short_of_memory(monkeypatch, lambda outer, count: count <= 4 and outer.backoff.window <= 1)
    run = do(workspace, recipe(outer__batch_size=16, inner__steps=[4]))
    name = "Main-mlp-k1-T4-s0 did not fit into memory;"
    assert notes(workspace, run) == [
        f"{name} real batches have 8 samples now.",
        f"{name} real batches have 4 samples now.",
        f"{name} the gradient goes back 2 steps now.",
        f"{name} the gradient goes back 1 step now.",
    ]
    assert sorted(set(table(workspace, run, "distilled")["step"])) == STEPS


def test_out_of_memory_in_the_middle(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller batch is kept to, also by a run that is resumed."""
    calls: list[int] = []

    def fits(_outer: OuterLoop, count: int) -> bool:
        calls.append(count)
        return len(calls) != 4

    short_of_memory(monkeypatch, fits)
    recorded = Job.record
    ledger = Ledger(workspace)

    def stop(job: Job, given: Any) -> None:
        recorded(job, given)
        if job.has("distilled", "main-mlp-k1-T2-s0-000004"):
            ledger.cancel(job.run.id)

    with monkeypatch.context() as stopping:
        stopping.setattr(Job, "record", stop)
        stopping.setattr("engine.studies.job.REPORT_SECONDS", 0.0)
        run, state = begin(workspace, recipe(outer__batch_size=16))
    assert state == "cancelled"
    assert resumed(workspace, run) == "done"
    assert calls[:4] == [16, 16, 16, 16]
    assert set(calls[4:]) == {8}
    assert len(notes(workspace, run)) == 1


def test_out_of_memory_for_ever(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to halve: the sentence names what to make smaller."""
    short_of_memory(monkeypatch, lambda outer, count: False)
    assert refused(workspace, recipe()) == (
        "main-mlp-k1-T2-s0 does not fit into memory with batches of 4 and one step back; lower synthetic.length or "
        "synthetic.per_class, or choose a smaller student."
    )


# -- files that go wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [4, 6])
def test_a_damaged_checkpoint(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    """The distillation starts again with a note, and ends as one that was never stopped, its best snapshot as well."""
    rigged = {0: 0.2, 2: 0.9, 4: 0.4, 6: 0.3}  # the best one was recorded before the damage
    measuring = [0]
    snapshot = learning.Distilling._snapshot

    def at(self: learning.Distilling) -> None:
        measuring[0] = self.progress.step
        snapshot(self)

    monkeypatch.setattr(learning.Distilling, "_snapshot", at)
    monkeypatch.setattr(learning, "accuracy", lambda *_: (rigged[measuring[0]], 0.0))
    quiet = do(workspace, recipe())
    ledger = Ledger(workspace)
    recorded = Job.record

    def cancel(job: Job, given: Any) -> None:
        recorded(job, given)
        if job.has("distilled", f"main-mlp-k1-T2-s0-00000{stop}"):
            raise WinnowError("the power is gone")

    with monkeypatch.context() as stopping:
        stopping.setattr(Job, "record", cancel)
        run, state = begin(workspace, recipe())
    assert state == "failed"
    (checkpoint,) = workspace.outputs.glob("*.training.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-40])
    assert resumed(workspace, run) == "done"
    assert "is damaged" in log(workspace, run)
    assert "The distillation starts again." in log(workspace, run)
    assert not checkpoint.exists()
    assert Ledger(workspace).run(run).provenance["distilled"]["main-mlp-k1-T2-s0"]["step"] == 2
    assert everything(workspace, run) == everything(workspace, quiet)
    assert ledger.run(run).error == ""


def test_tensors_that_are_gone(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was deleted: the export names it, and so does a run that still has to measure it."""
    with monkeypatch.context() as stopping:
        stopping.setattr(study.Evaluation, "measure", _no_power)
        run, state = begin(workspace, recipe())
    assert state == "failed"
    (kept,) = Ledger(workspace).run(run).provenance["distilled"].values()
    file = workspace.outputs / f"{kept['output']}.safetensors"
    file.unlink()
    with closing(Store(workspace)) as store:
        store.sync(Ledger(workspace))
        with pytest.raises(WinnowError, match="are gone") as caught:
            export_distilled(workspace, Ledger(workspace), store, run, out=tmp_path / "out")
    assert str(file) in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert resumed(workspace, run) == "failed"
    assert Ledger(workspace).run(run).error == (
        f"What main-mlp-k1-T2-s0 learned is missing from {workspace.outputs}; start the run anew."
    )


def _no_power(*_args: Any) -> None:
    raise WinnowError("the power is gone")
