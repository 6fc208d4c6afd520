"""A pair of language models opened on one machine, and what every run on a pair begins with: scores before training.

`run` scores every training sample once, and does nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.common.errors import WinnowError
from engine.config.pruning import ScoreRecipe, ScoringSettings
from engine.data.samples import EncodedSample
from engine.data.tokenizers import vocabulary_size
from engine.models.loading import LoadedModel
from engine.scoring.response_states import PROJECTION
from engine.scoring.scored_model import CHECK_SAMPLES, scored_model
from engine.studies import flops
from engine.studies.job import Job, run_units
from engine.studies.pruning.prepare import Models, model_facts, of_split, open_pair
from engine.studies.pruning.scoring import FIRST, Scored, Scorer, tokens_of, unscored_rows
from engine.studies.work_units import Range, WorkUnit

SCORING = "scoring every sample before training"


@dataclass(frozen=True)
class CheckModels:
    """Key of a work unit: load both models, record what they are and how they are scored, and refuse an unfit pair."""

    samples: Sequence[EncodedSample]  # those a model is compared with its own logits on


@dataclass(frozen=True)
class ScorePiece:
    """Key of a work unit: score a piece of the samples before any training."""

    piece: Range
    samples: Sequence[EncodedSample]


class PairRun:
    """Does those units on one machine. Models are loaded when the first unit needs them."""

    def __init__(self, job: Job, models: Models, settings: ScoringSettings, dataset: str) -> None:
        self.job = job
        self.models = models
        self.scorer = Scorer(job, models, settings, dataset)

    @property
    def student(self) -> LoadedModel:
        return self.models.student(self.job)

    def do(self, key: Any) -> None:
        match key:
            case CheckModels():
                self._check_models(key)
            case ScorePiece():
                self._score_piece(key)
            case _:
                raise TypeError(f"{key} is no unit of a run on a pair of models")

    def score_all(self, samples: Sequence[EncodedSample]) -> Scored:
        """The scores of all samples before any training, unit by unit, in this process or on a cluster."""
        longest = sorted(samples, key=lambda sample: -sample.length)[:CHECK_SAMPLES]
        units = [WorkUnit("the two models", CheckModels(longest))]
        for piece in self.scorer.ranges(samples):
            own = samples[piece.start : piece.stop]
            if self.scorer.has(piece, FIRST):
                self.job.skip(self._flops(own))
            else:
                units.append(WorkUnit(f"scores {piece.index}", ScorePiece(piece, own), self._flops(own)))
        run_units(self.job, self, units, SCORING)
        return self.scorer.read(samples, FIRST)

    def cache_facts(self) -> dict[str, int]:
        """Provenance of the teacher's hidden states; on a cluster each node has its own."""
        return {} if self.job.cluster else {"hidden_cache_bytes": self.scorer.cache_bytes}

    def _flops(self, samples: Sequence[EncodedSample]) -> float:
        return flops.scoring(tokens_of(samples), self.models.size.both)

    def _check_models(self, key: CheckModels) -> None:
        """Raises WinnowError if teacher and student are one model, or one of them is no causal language model."""
        job = self.job
        with job.phase("loading the models", 0):
            teacher, student = self.models.teacher(job), self.student
        facts = model_facts("teacher", teacher) | model_facts("student", student)
        job.ledger.set_provenance(job.run.id, **facts, states=PROJECTION)
        for role, loaded in (("teacher", teacher), ("student", student)):
            if why := scored_model(loaded.model, key.samples, vocabulary_size(self.models.tokenizer)).why:
                job.ledger.set_provenance(job.run.id, **{f"{role}_own_logits": why})
        if student.hash == teacher.hash:
            raise WinnowError(
                f"{teacher.name} and {student.name} are the same model, so every KL would be zero; choose another "
                "teacher."
            )

    def _score_piece(self, key: ScorePiece) -> None:
        with self.job.phase(SCORING, self._flops(key.samples)) as tick:
            self.scorer.score_piece(self.student.model, key.piece, key.samples, FIRST, tick)


def run(job: Job, recipe: ScoreRecipe) -> None:
    models, prepared = open_pair(job, recipe)
    job.broadcast("pair", lambda: (models, prepared.dataset))
    pair, train = PairRun(job, models, recipe.scoring, prepared.dataset), of_split(prepared, "train")
    scored = pair.score_all(train)
    job.ledger.set_provenance(job.run.id, not_a_number=unscored_rows(train, scored), **pair.cache_facts())


def open_run(job: Job, recipe: ScoreRecipe) -> PairRun:
    """The run as a worker of a cluster opens it."""
    models, dataset = job.broadcasted("pair")
    return PairRun(job, models, recipe.scoring, dataset)
