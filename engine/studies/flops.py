"""Floating-point operations of a run: for progress, time left, and the estimate before a start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.config.arms import ArmSettings
from engine.config.models import ScratchModel
from engine.config.pruning import DynamicPruningRecipe, PairRecipe
from engine.pruning.rotation import TURNS

log = logging.getLogger(__name__)

# Per parameter and token: a forward pass takes 2; a LoRA step 2 forward and 3 back, because the frozen weights need no
# gradients of their own; training from scratch 2 forward and 4 back.
FORWARD, LORA_STEP, TRAINING_STEP = 2.0, 5.0, 6.0


class PairSize(NamedTuple):
    """Parameters of a teacher and a student as a run is planned, and of their LM heads, which are part of them."""

    teacher: int
    student: int
    teacher_head: int
    student_head: int

    @property
    def both(self) -> int:
        """Of both models together."""
        return self.teacher + self.student


def of_forward(forward: Callable[[], object], name: str, parameters: int, tokens: int) -> tuple[float, bool]:
    """Floating-point operations of a forward pass, and whether they are an estimate.

    Some models do not run while operations are counted (DeBERTa); theirs are estimated from their parameters.
    """
    with torch.no_grad():
        try:
            with FlopCounterMode(display=False) as counter:
                forward()
            return float(counter.get_total_flops()), False
        except (AssertionError, RuntimeError):
            forward()  # if the model cannot do it at all, that is what is raised
    log.info("%s does not run while its operations are counted; they are estimated from its parameters", name)
    return FORWARD * parameters * tokens, True


def parameters_of(settings: ScratchModel, vocab_size: int) -> int:
    """Weights of a model trained from scratch, norms left out."""
    return 12 * settings.layers * settings.width**2 + vocab_size * settings.width


def pretraining(settings: ScratchModel, vocab_size: int, corpus_tokens: int) -> float:
    return TRAINING_STEP * parameters_of(settings, vocab_size) * settings.epochs * corpus_tokens


def scoring(tokens: int, parameters: int) -> float:
    """One pass over the samples; `parameters` are those of all models together."""
    return FORWARD * tokens * parameters


def rescoring(tokens: float, size: PairSize) -> float:
    """One pass of the student; of the teacher, whose hidden states are cached, the head alone runs."""
    return FORWARD * tokens * (size.student + size.teacher_head)


def scoring_while_training(trained: float, in_turn: float, size: PairSize) -> float:
    """Both heads for the `trained` tokens, whose hidden states training has made; `in_turn` tokens are read anew."""
    return FORWARD * trained * (size.student_head + size.teacher_head) + rescoring(in_turn, size)


def epoch(student: int, train_tokens: float, valid_tokens: int, teacher: int = 0) -> float:
    """Training on `train_tokens` and evaluating on `valid_tokens`; `student` is its number of parameters, `teacher` of
    a teacher that it listens to.

    The teacher counts as if it ran, though its states may be cached: scoring has filled the cache, and arms that need
    no scores would have it for nothing.
    """
    return student * (LORA_STEP * train_tokens + FORWARD * valid_tokens) + FORWARD * teacher * train_tokens


def arm_tokens(recipe: DynamicPruningRecipe, arm: ArmSettings, train_tokens: float) -> float:
    """Tokens that an arm trains on in an epoch: its budget, or at most all."""
    budget = recipe.budget_of(arm)
    return train_tokens * (budget.fraction if budget else 1.0)


def listened_to(recipe: DynamicPruningRecipe, size: PairSize) -> int:
    """Parameters of the teacher that reads what a student is trained on; 0 if the student does not listen to it."""
    return size.teacher if recipe.training.kd_weight else 0


def arm_epoch(
    recipe: DynamicPruningRecipe, arm: ArmSettings, size: PairSize, train_tokens: int, valid_tokens: int, first: bool
) -> float:
    """One epoch of one arm, with new scores if it needs them and a pass of the teacher if the student listens to it."""
    tokens = arm_tokens(recipe, arm, train_tokens)
    scored = 0.0
    if arm.scored_anew and not first:
        whole = rescoring(train_tokens, size)
        in_turn = (train_tokens - tokens) / TURNS
        scored = whole if recipe.scoring.refresh == "exact" else scoring_while_training(tokens, in_turn, size)
    return epoch(size.student, tokens, valid_tokens, listened_to(recipe, size)) + scored


def study(recipe: PairRecipe, size: PairSize, train_tokens: int, valid_tokens: int) -> float:
    """A whole run on a pair of models; arms without a budget count as if they read everything: an upper bound."""
    total = scoring(train_tokens, size.both)
    if isinstance(recipe, DynamicPruningRecipe):
        for arm in recipe.entries:
            first, later = (arm_epoch(recipe, arm, size, train_tokens, valid_tokens, first) for first in (True, False))
            total += len(recipe.seeds) * (first + (recipe.training.epochs - 1) * later)
        total += sum(ranking(recipe, name, size.student, train_tokens, valid_tokens // 4) for name in recipe.rankings)
    return total


def ranking(recipe: DynamicPruningRecipe, name: str, student: int, tokens: int, target: int) -> float:
    """Making one ranking of all samples, beside the pass of both models; `target` is the tokens of the target."""
    warm_up = LORA_STEP * recipe.target.warm_up * tokens
    per_parameter = {
        "ifd": FORWARD * tokens,
        "target_gain": LORA_STEP * recipe.target.epochs * target + 2 * FORWARD * tokens,
        "gradient_norm": warm_up + LORA_STEP * tokens,
        "target_likeness": warm_up + LORA_STEP * (tokens + target),
    }
    return student * per_parameter.get(name, 0.0)
