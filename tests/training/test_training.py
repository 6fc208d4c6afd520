"""Training: who is in a batch, what counts in a loss, and that it can be stopped anywhere."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn
from transformers import LlamaForCausalLM

from engine.batching.batch import collate, epoch_batches
from engine.config.models import ScratchModel
from engine.models.scratch.causal import build
from engine.training.finetune import evaluate, train_epoch
from engine.training.pretrain import FLOOR, learning_rate, optimizer_for, pretrain

CPU = torch.device("cpu")
VOCABULARY = 50


@dataclass
class Sample:
    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    response_start: int


def samples(lengths: list[int], seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    made = []
    for n in lengths:
        ids = rng.integers(1, VOCABULARY, n + 1).astype(np.int32)
        made.append(Sample(ids[:-1], ids[1:], n // 2))
    return made


def model() -> LlamaForCausalLM:
    return build(ScratchModel(layers=1, width=16, heads=2), VOCABULARY, 64)


def silent(_done: int, _total: int) -> None:
    pass


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=120),
    st.integers(1, 9),
    st.integers(0, 5),
    st.integers(1, 5),
)
def test_an_epoch_reads_every_kept_sample_once(
    rows: list[tuple[int, bool]], batch_size: int, seed: int, epoch: int
) -> None:
    """No sample is lost in a short last batch and none is read twice."""
    lengths, kept = np.array([n for n, _ in rows]), np.array([k for _, k in rows])
    batches = epoch_batches(lengths, kept, batch_size, seed, epoch)
    read = sorted(int(i) for batch in batches for i in batch)
    assert read == np.flatnonzero(kept).tolist()
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert len(batches) == math.ceil(kept.sum() / batch_size)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    """An epoch done again after a kill is the same; another seed or epoch is another order."""
    lengths, kept = np.full(64, 5), np.ones(64, dtype=bool)

    def order(seed: int, epoch: int) -> list[int]:
        return [int(i) for batch in epoch_batches(lengths, kept, 8, seed, epoch) for i in batch]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


@pytest.mark.parametrize(("loss_on", "counted"), [("response", 2 + 4), ("all", 3 + 7)])
def test_a_batch_counts_what_it_should(loss_on: str, counted: int) -> None:
    """Prompt positions count only where asked for, padding never."""
    batch = collate(samples([3, 7]), CPU, loss_on)
    assert batch.input_ids.shape == (2, 7)
    assert int(batch.counted.sum()) == counted == len(batch.labels)
    assert batch.tokens == 10


def test_evaluation_is_the_mean_over_tokens_not_over_batches() -> None:
    """Against whole float64 logits, one sample at a time; batches of unequal length must not matter."""
    net, data = model(), samples([3, 9, 20, 5])
    losses, right = [], []
    for sample in data:
        logits = net(input_ids=torch.tensor(sample.input_ids[None].astype(np.int64))).logits[0].double()
        labels = torch.tensor(sample.labels.astype(np.int64))
        own = nn.functional.cross_entropy(logits, labels, reduction="none")[sample.response_start :]
        losses += own.tolist()
        right += (logits.argmax(-1) == labels)[sample.response_start :].tolist()
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
                net, optimizer, data, epochs=1.5, batch_size=4, peak=1e-2, seed=3,
                first_step=first, tick=silent, checkpoint=checkpoint,
            )  # fmt: skip

    whole, halves = model(), model()
    train(whole, optimizer_for(whole), 0, None)
    optimizer = optimizer_for(halves)
    train(halves, optimizer, 0, 4)
    train(halves, optimizer, 4, None)
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(one, other)
