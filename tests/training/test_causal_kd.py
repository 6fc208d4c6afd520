"""Distilling a causal student: the loss against plain float64, its gradient, and epochs that use it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM

from engine.batching.batch import Batch, collate
from engine.config.models import ScratchModel
from engine.models.scratch.causal import build
from engine.training.causal_kd import KnowledgeDistillation, kd_term
from engine.training.finetune import EpochResult, evaluate, logits_of, train_epoch
from tests.fixtures.models import random_samples

VOCABULARY, TOKENS = 50, 43  # the head is padded: the tokenizer has fewer tokens than the head has rows
samples = partial(random_samples, vocab_size=TOKENS)


def model(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return build(ScratchModel(layers=1, width=16, heads=2, seed=seed), VOCABULARY, 64)


class Plain:
    """A teacher that is run for every batch."""

    def __init__(self, net: LlamaForCausalLM) -> None:
        self.net = net
        self.asked: list[int] = []

    def of(self, indices: Sequence[int], batch: Batch) -> Tensor:
        self.asked += indices
        with torch.no_grad():
            return logits_of(self.net, batch)[:, :TOKENS]


def epoch(net: LlamaForCausalLM, kd: KnowledgeDistillation | None, kept: Sequence[bool] = (True,) * 16) -> EpochResult:
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    return train_epoch(
        net, optimizer, samples([8, 5, 9, 3] * 4), np.array(kept),
        batch_size=4, loss_on="response", seed=0, epoch=1, tick=lambda _done, _total: None, kd=kd,
    )  # fmt: skip


@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_the_term_is_the_mean_kl_over_the_tokenizer_s_tokens(scale: float) -> None:
    """Against log-softmax in float64, of sharp distributions too; padding rows of the student's head take no part."""
    torch.manual_seed(0)
    teacher, student = scale * torch.randn(7, TOKENS), scale * torch.randn(7, VOCABULARY)
    log_t = torch.log_softmax(teacher.double(), -1)
    log_s = torch.log_softmax(student[:, :TOKENS].double(), -1)
    expected = (log_t.exp() * (log_t - log_s)).sum(-1).mean()
    assert kd_term(teacher, student).item() == pytest.approx(expected.item(), rel=1e-4)
    padded = student.clone()
    padded[:, TOKENS:] = 1e4
    assert kd_term(teacher, padded) == kd_term(teacher, student)


def test_the_gradient_is_that_of_soft_cross_entropy() -> None:
    """To the student alone, and nothing to the rows that pad its head."""
    torch.manual_seed(0)
    teacher = torch.randn(7, TOKENS, dtype=torch.float64, requires_grad=True)
    student = torch.randn(7, VOCABULARY, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(kd_term(teacher, student), student)
    soft = F.cross_entropy(student[:, :TOKENS], teacher.detach().softmax(-1))
    (expected,) = torch.autograd.grad(soft, student)
    torch.testing.assert_close(found, expected)
    closed = (student[:, :TOKENS].softmax(-1) - teacher.softmax(-1)) / 7
    torch.testing.assert_close(found[:, :TOKENS], closed)
    assert found[:, TOKENS:].count_nonzero() == 0
    kd_term(teacher, student).backward()
    assert teacher.grad is None


def test_a_weight_of_zero_trains_as_without_a_teacher() -> None:
    """Bit for bit: asking a teacher draws no random number either."""
    alone, beside = model(), model()
    results = epoch(alone, None), epoch(beside, KnowledgeDistillation(0.0, Plain(model(1))))
    assert results[0] == results[1]
    for one, other in zip(alone.parameters(), beside.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_teacher_is_asked_for_what_is_kept_and_stays_as_it_is() -> None:
    teacher = model(1)
    before = [weight.clone() for weight in teacher.parameters()]
    plain, kept = Plain(teacher), [True, False] * 8
    epoch(model(), KnowledgeDistillation(0.5, plain), kept)
    assert sorted(plain.asked) == list(range(0, 16, 2))
    for weight, same in zip(teacher.parameters(), before, strict=True):
        assert torch.equal(weight, same)
        assert weight.grad is None


def test_a_student_that_only_listens_comes_closer_and_its_loss_is_still_cross_entropy() -> None:
    """With w = 1 labels are not learned from, and the reported loss is comparable with that of w = 0."""
    data, teacher, student = samples([8, 5, 9, 3] * 4), model(1), model()
    with torch.no_grad():
        teacher.lm_head.weight *= 20  # sure of itself
    before = evaluate(student, data, batch_size=4, loss_on="response", tick=lambda _done, _total: None)
    first = epoch(student, KnowledgeDistillation(1.0, Plain(teacher)))
    assert first.loss == pytest.approx(before.loss, rel=0.1)

    def distance() -> float:
        batch = collate(data, torch.device("cpu"), "response")
        with torch.no_grad():
            return kd_term(Plain(teacher).of(range(16), batch), logits_of(student, batch)).item()

    near = distance()
    for _ in range(8):
        epoch(student, KnowledgeDistillation(1.0, Plain(teacher)))
    assert distance() < 0.8 * near
