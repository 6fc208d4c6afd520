"""A made-up grid of distilled students in a workspace, for every test that needs one to look at.

No student was trained: accuracies come from a formula with a seeded wobble, in which a teacher helps the more the less
data there is, hard samples make bad small sets, and flipped labels hurt less with a teacher. The same arguments always
give the same parts.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from engine.grids import Cell, PrunedKdRecipe, arm, kept_arm
from engine.ledger import Ledger
from engine.recipes import digest, parse_recipe, to_dict
from engine.tables import Part, write_part
from engine.workspace import Workspace
from tests.synthetic import HOSTILE

CLASSES = tuple(str(digit) for digit in range(10))
HOSTILE_CLASSES = tuple(text for pair in HOSTILE[:5] for text in pair)
EPOCHS, BATCH = 10, 16
TEACHERS = {"self": 4_810, "small": 1_300, "large": 17_900}
"""Parameters of the teachers a made-up run may have."""


def grid_recipe(
    *,
    name: str = "synthetic-kd",
    scores: Sequence[str] = ("random", "el2n", "forgetting"),
    fractions: Sequence[float] = (1.0, 0.5, 0.25, 0.1),
    kd_weights: Sequence[float] = (0.0, 0.5, 0.9),
    teachers: Sequence[str] = ("self",),
    noise: Sequence[float] = (0.0,),
    seeds: Sequence[int] = (0, 1, 2),
    task: str = "images",
    extra: Sequence[Mapping[str, Any]] = (),
) -> PrunedKdRecipe:
    recipe = parse_recipe(
        {
            "kind": "pruned-kd",
            "name": name,
            "seeds": list(seeds),
            "data": {"source": "digits", "task": task},
            "network": {"model": "prajjwal1/bert-tiny"} if task == "text" else {},
            "teachers": {teacher: {} if teacher == "self" else {"width": 32} for teacher in teachers},
            "training": {"epochs": EPOCHS, "batch_size": BATCH},
            "grid": {
                "scores": list(scores),
                "fractions": list(fractions),
                "kd_weights": list(kd_weights),
                "teachers": list(teachers),
                "noise": list(noise),
                "extra": [dict(cell) for cell in extra],
            },
        }
    )
    assert isinstance(recipe, PrunedKdRecipe)
    return recipe


def fill_grid_workspace(
    workspace: Workspace,
    recipe: PrunedKdRecipe | None = None,
    *,
    samples: int = 120,
    state: str = "done",
    failed: Collection[tuple[str, float, float]] = (),
    hostile: bool = False,
) -> str:
    """Submit a grid and write everything it would have left behind; return its id.

    "queued" leaves no parts, "running" the first two thirds of the cells. `failed` names cells by score, fraction and
    weight of the teacher. With `hostile` the names of the classes try to escape from the page.
    """
    recipe = recipe or grid_recipe()
    ledger = Ledger(workspace)
    run = ledger.submit(recipe)
    if state == "queued":
        return run
    claimed = ledger.claim(run)
    assert claimed is not None
    writer = _Writer(workspace, run, recipe, samples, hostile)
    cells = recipe.cells()
    ended = cells if state == "done" else cells[: 2 * len(cells) // 3]
    ledger.record_parts([writer.samples(), *writer.scores(), *writer.selections(), writer.metrics()])
    ledger.record_parts(writer.grid(ended, failed))
    ledger.set_provenance(run, recipe=to_dict(recipe), device="cpu", dtype="float32", versions={"winnow": "0.1.0"})
    if state == "running":
        ledger.progress(run, "students", len(ended) / len(cells), 40.0)
    else:
        ledger.finish(run, state, "" if state != "failed" else "The disk is full; free some space and resume.")
    claimed[1].release()
    return run


def accuracy_of(cell: Cell, split: str) -> float:
    """The made-up share of right answers of one student."""
    few = math.log10(1 / cell.fraction)
    hard = 0.0 if cell.score.startswith("random") or cell.fraction == 1 else 0.16 * few
    best = min(1.0, 0.2 + 0.7 * few)
    helped = (0.02 + 0.09 * few) * (1 - ((cell.kd_weight - best) / max(best, 1 - best)) ** 2)
    helped -= (0.02 + 0.09 * few) * (1 - (best / max(best, 1 - best)) ** 2)
    size = {"small": 0.01 * few - 0.006, "large": 0.008 - 0.016 * few}.get(cell.teacher, 0.0)
    if not cell.kd_weight:
        helped = size = 0.0
    wobble = np.random.default_rng([cell.seed, round(1000 * cell.fraction), len(cell.score)]).normal(0, 0.006)
    wobble += np.random.default_rng([cell.seed, round(1000 * cell.kd_weight), split == "test"]).normal(0, 0.003)
    harm = 0.5 * cell.noise * (1 - 0.6 * cell.kd_weight)
    return float(np.clip(0.94 - 0.11 * few - hard + helped + size - harm + wobble, 0, 1))


class _Writer:
    def __init__(self, workspace: Workspace, run: str, recipe: PrunedKdRecipe, samples: int, hostile: bool) -> None:
        self.workspace, self.run, self.recipe, self.hostile = workspace, run, recipe, hostile
        rng = np.random.default_rng(samples)
        self.classes = HOSTILE_CLASSES if hostile else CLASSES
        self.labels = rng.integers(0, len(self.classes), samples)
        self.train = np.arange(0, round(0.7 * samples))
        self.splits = [
            "train" if row < 0.7 * samples else "valid" if row < 0.8 * samples else "test" for row in range(samples)
        ]
        self.flips = {noise: rng.random(len(self.train)) < noise for noise in recipe.used_noise()}
        hard = rng.gamma(2.0, 0.2, len(self.train))
        self.values = {
            (score, noise): self._values(rng, score, hard + flips)
            for score in recipe.used_scores()
            for noise, flips in self.flips.items()
        }

    def _values(self, rng: np.random.Generator, score: str, hard: np.ndarray) -> np.ndarray:
        return rng.random(len(hard)) if score.startswith("random") else hard + rng.gamma(1.0, 0.1, len(hard))

    def part(self, table: str, name: str, columns: Any) -> Part:
        return write_part(self.workspace, self.run, table, name, columns)

    def samples(self) -> Part:
        text = self.recipe.data.task == "text"
        rows = [
            {
                "dataset": digest(["grid", len(self.labels), self.hostile, text]),
                "row": row,
                "content_id": digest([row, int(label)]),
                "split": self.splits[row],
                "instruction": HOSTILE[row % len(HOSTILE)][0]
                if text and self.hostile
                else f"text {row}"
                if text
                else "",
                "input": "",
                "response": "",
                "fields": {},
                "length": 0,
                "response_length": 0,
                "truncated": False,
                "image": None if text else _picture(row, int(label)),
                "label": self.classes[label],
            }
            for row, label in enumerate(self.labels)
        ]
        return self.part("samples", "all", rows)

    def scores(self) -> list[Part]:
        return [
            self.part(
                "scores",
                f"{score}-{noise:g}",
                [
                    {
                        "arm": arm("base", noise),
                        "seed": -1,
                        "epoch": 1,
                        "row": int(row),
                        "metric": score,
                        "value": value,
                    }
                    for row, value in zip(self.train, values.tolist(), strict=True)
                ],
            )
            for (score, noise), values in self.values.items()
            if not score.startswith("random")
        ]

    def kept(self, score: str, fraction: float, noise: float) -> np.ndarray:
        values = self.values[score, noise]
        return np.argsort(np.argsort(-values)) < round(fraction * len(values))

    def selections(self) -> list[Part]:
        parts = []
        for score, fraction, noise in sorted({(c.score, c.fraction, c.noise) for c in self.recipe.cells()}):
            kept = self.kept(score, fraction, noise)
            at = {"arm": kept_arm(score, fraction, noise), "seed": 0 if score == "random" else -1, "epoch": 0}
            rows = [at | {"row": int(r), "kept": bool(k), "tau": None} for r, k in zip(self.train, kept, strict=True)]
            parts.append(self.part("selections", at["arm"].replace(" ", "-"), rows))
        return parts

    def metrics(self) -> Part:
        at = {"epoch": EPOCHS, "step": EPOCHS * 6}
        rows: list[dict[str, Any]] = [
            at | {"arm": "student", "seed": -1, "split": "", "name": "parameters", "value": float(TEACHERS["self"])}
        ]
        for noise in self.recipe.used_noise():
            for score in self.recipe.used_scores():
                spent = 0.0 if score.startswith("random") else 1.5
                of_score = at | {"arm": arm(f"score {score}", noise), "seed": -1, "split": ""}
                rows.append(of_score | {"name": "seconds_scoring", "value": spent})
            for teacher in self.recipe.used_teachers():
                for seed in self.recipe.seeds:
                    mine = at | {"arm": arm(f"teacher {teacher}", noise), "seed": seed}
                    named = {
                        ("test", "accuracy"): 0.95 - noise / 4 + 0.002 * seed,
                        ("", "parameters"): float(TEACHERS[teacher]),
                        ("", "cache_bytes"): 40.0 * len(self.train),
                        ("", "seconds_training"): 2.0,
                    }
                    rows += [mine | {"split": s, "name": n, "value": v} for (s, n), v in named.items()]
        return self.part("metrics", "teachers", rows)

    def grid(self, cells: Sequence[Cell], failed: Collection[tuple[str, float, float]]) -> list[Part]:
        rows = [self.cell(cell, (cell.score, cell.fraction, cell.kd_weight) in failed) for cell in cells]
        step = max(1, len(rows) // 4)
        return [self.part("grid", f"cells-{at:05d}", rows[at : at + step]) for at in range(0, len(rows), step)]

    def cell(self, cell: Cell, failed: bool) -> dict[str, Any]:
        kept = self.kept(cell.score, cell.fraction, cell.noise)
        count = int(kept.sum())
        same = [
            "any" if cell.fraction == 1 else cell.score, cell.fraction, cell.kd_weight,
            cell.teacher if cell.kd_weight else "none", cell.noise, cell.seed,
        ]  # fmt: skip
        # Equal keys are one training: everything is kept by every score, and no teacher is no teacher.
        shown = cell._replace(score="random" if cell.fraction == 1 else cell.score)
        steps = EPOCHS * -(-count // BATCH)
        return {
            **cell._asdict(),
            "cell": digest(same),
            "samples": count,
            "flipped": int((kept & self.flips[cell.noise]).sum()),
            "valid": math.nan if failed else accuracy_of(shown, "valid"),
            "accuracy": math.nan if failed else accuracy_of(shown, "test"),
            "loss": math.nan if failed else 0.4,
            "epochs": float(EPOCHS),
            "steps": steps,
            "seconds": 0.01 * steps,
            "failed": "The class <b>9</b> has no samples left; use the quota selection." if failed else "",
        }


def _picture(row: int, label: int) -> bytes:
    """A grey picture of 8 x 8 with as many bright columns as its class says."""
    pixels = np.random.default_rng(row).integers(0, 90, (8, 8), dtype=np.uint8)
    pixels[:, : label % 8 + 1] += 150
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
