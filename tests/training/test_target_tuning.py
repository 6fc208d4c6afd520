"""Losses of single samples: exact, without a prompt, and how tuning on a target changes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from engine.config.models import ScratchModel
from engine.config.pruning import LoraSettings
from engine.models.lora import attach_lora
from engine.models.scratch.causal import build as build_scratch
from engine.training.finetune import train_epoch
from engine.training.target_tuning import bare_response, losses, tune_on_target
from tests.fixtures.models import Sample, build, random_samples

LENGTHS = [5, 23, 11, 2, 17, 11, 30]


def silent(_done: int, _total: int) -> None:
    pass


def plain_loss(model: nn.Module, sample: Sample) -> float:
    """One sample by transformers alone: labels of the prompt are -100, and its own shift is undone."""
    ids = torch.from_numpy(np.append(sample.input_ids, sample.labels[-1]).astype(np.int64))
    labels = torch.where(torch.from_numpy(np.insert(sample.response, 0, False)), ids, -100)
    return model(input_ids=ids[None], labels=labels[None]).loss.item()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_losses_are_those_of_transformers(family: str, batch_size: int) -> None:
    """In float32, to float32: each in its own row, whatever the batch; tokens are counted to the end."""
    model, samples, ticks = build(family), random_samples(LENGTHS), []
    found = losses(model, samples, batch_size=batch_size, tick=lambda *at: ticks.append(at))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [plain_loss(model, sample) for sample in samples], rtol=1e-5)
    assert ticks[-1] == (sum(LENGTHS), sum(LENGTHS))


def test_losses_keep_the_digits_of_a_float64_model() -> None:
    model, samples = build("gpt2").double(), random_samples(LENGTHS)
    expected = []
    for sample in samples:
        logits = model(input_ids=torch.from_numpy(sample.input_ids.astype(np.int64))[None]).logits[0]
        labels = torch.from_numpy(sample.labels.astype(np.int64))
        expected.append(F.cross_entropy(logits[sample.response], labels[sample.response]).item())
    np.testing.assert_allclose(losses(model, samples, batch_size=4, tick=silent), expected, rtol=1e-12)


def test_dropout_is_off_while_measuring_and_on_again() -> None:
    model, samples = build("gpt2"), random_samples(LENGTHS)
    expected = losses(model, samples, batch_size=4, tick=silent)
    np.testing.assert_array_equal(losses(model.train(), samples, batch_size=4, tick=silent), expected)
    assert model.training


def of_tokens(tokens: list[int], reply: list[bool], row: int = 7) -> Sample:
    """A sample by its tokens and which of them belong to a reply."""
    ids = np.array(tokens, dtype=np.int32)
    return Sample(row, ids[:-1], ids[1:], np.array(reply[1:], dtype=np.bool_))


def parts(sample: Any) -> tuple[int, list[int], list[int], list[bool]]:
    return sample.row, sample.input_ids.tolist(), sample.labels.tolist(), sample.response.tolist()


PROMPTED = of_tokens([1, 10, 11, 12, 20, 21, 2], [False] * 4 + [True] * 3)
REPLIES = of_tokens([1, 10, 20, 2, 11, 21, 22, 2], [False, False, True, True, False, True, True, True])


def test_a_bare_response_follows_one_token() -> None:
    """All of its tokens count, as with the prompt."""
    assert parts(bare_response(PROMPTED, 8)) == (7, [8, 20, 21], [20, 21, 2], [True] * 3)


def test_the_replies_of_a_conversation_follow_each_other() -> None:
    """The tokens that count are those that count in the conversation."""
    bare = bare_response(REPLIES, 1)
    assert parts(bare) == (7, [1, 20, 2, 21, 22], [20, 2, 21, 22, 2], [True] * 5)
    assert bare.labels[bare.response].tolist() == REPLIES.labels[REPLIES.response].tolist()


def test_a_response_of_one_token_has_a_loss() -> None:
    """It is that of the token after the one before it: nothing is lost for want of a prompt."""
    model = build("llama")
    bare = bare_response(of_tokens([10, 11, 20], [False, False, True]), 1)
    logits = model(input_ids=torch.tensor([[1]])).logits[0, -1]
    expected = F.cross_entropy(logits, torch.tensor(20)).item()
    np.testing.assert_allclose(losses(model, [bare], batch_size=2, tick=silent), [expected], rtol=1e-5)


def test_a_response_of_which_nothing_is_left_has_no_loss() -> None:
    """NaN, and the samples beside it are as without it."""
    model = build("llama")
    cut, whole = of_tokens([10, 11, 20], [False] * 3), bare_response(PROMPTED, 1)
    found = losses(model, [cut, whole], batch_size=2, tick=silent)
    assert np.isnan(found[0])
    assert found[1] == losses(model, [whole], batch_size=2, tick=silent)[0]
    assert np.isnan(losses(model, [cut], batch_size=2, tick=silent)).all()


def counting(first: int, row: int) -> Sample:
    """Tokens that go up by one, from one of two halves of the vocabulary."""
    ids = np.arange(first, first + 13, dtype=np.int32)
    return Sample(row, ids[:-1], ids[1:], np.arange(12) >= 4)


def fall(model: nn.Module, samples: list[Sample], target: list[Sample], seed: int = 0) -> NDArray[np.float64]:
    before = losses(model, samples, batch_size=4, tick=silent)
    tune_on_target(
        model, target, epochs=3, batch_size=2, learning_rate=3e-3, loss_on="response", seed=seed, tick=silent
    )
    return before - losses(model, samples, batch_size=4, tick=silent)


def test_samples_like_the_target_gain_most() -> None:
    """The direction of Train on Validation, on a small trained model: high = keep. And the same seed ends the same."""
    model = build_scratch(ScratchModel(layers=1, width=16, heads=2), 60, 64)
    both = [counting(first, row) for row, first in enumerate([1, 3, 5, 30, 32, 34])]
    optimizer, kept = torch.optim.AdamW(model.parameters(), lr=3e-3), np.ones(6, dtype=np.bool_)
    for epoch in range(1, 4):
        train_epoch(model, optimizer, both, kept, batch_size=3, loss_on="all", seed=0, epoch=epoch, tick=silent)
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    target = [counting(2, 10), counting(4, 11)]
    gains = fall(model, both, target)
    assert gains[:3].min() > gains[3:].max()
    model.load_state_dict(start)
    np.testing.assert_array_equal(fall(model, both, target), gains)


def test_tuning_trains_the_adapters_alone_and_counts_all_epochs() -> None:
    model, ticks = attach_lora(build("llama"), LoraSettings(r=2), seed=0), []
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    target = random_samples([6, 8, 4])
    tune_on_target(
        model, target, epochs=2, batch_size=2, learning_rate=1e-2, loss_on="all", seed=0,
        tick=lambda *at: ticks.append(at),
    )  # fmt: skip
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]) != weight.requires_grad
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks)
    assert ticks[-1] == (36, 36)
