"""Small causal language models made from scratch: a byte-level BPE tokenizer, and a Llama trained on a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from engine.batching.batch import TokenSample, collate
from engine.common.hashing import digest
from engine.common.schedules import warmup_decay
from engine.config.models import ScratchModel
from engine.models.scratch.folders import tokenizer_once, train_once
from engine.storage.workspace import Workspace
from engine.training.finetune import Tick, logits_of
from engine.training.pretrain import Loss

END = "<|end|>"
WARMUP = 0.05  # fraction of all steps
FLOOR = 0.05  # the last learning rate as a fraction of the peak
VERSION = 1  # raise it when the same settings would give another model


def tokenizer_folder(
    workspace: Workspace, texts: Callable[[], Iterable[str]], fingerprint: str, vocab_size: int
) -> Path:
    """The folder of a byte-level BPE tokenizer of at most `vocab_size` tokens, made unless it is there.

    `fingerprint` stands for the content of `texts()`.
    """

    def learn() -> PreTrainedTokenizerBase:
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
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)

    key = digest(["tokenizer", VERSION, fingerprint, vocab_size])
    return tokenizer_once(workspace, workspace.models / f"tokenizer-{key}", learn)


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
    """Train the model of `folder` unless it is there. Returns its last training loss in nats per token, else None."""
    return train_once(
        workspace,
        folder,
        settings,
        tokenizer,
        [len(sample.input_ids) for sample in samples],
        lambda: build(settings, len(tokenizer), max_length),
        lambda model: causal_loss(model, samples),
        learning_rate,
        device,
        tick,
    )


def causal_loss(model: LlamaForCausalLM, samples: Sequence[TokenSample]) -> Loss:
    """Cross-entropy over every position of every sample."""
    device = next(model.parameters()).device

    def loss(indices: NDArray[np.int64], _step: int) -> Tensor:
        batch = collate([samples[i] for i in indices], device, "all")
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = logits_of(model, batch)
        return F.cross_entropy(logits, batch.labels)

    return loss


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over the first WARMUP of the steps, then half a cosine down to FLOOR · peak."""
    return peak * warmup_decay(step, steps, round(WARMUP * steps), FLOOR, cosine=True)
