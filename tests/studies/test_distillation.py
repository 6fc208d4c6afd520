"""A whole distillation on a few sentences and digits: every part it promises, twice the same, and after a stop."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

from engine.config.distillation import MAIN, MERGED, METHODS, OTHER, PROMPTS, REPLAYS, DistillationRecipe, SetKey
from engine.config.load import parse_recipe, set_value
from engine.export.distilled import export_distilled
from engine.models.loading import load_tokenizer
from engine.models.scratch.encoder import word_tokenizer_folder
from engine.runtime.worker import execute
from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.store import Store
from engine.storage.tables import SCHEMAS
from engine.storage.workspace import Workspace, open_workspace
from engine.studies.distillation import learning
from engine.studies.job import Job

LENGTH, SNAPSHOTS, EVAL_SEEDS = 4, 3, 2
STEPS = [0, 2, 4, 6]  # of the snapshots of 6 outer steps

_GOOD, _BAD = ["lovely", "bright", "tender"], ["awful", "dull", "hollow"]
_SPORT, _SCIENCE = ["goal", "match", "race"], ["atom", "cell", "orbit"]


def sentences(path: Path, *, other: bool = False, count: int = 60) -> Path:
    """A CSV file of short texts of two classes, each class with words of its own."""
    rng = random.Random(7)
    words = {"sport": _SPORT, "science": _SCIENCE} if other else {"glad": _GOOD, "sorry": _BAD}
    rows = []
    for place in range(count):
        label = list(words)[place % 2]
        rows.append([f"the {rng.choice(words[label])} story of a {rng.choice(['river', 'lamp', 'stone'])}", label])
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["text", "label"], *rows])
    return path


def recipe(source: str | Path = "digits", **changes: Any) -> DistillationRecipe:
    """A distillation of a second or two, of the sentences in `source` or of digits; `a__b=value` sets a.b."""
    images = str(source) == "digits"
    raw: dict[str, Any] = {
        "kind": "distillation",
        "name": "tiny",
        "data": {"source": str(source), "task": "text", "max_length": 16},
        "students": [{"model": "scratch:s"}],
        "scratch": {"s": {"layers": 1, "width": 16, "heads": 2, "batch_size": 16}},
        "synthetic": {"length": LENGTH},
        "inner": {"steps": [2], "learning_rate": 0.1},
        "outer": {"steps": 6, "batch_size": 8, "learning_rate": 0.1, "snapshots": SNAPSHOTS, "snapshot_seeds": 2},
        "evaluation": {
            "eval_seeds": EVAL_SEEDS,
            "steps": 2,
            "learning_rates": [0.01],
            "full_epochs": 1,
            "full_learning_rate": 0.01,
        },
    }
    if images:
        raw["data"] = {"source": "digits", "limit": 200}
        raw["students"], raw["scratch"] = [{"model": "mlp", "width": 8, "depth": 1}], {}
    for key, value in changes.items():
        set_value(raw, key.replace("__", "."), value)
    parsed = parse_recipe(raw)
    assert isinstance(parsed, DistillationRecipe)
    return parsed


def begin(workspace: Workspace, wanted: DistillationRecipe) -> tuple[str, str]:
    """Do a run; its id and the state it ended in."""
    ledger = Ledger(workspace)
    run, lock = ledger.start(wanted)
    return run.id, execute(workspace, ledger, run, lock, device="cpu")


def do(workspace: Workspace, wanted: DistillationRecipe) -> str:
    run, state = begin(workspace, wanted)
    assert state == "done", Ledger(workspace).run(run).error
    return run


def resumed(workspace: Workspace, run: str) -> str:
    """Resume a run and do it; the state it ended in."""
    ledger = Ledger(workspace)
    ledger.resume(run)
    claimed = ledger.claim(run)
    assert claimed is not None
    return execute(workspace, ledger, *claimed, device="cpu")


def table(workspace: Workspace, run: str, name: str) -> pd.DataFrame:
    return read_table(workspace, Ledger(workspace).parts(run, name), name).to_pandas()


def everything(workspace: Workspace, run: str) -> dict[str, list[list[Any]]]:
    """All rows of all tables in an order of their own, but what differs between two runs of one recipe: time."""
    found = {}
    for name in SCHEMAS:
        rows = table(workspace, run, name).drop(columns=["run", "seconds", "flops"], errors="ignore")
        if name == "metrics":
            rows = rows[~rows["name"].str.startswith("seconds")]
        plain = [[_plain(value) for value in row] for row in rows.to_numpy(dtype=object)]
        found[name] = sorted(plain, key=str)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) else value  # NaN is NaN


def bert(folder: Path, workspace: Workspace, texts: list[str], *, context: int = 24, seed: int = 0) -> str:
    """The folder of an untrained BERT that knows the words of `texts`, as a user of the Hub would have it."""
    words = word_tokenizer_folder(workspace, lambda: texts, str(seed), 100)
    tokenizer = load_tokenizer(str(words), ends=False)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=context,
    )
    torch.manual_seed(seed)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def texts_of(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as handle:
        return [row["text"] for row in csv.DictReader(handle)]


FULL: dict[str, Any] = {
    "synthetic__per_class": [1, 2],
    "synthetic__labels": "soft",
    "inner__steps": [2, 1],
    "scratch__t": {"layers": 1, "width": 16, "heads": 2, "batch_size": 16, "seed": 1},
    "evaluation__transfer": [{"model": "scratch:t"}],
    "evaluation__steps": 4,
    "evaluation__learning_rates": [0.003, 0.01],
}


def full_recipe(folder: Path) -> DistillationRecipe:
    other = {"source": str(sentences(folder / "other.csv", other=True)), "task": "text", "max_length": 16}
    return recipe(sentences(folder / "films.csv"), other=other, **FULL)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str, DistillationRecipe]:
    """One finished run of everything there is for texts, which several tests look at."""
    folder = tmp_path_factory.mktemp("texts")
    workspace = open_workspace(folder / "workspace", read_only=False)
    wanted = full_recipe(folder)
    return workspace, do(workspace, wanted), wanted


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str, DistillationRecipe]:
    workspace = open_workspace(tmp_path_factory.mktemp("images") / "workspace", read_only=False)
    return workspace, do(workspace, recipe()), recipe()


def keys(rows: pd.DataFrame) -> set[SetKey]:
    return {SetKey(*row) for row in rows[list(SetKey._fields)].itertuples(index=False, name=None)}


def of(rows: pd.DataFrame, key: SetKey) -> pd.DataFrame:
    return rows[(rows[list(SetKey._fields)] == list(key)).all(axis=1)]


def test_every_snapshot_is_there(texts: tuple[Workspace, str, DistillationRecipe]) -> None:
    """Every set at every snapshot, one of them the best, each input decoded and counted."""
    workspace, run, wanted = texts
    found, tokens = table(workspace, run, "distilled"), table(workspace, run, "distilled_tokens")
    assert keys(found) == set(wanted.sets()) == keys(tokens)
    assert len(wanted.sets()) == 4  # first, other task, more per class, fewer steps
    for key in wanted.sets():
        mine, read = of(found, key), of(tokens, key)
        count = 2 * key.per_class
        snapshots, best = mine[~mine["best"]], mine[mine["best"]]
        assert snapshots.groupby("step").size().to_dict() == dict.fromkeys(STEPS, count)
        assert len(best) == count
        (step,) = set(best["step"])
        assert step in STEPS
        # The best snapshot is recorded once more, so its tokens are there twice.
        assert read.groupby("step").size().to_dict() == {at: count * LENGTH * (2 if at == step else 1) for at in STEPS}
        names = ["science", "sport"] if key.task == OTHER else ["glad", "sorry"]
        assert best.sort_values("input")["label"].tolist() == [name for name in names for _ in range(key.per_class)]
        assert set(mine["length"]) == {LENGTH}
        assert mine["image"].isna().all()
        assert (snapshots["near_rows"].str.len() == 0).all()
        for labels in mine["labels"]:
            assert sum(labels) == pytest.approx(1, abs=1e-5)
            assert min(labels) > 0


def test_changed_counts_the_tokens_that_read_differently(texts: tuple[Workspace, str, DistillationRecipe]) -> None:
    """The number on a card is the number of coloured words, and at the start there are none."""
    workspace, run, _ = texts
    at = [*SetKey._fields, "step", "input"]
    tokens = table(workspace, run, "distilled_tokens").drop_duplicates([*at, "position"])
    moved = tokens["start"] != tokens["nearest"].str[0]
    counted = moved.groupby([tokens[name] for name in at]).sum()
    found = table(workspace, run, "distilled").drop_duplicates(at).set_index(at)["changed"]
    assert found.to_dict() == counted.to_dict()
    assert (found.xs(0, level="step") == 0).all()
    assert found.max() > 0
    assert (tokens["nearest"].str.len() == 5).all()
    assert all(list(values) == sorted(values, reverse=True) for values in tokens["similarity"])


def test_neighbours_are_training_samples_of_the_class(texts: tuple[Workspace, str, DistillationRecipe]) -> None:
    """A card shows real sentences of its class; those of the other task are no samples of the run, so it shows none."""
    workspace, run, _ = texts
    samples = table(workspace, run, "samples").set_index("row")
    best = table(workspace, run, "distilled").query("best")
    for _, row in best.iterrows():
        if row["task"] == OTHER:
            assert len(row["near_rows"]) == len(row["near_values"]) == 0
            continue
        assert len(row["near_rows"]) == len(set(row["near_rows"])) == 3
        near = samples.loc[list(row["near_rows"])]
        assert set(near["label"]) == {row["label"]}
        assert set(near["split"]) == {"train"}
        assert list(row["near_values"]) == sorted(row["near_values"], reverse=True)


def test_every_set_is_measured_with_every_head(texts: tuple[Workspace, str, DistillationRecipe]) -> None:
    """Methods times seeds for each set, all real samples once for each task, and what the set is compared with."""
    workspace, run, wanted = texts
    rows = table(workspace, run, "evaluation")
    plain = rows[rows["method"].isin(METHODS)]
    own = plain[plain["trained"] == plain["student"]]
    student = "scratch:s"
    full = own.query("method == 'full'")
    assert keys(full) == {SetKey(task, student, 0, 0, -1) for task in (MAIN, OTHER)}
    assert (full.groupby("task").size() == EVAL_SEEDS).all()
    samples = table(workspace, run, "samples").query("split == 'train'")
    assert set(full.query("task == 'main'")["samples"]) == {len(samples)}
    rest = [method for method in METHODS if method != "full"]
    for key in wanted.sets():
        mine = of(own, key)
        assert sorted(zip(mine["method"], mine["eval_seed"], strict=True)) == sorted(
            (method, seed) for method in rest for seed in range(EVAL_SEEDS)
        )
        assert set(mine["samples"]) == {2 * key.per_class}
    embeddings = own.query("method == 'embeddings'")
    assert embeddings["learning_rate"].isna().all()
    assert (embeddings["steps"] == embeddings["inner_steps"]).all()
    fitted = own[own["method"].isin(rest[1:])]
    assert set(fitted["learning_rate"]) <= {0.003, 0.01}
    assert set(fitted["steps"]) <= {1, 2, 4}
    assert rows["accuracy"].between(0, 1).all()
    assert rows["valid"].between(0, 1).all()
    assert (rows["flops"] > 0).all()
    # Real samples do not know which set they are compared with.
    shared = own[own["method"].isin(("random", "k_center", "herding"))]
    alike = shared.groupby(["task", "per_class", "method", "eval_seed"])
    assert (alike["loss"].nunique() == 1).all()
    assert (alike["seconds"].nunique() == 1).all()  # so they are trained on once, and written down for each


def test_other_encoders_and_the_other_task(texts: tuple[Workspace, str, DistillationRecipe]) -> None:
    """The sets that are shown first are read by another encoder; two tasks are merged, and one is learned last."""
    workspace, run, wanted = texts
    rows = table(workspace, run, "evaluation")
    moved = rows[(rows["trained"] == "scratch:t")]
    assert keys(moved) == {wanted.sets()[0]}
    assert moved.groupby("method").size().to_dict() == {"text": EVAL_SEEDS, "random": EVAL_SEEDS}
    first, other = wanted.sets()[:2]
    merged = rows[rows["method"].isin(MERGED)]
    assert keys(merged) == {first, other}
    assert (merged.groupby(["method", "task"]).size() == EVAL_SEEDS).all()
    assert merged.groupby(["method", "task"]).ngroups == 2 * len(MERGED)
    replays = rows[rows["method"].isin(REPLAYS)]
    assert keys(replays) == {first}
    assert replays.groupby("method").size().to_dict() == dict.fromkeys(REPLAYS, EVAL_SEEDS)
    assert set(replays.query("method == 'replay_none'")["samples"]) == {0}
    assert set(replays.query("method != 'replay_none'")["samples"]) == {2}


def test_the_best_snapshot_is_chosen(texts: tuple[Workspace, str, DistillationRecipe]) -> None:
    """Highest accuracy on held-out samples, and of equals the later one."""
    workspace, run, wanted = texts
    metrics, found = table(workspace, run, "metrics"), table(workspace, run, "distilled")
    provenance = Ledger(workspace).run(run).provenance["distilled"]
    for key in wanted.sets():
        mine = metrics[metrics["arm"] == key.name]
        accuracy = mine.query("name == 'accuracy' and split == 'valid'").set_index("step")["value"]
        assert sorted(accuracy.index) == STEPS
        best = max(accuracy.index[accuracy == accuracy.max()])
        assert set(of(found, key).query("best")["step"]) == {best}
        assert provenance[key.name]["step"] == best
        assert sorted(mine.query("name == 'outer_loss'")["step"]) == STEPS[1:]
        assert sorted(mine.query("name == 'seconds_distilling'")["step"]) == STEPS
        rates = mine.query("name == 'inner_rate'")
        assert set(zip(rates["epoch"], rates["step"], strict=True)) == {
            (inner + 1, step) for inner in range(key.inner_steps) for step in STEPS
        }
        assert np.allclose(rates.query("step == 0")["value"], 0.1)


@pytest.mark.parametrize(
    ("accuracies", "best"), [([0.2, 0.9, 0.4, 0.3], 2), ([0.5, 0.5, 0.5, 0.5], 6), ([0.9, 0.1, 0.9, 0.2], 4)]
)
def test_choosing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, accuracies: list[float], best: int) -> None:
    """Whatever the accuracies, the best snapshot wins and the later one on ties; what is kept is what it held then."""
    given = iter(accuracies)
    measured: list[float] = []

    def rigged(*_args: Any) -> tuple[float, float]:
        if len(measured) % 2 == 0:  # two seeds for each snapshot
            measured.append(next(given))
        else:
            measured.append(measured[-1])
        return measured[-1], 0.0

    monkeypatch.setattr(learning, "accuracy", rigged)
    run = do(workspace, recipe())
    (kept,) = Ledger(workspace).run(run).provenance["distilled"].values()
    assert kept["step"] == best
    rates = table(workspace, run, "metrics").query("name == 'inner_rate' and step == @best").sort_values("epoch")
    tensors = load_file(workspace.outputs / f"{kept['output']}.safetensors")
    assert np.allclose(tensors["rates"], rates["value"])


def test_what_is_kept_can_be_trained_on(texts: tuple[Workspace, str, DistillationRecipe]) -> None:
    """Every finished set has its tensors, special tokens included, and nothing of the training is left lying about."""
    workspace, run, wanted = texts
    provenance = Ledger(workspace).run(run).provenance["distilled"]
    assert set(provenance) == {key.name for key in wanted.sets()}
    for key in wanted.sets():
        tensors = load_file(workspace.outputs / f"{provenance[key.name]['output']}.safetensors")
        count = 2 * key.per_class
        assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
            "inputs": (count, LENGTH + 2, 16),
            "labels": (count, 2),
            "rates": (key.inner_steps,),
        }
        assert (tensors["rates"] > 0).all()
        best = of(table(workspace, run, "distilled"), key).query("best").sort_values("input")
        assert np.allclose(np.stack(list(best["labels"])), tensors["labels"].numpy())
    assert not list(workspace.outputs.glob("*.training.*"))


def test_the_export_of_a_finished_run(texts: tuple[Workspace, str, DistillationRecipe], tmp_path: Path) -> None:
    """What a run records is what the export reads: sizes, counts, and an interval for every method."""
    workspace, run, wanted = texts
    store = Store(workspace)
    store.sync(Ledger(workspace))
    try:
        for key in wanted.sets()[:2]:
            out = tmp_path / key.name
            manifest = export_distilled(workspace, Ledger(workspace), store, run, out=out, key=key)
            best = of(table(workspace, run, "distilled"), key).query("best")
            assert manifest["changed_tokens"] == best["changed"].sum()
            assert manifest["inputs"] == 2
            assert manifest["tokens"] == 2 * LENGTH
            own = {each["method"] for each in manifest["accuracy"] if each["trained"] == key.student}
            assert own == set(METHODS)
            assert (out / "distilled.safetensors").exists()
    finally:
        store.close()


def test_images(images: tuple[Workspace, str, DistillationRecipe], tmp_path: Path) -> None:
    """One image for every digit: images and no text, with labels close to one class, and exported like a text."""
    workspace, run, wanted = images
    (key,) = wanted.sets()
    found = table(workspace, run, "distilled")
    snapshots = found[~found["best"]]
    assert snapshots.groupby("step").size().to_dict() == dict.fromkeys(STEPS, 10)
    best = found.query("best").sort_values("input")
    assert best["label"].tolist() == [str(digit) for digit in range(10)]
    assert found["image"].str[:4].eq(b"\x89PNG").all()
    assert found["text"].isna().all()
    assert (found[["changed", "length"]] == 0).all(axis=None)
    assert (best["near_rows"].str.len() == 3).all()
    assert table(workspace, run, "distilled_tokens").empty
    evaluation = table(workspace, run, "evaluation")
    methods = ["full", "embeddings", "random", "k_center", "herding"]
    assert evaluation.groupby("method").size().to_dict() == dict.fromkeys(methods, EVAL_SEEDS)
    (kept,) = Ledger(workspace).run(run).provenance["distilled"].values()
    tensors = load_file(workspace.outputs / f"{kept['output']}.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "inputs": (10, 1, 8, 8),
        "labels": (10, 10),
        "rates": (2,),
        "mean": (1, 1, 1),  # by which the pixels were standardised
        "std": (1, 1, 1),
    }
    store = Store(workspace)
    store.sync(Ledger(workspace))
    try:
        manifest = export_distilled(workspace, Ledger(workspace), store, run, out=tmp_path / "out", key=key)
    finally:
        store.close()
    assert manifest["data"]["rows"] == 10


def test_the_same_recipe_gives_the_same_parts(
    images: tuple[Workspace, str, DistillationRecipe], workspace: Workspace, tmp_path: Path
) -> None:
    """All that two runs of one recipe differ in is the time they took."""
    done, run, wanted = images
    assert everything(done, do(done, wanted)) == everything(done, run)
    short = recipe(sentences(tmp_path / "films.csv"))
    other = open_workspace(tmp_path / "other", read_only=False)  # the encoder is made anew as well
    assert everything(workspace, do(workspace, short)) == everything(other, do(other, short))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str, DistillationRecipe]:
    """A run that is never stopped; its encoder is there for those that are."""
    folder = tmp_path_factory.mktemp("quiet")
    workspace = open_workspace(folder / "workspace", read_only=False)
    other = {"source": str(sentences(folder / "other.csv", other=True)), "task": "text", "max_length": 16}
    wanted = recipe(sentences(folder / "films.csv"), other=other)
    return workspace, do(workspace, wanted), wanted


@pytest.mark.parametrize("parts", [4, 20, 43])
def test_a_stopped_run_goes_on_where_it_was(
    quiet: tuple[Workspace, str, DistillationRecipe], monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    """Cancelled as it learns, measures or merges: what was recorded stays, the rest is as in a run left alone."""
    workspace, undisturbed, wanted = quiet
    ledger = Ledger(workspace)
    run, lock = ledger.start(wanted)
    recorded = Job.record

    def stop_after(job: Job, given: Any) -> None:
        recorded(job, given)
        if len(ledger.parts(run.id)) >= parts:
            ledger.cancel(run.id)

    with monkeypatch.context() as stopping:
        stopping.setattr(Job, "record", stop_after)
        stopping.setattr("engine.studies.job.REPORT_SECONDS", 0.0)
        assert execute(workspace, ledger, run, lock, device="cpu") == "cancelled"
    kept = ledger.parts(run.id)
    assert parts <= len(kept) < len(ledger.parts(undisturbed))
    assert resumed(workspace, run.id) == "done"
    assert set(kept) <= set(ledger.parts(run.id))
    assert everything(workspace, run.id) == everything(workspace, undisturbed)


def test_a_stop_between_snapshots(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of any step will do: the losses counted so far, the moments of Adam and the batches go on."""
    wanted = recipe(outer__steps=9, inner__optimizer="adam", inner__learning_rate=0.01)
    quiet = do(workspace, wanted)
    monkeypatch.setattr(learning, "SAVE_SECONDS", 0.0)
    ledger = Ledger(workspace)
    run, lock = ledger.start(wanted)
    step = learning.Distilling._step

    def stop_at_five(self: learning.Distilling, index: np.ndarray) -> None:
        step(self, index)
        if self.progress.step == 4:
            ledger.cancel(run.id)

    with monkeypatch.context() as stopping:
        stopping.setattr(learning.Distilling, "_step", stop_at_five)
        stopping.setattr("engine.studies.job.REPORT_SECONDS", 0.0)
        assert execute(workspace, ledger, run, lock, device="cpu") == "cancelled"
    begun: list[int] = []

    def watch(self: learning.Distilling, index: np.ndarray) -> None:
        begun.append(self.progress.step)
        step(self, index)

    monkeypatch.setattr(learning.Distilling, "_step", watch)
    assert resumed(workspace, run.id) == "done"
    assert begun == [5, 6, 7, 8]
    assert everything(workspace, run.id) == everything(workspace, quiet)


