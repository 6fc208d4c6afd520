"""What each score keeps at each fraction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.config.grid import selection_arm
from engine.pruning.scores import random_score
from engine.pruning.select import emptied_classes, select
from engine.studies.kd.scores import RANDOM, Scores
from engine.studies.kd.setup import KdStudy


@dataclass
class Selections:
    """What each score keeps at each fraction, for one share of flipped labels."""

    study: KdStudy
    noise: float
    labels: NDArray[Any]
    scores: dict[str, Scores]
    flipped: NDArray[np.bool_]
    _kept: dict[tuple[str, float, int], NDArray[np.bool_]] = field(default_factory=dict)

    def kept(self, score: str, fraction: float, seed: int) -> NDArray[np.bool_]:
        """Which samples a cell trains on (n,). Only random selections depend on the seed of the cell."""
        key = (score, fraction, seed if score in RANDOM else -1)
        if key not in self._kept:
            selection, n = self.study.recipe.selection, self.study.count
            random = score in RANDOM
            values = random_score(n, seed) if random else self.scores[score]
            # A random order has no hardest samples to skip, and no strata.
            rule = "top" if random and selection.rule in ("window", "strata") else selection.rule
            skip = 0.0 if random else selection.skip_hardest
            classes = None if self.study.numbers else self.labels
            self._kept[key] = select(values, fraction, rule, classes, skip, self.study.recipe.data.split_seed)
        return self._kept[key]

    def record(self) -> list[dict[str, Any]]:
        """Record which rows every score keeps. Returns the arms that keep no sample of some classes, with these."""
        job, recipe = self.study.job, self.study.recipe
        notes: list[dict[str, Any]] = []
        for score in recipe.used_scores():
            cells = [cell for cell in recipe.cells() if cell.score == score and cell.noise == self.noise]
            for fraction in sorted({cell.fraction for cell in cells}):
                try:
                    kept = self.kept(score, fraction, recipe.seeds[0])
                except WinnowError:
                    continue  # each of its cells fails with this message
                notes += self._emptied(score, fraction, kept)
                part = f"{score}-{fraction:g}-noise-{self.noise:g}"
                if job.has("selections", part):
                    continue
                n = len(kept)
                columns = {
                    "arm": [selection_arm(score, fraction, self.noise)] * n,
                    "seed": np.full(n, -1, dtype=np.int32),
                    "epoch": np.zeros(n, dtype=np.int32),
                    "row": self.study.rows,
                    "kept": kept,
                    "tau": [None] * n,
                }
                job.record([job.write("selections", part, columns)])
        return notes

    def _emptied(self, score: str, fraction: float, kept: NDArray[np.bool_]) -> list[dict[str, Any]]:
        if self.study.numbers:
            return []
        names = self.study.data.class_names
        lost = [names[i] for i in emptied_classes(kept, self.labels, len(names))]
        if not lost:
            return []
        self.study.job.log.warning(
            '%s keeps no sample of %s; selection.rule = "quota" keeps some of every class.',
            selection_arm(score, fraction, self.noise),
            ", ".join(lost),
        )
        return [{"arm": selection_arm(score, fraction, self.noise), "classes": lost}]
