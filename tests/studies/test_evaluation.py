"""What a set is compared with: real samples, trainings and two tasks, against plain loops and rigged students."""

from __future__ import annotations

from itertools import chain, islice, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from engine.common.errors import WinnowError
from engine.common.random_streams import FIRST_EVAL_SEED
from engine.config.distillation import MAIN, MERGED, DistillationRecipe
from engine.distillation.learn import SyntheticSet
from engine.models.functional import TextModel, softplus_inverse
from engine.models.tensor_cache import save_tensors
from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.workspace import Workspace, open_workspace
from engine.studies.distillation import trials
from engine.studies.distillation.decoding import embeddings_of, nearest_samples
from engine.studies.distillation.evaluation import Measurement
from engine.studies.distillation.initialization import initial_inputs
from engine.studies.distillation.learned_sets import cache_key
from engine.studies.distillation.learning import Distilling
from engine.studies.distillation.setup import DistillationStudy, open_study
from engine.studies.distillation.study import Distillation
from engine.studies.distillation.training_sets import REAL, TrainingSets, in_batches
from engine.studies.distillation.trials import (
    LabelledBatch,
    _within,
    accuracy,
    eval_steps_of,
    fitted_trial,
    inner_trial,
    run_adamw,
)
from engine.studies.distillation.two_tasks import TwoTasks
from engine.studies.job import Job
from tests.studies.test_distillation import recipe, sentences

CPU = torch.device("cpu")


def opened(workspace: Workspace, wanted: DistillationRecipe) -> DistillationStudy:
    ledger = Ledger(workspace)
    run, lock = ledger.start(wanted)
    lock.release()
    return open_study(Job(workspace, ledger, run, CPU), wanted)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> DistillationStudy:
    """Two tasks of sentences, as one student reads them."""
    folder = tmp_path_factory.mktemp("texts")
    workspace = open_workspace(folder / "workspace", read_only=False)
    other = {"source": str(sentences(folder / "other.csv", other=True)), "task": "text", "max_length": 16}
    return opened(workspace, recipe(sentences(folder / "films.csv"), other=other, evaluation__batch_size=8))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> DistillationStudy:
    return opened(open_workspace(tmp_path_factory.mktemp("images") / "workspace", read_only=False), recipe())


@pytest.fixture(params=["texts", "images"])
def study(request: pytest.FixtureRequest) -> DistillationStudy:
    found: DistillationStudy = request.getfixturevalue(request.param)
    return found


def parts_of(study: DistillationStudy, task: str = MAIN) -> tuple[Any, Any]:
    return study.opened[task, study.recipe.students[0].model]


def nothing(*_args: Any) -> None:
    return None


# -- which real samples are selected ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", REAL)
@pytest.mark.parametrize("per_class", [1, 3, 1000])
def test_selected_samples(study: DistillationStudy, method: str, per_class: int) -> None:
    """As many of each class as there are inputs, as far as there are so many, and none twice."""
    task, model = parts_of(study)
    places = TrainingSets(study).select(task, model, per_class, method, 0)
    assert len(set(places.tolist())) == len(places)
    counts = np.bincount(task.labels["train"].numpy())
    selected = np.bincount(task.labels["train"].numpy()[places], minlength=len(counts))
    assert selected.tolist() == np.minimum(counts, per_class).tolist()


def test_what_a_draw_changes(study: DistillationStudy) -> None:
    """Random samples differ between seeds and are the same for the same one; herding is deterministic."""
    task, model = parts_of(study)
    sets = TrainingSets(study)
    selected = {
        method: [sets.select(task, model, 3, method, draw).tolist() for draw in (0, 1, 0)]
        for method in ("random", "herding")
    }
    assert selected["random"][0] == selected["random"][2] != selected["random"][1]
    assert selected["herding"][0] == selected["herding"][1] == selected["herding"][2]


def test_embeddings_have_length_one(study: DistillationStudy) -> None:
    """Alike is a matter of direction, so a long text is no further away than a short one."""
    task, model = parts_of(study)
    found = embeddings_of(task, model, "train")
    assert len(found) == len(task.rows)
    assert torch.allclose(found.norm(dim=1), torch.ones(len(found)), atol=1e-5)