@pytest.mark.parametrize(
    "changes",
    [
        {"inner__optimizer": "momentum", "inner__states": "host", "synthetic__initialization": "noise"},
        {"inner__optimizer": "adam", "inner__steps": [3], "inner__window": 1, "inner__learning_rate": 0.01},
        {"synthetic__labels": "hard", "synthetic__initialization": "noise"},
        {"synthetic__labels": "soft"},
    ],
)
def test_settings_of_pictures(workspace: Workspace, changes: dict[str, Any]) -> None:
    """Every optimizer, kind of label, start and window ends in sets that are measured; hard labels stay one class."""
    wanted = recipe(**changes)
    run = do(workspace, wanted)
    found = table(workspace, run, "distilled")
    assert len(found) == 10 * (len(STEPS) + 1)
    labels = np.stack(list(found.query("best").sort_values("input")["labels"]))
    started = np.stack(list(found.query("step == 0").sort_values("input").drop_duplicates("input")["labels"]))
    if wanted.synthetic.labels == "hard":
        assert (labels == np.eye(10)).all()
    elif wanted.synthetic.labels == "soft":
        assert np.allclose(labels.sum(1), 1, atol=1e-5)
        assert np.allclose(started.argmax(1), range(10))
    else:
        assert (started == np.eye(10)).all()
        assert Ledger(workspace).run(run).provenance["distilled"] is not None
    assert table(workspace, run, "evaluation")["accuracy"].between(0, 1).all()


