"""Tokenizers and models that are made once: each lies in the workspace under a key of everything that determines it.

So every run that names the same settings shares them, and a training that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.common.atomic import remove_leftovers, write_folder_atomically
from engine.common.errors import WinnowError
from engine.config.models import ScratchModel
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.storage.workspace import Workspace
from engine.training.finetune import Tick
from engine.training.pretrain import Loss, Schedule, optimizer_for, pretrain

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=PreTrainedModel)
SAVE_SECONDS = 20.0


def tokenizer_once(workspace: Workspace, folder: Path, learn: Callable[[], PreTrainedTokenizerBase]) -> Path:
    """Learn and save the tokenizer of `folder` unless it is there. Returns the folder."""
    with _lock(workspace, folder):
        remove_leftovers(folder)
        if not folder.exists():
            write_folder_atomically(folder, learn().save_pretrained)
    return folder


def train_once(
    workspace: Workspace,
    folder: Path,
    settings: ScratchModel,
    tokenizer: PreTrainedTokenizerBase,
    lengths: Sequence[int],
    build: Callable[[], Model],
    loss: Callable[[Model], Loss],
    schedule: Schedule,
    device: torch.device,
    tick: Tick,
) -> float | None:
    """Build, train and save the model of `folder` unless it is there. Returns what `pretrain` returns, else None.

    `lengths` are those of the samples that `loss` reads, and `tick(steps done, steps)` may raise to stop. Killed at any
    moment the training goes on from a checkpoint that is at most SAVE_SECONDS old.
    """
    with _lock(workspace, folder):
        remove_leftovers(folder)
        if folder.exists():
            return None
        model = build()
        nn.Module.to(model, device)
        optimizer = optimizer_for(model)
        saved = folder.with_name(f"{folder.name}.training.safetensors")
        first = _restore(saved, model, optimizer)
        last = time.monotonic()

        def checkpoint(step: int) -> None:
            nonlocal last
            if time.monotonic() - last > SAVE_SECONDS:
                save_checkpoint(saved, dict(model.named_parameters()), optimizer, step=step)
                last = time.monotonic()

        found = pretrain(
            model,
            optimizer,
            np.array(lengths),
            loss(model),
            schedule,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            peak=settings.learning_rate,
            seed=settings.seed,
            first_step=first,
            tick=tick,
            checkpoint=checkpoint,
        )

        def fill(into: Path) -> None:
            model.save_pretrained(into)
            tokenizer.save_pretrained(into)

        write_folder_atomically(folder, fill)
        saved.unlink(missing_ok=True)
        return found


def _lock(workspace: Workspace, folder: Path) -> FileLock:
    """Two runs that need one model: the second waits for the first instead of training it again."""
    workspace.models.mkdir(parents=True, exist_ok=True)
    return FileLock(workspace.locks / f"model-{folder.name}.lock", is_singleton=False)


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint if there is an undamaged one. Returns the number of steps it has done."""
    if not path.exists():
        return 0
    try:
        weights, counters = load_checkpoint(path, optimizer)
    except WinnowError as error:
        log.warning("%s Training starts again.", error)
        return 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
    return counters["step"]
