"""What distilled sets are worth: the same student trained on all data, on each set, and on as many real samples.

Every measurement has `evaluation.eval_seeds` fresh heads that the distillation has never met. Which step to stop at, and at which
learning rate, is chosen on the held-out part of the training set; accuracy is that on the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.batching.plans import similar_batches
from engine.common.random_streams import FIRST_EVAL_SEED, Stream, stream_rng
from engine.config.distillation import METHODS, SetKey
from engine.data.labelled.texts import tokenise
from engine.distillation.learn import SyntheticSet
from engine.models.functional import FunctionalModel, TextModel, softplus_inverse
from engine.models.tensor_cache import CachedTensors
from engine.pruning.geometry import herding, k_center
from engine.studies.distillation.decoding import Decoder, embeddings_of
from engine.studies.distillation.learning import output_of
from engine.studies.distillation.setup import DistillationStudy, Task
from engine.studies.distillation.trials import PASSES, LabelledBatch, Trial, eval_steps_of, fitted_trial, learned_trial

REAL = ("random", "k_center", "herding")


def whole(task: str, student: str) -> SetKey:
    """The key of what is trained on all data."""
    return SetKey(task, student, 0, 0, -1)


class Measurement(NamedTuple):
    """What `model` is trained on: `method` of a set. Real samples are the same for several sets, and measured once."""

    keys: tuple[SetKey, ...]
    method: str
    model: str

    @property
    def key(self) -> SetKey:
        """The first of the sets, which stands for all."""
        return self.keys[0]

    @property
    def of_set(self) -> bool:
        """Whether it needs a set that is learned."""
        return self.method not in (*REAL, "full")

    @property
    def name(self) -> str:
        """No other of its run has it."""
        if self.of_set:
            of = self.key.name if self.model == self.key.student else f"{self.key.name}, {self.model}"
        else:
            size = "" if self.method == "full" else f", {self.key.per_class} per class"
            of = f"{self.key.task}{size}, {self.model}"
        return f"{METHODS[self.method]}, {of}"


class Evaluation:
    """The measurements of a run; each ends in a part for every set it is one of."""

    def __init__(self, study: DistillationStudy) -> None:
        self.study, self.job, self.settings = study, study.job, study.recipe.evaluation
        self._embeddings: dict[tuple[str, int], np.ndarray] = {}
        self._texts: dict[SetKey, list[str]] = {}

    # -- what is measured ---------------------------------------------------------------------------------------

    def wanted(self, key: SetKey) -> list[Measurement]:
        """Everything a set is measured by, all data last."""
        found = [Measurement(self._alike(key, *asked), *asked) for asked in self._asked(key)]
        return [*found, Measurement((whole(key.task, key.student),), "full", key.student)]

    def _asked(self, key: SetKey) -> list[tuple[str, str]]:
        """Methods and models; the sets that are shown first are also measured with other encoders."""
        recipe = self.study.recipe
        methods = ["embeddings"]
        if not self.study.pictures:
            methods += ["text"] if recipe.synthetic.labels == "hard" else ["text", "text_labels"]
        found = [(method, key.student) for method in [*methods, *REAL]]
        if key in recipe.sets()[: len(recipe.seeds)]:
            others = [network.model for network in recipe.evaluation.transfer]
            found += [(method, model) for model in others for method in ("text", "random")]
        return found

    def _alike(self, key: SetKey, method: str, model: str) -> tuple[SetKey, ...]:
        """The sets that a measurement of `key` is one of: real samples know nothing of a set but its task and size."""
        if method not in REAL:
            return (key,)
        return tuple(
            other
            for other in self.study.recipe.sets()
            if (other.task, other.per_class) == (key.task, key.per_class) and (method, model) in self._asked(other)
        )

    def has(self, wanted: Measurement) -> bool:
        """Whether a measurement is recorded for all of its sets."""
        return not self._missing(wanted)

    def measure(self, wanted: Measurement) -> None:
        """Do one measurement, and record it for the sets that do not have it."""
        rows, parts = self._trials(wanted), []
        for key in self._missing(wanted):
            about = {**key._asdict(), "method": wanted.method, "trained": wanted.model}
            name = part_name(self.study, key, wanted.method, wanted.model)
            parts.append(self.job.write("evaluation", name, [about | row for row in rows]))
        self.job.record(parts)

    def _missing(self, wanted: Measurement) -> list[SetKey]:
        _, method, model = wanted
        return [key for key in wanted.keys if not self.job.has("evaluation", part_name(self.study, key, method, model))]

    def _trials(self, wanted: Measurement) -> list[dict[str, Any]]:
        """One trial for each fresh head; somebody who cancels is heard after every step."""
        key, method, model = wanted.key, wanted.method, wanted.model
        task = self.study.task(key.task, model)
        learner = self.study.learner(task, model)
        heads, rows = self.settings.eval_seeds, []
        with self.job.phase(f"measuring {wanted.name}", self.flops(wanted)) as tick:
            if method == "embeddings":
                learned = learned_of(output_of(self.study, key), learner)
            else:
                batches = self._batches(wanted, task, learner)
            for head in range(heads):
                if method == "embeddings":
                    trial = learned_trial(self.study, task, learner, learned, FIRST_EVAL_SEED + head)
                    tick(head + 1, heads)
                else:
                    trial = self._fitted(wanted, task, learner, head, batches(head), partial(tick, head, heads))
                rows.append({"eval_seed": head, **asdict(trial)})
        return rows

    def _fitted(
        self,
        wanted: Measurement,
        task: Task,
        learner: FunctionalModel,
        head: int,
        batches: Callable[[int], Iterable[LabelledBatch]],
        check: Callable[[], None],
    ) -> Trial:
        settings = self.settings
        count = len(task.rows) if wanted.method == "full" else task.classes * wanted.key.per_class
        steps, eval_steps, rates = settings.steps, eval_steps_of(settings.steps), settings.learning_rates
        if wanted.method == "full":
            each = -(-count // settings.batch_size)
            steps, rates = each * settings.full_epochs, [settings.full_learning_rate]
            eval_steps = list(range(each, steps + 1, each))
        return fitted_trial(
            self.study,
            task,
            learner,
            FIRST_EVAL_SEED + head,
            batches,
            rates=rates,
            steps=steps,
            eval_steps=eval_steps,
            samples=count,
            check=check,
        )

    def _batches(
        self, wanted: Measurement, task: Task, learner: FunctionalModel
    ) -> Callable[[int], Callable[[int], Iterable[LabelledBatch]]]:
        """head -> epoch -> the batches of that epoch."""
        key, method, size = wanted.key, wanted.method, self.settings.batch_size
        if method == "full":
            every = np.arange(len(task.rows))
            return lambda head: partial(self._real_batches, task, every, head)
        if method in REAL:
            return lambda head: partial(
                in_batches,
                self.real_batch(task, self.picks(task, learner, key.per_class, method, head)),
                size,
                head,
            )
        found = output_of(self.study, key)
        hard = F.one_hot(torch.tensor(found.facts["classes"]), task.classes).float()
        given = self.text_batch(task, self.texts(key), hard if method == "text" else found.tensors["labels"])
        return lambda head: partial(in_batches, given, size, head)

    def flops(self, wanted: Measurement) -> float:
        """Floating-point operations of a measurement, about."""
        task = self.study.task(wanted.key.task, wanted.model)
        each = self.study.cost_of_token(task, self.study.learner(task, wanted.model))
        tokens = {split: float(task.lengths[split].sum()) for split in ("train", "valid", "test")}
        settings = self.settings
        if wanted.method == "full":
            passed = settings.full_epochs * (PASSES * tokens["train"] + tokens["valid"]) + tokens["test"]
        elif wanted.method == "embeddings":
            passed = tokens["valid"] + tokens["test"]
        else:
            made = min(settings.batch_size, task.classes * wanted.key.per_class) * tokens["train"] / len(task.rows)
            passed = len(settings.learning_rates) * (
                settings.steps * PASSES * made + len(eval_steps_of(settings.steps)) * tokens["valid"]
            )
            passed += tokens["test"]
        return settings.eval_seeds * each * passed

    # -- what is trained on -------------------------------------------------------------------------------------

    def texts(self, key: SetKey) -> list[str]:
        """The decoded texts of a finished set."""
        if key in self._texts:
            return self._texts[key]
        task = self.study.task(key.task, key.student)
        learner = self.study.learner(task, key.student)
        assert isinstance(learner, TextModel)
        decoder = Decoder(learner, task, self.study.recipe.synthetic.similarity)
        inputs = output_of(self.study, key).tensors["inputs"].to(learner.device)
        self._texts[key] = decoder.read(learner.strip_special_tokens(inputs)).texts
        return self._texts[key]

    def text_batch(self, task: Task, texts: list[str], targets: Tensor) -> LabelledBatch:
        """Texts as the student's tokenizer reads them, like any other text."""
        assert task.tokenizer is not None
        longest = max(self.study.settings(task.name).max_length, self.study.recipe.synthetic.length + 2)
        tokens = tokenise(texts, [f"decoded text {place}" for place in range(len(texts))], task.tokenizer, longest)
        device = self.job.device
        inputs = (torch.from_numpy(tokens.ids).to(device), torch.from_numpy(tokens.mask).to(device))
        return LabelledBatch(inputs, targets.to(device))

    def picks(self, task: Task, learner: FunctionalModel, per_class: int, method: str, draw: int) -> np.ndarray:
        """Positions of `per_class` real training samples of each class."""
        labels = task.labels["train"].cpu().numpy()
        places = [np.flatnonzero(labels == label) for label in range(task.classes)]
        if method == "random":
            rng = stream_rng(Stream.REAL_SAMPLES, draw)
            return np.concatenate([rng.choice(of, min(per_class, len(of)), False) for of in places])
        at = (task.name, id(learner))
        if at not in self._embeddings:  # the same for every head
            self._embeddings[at] = embeddings_of(learner, task, "train").cpu().numpy()
        known = self._embeddings[at]
        picked = []
        for of in places:
            size = min(per_class, len(of))
            scores = k_center(known[of], size, draw) if method == "k_center" else herding(known[of], size)
            picked.append(of[np.argsort(-scores, kind="stable")[:size]])
        return np.concatenate(picked)

    def real_batch(self, task: Task, index: np.ndarray) -> LabelledBatch:
        hard = F.one_hot(task.labels["train"][torch.from_numpy(index).to(self.job.device)], task.classes).float()
        return LabelledBatch(task.inputs("train", index), hard)

    def _real_batches(self, task: Task, places: np.ndarray, seed: int, epoch: int) -> Iterator[LabelledBatch]:
        lengths = task.lengths["train"][places]
        found = similar_batches(lengths, self.settings.batch_size, seed, epoch)
        return (self.real_batch(task, places[batch]) for batch in found)


