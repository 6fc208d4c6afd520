"""What the arms of a run share: the scores they start from, the candidates they choose among, what they learn from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from engine.config.arms import ArmSettings
from engine.config.pruning import DynamicPruningRecipe
from engine.data.samples import EncodedSample
from engine.data.tokenizers import vocabulary_size
from engine.scoring.scored_model import scored_model
from engine.scoring.training_pass import check_head
from engine.studies.job import Job
from engine.studies.pruning.candidates import Candidates
from engine.studies.pruning.pair import CheckModels, PairRun
from engine.studies.pruning.prepare import Models
from engine.studies.pruning.scoring import Scored, tokens_of
from engine.studies.pruning.validation import Validation, ValidationParts
from engine.training.causal_kd import KnowledgeDistillation


@dataclass(frozen=True)
class Baseline:
    """What every arm of every seed starts from."""

    train: list[EncodedSample]
    valid: ValidationParts
    first: Scored
    candidates: Candidates
    before: Validation  # of the student before any training
    tau: float
    tau_max: float


class ArmsRun(PairRun):
    """A pair of models opened on one machine, and what every arm and seed of a run shares."""

    def __init__(self, job: Job, recipe: DynamicPruningRecipe, models: Models, dataset: str) -> None:
        super().__init__(job, models, recipe.scoring, dataset)
        self.recipe = recipe
        self.arms = {arm.name: arm for arm in recipe.entries}

    @cached_property
    def baseline(self) -> Baseline:
        baseline: Baseline = self.job.broadcasted("baseline")
        return baseline

    @property
    def parameters(self) -> int:
        """Of the student, as the run is planned."""
        return self.models.size.student

    @cached_property
    def kd(self) -> KnowledgeDistillation | None:
        """What the student of every arm learns from beside the labels."""
        weight = self.recipe.training.kd_weight
        return KnowledgeDistillation(weight, self.scorer.teacher_logits(self.baseline.train)) if weight else None

    @cached_property
    def tokens(self) -> dict[str, int]:
        valid = self.baseline.valid
        return {
            "train": tokens_of(self.baseline.train),
            "valid": tokens_of([*valid.target, *valid.pick, *valid.report]),
        }

    def refreshes(self, arm: ArmSettings) -> bool:
        """Whether every epoch of an arm but the last makes the scores of the next while it trains."""
        return arm.scored_anew and self.recipe.scoring.refresh == "while_training"

    def _check_models(self, key: CheckModels) -> None:
        super()._check_models(key)
        if any(map(self.refreshes, self.arms.values())):
            check_head(scored_model(self.student.model, key.samples, vocabulary_size(self.models.tokenizer)))
