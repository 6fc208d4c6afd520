"""The snapshots of a distillation as parts: what the inputs are at a step, for people to see."""

from __future__ import annotations

from torch import Tensor

from engine.common.choices import LabelKind
from engine.config.distillation import MAIN, DistillationRecipe, SetKey
from engine.models.functional import FunctionalModel, TextModel
from engine.storage.parts import Part
from engine.studies.distillation.decoding import Decoder, as_pngs, input_rows, nearest_samples, token_rows
from engine.studies.distillation.learned_sets import synthetic_of
from engine.studies.distillation.tasks import Task
from engine.studies.job import Job


class SnapshotWriter:
    """Writes the snapshots of one set; `initial` are the inputs (N, …) that it starts from."""

    def __init__(
        self, job: Job, recipe: DistillationRecipe, task: Task, model: FunctionalModel, key: SetKey, initial: Tensor
    ) -> None:
        self.job, self.task, self.model, self.key = job, task, model, key
        self.kind: LabelKind = recipe.synthetic.labels
        self.classes = [label for label in range(task.classes) for _ in range(key.per_class)]
        self.decoder = Decoder(task, model, recipe.synthetic.similarity) if isinstance(model, TextModel) else None
        self._initial = self.decoder.decode(initial) if self.decoder else None

    def write(self, name: str, step: int, tensors: dict[str, Tensor], *, best: bool = False) -> list[Part]:
        """The parts of one snapshot, not yet recorded. `best` adds the nearest real samples."""
        key, inputs = self.key, tensors["inputs"]
        labels = [self.task.data.class_names[label] for label in self.classes]
        targets = synthetic_of(tensors, self.kind).targets.cpu()
        near = None
        if best:
            near = nearest_samples(self.task, self.model, inputs, self.classes)
            if key.task != MAIN:  # the samples of the other task are not recorded
                near = near[0][:, :0], near[1][:, :0]
        if self.decoder is None or self._initial is None:
            images = as_pngs(self.task, inputs)
            rows = input_rows(key, step, labels, targets, decoded=None, images=images, near=near)
            return [self.job.write("distilled", name, rows)]
        now = self.decoder.decode(inputs)
        rows = input_rows(key, step, labels, targets, decoded=(now, self._initial), images=None, near=near)
        tokens = token_rows(key, step, now, self._initial, self.decoder.words)
        return [self.job.write("distilled", name, rows), self.job.write("distilled_tokens", name, tokens)]
