"""A batch is the samples' own tokens; padding stands on the right, counts nowhere and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.batching.batch import Batch, collate
from engine.common.choices import LossOn
from engine.training.finetune import logits_of
from tests.fixtures.models import FAMILIES, build, random_samples

CPU = torch.device("cpu")


@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_a_batch_counts_what_it_should(loss_on: LossOn) -> None:
    """Tokens and labels are those of the samples, one after the other; prompts count only if asked for."""
    samples = random_samples([5, 3, 5, 1])
    kept = [sample.response if loss_on == "response" else np.ones_like(sample.response) for sample in samples]
    batch = collate(samples, CPU, loss_on)
    assert batch.lengths == [5, 3, 5, 1]
    assert batch.tokens == 14
    for values, names in ((batch.input_ids[batch.counted], "input_ids"), (batch.labels, "labels")):
        each = [getattr(sample, names)[counts] for sample, counts in zip(samples, kept, strict=True)]
        assert values.tolist() == np.concatenate(each).tolist()


def test_padding_repeats_a_samples_own_last_token() -> None:
    """No sample meets a token that is not in it, whose embedding may hold anything."""
    samples = random_samples([5, 3])
    batch = collate(samples, CPU)
    assert batch.input_ids[1].tolist() == [*samples[1].input_ids.tolist(), *[samples[1].input_ids[-1]] * 2]
    assert batch.counted.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_stands_in_the_padding_changes_no_bit(family: str) -> None:
    """Loss and every gradient are the same whether padding repeats the last token or holds zeros."""
    batch = collate(random_samples([9, 4, 7, 2]), CPU, "response")
    real = torch.arange(9) < torch.tensor(batch.lengths)[:, None]
    zeros = Batch(batch.input_ids * real, batch.counted, batch.labels, batch.lengths)
    assert not torch.equal(zeros.input_ids, batch.input_ids)
    model = build(family)
    losses, gradients = [], []
    for one in (batch, zeros):
        loss = F.cross_entropy(logits_of(model, one), one.labels)
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    assert torch.equal(*losses)
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
