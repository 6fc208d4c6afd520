"""One distillation, from its initialization to its best snapshot; if it is killed it goes on from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.batching.plans import similar_batches
from engine.common.atomic import remove_leftovers
from engine.common.errors import WinnowError
from engine.common.memory import is_out_of_memory
from engine.common.random_streams import FIRST_SNAPSHOT_SEED
from engine.config.distillation import SetKey
from engine.distillation.decode import embedding_penalty
from engine.distillation.learn import Backoff, OuterLoop, SyntheticSet
from engine.distillation.optimizers import Optimizer
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.models.functional import FunctionalModel, TextModel, softplus_inverse
from engine.studies.distillation.initialization import initial_inputs
from engine.studies.distillation.learned_sets import SnapshotWriter, best_part, cache_key, save_set, synthetic_of
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.tasks import Task
from engine.studies.distillation.trials import PASSES, accuracy, run_inner_steps

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


class Distilling:
    """Learns one set and records it, snapshot by snapshot."""

    def __init__(self, study: DistillationStudy, task: Task, model: FunctionalModel, key: SetKey) -> None:
        self.study, self.task, self.model, self.key = study, task, model, key
        self.job, self.recipe = study.job, study.recipe
        initial = initial_inputs(study, task, model, key)
        self.snapshots = SnapshotWriter(self.job, self.recipe, task, model, key, initial)
        self.progress = Progress()
        self.outer = self._outer_loop(initial)
        self.best = {name: tensor.detach().clone() for name, tensor in self.outer.synthetic.tensors().items()}
        self.checkpoint = self.job.workspace.outputs / f"{cache_key(study, key)}.training.safetensors"
        outer = self.recipe.outer
        self.snapshot_steps = sorted({round(outer.steps * i / outer.snapshots) for i in range(outer.snapshots + 1)})

    def _outer_loop(self, initial: Tensor) -> OuterLoop:
        recipe, key, model = self.recipe, self.key, self.model
        labels = torch.eye(self.task.classes)[self.snapshots.classes]
        if recipe.synthetic.labels == "soft":
            labels = labels * 4.0  # before the softmax; the other classes share what this leaves
        attention = None
        if recipe.synthetic.attention_labels:
            with torch.no_grad():  # starts from the attention of the student itself
                found = model.forward_embeds(model.init(0), initial, attention=True)[1]
            assert found is not None
            attention = found.clamp(min=1e-6).log()
        synthetic = SyntheticSet(
            initial,
            labels.to(self.job.device),
            torch.full((key.inner_steps,), softplus_inverse(recipe.inner.learning_rate), device=self.job.device),
            attention,
            recipe.synthetic.labels,
        )
        strength, penalty = recipe.synthetic.embedding_penalty, None
        if strength and isinstance(model, TextModel) and self.snapshots.decoder:
            table, allowed = model.table, self.snapshots.decoder.allowed

            def penalty(inputs: Tensor) -> Tensor:
                return strength * embedding_penalty(inputs, table, allowed)

        outer = recipe.outer
        return OuterLoop(
            model,
            synthetic,
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
        """The outer loop. A checkpoint is saved before the parts that rely on it are recorded."""
        self._restore()
        total, progress = self.recipe.outer.steps, self.progress
        saved = time.monotonic()
        with self.job.phase(f"distilling {self.key.name}", distilling_flops(self.study, self.task, self.key)) as tick:
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
        self._finish()

    def _batches(self, step: int) -> Iterator[np.ndarray]:
        """Batches of real samples from outer step `step` on, which depend on the seed and the step alone."""
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
        """One outer step; out of memory halves the batch, then the window, and repeats the step."""
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

    def _note(self, message: str) -> None:
        self.job.log.warning("%s", message)
        self.job.ledger.extend_provenance(self.job.run.id, notes=[message[0].upper() + message[1:] + "."])

    # -- snapshots ----------------------------------------------------------------------------------------------

    def _snapshot(self) -> None:
        """Evaluate the present state on held-out samples, keep it if it is the best so far, and record it."""
        progress, key, synthetic = self.progress, self.key, self.outer.synthetic
        name = f"{key.name}-{progress.step:06d}"
        found = []
        for seed in range(FIRST_SNAPSHOT_SEED, FIRST_SNAPSHOT_SEED + self.recipe.outer.snapshot_seeds):
            weights = run_inner_steps(self.study, self.model, synthetic, seed)
            found.append(accuracy(self.study, self.task, self.model, weights, "valid")[0])
        mean = float(np.mean(found))
        if mean >= progress.best:  # of equals the later one: it has learned more
            progress.best, progress.best_step = mean, progress.step
            self.best = {part: tensor.detach().clone() for part, tensor in synthetic.tensors().items()}
        self._save()
        # Evaluated even if it is recorded: a run that lost its checkpoint has to find its best state again.
        if not self.job.has("distilled", name):
            self._record(name, mean)
        progress.losses, progress.counted = 0.0, 0

    def _record(self, name: str, mean: float) -> None:
        """One snapshot with its curves; `mean` is its accuracy on held-out samples."""
        progress, key, synthetic = self.progress, self.key, self.outer.synthetic
        about = {"arm": key.name, "seed": key.seed, "epoch": 0, "step": progress.step}
        metrics: list[dict[str, Any]] = [
            about | {"split": "valid", "name": "accuracy", "value": mean},
            about | {"split": "", "name": "seconds_distilling", "value": progress.seconds},
        ]
        if progress.counted:
            loss = progress.losses / progress.counted
            metrics.append(about | {"split": "train", "name": "outer_loss", "value": loss})
        for place, rate in enumerate(synthetic.learning_rates.tolist()):
            metrics.append(about | {"epoch": place + 1, "split": "", "name": "inner_rate", "value": rate})
        snapshot = self.snapshots.write(name, progress.step, synthetic.tensors())
        self.job.record([self.job.write("metrics", name, metrics), *snapshot])

    def _finish(self) -> None:
        """Save the best snapshot for everything that trains on it, and record which it is."""
        step = self.progress.best_step
        facts = {"step": step, "seconds": self.progress.seconds, "classes": self.snapshots.classes}
        output = save_set(self.study, self.key, synthetic_of(self.best, self.recipe.synthetic.labels), facts)
        self.job.ledger.extend_provenance(self.job.run.id, distilled={self.key.name: {"output": output, "step": step}})
        self.job.record(self.snapshots.write(best_part(self.key), step, self.best, best=True))
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
        remove_leftovers(self.checkpoint)
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


def distilling_flops(study: DistillationStudy, task: Task, key: SetKey) -> float:
    """About the floating-point operations of a distillation: real batches, three passes each, and inner steps."""
    recipe = study.recipe
    real = recipe.outer.batch_size * float(task.lengths["train"].mean())
    synthetic = task.classes * key.per_class * (1 if study.images else recipe.synthetic.length)
    step = PASSES * real + INNER_PASSES * key.inner_steps * synthetic
    held_out = recipe.outer.snapshots * recipe.outer.snapshot_seeds * float(task.lengths["valid"].sum())
    return study.flops_per_token[key.task, key.student] * (recipe.outer.steps * step + held_out)
