"""The next scores of an arm, made by the training of an epoch: `scoring.refresh = "while_training"`.

Samples that the epoch trains on are scored in its own pass (`engine.scoring.training_pass` says what is approximate in
that). Of the others those in turn are scored after it, exactly, with the student that the next epoch starts from; the
rest keep the score they have, which is at most TURNS epochs old. What an epoch chooses by is recorded as its scores, as
if all had been made for it.

The scores belong to the epoch that has made them: they are recorded with its selections and metrics, together, so after
a kill either the epoch and the scores of the next are there, or it is done again from its checkpoint, with the same
random numbers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from engine.config.rankings import METRICS
from engine.data.samples import EncodedSample
from engine.pruning.rotation import in_turn
from engine.scoring.score import SampleScores
from engine.scoring.training_pass import TrainingPassScores
from engine.studies import flops
from engine.studies.job import Tick
from engine.studies.pruning.scoring import Scored, Scorer, metrics_of


def next_scores(
    scorer: Scorer,
    student: PreTrainedModel,
    samples: Sequence[EncodedSample],
    latest: Mapping[str, NDArray[np.float32]],
    kept: NDArray[np.bool_],
    epoch: int,
    trained: TrainingPassScores,
    tick: Tick,
) -> Scored:
    """The scores after `epoch`, which has trained on `kept` and whose own were `latest`; (n,) each."""
    started = time.perf_counter()
    turn = in_turn(kept, epoch)
    results: dict[int, SampleScores] = dict(trained.scores)
    results |= zip(np.flatnonzero(turn).tolist(), scorer.score_some(student, samples, turn, tick), strict=True)
    scorer.warn_of_nan(results.values())
    places, new = list(results), metrics_of(results.values())
    unknown = np.full(len(samples), np.nan, dtype=np.float32)  # scores of an earlier version have fewer metrics
    values = {metric: latest.get(metric, unknown).copy() for metric in METRICS}
    for metric, column in values.items():
        column[places] = new[metric]
    return Scored(values, trained.seconds + time.perf_counter() - started)


def flops_of(lengths: NDArray[np.int64], kept: NDArray[np.bool_], epoch: int, size: flops.PairSize) -> float:
    """Operations of the scores that `epoch`, which has trained on `kept`, has made; `lengths` (n,) in tokens."""
    return flops.scoring_while_training(int(lengths[kept].sum()), int(lengths[in_turn(kept, epoch)].sum()), size)