def test_states_on_the_host_change_nothing(workspace: Workspace) -> None:
    """Where the weights of the way forward are kept is a matter of memory alone."""
    here = everything(workspace, do(workspace, recipe(inner__optimizer="momentum")))
    there = everything(workspace, do(workspace, recipe(inner__optimizer="momentum", inner__states="host")))
    assert here == there


def test_hard_labels_of_texts(workspace: Workspace, tmp_path: Path) -> None:
    """There is no learned label to read the text with, so nothing is measured under that name; noise has words too."""
    run = do(
        workspace,
        recipe(
            sentences(tmp_path / "films.csv"),
            synthetic__labels="hard",
            synthetic__initialization="noise",
            synthetic__embedding_penalty=0.1,
            synthetic__similarity="l2",
        ),
    )
    assert "text_labels" not in set(table(workspace, run, "evaluation")["method"])
    assert (table(workspace, run, "distilled_tokens")["similarity"].str[0] <= 0).all()  # minus the distance


def test_labels_of_attention(workspace: Workspace, tmp_path: Path) -> None:
    """A folder of BERT whose attention is learned as well: what is kept sums to one over the tokens."""
    source = sentences(tmp_path / "films.csv")
    student = bert(tmp_path / "bert", workspace, texts_of(source))
    run = do(
        workspace,
        recipe(source, students=[{"model": student}], scratch={}, synthetic__attention_labels=True),
    )
    (kept,) = Ledger(workspace).run(run).provenance["distilled"].values()
    tensors = load_file(workspace.outputs / f"{kept['output']}.safetensors")
    assert tensors["attention"].shape == (2, 2, 2, LENGTH + 2)  # inputs, layers, heads, tokens
    assert torch.allclose(tensors["attention"].sum(-1), torch.ones(2, 2, 2), atol=1e-5)
    assert set(table(workspace, run, "evaluation").query("method == 'embeddings'")["eval_seed"]) == set(
        range(EVAL_SEEDS)
    )