def part_name(study: DistillationStudy, key: SetKey, method: str, model: str) -> str:
    """Models are named by their place in the recipe, as two of them may end in the same word."""
    models = [network.model for network in [*study.recipe.students, *study.recipe.evaluation.transfer]]
    return f"{key.name}-{method}-{models.index(model)}"


def in_batches(batch: LabelledBatch, size: int, seed: int, epoch: int) -> list[LabelledBatch]:
    """A small set in batches of at most `size`, in an order of its own for every epoch."""
    count = len(batch.targets)
    if count <= size:
        return [batch]
    order = torch.from_numpy(stream_rng(Stream.SMALL_SET_ORDER, seed, epoch).permutation(count)).to(
        batch.targets.device
    )
    return [
        LabelledBatch(tuple(part[index] for part in batch.inputs), batch.targets[index]) for index in order.split(size)
    ]


def learned_of(found: CachedTensors, learner: FunctionalModel) -> SyntheticSet:
    """A kept set as a student can be trained on it again."""
    device = learner.device
    inputs = found.tensors["inputs"].to(device)
    if isinstance(learner, TextModel):
        inputs = learner.strip_special_tokens(inputs)
    attention = found.tensors.get("attention")
    rates = torch.tensor([softplus_inverse(rate) for rate in found.tensors["rates"].tolist()], device=device)
    # The kept labels are what log-probabilities are weighted by, which is what unrestricted labels are.
    return SyntheticSet(
        inputs,
        found.tensors["labels"].to(device),
        rates,
        None if attention is None else attention.clamp(min=1e-12).log().to(device),
        "unrestricted",
    )
