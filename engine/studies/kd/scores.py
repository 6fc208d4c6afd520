"""Scores of labelled samples, from the training dynamics of a few short proxy runs on everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.common.random_streams import FIRST_PROXY_SEED, FIRST_SUBSET_SEED
from engine.common.text import reason
from engine.config.grid import noise_label
from engine.models.tensor_cache import has_tensors, load_tensors, save_tensors
from engine.pruning import geometry, gradients, memorization, scores
from engine.pruning.dynamics import TrainingDynamics
from engine.pruning.select import kept_count
from engine.studies.kd.setup import KdStudy, noise_key
from engine.studies.kd.teachers import teacher_key, teacher_logits
from engine.training.group import Group, output_batches, outputs_of
from engine.training.students import Student, train_group

RANDOM = ("random", "random_fresh")
OF_SUBSETS = 0.7  # of the samples in each training for memorization, as in Feldman and Zhang (2020)
GRADIENTS_AT_ONCE = 256

Scores = NDArray[np.float64]


@dataclass
class ProxyRuns:
    """What scores are computed from."""

    dynamics: TrainingDynamics
    gradients: Scores | None  # mean gradient norm over the runs at the early epoch
    embeddings: NDArray[np.float32]  # of the first run at its end
    seconds: float


def score_key(study: KdStudy, name: str, noise: float) -> str:
    """What a score depends on; a cached one may be used by any run with the same key."""
    recipe = study.recipe
    own: list[object] = []
    if name == "kl":
        assert recipe.kl_teacher is not None  # the recipe was checked
        own = [teacher_key(study, recipe.kl_teacher, noise, recipe.seeds[0])]
    if name in ("k_center", "herding"):
        own = [max(recipe.grid.fractions)]
    return "score-" + digest(
        [
            name,
            study.data.dataset,
            recipe.network.model_dump(mode="json"),
            recipe.scores.model_dump(mode="json"),
            recipe.proxy_epochs,
            recipe.training.model_dump(mode="json", exclude={"temperature", "equal", "epochs"}),
            str(study.dtype),
            noise_key(noise),
            own,
        ]
    )


def scoring_flops(study: KdStudy, noise: float) -> float:
    """Planned operations of making the scores that the workspace does not have yet."""
    missing = missing_scores(study, noise)
    flops = _proxy_flops(study) if any(name != "memorization" for name in missing) else 0.0
    return flops + (_subsets_flops(study) if "memorization" in missing else 0.0)


def require_gradients(study: KdStudy) -> None:
    """Raises WinnowError if GraNd is asked for of a network whose gradients cannot be taken sample by sample."""
    if "grand" not in study.recipe.used_scores():
        return
    name, device = study.recipe.network, study.job.device
    one = study.samples["train"].take(torch.zeros(1, dtype=torch.long, device=device))
    try:
        gradients.grand(study.network(name, 0).to(device).eval(), one, study.labels["train"][:1], _loss, 1)
    except Exception as error:
        raise WinnowError(
            f"The gradients of {name.model} cannot be taken sample by sample ({reason(error)}), as the score grand "
            "needs it; leave grand out of grid.scores."
        ) from error


def make_scores(study: KdStudy, noise: float, labels: Tensor) -> None:
    """Compute and cache every score that the grid needs and the workspace does not have, but the random ones."""
    missing = missing_scores(study, noise)
    if any(name != "memorization" for name in missing):
        proxies = _run_proxies(study, noise, labels, "grand" in missing)
        for name in missing:
            if name != "memorization":
                started = time.perf_counter()
                values = _score(study, name, noise, proxies, labels)
                _save(study, name, noise, values, proxies.seconds + time.perf_counter() - started)
    if "memorization" in missing:
        started = time.perf_counter()
        values = _memorization(study, noise, labels)
        _save(study, "memorization", noise, values, time.perf_counter() - started)


def read_scores(study: KdStudy, noise: float) -> dict[str, Scores]:
    """Every score the grid needs but the random ones, (n,) each, high = keep; recorded in the run's parts."""
    made = {}
    for name in study.recipe.used_scores():
        if name not in RANDOM:
            output = load_tensors(study.job.workspace, score_key(study, name, noise))
            assert output is not None  # its work unit has been done
            made[name] = output.tensors["score"].numpy()
            _record(study, name, noise, made[name], output.facts["seconds"])
    return made


def missing_scores(study: KdStudy, noise: float) -> list[str]:
    """The scores of the grid that the workspace does not have yet."""
    workspace = study.job.workspace
    return [
        name
        for name in study.recipe.used_scores()
        if name not in RANDOM and not has_tensors(workspace, score_key(study, name, noise))
    ]


def _save(study: KdStudy, name: str, noise: float, values: Scores, seconds: float) -> None:
    tensors = {"score": torch.from_numpy(np.asarray(values, dtype=np.float64))}
    save_tensors(study.job.workspace, score_key(study, name, noise), tensors, {"seconds": seconds})


def _record(study: KdStudy, name: str, noise: float, values: Scores, seconds: float) -> None:
    part = f"score-{name}-noise-{noise:g}"
    if study.job.has("metrics", part):
        return
    n = study.count
    columns = {
        "arm": [noise_label("base", noise)] * n,
        "seed": np.full(n, -1, dtype=np.int32),
        "epoch": np.ones(n, dtype=np.int32),
        "row": study.rows,
        "metric": [name] * n,
        "value": values.astype(np.float32),
    }
    cost = {
        "arm": noise_label(f"score {name}", noise),
        "seed": -1,
        "epoch": study.recipe.proxy_epochs,
        "step": 0,
        "split": "",
        "name": "seconds_scoring",
        "value": seconds,
    }
    study.job.record([study.job.write("scores", part, columns), study.job.write("metrics", part, [cost])])