def test_padding_is_no_part_of_an_embedding(texts: DistillationStudy) -> None:
    """The mean is over the tokens of a text alone, whatever is read beside it."""
    task, model = parts_of(texts)
    found = embeddings_of(task, model, "train")
    for place in (0, len(found) - 1):
        ids, mask = task.inputs("train", np.array([place]))
        assert mask.all()
        assert torch.allclose(found[place], F.normalize(model.table[ids[0]].mean(0), dim=0), atol=1e-5)


def test_a_real_sample_finds_itself(study: DistillationStudy) -> None:
    """An input that has learned nothing is nearest to the sample it is, as near as can be, and to its class alone."""
    task, model = parts_of(study)
    places = [int(np.flatnonzero(task.labels["train"].numpy() == label)[0]) for label in range(task.classes)]
    if isinstance(model, TextModel):
        ids = [task.inputs("train", np.array([place]))[0][0] for place in places]
        assert len({len(row) for row in ids}) == 1
        inputs = model.table[torch.stack(ids)][:, len(model.prefix) : len(ids[0]) - len(model.suffix)]
    else:
        inputs = task.inputs("train", np.array(places))[0]
    rows, values = nearest_samples(task, model, inputs, list(range(task.classes)))
    assert np.allclose(values[:, 0], 1, atol=1e-5)
    assert rows.shape == values.shape == (task.classes, 3)
    known = embeddings_of(task, model, "train")
    where = {int(row): place for place, row in enumerate(task.rows)}
    for label, found in enumerate(rows):
        assert all(int(task.labels["train"][where[int(row)]]) == label for row in found)
        # Two samples may be the same words, and then either may stand first.
        assert torch.allclose(known[where[int(found[0])]], known[places[label]], atol=1e-5)


