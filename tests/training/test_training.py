"""Training: who is in a batch, what counts in a loss, and that it can be stopped anywhere."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaForCausalLM

from engine.config.models import ScratchModel
from engine.models.scratch.causal import FLOOR, build, causal_loss, learning_rate
from engine.training.finetune import evaluate, train_epoch
from engine.training.pretrain import optimizer_for, pretrain
from tests.fixtures.models import random_samples

CPU = torch.device("cpu")
VOCABULARY = 50


samples = partial(random_samples, vocab_size=VOCABULARY)


def model() -> LlamaForCausalLM:
    return build(ScratchModel(layers=1, width=16, heads=2), VOCABULARY, 64)


def silent(_done: int, _total: int) -> None:
    pass


def test_evaluation_is_the_mean_over_tokens_not_over_batches() -> None:
    """Against whole float64 logits, one sample at a time; batches of unequal length must not matter."""
    net, data = model(), samples([3, 9, 20, 5])
    losses, right = [], []
    for sample in data:
        logits = net(input_ids=torch.tensor(sample.input_ids[None].astype(np.int64))).logits[0].double()
        labels = torch.tensor(sample.labels.astype(np.int64))
        own = nn.functional.cross_entropy(logits, labels, reduction="none")[torch.from_numpy(sample.response)]
        losses += own.tolist()
        right += (logits.argmax(-1) == labels)[torch.from_numpy(sample.response)].tolist()
    for batch_size in (1, 3):
        found = evaluate(net, data, batch_size=batch_size, loss_on="response", tick=silent)
        assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
        assert found.accuracy == pytest.approx(np.mean(right))
        assert found.tokens == len(losses)


def test_evaluation_leaves_the_mode_as_it_was() -> None:
    """Dropout must be off while measuring and on again afterwards, also when it is stopped."""
    net = model()
    net.train()

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(net, samples([4]), batch_size=1, loss_on="all", tick=stop)
    assert net.training


def test_an_epoch_lowers_the_loss_and_reads_only_what_is_kept() -> None:
    net, data = model(), samples([8] * 32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    kept = np.arange(32) < 20
    results = [
        train_epoch(net, optimizer, data, kept, batch_size=8, loss_on="all", seed=0, epoch=epoch, tick=silent)
        for epoch in range(1, 9)
    ]
    assert results[-1].loss < results[0].loss - 0.5
    assert (results[0].samples, results[0].tokens, results[0].steps) == (20, 160, 3)
    seen = evaluate(net, [s for s, k in zip(data, kept, strict=True) if k], batch_size=8, loss_on="all", tick=silent)
    unseen = evaluate(
        net, [s for s, k in zip(data, kept, strict=True) if not k], batch_size=8, loss_on="all", tick=silent
    )
    assert seen.loss < unseen.loss


@given(st.integers(1, 500), st.floats(1e-5, 1e-1))
def test_the_learning_rate_rises_then_falls(steps: int, peak: float) -> None:
    """Never above its peak, never below its floor once warm."""
    rates = [learning_rate(step, steps, peak) for step in range(steps)]
    top = int(np.argmax(rates))
    assert max(rates) <= peak * (1 + 1e-9)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] >= FLOOR * peak * (1 - 1e-9)


def test_pretraining_stopped_at_a_step_ends_as_one_left_alone() -> None:
    """The state at any step is all it needs."""
    data = samples([6] * 24)

    def train(net: LlamaForCausalLM, optimizer: torch.optim.Optimizer, first: int, until: int | None) -> None:
        class Stop(Exception):
            pass

        def checkpoint(step: int) -> None:
            if step == until:
                raise Stop

        with contextlib.suppress(Stop):
            pretrain(
                net, optimizer, np.array([6] * 24), causal_loss(net, data), learning_rate,
                epochs=1.5, batch_size=4, peak=1e-2, seed=3,
                first_step=first, tick=silent, checkpoint=checkpoint,
            )  # fmt: skip

    whole, halves = model(), model()
    train(whole, optimizer_for(whole), 0, None)
    optimizer = optimizer_for(halves)
    train(halves, optimizer, 0, 4)
    train(halves, optimizer, 4, None)
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(one, other)
