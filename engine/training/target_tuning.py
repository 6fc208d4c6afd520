"""What a student's loss on each sample says: how it falls by tuning on a target, and what it is without a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.batching.batch import TokenSample, collate
from engine.common.choices import LossOn
from engine.training.finetune import Tick, sample_losses, train_epoch


@torch.inference_mode()
def losses(model: nn.Module, samples: Sequence[TokenSample], *, batch_size: int, tick: Tick) -> NDArray[np.float64]:
    """(n,): each sample's mean negative log-likelihood over the tokens of its response, in nats; NaN without any.

    In eval mode, in batches of similar length; means are taken in float64.
    """
    device = next(model.parameters()).device
    found = np.full(len(samples), np.nan)
    lengths = np.array([len(sample.input_ids) for sample in samples], dtype=np.int64)
    order = np.array([i for i in np.argsort(-lengths, kind="stable") if samples[i].response.any()], dtype=np.int64)
    total, tokens = int(lengths[order].sum()), 0
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = collate([samples[i] for i in chosen], device, "response")
            found[chosen] = sample_losses(model, batch).cpu().numpy()
            tokens += batch.tokens
            tick(tokens, total)
    finally:
        model.train(was_training)
    return found


def tune_on_target(
    model: nn.Module,
    target: Sequence[TokenSample],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    loss_on: LossOn,
    seed: int,
    tick: Tick,
) -> None:
    """Train the trainable weights of the model, in place, on the target samples: a few epochs of AdamW.

    Train on Validation (Jain, Montanari, Sasoglu 2025, arXiv 2510.00386): a training sample whose loss falls by this
    is one whose training would lower the loss on the target, to first order by as much. So the score of a sample is
    `losses` before minus `losses` after; high = keep. The paper looks for the predictions that change most, which may
    also be for the worse. With a few random training samples as the target it is the warm-up that `lora_gradients`
    asks for.
    """
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=learning_rate)
    everything = np.ones(len(target), dtype=np.bool_)
    tokens = sum(len(sample.input_ids) for sample in target)
    for epoch in range(1, epochs + 1):

        def epoch_tick(done: int, _total: int, before: int = (epoch - 1) * tokens) -> None:
            tick(before + done, epochs * tokens)

        train_epoch(
            model,
            optimizer,
            target,
            everything,
            batch_size=batch_size,
            loss_on=loss_on,
            seed=seed,
            epoch=epoch,
            tick=epoch_tick,
        )


@dataclass(frozen=True, slots=True, eq=False)
class BareResponse:
    """The response of a sample without its prompt, as a TokenSample."""

    row: int
    input_ids: NDArray[np.integer]  # (N,)
    labels: NDArray[np.integer]  # (N,)
    response: NDArray[np.bool_]  # (N,): all of them


def bare_response(sample: TokenSample, context: int) -> BareResponse:
    """Its response alone, for the loss without a prompt in IFD (Cherry LLM, Li et al. 2024).

    `context` is the token that stands before it, so that the tokens that count are those that count with the prompt.
    (A first token that nothing precedes could not count, and many models predict the one after it far worse than
    chance.) The replies of a conversation follow each other, each to its end token. The paper has one reply per sample.
    """
    tokens = np.concatenate([np.asarray([context], dtype=sample.labels.dtype), sample.labels[sample.response]])
    return BareResponse(sample.row, tokens[:-1], tokens[1:], np.ones(len(tokens) - 1, dtype=np.bool_))