def _proxy_flops(study: KdStudy) -> float:
    """Planned operations of the proxy runs; a forward pass over every sample after each epoch costs a third of it."""
    recipe = study.recipe
    schedule = study.schedule(recipe.proxy_epochs)
    return study.training_flops(recipe.network, schedule, study.count, recipe.scores.runs) * 4 / 3


def _run_proxies(study: KdStudy, noise: float, labels: Tensor, grand: bool) -> ProxyRuns:
    settings, network = study.recipe.scores, study.recipe.network
    epochs, seeds = study.recipe.proxy_epochs, [FIRST_PROXY_SEED + i for i in range(settings.runs)]
    dynamics = TrainingDynamics(
        settings.runs,
        epochs,
        study.count,
        0 if study.numbers else study.outputs,
        keep_epochs=(settings.early_epoch, epochs),
    )
    train, known = study.samples["train"], labels.cpu()
    norms: list[Scores] = []

    def observe(epoch: int, group: Group) -> None:
        for index, outputs in output_batches(group, train):
            dynamics.update(epoch, index, outputs, known[index])
        if grand and epoch == settings.early_epoch:
            norms.append(_gradients(study, group, labels))

    started = time.perf_counter()
    group = study.group(network, seeds)
    everything = np.arange(study.count)
    message = f"training {settings.runs} proxy networks on {noise_label('everything', noise)}"
    with study.job.phase(message, _proxy_flops(study)) as tick:
        train_group(
            group,
            [Student(everything, seed) for seed in seeds],
            train,
            labels,
            study.schedule(epochs),
            tick=tick,
            on_epoch_end=observe,
        )
    embeddings = outputs_of(group, train, features=True)[0].numpy()
    return ProxyRuns(dynamics, norms[0] if norms else None, embeddings, time.perf_counter() - started)


def _gradients(study: KdStudy, group: Group, labels: Tensor) -> Scores:
    """The mean over the proxy runs of each sample's gradient norm."""
    inputs = study.samples["train"].take(torch.arange(study.count, device=study.job.device))
    at_once = GRADIENTS_AT_ONCE if group.base.stacks else 1
    norms = [gradients.grand(group.network(member), inputs, labels, _loss, at_once) for member in range(group.size)]
    return np.mean(norms, axis=0)


def _loss(output: Tensor, target: Tensor) -> Tensor:
    return (output[0] - target) ** 2 if target.is_floating_point() else F.cross_entropy(output, target)


def _score(study: KdStudy, name: str, noise: float, proxies: ProxyRuns, labels: Tensor) -> Scores:
    """One score (n,) from the proxy runs."""
    settings, dynamics = study.recipe.scores, proxies.dynamics
    early, last = settings.early_epoch, study.recipe.proxy_epochs
    seed = study.recipe.data.split_seed
    clusters = min(settings.prototypes or 10 * study.outputs, study.count)
    selected = kept_count(study.count, min(1.0, max(study.recipe.grid.fractions)))
    of_class = None if study.numbers else labels.cpu().numpy()
    if name == "grand":
        assert proxies.gradients is not None
        return proxies.gradients
    if name == "kl":
        assert study.recipe.kl_teacher is not None  # the recipe was checked
        teacher = teacher_logits(study, noise)[study.recipe.kl_teacher, study.recipe.seeds[0]][0]  # view 0
        return scores.kl_from_teacher(teacher.cpu().numpy(), dynamics.outputs[early])
    embeddings = proxies.embeddings
    ways: dict[str, Callable[[], Scores]] = {
        "el2n": lambda: scores.el2n(dynamics, early),
        "forgetting": lambda: scores.forgetting(dynamics),
        "aum": lambda: scores.aum(dynamics),
        "loss": lambda: scores.loss(dynamics, last),
        "least_confidence": lambda: scores.least_confidence(dynamics, last),
        "entropy": lambda: scores.entropy(dynamics, last),
        "margin": lambda: scores.margin(dynamics, last),
        "k_center": lambda: geometry.k_center(embeddings, selected, seed),
        "herding": lambda: geometry.herding(embeddings, selected, of_class),
        "prototypes_far": lambda: geometry.prototypes(embeddings, clusters, seed),
        "prototypes_near": lambda: -geometry.prototypes(embeddings, clusters, seed),
        "inliers": lambda: geometry.inliers(embeddings, seed),
    }
    return ways[name]()


def _subsets_flops(study: KdStudy) -> float:
    kept = round(OF_SUBSETS * study.count)
    return study.training_flops(
        study.recipe.network, study.schedule(study.recipe.proxy_epochs), kept, study.recipe.scores.subsets
    )


def _memorization(study: KdStudy, noise: float, labels: Tensor) -> Scores:
    recipe, count = study.recipe, study.recipe.scores.subsets
    member = memorization.subsets(study.count, count, OF_SUBSETS, recipe.data.split_seed)
    seeds = [FIRST_SUBSET_SEED + i for i in range(count)]
    group = study.group(recipe.network, seeds)
    students = [Student(kept.nonzero()[0], seed) for kept, seed in zip(member, seeds, strict=True)]
    train = study.samples["train"]
    message = f"training on {count} random subsets of {noise_label('everything', noise)}"
    with study.job.phase(message, _subsets_flops(study)) as tick:
        train_group(group, students, train, labels, study.schedule(recipe.proxy_epochs), tick=tick)
    outputs = outputs_of(group, train)
    if study.numbers:
        right = -((outputs[..., 0] - labels.cpu()) ** 2)
    else:
        right = torch.softmax(outputs, -1).gather(-1, labels.cpu().expand(count, -1)[..., None])[..., 0]
    return memorization.memorization(right.double().numpy(), member)
