"""The cells of a grid: which of them are the same training, which are done, and how the rest is done in groups."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from torch import Tensor

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.common.memory import is_out_of_memory
from engine.common.random_streams import FIRST_ONLINE_TEACHER_SEED
from engine.config.grid import Cell, noise_label
from engine.models.networks import BUILT_IN
from engine.storage.parts import read_table
from engine.studies.job import Job
from engine.studies.kd.scores import RANDOM, score_key
from engine.studies.kd.selections import Selections
from engine.studies.kd.setup import KdStudy, network_of, noise_key
from engine.studies.kd.teachers import teacher_key
from engine.training.students import Performance, Student, train_group

GROUP_WEIGHTS = {"cpu": 2**20, "cuda": 2**27}  # of the stacked students: more than a cache holds gains nothing
GROUP_FLOPS = {"cpu": 2e12, "cuda": 5e15}  # floating-point operations after which a group should end in a part


def cell_key(study: KdStudy, cell: Cell) -> str:
    """What a student depends on, and nothing else."""
    recipe, point = study.recipe, cell.point.identity
    selection: list[Any] = ["everything"]
    if point.score:
        selection = [cell.score, recipe.selection.model_dump(mode="json"), cell.fraction]
        if cell.score not in RANDOM:
            selection.append(score_key(study, cell.score, cell.noise))
    teacher: list[Any] = []
    if point.teacher:
        settings = recipe.teachers[cell.teacher]
        own = (
            digest([settings.model_dump(mode="json"), network_of(recipe, settings).model_dump(mode="json")])
            if settings.online
            else teacher_key(study, cell.teacher, cell.noise, cell.seed)
        )
        teacher = [own, cell.kd_weight, recipe.training.temperature]
    training = recipe.training.model_dump(mode="json", exclude={"temperature"})
    network = recipe.network.model_dump(mode="json")
    return digest(
        [study.data.dataset, network, training, str(study.dtype), selection, teacher, noise_key(cell.noise), cell.seed]
    )


def finished_cells(job: Job) -> dict[str, dict[str, Any]]:
    """Rows of the grid tables of this workspace, by the key of their cell; failed ones are left out."""
    rows = read_table(job.workspace, job.ledger.parts(table="grid"), "grid").to_pylist()
    return {row["cell"]: row for row in rows if not row["failed"]}


@dataclass(frozen=True)
class StudentInputs:
    """What the students of one share of flipped labels are trained on."""

    labels: Tensor  # (n,) of the training samples, some flipped
    teacher_logits: dict[tuple[str, int], Tensor]  # by teacher and seed: (views, n, C)
    selections: Selections


@dataclass
class Grid:
    """The cells of a run, and how they are done: in groups of equal shape, each ending in a part."""

    study: KdStudy
    known: dict[str, dict[str, Any]]

    def __post_init__(self) -> None:
        self.keys = {cell: cell_key(self.study, cell) for cell in self.study.recipe.cells()}
        self.cells_of: dict[str, list[Cell]] = {}  # by key: the cells that are one training
        for cell, key in self.keys.items():
            self.cells_of.setdefault(key, []).append(cell)

    def record_known(self) -> None:
        """Record what other runs have finished as rows of this run, unless it has them already."""
        job = self.study.job
        recorded = read_table(job.workspace, job.ledger.parts(job.run.id, "grid"), "grid").to_pylist()
        own = {row["cell"] for row in recorded if not row["failed"]}
        rows = [
            self.known[key] | cell._asdict() | {"run": job.run.id}
            for cell, key in self.keys.items()
            if key in self.known and key not in own
        ]
        if rows:
            job.log.info("%d of %d cells were done by other runs", len(rows), len(self.keys))
            name = f"known-{digest(sorted(row['cell'] for row in rows))}"
            job.record([job.write("grid", name, rows)])

    def missing(self, noise: float) -> list[Cell]:
        """Cells to be trained: one of each key."""
        firsts = [cells[0] for key, cells in self.cells_of.items() if key not in self.known]
        return [cell for cell in firsts if cell.noise == noise]

    def groups(self, noise: float) -> list[list[Cell]]:
        """Cells that are trained together: equally many samples, and the same online teacher if any."""
        together: dict[tuple[float, str], list[Cell]] = {}
        for cell in self.missing(noise):
            together.setdefault((cell.fraction, self._online_teacher(cell)), []).append(cell)
        return [group for cells in together.values() for group in self._split(cells)]

    def _online_teacher(self, cell: Cell) -> str:
        """The name of the teacher that is trained together with this student; "" if there is none."""
        return cell.teacher if cell.kd_weight and self.study.recipe.teachers[cell.teacher].online else ""

    def _split(self, cells: list[Cell]) -> Iterator[list[Cell]]:
        """Groups small enough for the device, and short enough that little is lost if the process is killed."""
        device = self.study.job.computes_on
        weights = self.study.parameters[self.study.recipe.network]
        one, two = self.flops(cells[:1]), self.flops(cells[:1] * 2)  # what a second student adds
        size = max(1, min(GROUP_WEIGHTS[device] // weights, 1 + int((GROUP_FLOPS[device] - one) / (two - one))))
        if self.study.recipe.network.model not in BUILT_IN:
            size = 1  # students that cannot be stacked gain nothing from each other
        cluster = self.study.job.cluster
        if cluster:  # a group for every worker
            size = min(size, max(1, len(self.cells_of) // cluster.capacity))
        for start in range(0, len(cells), size):
            yield cells[start : start + size]

    def flops(self, group: list[Cell]) -> float:
        """Planned operations of training a group."""
        study, students = self.study, len(group)
        kept = max(1, round(group[0].fraction * study.count))
        networks = [study.recipe.network]
        online = self._online_teacher(group[0])
        if online:
            networks.append(network_of(study.recipe, study.recipe.teachers[online]))
        return sum(study.training_flops(network, study.schedule(), kept, students) for network in networks)

    def train(self, group: list[Cell], inputs: StudentInputs) -> None:
        """Train a group and record its rows; cells that cannot be trained are recorded with the reason."""
        rows, possible = [], []
        for cell in group:
            try:
                inputs.selections.kept(cell.score, cell.fraction, cell.seed)
                possible.append(cell)
            except WinnowError as error:
                rows += self._rows(cell, failed=str(error))
        if possible:
            rows += self._train_fitting(possible, inputs)
        job = self.study.job
        name = f"cells-{digest(sorted(self.keys[cell] for cell in group))}"
        # Failed cells are tried again on resuming, and then end in another part.
        attempt = next(i for i in count() if not job.has("grid", f"{name}-{i}"))
        job.record([job.write("grid", f"{name}-{attempt}", rows)])

    def _train_fitting(self, cells: list[Cell], inputs: StudentInputs) -> list[dict[str, Any]]:
        """Train cells together, or in halves if they do not fit into memory."""
        try:
            return self._train_together(cells, inputs)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if len(cells) == 1:
            sentence = (
                "This student does not fit into memory even alone; choose a smaller network or training.batch_size."
            )
            return self._rows(cells[0], failed=sentence)
        self.study.job.log.warning("%d students together do not fit into memory; halving the group", len(cells))
        half = len(cells) // 2
        return [row for part in (cells[:half], cells[half:]) for row in self._train_fitting(part, inputs)]

    def _train_together(self, cells: list[Cell], inputs: StudentInputs) -> list[dict[str, Any]]:
        study, selections = self.study, inputs.selections
        recipe = study.recipe
        students = [
            Student(
                selections.kept(cell.score, cell.fraction, cell.seed).nonzero()[0],
                cell.seed,
                cell.kd_weight,
                fresh=cell.score == "random_fresh",
                teacher=inputs.teacher_logits.get((cell.teacher, cell.seed)) if cell.kd_weight else None,
            )
            for cell in cells
        ]
        message = (
            f"training {len(cells)} students on {noise_label(f'{cells[0].fraction:.0%} of the data', selections.noise)}"
        )
        started = time.perf_counter()
        with study.job.phase(message, self.flops(cells)) as tick:
            group = study.group(recipe.network, [cell.seed for cell in cells])
            online, teachers = self._online_teacher(cells[0]), None
            if online:
                seeds = [FIRST_ONLINE_TEACHER_SEED + cell.seed for cell in cells]
                teachers = study.group(network_of(recipe, recipe.teachers[online]), seeds)
            train = study.samples["train"]
            steps = train_group(
                group, students, train, inputs.labels, study.schedule(), online_teachers=teachers, tick=tick
            )
        seconds = (time.perf_counter() - started) / len(cells)
        results = study.measured(group)
        rows = []
        for place, (cell, student) in enumerate(zip(cells, students, strict=True)):
            rows += self._rows(
                cell,
                steps=steps,
                seconds=seconds,
                samples=len(student.kept),
                flipped=int(selections.flipped[student.kept].sum()),
                valid=results["valid"][place],
                test=results["test"][place],
            )
        return rows

    def _rows(
        self,
        cell: Cell,
        *,
        steps: int = 0,
        seconds: float = 0.0,
        samples: int = 0,
        flipped: int = 0,
        valid: Performance | None = None,
        test: Performance | None = None,
        failed: str = "",
    ) -> list[dict[str, Any]]:
        """The rows of one training: one for each cell that is this training."""
        if test is not None and not math.isfinite(test.loss):
            failed = "The training diverged: its loss is not a number; lower training.learning_rate."
        batch = min(self.study.recipe.training.batch_size, samples or 1)
        row = {
            "cell": self.keys[cell],
            "samples": samples,
            "flipped": flipped,
            "valid": valid.accuracy if valid and not failed else math.nan,
            "accuracy": test.accuracy if test and not failed else math.nan,
            "loss": test.loss if test and not failed else math.nan,
            "epochs": steps / math.ceil(samples / batch) if samples else 0.0,
            "steps": steps,
            "seconds": seconds,
            "failed": failed,
        }
        return [row | same._asdict() for same in self.cells_of[self.keys[cell]]]
