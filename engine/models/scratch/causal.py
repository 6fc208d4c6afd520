"""Small models made from nothing: one byte-level BPE tokenizer and one Llama per name, trained on a corpus.

They lie in the workspace under a key of everything that determines them, so that every run which names the same
settings shares them, and a training that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from filelock import FileLock
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from engine.batching.batch import TokenSample
from engine.common.atomic import write_folder_atomically
from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.config.models import ScratchModel
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.storage.workspace import Workspace
from engine.training.finetune import Tick
from engine.training.pretrain import optimizer_for, pretrain

log = logging.getLogger(__name__)

Checkpoint = Callable[[int], object]
END = "<|end|>"
SAVE_SECONDS = 20.0
VERSION = 1  # raise it when the same settings would give another model


def tokenizer_folder(
    workspace: Workspace, texts: Callable[[], Iterable[str]], fingerprint: str, vocab_size: int
) -> Path:
    """The folder of a byte-level BPE tokenizer of at most `vocab_size` tokens; made where it is missing."""
    key = digest(["tokenizer", VERSION, fingerprint, vocab_size])
    folder = workspace.models / f"tokenizer-{key}"
    with only_one(workspace, folder):
        if not folder.exists():
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            trainer = trainers.BpeTrainer(
                vocab_size=vocab_size,
                special_tokens=[END],
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                show_progress=False,
            )
            tokenizer.train_from_iterator(texts(), trainer)
            fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
            write_folder_atomically(folder, fast.save_pretrained)
    return folder


def model_folder(
    workspace: Workspace, name: str, settings: ScratchModel, tokenizer: Path, max_length: int, data: str
) -> Path:
    """Where a model with these settings lies, or will lie; `data` is the hash of the corpus it is trained on."""
    key = digest(["model", VERSION, settings.model_dump(), tokenizer.name, max_length, data])
    return workspace.models / f"{name}-{key}"


def build(settings: ScratchModel, vocab_size: int, max_length: int) -> LlamaForCausalLM:
    """An untrained Llama; its weights depend on the settings alone. Input and output embeddings are tied."""
    torch.manual_seed(settings.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=settings.width,
            intermediate_size=settings.width * 8 // 3 // 8 * 8,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=max_length,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def make(
    workspace: Workspace,
    folder: Path,
    settings: ScratchModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[TokenSample],
    max_length: int,
    device: torch.device,
    tick: Tick,
) -> float | None:
    """Train the model of `folder` unless it is there; the answer is its last training loss, None where it was there."""

    def train(model: PreTrainedModel, optimizer: torch.optim.Optimizer, first: int, checkpoint: Checkpoint) -> float:
        return pretrain(
            model,
            optimizer,
            samples,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            peak=settings.learning_rate,
            seed=settings.seed,
            first_step=first,
            tick=tick,
            checkpoint=checkpoint,
        )

    return train_once(workspace, folder, lambda: build(settings, len(tokenizer), max_length), tokenizer, device, train)


def train_once(
    workspace: Workspace,
    folder: Path,
    built: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    train: Callable[[PreTrainedModel, torch.optim.Optimizer, int, Checkpoint], float],
) -> float | None:
    """Build, train and save the model of `folder` unless it is there; the answer of `train`, None where it was there.

    `train(model, optimizer, first_step, checkpoint)` calls `checkpoint(step)` after every step with the number of steps
    done. Killed at any moment it goes on from a checkpoint that is at most SAVE_SECONDS old.
    """
    with only_one(workspace, folder):
        if folder.exists():
            return None
        model = built()
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

        loss = train(model, optimizer, first, checkpoint)

        def fill(into: Path) -> None:
            model.save_pretrained(into)
            tokenizer.save_pretrained(into)

        write_folder_atomically(folder, fill)
        saved.unlink(missing_ok=True)
        return loss


def only_one(workspace: Workspace, folder: Path) -> FileLock:
    """Two runs that need one model: the second waits for the first instead of training it again."""
    workspace.models.mkdir(parents=True, exist_ok=True)
    return FileLock(workspace.locks / f"model-{folder.name}.lock", is_singleton=False)


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint where there is a whole one; the answer is the number of steps it has done."""
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
