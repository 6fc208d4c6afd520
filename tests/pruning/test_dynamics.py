"""Training dynamics of proxy runs: the numbers by hand, in any batches, and no outputs but those asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.pruning.dynamics import TrainingDynamics


def test_one_batch_gives_the_numbers_of_the_formulas() -> None:
    """Against float64 loops over single samples, which share no code with the dynamics."""
    outputs = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    dynamics = TrainingDynamics(2, 1, 6, 4)
    dynamics.update(1, torch.arange(6), outputs, labels)
    for run in range(2):
        for i, y in enumerate(labels.tolist()):
            z = outputs[run, i].double().numpy()
            p = np.exp(z) / np.exp(z).sum()
            assert dynamics.label_prob[run, 0, i] == pytest.approx(p[y], rel=1e-5)
            assert dynamics.loss[run, 0, i] == pytest.approx(-math.log(p[y]), rel=1e-5)
            assert dynamics.error_norm[run, 0, i] == pytest.approx(np.linalg.norm(p - np.eye(4)[y]), rel=1e-5)
            assert dynamics.margin[run, 0, i] == pytest.approx(z[y] - np.delete(z, y).max(), rel=1e-5)
            assert dynamics.correct[run, 0, i] == (z.argmax() == y)


def test_the_larger_of_two_logits_is_the_prediction() -> None:
    """No logit is compared with a half, as if it were a probability."""
    dynamics = TrainingDynamics(1, 1, 3, 2)
    outputs = torch.tensor([[[0.6, 0.9], [0.1, 0.3], [-3.0, -2.0]]])
    dynamics.update(1, torch.arange(3), outputs, torch.tensor([0, 1, 1]))
    assert dynamics.correct[0, 0].tolist() == [False, True, True]


def test_batches_and_their_order_do_not_matter() -> None:
    """A batch belongs to its rows, and the same batch again changes nothing."""
    outputs, labels = torch.randn(3, 10, 5), torch.arange(10) % 5
    whole, parts = TrainingDynamics(3, 2, 10, 5, (2,)), TrainingDynamics(3, 2, 10, 5, (2,))
    whole.update(2, torch.arange(10), outputs, labels)
    for index in (torch.tensor([7, 2, 9]), torch.tensor([0, 1, 3, 4, 5, 6, 8]), torch.tensor([2])):
        parts.update(2, index, outputs[:, index], labels[index])
    for name in ("loss", "error_norm", "label_prob", "margin", "correct"):
        np.testing.assert_allclose(getattr(whole, name)[:, 1], getattr(parts, name)[:, 1], rtol=1e-6)
    assert (whole.outputs[2] == parts.outputs[2]).all()
    assert np.isnan(whole.loss[:, 0]).all()


def test_outputs_are_kept_for_the_epochs_asked_for() -> None:
    """The last epoch may be the early one; other epochs are not kept, and one not recorded yet is NaN."""
    dynamics = TrainingDynamics(1, 3, 2, 2, (1, 3, 3))
    for epoch in (1, 2):
        dynamics.update(epoch, torch.arange(2), torch.full((1, 2, 2), float(epoch)), torch.zeros(2, dtype=torch.long))
    assert sorted(dynamics.outputs) == [1, 3]
    assert (dynamics.outputs[1] == 1).all()
    assert np.isnan(dynamics.outputs[3]).all()


def test_numbers_have_an_error_and_a_loss_and_nothing_of_classes() -> None:
    """Regression: |error| and its square."""
    dynamics = TrainingDynamics(2, 1, 2, 0, (1,))
    dynamics.update(1, torch.arange(2), torch.tensor([[[1.0], [2.0]], [[0.0], [5.0]]]), torch.tensor([3.0, 2.0]))
    assert dynamics.error_norm[:, 0].tolist() == [[2, 0], [3, 3]]
    assert dynamics.loss[:, 0].tolist() == [[4, 0], [9, 9]]
    assert dynamics.label_prob.size == dynamics.margin.size == dynamics.correct.size == 0
    assert dynamics.outputs[1].shape == (2, 2, 1)


def test_half_precision_and_gradients_do_no_harm() -> None:
    """Outputs of a bfloat16 network that are still part of a graph."""
    dynamics = TrainingDynamics(1, 1, 1, 3)
    outputs = torch.tensor([[[2.0, 0.0, 0.0]]], dtype=torch.bfloat16, requires_grad=True)
    dynamics.update(1, torch.tensor([0]), outputs, torch.tensor([0]))
    assert dynamics.label_prob[0, 0, 0] == pytest.approx(math.exp(2) / (math.exp(2) + 2), rel=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    """A wrong shape would be broadcast silently, and a wrong epoch would overwrite another."""
    dynamics = TrainingDynamics(2, 3, 4, 5)
    with pytest.raises(ValueError, match="shape"):
        dynamics.update(1, torch.arange(2), torch.zeros(1, 2, 5), torch.zeros(2, dtype=torch.long))
    for epoch in (0, 4):
        with pytest.raises(ValueError, match="not among the 3"):
            dynamics.update(epoch, torch.arange(2), torch.zeros(2, 2, 5), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="classes = 0"):
        TrainingDynamics(1, 1, 1, 1)
