"""Floating-point operations of a run: for progress, time left, and the estimate before a start."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.config.models import ScratchModel
from engine.config.pruning import DynamicPruningRecipe, PairRecipe

log = logging.getLogger(__name__)

# Per parameter and token: a forward pass takes 2; a LoRA step 2 forward and 3 back, because the frozen weights need no
# gradients of their own; training from scratch 2 forward and 4 back.
FORWARD, LORA_STEP, TRAINING_STEP = 2.0, 5.0, 6.0


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


def epoch(student: int, train_tokens: int, valid_tokens: int) -> float:
    """Training on `train_tokens` and evaluating on `valid_tokens`; `student` is its number of parameters."""
    return student * (LORA_STEP * train_tokens + FORWARD * valid_tokens)


def study(recipe: PairRecipe, teacher: int, student: int, train_tokens: int, valid_tokens: int) -> float:
    """A whole run on a pair of models, as if every arm read everything in every epoch: an upper bound."""
    total = scoring(train_tokens, teacher + student)
    if isinstance(recipe, DynamicPruningRecipe):
        epochs = recipe.training.epochs
        each_seed = len(recipe.arms) * epochs * epoch(student, train_tokens, valid_tokens)
        total += len(recipe.seeds) * (each_seed + (epochs - 1) * scoring(train_tokens, student))
    return total