def test_inputs_start_from_their_class(texts: DistillationStudy) -> None:
    """The tokens an input starts as are those of training samples of its class, special ones left out."""
    task, model = parts_of(texts)
    key = texts.recipe.sets()[0]._replace(per_class=6)
    first = initial_inputs(texts, task, model, key)
    assert first.shape == (12, texts.recipe.synthetic.length, 16)
    special = set(task.tokenizer.all_special_ids)
    for place, vectors in enumerate(first):
        ids = [int(F.normalize(model.table, dim=-1).matmul(F.normalize(vector, dim=0)).argmax()) for vector in vectors]
        assert not special & set(ids)
        mine = np.flatnonzero(task.labels["train"].numpy() == place // 6)
        known = {token for sample in mine for token in task.inputs("train", np.array([sample]))[0][0].tolist()}
        assert set(ids) <= known
    assert all(len({float(vectors.sum()) for vectors in half}) > 1 for half in first.split(6))  # not one for all
    assert torch.equal(first, initial_inputs(texts, task, model, key))


def test_real_batches_of_the_outer_loop(images: DistillationStudy) -> None:
    """Every sample once an epoch, in another order for the next; from any step on they are the same as before."""
    distilling = Distilling(images, *parts_of(images), images.recipe.sets()[0])
    count = len(images.opened[MAIN, "mlp"][0].rows)
    per_epoch = -(-count // images.recipe.outer.batch_size)
    batches = [batch.tolist() for batch in islice(distilling._batches(0), 2 * per_epoch)]
    epochs = [list(chain(*batches[:per_epoch])), list(chain(*batches[per_epoch:]))]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    for step in (1, per_epoch - 1, per_epoch, per_epoch + 3):
        assert [batch.tolist() for batch in islice(distilling._batches(step), 3)] == batches[step : step + 3]


# -- how a trial is measured -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["valid", "test"])
def test_accuracy_is_a_plain_loop(study: DistillationStudy, split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of similar length, and sums over them, change nothing."""
    task, model = parts_of(study)
    monkeypatch.setitem(trials.BATCH_TOKENS, "cpu", 20)
    weights = [
        weight + 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) for weight in model.init(3)
    ]
    right, loss = 0, 0.0
    for place, label in enumerate(task.labels[split].tolist()):
        with torch.no_grad():
            scores = model.forward(weights, *task.inputs(split, np.array([place])))[0].log_softmax(-1)
        right += int(scores.argmax()) == label
        loss -= float(scores[label])
    count = len(task.labels[split])
    found = accuracy(study, task, model, weights, split)
    assert found == pytest.approx((right / count, loss / count), rel=1e-4)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 100))
def test_batches_hold_every_sample_once(lengths: list[int], tokens: int) -> None:
    """No sample is lost, and no batch is larger than its budget unless it is a single sample."""
    given = np.array(lengths)
    order = np.argsort(given, kind="stable")
    batches = list(_within(order, given, tokens))
    assert np.concatenate(batches).tolist() == order.tolist()
    for batch in batches:
        assert len(batch) == 1 or len(batch) * int(given[batch].max()) <= tokens
    for one, two in pairwise(batches):
        assert (len(one) + 1) * int(given[two[0]]) > tokens  # no batch is smaller than it has to be


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 3))
def test_small_sets_in_batches(count: int, size: int, epoch: int) -> None:
    """Every sample once an epoch, with its own target, in another order for each epoch and seed."""
    batch = LabelledBatch((torch.arange(count), 10 * torch.arange(count)), 100.0 * torch.arange(count)[:, None])
    found = in_batches(batch, size, 0, epoch)
    places = torch.cat([each.inputs[0] for each in found])
    assert sorted(places.tolist()) == list(range(count))
    assert torch.equal(torch.cat([each.inputs[1] for each in found]), 10 * places)
    assert torch.equal(torch.cat([each.targets for each in found])[:, 0], 100.0 * places)
    assert all(len(each.targets) <= size for each in found)
    assert [each.inputs[0].tolist() for each in in_batches(batch, size, 0, epoch)] == [
        each.inputs[0].tolist() for each in found
    ]


@given(st.integers(1, 5000))
def test_marks(steps: int) -> None:
    """Up to five moments, the last one the end, each within the training."""
    found = eval_steps_of(steps)
    assert found[-1] == steps
    assert found == sorted(set(found))
    assert found[0] >= 1
    assert len(found) <= 5


@pytest.mark.parametrize(
    ("valid", "best"),
    [
        ([0.1, 0.6, 0.3, 0.2, 0.5, 0.4], (0.1, 2)),
        ([0.1, 0.2, 0.3, 0.2, 0.9, 0.4], (0.2, 2)),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], (0.1, 1)),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.7], (0.2, 4)),
    ],
)
def test_where_to_stop_is_chosen_on_held_out_samples(
    images: DistillationStudy, monkeypatch: pytest.MonkeyPatch, valid: list[float], best: tuple[float, int]
) -> None:
    """The best step of the best rate, the earliest of equals; the test set is read once, with the weights of it."""
    task, model = parts_of(images)
    eval_steps, given = [1, 2, 4], iter(valid)
    splits: list[str] = []
    seen: dict[int, torch.Tensor] = {}

    def rigged(
        _study: DistillationStudy, _task: Any, _model: Any, weights: list[torch.Tensor], split: str
    ) -> tuple[float, float]:
        splits.append(split)
        if split == "valid":
            seen[len(seen)] = weights[0].detach().clone()
            return next(given), 0.0
        place = [0.1, 0.2].index(best[0]) * len(eval_steps) + eval_steps.index(best[1])
        assert torch.equal(weights[0], seen[place])
        return 0.77, 1.5

    monkeypatch.setattr(trials, "accuracy", rigged)
    batch = TrainingSets(images).real_batch(task, np.arange(6))
    checked: list[int] = []
    trial = fitted_trial(
        images, task, model, FIRST_EVAL_SEED, lambda epoch: [batch],
        rates=[0.1, 0.2], steps=4, eval_steps=eval_steps, samples=6, check=lambda: checked.append(1),
    )  # fmt: skip
    assert (trial.learning_rate, trial.steps) == best
    assert (trial.valid, trial.accuracy, trial.loss, trial.samples) == (max(valid), 0.77, 1.5, 6)
    assert splits == ["valid"] * 6 + ["test"]
    assert len(checked) == 8  # cancelling is possible after every step
    assert trial.flops > 0


def test_training_is_adamw(images: DistillationStudy) -> None:
    """Up, then down in a line to nothing, as torch's own optimizer goes at the same rates."""
    torch.manual_seed(0)
    start = torch.randn(5)
    mine, theirs = [start.clone().requires_grad_()], start.clone().requires_grad_()
    target = torch.arange(5.0)
    for _ in run_adamw(mine, lambda _step: (mine[0] - target).square().sum(), 0.1, 20, nothing):
        pass
    adam = torch.optim.AdamW([theirs], lr=1.0, weight_decay=0.01)
    for step in range(20):
        adam.param_groups[0]["lr"] = 0.05 * (step + 1) if step < 2 else 0.1 * (20 - step) / 18
        adam.zero_grad()
        (theirs - target).square().sum().backward()
        adam.step()
    assert torch.allclose(mine[0], theirs)


def test_an_inner_trial_is_plain_training(images: DistillationStudy) -> None:
    """The inner steps at the learned rates are plain steps of SGD."""
    task, model = parts_of(images)
    key = images.recipe.sets()[0]
    inputs = initial_inputs(images, task, model, key)
    rates = [0.3, 0.1]
    synthetic = SyntheticSet(
        inputs, torch.eye(10), torch.tensor([softplus_inverse(rate) for rate in rates]), None, "unrestricted"
    )
    weights = [weight.clone().requires_grad_() for weight in model.init(FIRST_EVAL_SEED)]
    for rate in rates:
        loss = F.cross_entropy(model.forward(weights, inputs), torch.arange(10))
        gradients = torch.autograd.grad(loss, weights)
        weights = [(w - rate * g).detach().requires_grad_() for w, g in zip(weights, gradients, strict=True)]
    trial = inner_trial(images, task, model, synthetic, FIRST_EVAL_SEED)
    assert (trial.accuracy, trial.loss) == pytest.approx(accuracy(images, task, model, weights, "test"), rel=1e-4)
    assert (trial.samples, trial.steps) == (10, 2)


# -- work units ------------------------------------------------------------------------------------------------------


def test_what_a_run_does_and_in_which_order(texts: DistillationStudy) -> None:
    """A set, what it is measured by, the next one, two tasks at the end; every unit has a name of its own."""
    units = Distillation(texts).units()
    names = [unit.name for unit in units]
    assert len(set(names)) == len(names)
    kinds = [type(unit.key).__name__ for unit in units]
    # Three measurements of the set, three picks of real samples, and all of them.
    assert kinds == ["SetKey", *["Measurement"] * 7] * 2 + ["TwoTaskMeasurement"] * (len(MERGED) + 1)
    tasks = [unit.key.key.task for unit in units if isinstance(unit.key, Measurement)]
    assert tasks == ["main"] * 7 + ["other"] * 7
    assert all(unit.flops > 0 for unit in units)
    stages = {unit.name: unit.stage for unit in units}
    assert {name for name, stage in stages.items() if stage} == {
        *(name for name in names if name.startswith(("distilled embeddings", "decoded text"))),
        *MERGED.values(),
        "one task after the other",
    }


def test_what_needs_no_set_is_measured_before_there_is_one(workspace: Workspace) -> None:
    """Nothing is learned yet; sets of one size share their real samples, and of lost rows only those come back."""
    wanted = recipe(seeds=[0, 1], synthetic__per_class=[1, 2])
    study = opened(workspace, wanted)
    here = Distillation(study)
    units = [unit for unit in here.units() if isinstance(unit.key, Measurement)]
    early = [unit.key for unit in units if unit.stage == 0]
    one, two = wanted.sets()[:2], wanted.sets()[2:]
    assert [key.keys for key in early if key.method == "random"] == [tuple(one), tuple(two)]
    assert [key.method for key in early] == ["random", "k_center", "herding", "full", "random", "k_center", "herding"]
    for key in early:
        here.do(key)
    with pytest.raises(WinnowError, match="main-mlp-k1-T2-s0"):
        here.do(next(unit.key for unit in units if unit.stage))
    ledger, run = study.job.ledger, study.job.run.id
    parts = ledger.parts(run, "evaluation")
    assert len(parts) == 3 * len(wanted.sets()) + 1
    (lost,) = (part for part in parts if part.name == f"{one[1].name}-random-0")
    before = read_table(workspace, [lost], "evaluation").to_pandas().drop(columns="seconds")
    ledger.forget_parts([lost])
    again = Distillation(open_study(Job(workspace, ledger, study.job.run, CPU), wanted))
    assert [key.method for key in early if not again.has(key)] == ["random"]
    for key in early:
        again.do(key)
    (made,) = (part for part in ledger.parts(run, "evaluation") if part.name == lost.name)
    after = read_table(workspace, [made], "evaluation").to_pandas().drop(columns="seconds")
    pd.testing.assert_frame_equal(before, after, check_exact=True)


# -- two tasks -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(texts: DistillationStudy) -> TwoTasks:
    """Both sets as they start out: what is measured here does not depend on what was learned."""
    for key in texts.recipe.sets():
        task, model = parts_of(texts, key.task)
        inputs = initial_inputs(texts, task, model, key)
        tensors = {"inputs": model.add_special_tokens(inputs), "labels": torch.eye(2), "rates": torch.full((2,), 0.1)}
        save_tensors(
            texts.job.workspace, cache_key(texts, key), tensors, {"step": 0, "seconds": 0.0, "classes": [0, 1]}
        )
    return TwoTasks(texts, TrainingSets(texts), *texts.recipe.sets())


def trained(two: TwoTasks, monkeypatch: pytest.MonkeyPatch, ask: Any) -> list[list[list[torch.Tensor]]]:
    """The weights that rows were measured on."""
    found: list[list[list[torch.Tensor]]] = []
    row = TwoTasks._row

    def watch(self: TwoTasks, place: int, weights: list[list[torch.Tensor]], *rest: Any) -> dict[str, Any]:
        found.append([[weight.detach().clone() for weight in each] for each in weights])
        assert all(weights[0][shared] is weights[1][shared] for shared in self.body)
        return row(self, place, weights, *rest)

    with monkeypatch.context() as watching:
        watching.setattr(TwoTasks, "_row", watch)
        ask()
    return found


@pytest.mark.parametrize("method", MERGED)
def test_one_body_two_heads(two: TwoTasks, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """After training the body is one and the same for both tasks, has learned, and each task has its own head."""
    found = trained(two, monkeypatch, lambda: two.merged(method, 0, nothing))
    assert len(found) == 2
    before = two.init(0)
    (weights, _) = found
    heads = [place for place in range(len(weights[0])) if place not in two.body]
    assert heads
    assert two.body
    matrices = [place for place in heads if weights[0][place].dim() > 1]
    assert all(not torch.equal(weights[0][place], weights[1][place]) for place in matrices)
    for place in (0, 1):
        assert any(not torch.equal(weights[place][at], before[place][at]) for at in two.body)
        assert any(not torch.equal(weights[place][at], before[place][at]) for at in heads)


@pytest.mark.parametrize("method", MERGED)
def test_rows_of_both_tasks(two: TwoTasks, method: str) -> None:
    """One row for each task under the key of its own set."""
    rows = two.merged(method, 1, nothing)
    assert [row["task"] for row in rows] == ["main", "other"]
    assert all(row["samples"] == 2 and 0 <= row["accuracy"] <= 1 for row in rows)
    assert rows == [
        row | {"seconds": rows[place]["seconds"], "learning_rate": pytest.approx(row["learning_rate"], nan_ok=True)}
        for place, row in enumerate(two.merged(method, 1, nothing))
    ]


def test_replaying_nothing_is_learning_the_other_task_alone(two: TwoTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the first task, then all of the second, by a plain loop: the same weights as with no replay."""
    found = trained(two, monkeypatch, lambda: two.replayed(0, nothing))
    assert len(found) == 4
    settings = two.settings
    weights = two.init(0)
    for place in (0, 1):
        task, model = two.tasks[place], two.models[place]
        steps = settings.full_epochs * -(-len(task.rows) // settings.batch_size)
        optimized = [weight for at, weight in enumerate(weights[place])]

        def loss(step: int, place: int = place, model: Any = model) -> torch.Tensor:
            batch = two._real_batch(place, 0, step)
            return F.cross_entropy(model.forward(weights[place], *batch.inputs), batch.targets.argmax(-1))

        for _ in run_adamw(optimized, loss, settings.full_learning_rate, steps, nothing):
            pass
    for place in (0, 1):
        for mine, theirs in zip(weights[place], found[0][place], strict=True):
            assert torch.allclose(mine, theirs, atol=1e-6)
    none, embeddings, text, random = found
    # These vectors are still the words they started as, so it is all one which of them are repeated.
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(embeddings[0], text[0], strict=True))
    for one, other in [(none, text), (none, random), (text, random)]:
        assert any(not torch.allclose(first, second) for first, second in zip(one[0], other[0], strict=True))


def test_every_sample_of_a_task_is_learned_once_an_epoch(two: TwoTasks) -> None:
    """The batches of the full data are a partition of it in every epoch."""
    task, size = two.tasks[0], two.settings.batch_size
    steps = -(-len(task.rows) // size)
    for epoch in (0, 1):
        seen = [two._real_batch(0, 3, epoch * steps + step) for step in range(steps)]
        assert sum(len(batch.targets) for batch in seen) == len(task.rows)
        assert torch.equal(
            torch.stack([batch.targets.sum(0) for batch in seen]).sum(0),
            F.one_hot(task.labels["train"], 2).float().sum(0),
        )
