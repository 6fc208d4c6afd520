"""One distillation, from its start to its chosen snapshot; killed at any moment it goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.batching.plans import similar_batches
from engine.common.choices import LabelKind
from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.common.memory import is_out_of_memory
from engine.common.random_streams import FIRST_SNAPSHOT_SEED
from engine.config.distillation import MAIN, SetKey
from engine.config.former import former_names
from engine.config.load import to_dict
from engine.distillation.decode import embedding_penalty
from engine.distillation.learn import Backoff, OuterLoop, SyntheticSet
from engine.distillation.optimizers import Optimizer
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.models.functional import TextModel, softplus_inverse
from engine.models.tensor_cache import CachedTensors, load_tensors, save_tensors
from engine.studies.distillation.decoding import Decoder, as_pictures, input_rows, nearest_samples, token_rows
from engine.studies.distillation.initialization import start_of
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.trials import PASSES, accuracy, trained_on
from engine.studies.job import Job

SAVE_SECONDS = 20.0
LEAST_BATCH = 4
INNER_PASSES = 12.0  # one inner step, forward and back and both again with a graph, in forward passes


@dataclass
class Progress:
    """What a checkpoint holds beside the state of the outer loop."""

    step: int = 0
    losses: float = 0.0  # summed since the last snapshot
    counted: int = 0
    seconds: float = 0.0
    best: float = -1.0  # accuracy on held-out samples
    best_step: int = 0


def distilled(job: Job, key: SetKey) -> bool:
    """Whether a set is learned and recorded."""
    return job.has("distilled", f"{key.name}-chosen")


def output_of(study: DistillationStudy, key: SetKey) -> CachedTensors:
    """The chosen snapshot of a finished set: inputs as a student reads them, labels, rates. Raises WinnowError."""
    found = load_tensors(study.job.workspace, output_key(study, key))
    if found is None:
        raise WinnowError(f"What {key.name} learned is missing from {study.job.workspace.outputs}; start the run anew.")
    return found


def output_key(study: DistillationStudy, key: SetKey) -> str:
    settings = former_names(to_dict(study.recipe))  # finished sets have lain under this key from the beginning
    parts = [settings[name] for name in ("synthetic", "inner", "outer")]
    task = study.task(key.task, key.student)
    return digest([study.job.run.id, task.data.dataset, study.sources[key.student], parts, key.name])


class Distilling:
    """Learns one set and records it, snapshot by snapshot."""

    def __init__(self, study: DistillationStudy, key: SetKey) -> None:
        self.study, self.key, recipe = study, key, study.recipe
        self.job, self.recipe = study.job, recipe
        self.task = study.task(key.task, key.student)
        self.learner = study.learner(self.task, key.student)
        self.classes = [label for label in range(self.task.classes) for _ in range(key.per_class)]
        self.decoder = (
            Decoder(self.learner, self.task, recipe.synthetic.similarity)
            if isinstance(self.learner, TextModel)
            else None
        )
        first = start_of(study, key, self.task, self.learner)
        self.start = self.decoder.read(first) if self.decoder else None
        self.progress = Progress()
        self.outer = self._outer(first)
        self.best = {name: tensor.detach().clone() for name, tensor in self.outer.learned.tensors().items()}
        self.checkpoint = self.job.workspace.outputs / f"{output_key(study, key)}.training.safetensors"
        count = recipe.outer.snapshots
        self.snapshot_steps = sorted({round(recipe.outer.steps * place / count) for place in range(count + 1)})

    def _outer(self, first: Tensor) -> OuterLoop:
        recipe, key = self.recipe, self.key
        labels = torch.eye(self.task.classes)[self.classes]
        if recipe.synthetic.labels == "soft":
            labels = labels * 4.0  # before the softmax; the others share what this leaves
        attention = None
        if recipe.synthetic.attention_labels:
            with torch.no_grad():  # where the student looks anyway
                found = self.learner.forward_embeds(self.learner.init(0), first, attention=True)[1]
            assert found is not None
            attention = found.clamp(min=1e-6).log()
        learned = SyntheticSet(
            first,
            labels.to(self.job.device),
            torch.full((key.inner_steps,), softplus_inverse(recipe.inner.learning_rate), device=self.job.device),
            attention,
            recipe.synthetic.labels,
        )
        strength, penalty = recipe.synthetic.embedding_penalty, None
        if strength and isinstance(self.learner, TextModel) and self.decoder:
            table, allowed = self.learner.table, self.decoder.allowed

            def penalty(inputs: Tensor) -> Tensor:
                return strength * embedding_penalty(inputs, table, allowed)

        outer = recipe.outer
        return OuterLoop(
            self.learner,
            learned,
            Optimizer(recipe.inner.optimizer),
            steps=outer.steps,
            rates=(outer.learning_rate, outer.label_rate, outer.step_rate),
            backoff=Backoff(outer.batch_size, recipe.inner.window or key.inner_steps),
            seed=key.seed,
            dtype=self.study.dtype,
            on_host=recipe.inner.states == "host",
            penalty=penalty,
        )

    def run(self) -> None:
        """The outer loop. A checkpoint comes before what it promises is recorded."""
        self._restore()
        total, progress = self.recipe.outer.steps, self.progress
        saved = time.monotonic()
        with self.job.phase(f"distilling {self.key.name}", distilling_flops(self.study, self.key)) as tick:
            batches = self._batches(progress.step)
            while True:
                if progress.step in self.snapshot_steps:
                    self._snapshot()
                if progress.step == total:
                    break
                begun = time.monotonic()
                self._step(next(batches))
                progress.step += 1
                progress.seconds += time.monotonic() - begun
                if time.monotonic() - saved > SAVE_SECONDS:
                    self._save()
                    saved = time.monotonic()
                tick(progress.step, total)
        self._choose()

    def _batches(self, step: int) -> Iterator[np.ndarray]:
        """Batches of real samples from outer step `step` on; which, depends on the seed and the step alone."""
        lengths = self.task.lengths["train"]
        while True:
            size = self.outer.backoff.batch_size
            per_epoch = -(-len(lengths) // size)
            batches = similar_batches(lengths, size, self.key.seed, step // per_epoch)
            for batch in batches[step % per_epoch :]:
                if self.outer.backoff.batch_size != size:
                    break
                yield batch
                step += 1

    def _step(self, index: np.ndarray) -> None:
        """One outer step; where memory runs out the batch is halved, then the window, and the step done again."""
        backoff = self.outer.backoff
        while True:
            index = index[: backoff.batch_size]
            rollbacks = backoff.rollbacks
            try:
                loss = self.outer.step(
                    self.progress.step, self.task.inputs("train", index), self.task.labels["train"][index]
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink()
                continue
            if backoff.rollbacks > rollbacks:
                self._note(
                    f"the loss of {self.key.name} was no number or exploded at outer step {self.progress.step}; "
                    "went back to the last good state and halved the learning rates"
                )
            else:
                self.progress.losses += loss
                self.progress.counted += 1
            return

    def _shrink(self) -> None:
        backoff = self.outer.backoff
        if backoff.batch_size > LEAST_BATCH:
            backoff.batch_size = max(LEAST_BATCH, backoff.batch_size // 2)
            self._note(f"{self.key.name} did not fit into memory; real batches have {backoff.batch_size} samples now")
        elif backoff.window > 1:
            backoff.window = max(1, backoff.window // 2)
            back = f"{backoff.window} step{'s' * (backoff.window > 1)}"
            self._note(f"{self.key.name} did not fit into memory; the gradient goes back {back} now")
        else:
            raise WinnowError(
                f"{self.key.name} does not fit into memory with batches of {LEAST_BATCH} and one step back; lower "
                "synthetic.length or synthetic.per_class, or choose a smaller student."
            )
        if self.job.device.type == "cuda":
            torch.cuda.empty_cache()

    def _note(self, words: str) -> None:
        self.job.log.warning("%s", words)
        self.job.ledger.extend_provenance(self.job.run.id, notes=[words[0].upper() + words[1:] + "."])

    # -- snapshots ----------------------------------------------------------------------------------------------

    def _snapshot(self) -> None:
        """Decode and measure the present state, keep it where it is the best so far, and record it."""
        progress, key = self.progress, self.key
        name = f"{key.name}-{progress.step:06d}"
        learned = self.outer.learned
        heads = [FIRST_SNAPSHOT_SEED + head for head in range(self.recipe.outer.snapshot_seeds)]
        found = [
            accuracy(self.study, self.task, self.learner, trained_on(self.study, self.learner, learned, head), "valid")[
                0
            ]
            for head in heads
        ]
        mean = float(np.mean(found))
        if mean >= progress.best:  # of equals the later one: it has learned more
            progress.best, progress.best_step = mean, progress.step
            self.best = {part: tensor.detach().clone() for part, tensor in learned.tensors().items()}
        self._save()
        # Measured above all the same: without its checkpoint the run begins anew and must find its best state again.
        if not self.job.has("distilled", name):
            self._record(name, mean)
        progress.losses, progress.counted = 0.0, 0

    def _record(self, name: str, mean: float) -> None:
        """One snapshot with its curves; `mean` is its accuracy on held-out samples."""
        progress, key, learned = self.progress, self.key, self.outer.learned
        about = {"arm": key.name, "seed": key.seed, "epoch": 0, "step": progress.step}
        metrics: list[dict[str, Any]] = [
            about | {"split": "valid", "name": "accuracy", "value": mean},
            about | {"split": "", "name": "seconds_distilling", "value": progress.seconds},
        ]
        if progress.counted:
            loss = progress.losses / progress.counted
            metrics.append(about | {"split": "train", "name": "outer_loss", "value": loss})
        for place, rate in enumerate(learned.learning_rates.tolist()):
            metrics.append(about | {"epoch": place + 1, "split": "", "name": "inner_rate", "value": rate})
        parts = [self.job.write("metrics", name, metrics), *self._written(name, progress.step, learned.tensors())]
        self.job.record(parts)

    def _written(self, name: str, step: int, tensors: dict[str, Tensor], *, chosen: bool = False) -> list[Any]:
        """The parts of one snapshot, not yet recorded."""
        names = [self.task.data.class_names[label] for label in self.classes]
        targets = learned_from(tensors, self.recipe.synthetic.labels).targets.cpu()
        inputs = tensors["inputs"]
        near = None
        if chosen:
            near = nearest_samples(self.learner, self.task, inputs, self.classes)
            if self.key.task != MAIN:  # the samples of the other task are written down nowhere
                near = near[0][:, :0], near[1][:, :0]
        if self.decoder is None:
            images = as_pictures(self.task, inputs)
            rows = input_rows(self.key, step, names, targets, read=None, images=images, near=near)
            return [self.job.write("distilled", name, rows)]
        assert self.start is not None
        found = self.decoder.read(inputs)
        rows = input_rows(self.key, step, names, targets, read=(found, self.start), images=None, near=near)
        tokens = token_rows(self.key, step, found, self.start, self.decoder.words)
        return [self.job.write("distilled", name, rows), self.job.write("distilled_tokens", name, tokens)]

    def _choose(self) -> None:
        """Keep the snapshot that was best on held-out samples for whoever trains on it, and say which it is."""
        learned = learned_from(self.best, self.recipe.synthetic.labels)
        inputs = learned.inputs.detach()
        kept = {
            "inputs": self.learner.add_special_tokens(inputs) if isinstance(self.learner, TextModel) else inputs,
            "labels": learned.targets,
            "rates": learned.learning_rates,
        }
        if learned.attention is not None:
            kept["attention"] = learned.attention.detach().softmax(-1)
        samples = self.task.samples["train"]
        if samples.mean is not None and samples.std is not None:  # how pixels were standardised
            kept |= {"mean": samples.mean, "std": samples.std}
        key = output_key(self.study, self.key)
        facts = {"step": self.progress.best_step, "seconds": self.progress.seconds, "classes": self.classes}
        save_tensors(self.job.workspace, key, kept, facts)
        chosen = {self.key.name: {"output": key, "step": self.progress.best_step}}
        self.job.ledger.extend_provenance(self.job.run.id, distilled=chosen)
        self.job.record(self._written(f"{self.key.name}-chosen", self.progress.best_step, self.best, chosen=True))
        self.checkpoint.unlink(missing_ok=True)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _save(self) -> None:
        progress, backoff = self.progress, self.outer.backoff
        numbers = [progress.losses, progress.seconds, progress.best]
        tensors = {
            **self.outer.state(),
            **{f"best.{name}": tensor for name, tensor in self.best.items()},
            "progress": torch.tensor(numbers, dtype=torch.float64),
        }
        save_checkpoint(
            self.checkpoint,
            tensors,
            self.outer.adam,
            step=progress.step,
            counted=progress.counted,
            best_step=progress.best_step,
            batch_size=backoff.batch_size,
            window=backoff.window,
            retreats=backoff.rollbacks,
        )

    def _restore(self) -> None:
        if not self.checkpoint.exists():
            return
        try:
            tensors, counters = load_checkpoint(self.checkpoint, self.outer.adam)
        except WinnowError as error:
            self.job.log.warning("%s The distillation starts again.", error)
            return
        losses, seconds, best = tensors.pop("progress").tolist()
        self.progress = Progress(counters["step"], losses, counters["counted"], seconds, best, counters["best_step"])
        self.outer.backoff = Backoff(counters["batch_size"], counters["window"], counters["retreats"])
        self.best = {
            name.removeprefix("best."): tensors.pop(name).to(self.job.device)
            for name in list(tensors)
            if name.startswith("best.")
        }
        self.outer.restore(tensors)
        self.job.log.info("%s goes on from outer step %d", self.key.name, self.progress.step)


def learned_from(tensors: dict[str, Tensor], kind: LabelKind) -> SyntheticSet:
    return SyntheticSet(tensors["inputs"], tensors["labels"], tensors["rates"], tensors.get("attention"), kind)


def distilling_flops(study: DistillationStudy, key: SetKey) -> float:
    """Floating-point operations of a whole distillation, about: real batches, three passes each, and inner steps."""
    recipe, task = study.recipe, study.task(key.task, key.student)
    each = study.cost_of_token(task, study.learner(task, key.student))
    real = recipe.outer.batch_size * float(task.lengths["train"].mean())
    made = task.classes * key.per_class * (1 if study.pictures else recipe.synthetic.length)
    step = PASSES * real + INNER_PASSES * key.inner_steps * made
    held_out = recipe.outer.snapshots * recipe.outer.snapshot_seeds * float(task.lengths["valid"].sum())
    return each * (recipe.outer.steps * step + held_out)