def test_two_students(workspace: Workspace, tmp_path: Path) -> None:
    """Each student has a set and a measure of its own."""
    source = sentences(tmp_path / "films.csv")
    models = [bert(tmp_path / name, workspace, texts_of(source), seed=seed) for seed, name in enumerate("ab")]
    wanted = recipe(source, students=[{"model": model} for model in models], scratch={})
    run = do(workspace, wanted)
    assert keys(table(workspace, run, "distilled")) == set(wanted.sets())
    evaluation = table(workspace, run, "evaluation")
    assert evaluation.groupby(["student", "method"]).size().eq(EVAL_SEEDS).all()
    assert set(evaluation["student"]) == set(models)


def test_prompts(workspace: Workspace, tmp_path: Path) -> None:
    """Decoded text, real samples and nothing are shown to a causal language model of a local folder."""
    from tests.studies.test_prompting import folder, llama, words_tokenizer

    source = sentences(tmp_path / "films.csv")
    words = ["[UNK]", "<s>", "label", ":", "glad", "sorry", "the", "story", *_GOOD, *_BAD]
    model = folder(tmp_path / "llama", llama(vocab=len(words)), words_tokenizer(words))
    wanted = recipe(source, prompting={"model": model, "samples": 6, "draws": 2})
    run = do(workspace, wanted)
    rows = table(workspace, run, "evaluation")
    rows = rows[rows["method"].isin(PROMPTS)]
    assert set(rows["method"]) == set(PROMPTS)
    assert set(rows["trained"]) == {model}
    assert keys(rows) == {wanted.sets()[0]}
