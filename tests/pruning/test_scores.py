"""Scores of labelled samples: closed forms, and high = keep for every one of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.pruning import scores
from engine.pruning.dynamics import TrainingDynamics


def dynamics_of(outputs: torch.Tensor, labels: list[int]) -> TrainingDynamics:
    """Those of (R, T, n, C) logits, with the outputs of every epoch kept."""
    runs, epochs, samples, classes = outputs.shape
    dynamics = TrainingDynamics(runs, epochs, samples, classes, range(1, epochs + 1))
    for epoch in range(epochs):
        dynamics.update(epoch + 1, torch.arange(samples), outputs[:, epoch], torch.tensor(labels))
    return dynamics


def one_run(right: list[list[bool]]) -> TrainingDynamics:
    """Those of one run whose predictions of label 0 are right or wrong, a list of epochs for each sample."""
    correct = torch.tensor(right).T[None, ..., None]
    return dynamics_of(torch.where(correct, torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])), [0] * len(right))


def test_hard_samples_score_high() -> None:
    """One sample is known, one is unsure, one is wrong, at every epoch: the direction of every score."""
    outputs = torch.tensor([[5.0, 0.0, 0.0], [0.5, 0.4, 0.4], [0.0, 5.0, 0.0]]).expand(2, 3, 3, 3)
    dynamics = dynamics_of(outputs, [0, 0, 0])
    for found in (scores.el2n(dynamics, 2), scores.loss(dynamics, 3), scores.aum(dynamics)):
        assert found[0] < found[1] < found[2]
    known, unsure, wrong = scores.forgetting(dynamics)
    assert known == unsure < wrong
    for score in (scores.least_confidence, scores.entropy, scores.margin):
        known, unsure, wrong = score(dynamics, 3)
        assert unsure > known
        assert known == pytest.approx(wrong, abs=1e-7)  # these three do not look at the label
    teacher = torch.tensor([[5.0, 0.0, 0.0]]).repeat(3, 1)
    known, unsure, wrong = scores.kl_from_teacher(teacher, dynamics.outputs[1])
    assert known < unsure < wrong


def test_every_score_is_a_float64_for_each_sample() -> None:
    """What is stored is narrowed once, at the end."""
    dynamics = dynamics_of(torch.randn(2, 3, 7, 4), [0, 1, 2, 3, 0, 1, 2])
    found = [scores.el2n(dynamics, 1), scores.loss(dynamics, 3), scores.forgetting(dynamics), scores.aum(dynamics)]
    found += [score(dynamics, 2) for score in (scores.least_confidence, scores.entropy, scores.margin)]
    found += [scores.kl_from_teacher(torch.randn(7, 4), dynamics.outputs[2]), scores.random_score(7, 0)]
    for each in found:
        assert each.shape == (7,)
        assert each.dtype == np.float64


def test_error_norms_are_averaged_over_runs_at_one_epoch() -> None:
    """Not summed over epochs, and not of one run only: the scale does not depend on how much was watched."""
    outputs = torch.randn(3, 4, 5, 3, generator=torch.Generator().manual_seed(1))
    dynamics = dynamics_of(outputs, [0, 1, 2, 0, 1])
    probs = torch.softmax(outputs[:, 1].double(), -1)
    expected = (probs - torch.eye(3)[[0, 1, 2, 0, 1]]).norm(dim=-1).mean(0)
    np.testing.assert_allclose(scores.el2n(dynamics, 2), expected, rtol=1e-5)
    assert scores.el2n(dynamics, 2).max() <= math.sqrt(2)


def test_forgetting_counts_falls_and_never_learned_is_the_hardest() -> None:
    """A sample that was never right must not pass for one that was never forgotten."""
    yes, no = True, False
    dynamics = one_run([[yes] * 4, [no] * 4, [no, no, yes, yes], [yes, no, yes, no], [yes, no, no, no]])
    assert scores.forgetting(dynamics).tolist() == [0, 4, 0, 2, 1]


def test_forgetting_is_averaged_over_runs() -> None:
    """Never learned in one run of two is half of the maximum."""
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    outputs = torch.tensor([[[right], [right]], [[wrong], [wrong]]])
    assert scores.forgetting(dynamics_of(outputs, [0])).tolist() == [1.0]


def test_the_area_under_the_margin_holds_every_epoch() -> None:
    """Three epochs with margins 1, 2 and 6: minus their mean, not minus the last."""
    outputs = torch.tensor([[[[1.0, 0.0, -9.0]], [[2.0, 0.0, -9.0]], [[6.0, 0.0, -9.0]]]])
    assert scores.aum(dynamics_of(outputs, [0])).tolist() == [-3.0]


def test_uncertainty_is_of_the_mean_probabilities() -> None:
    """Two sure runs that disagree are unsure together."""
    outputs = torch.tensor([[[[50.0, 0.0]]], [[[0.0, 50.0]]]])
    dynamics = dynamics_of(outputs, [0])
    assert scores.least_confidence(dynamics, 1)[0] == pytest.approx(0.5)
    assert scores.entropy(dynamics, 1)[0] == pytest.approx(math.log(2))
    assert scores.margin(dynamics, 1)[0] == pytest.approx(1.0)


def test_uncertainty_closed_forms() -> None:
    """Probabilities 0.7, 0.2, 0.1."""
    dynamics = dynamics_of(torch.tensor([0.7, 0.2, 0.1]).log()[None, None, None], [2])
    assert scores.least_confidence(dynamics, 1)[0] == pytest.approx(0.3, rel=1e-6)
    assert scores.margin(dynamics, 1)[0] == pytest.approx(0.5, rel=1e-6)
    expected = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1))
    assert scores.entropy(dynamics, 1)[0] == pytest.approx(expected, rel=1e-6)


def test_kl_is_that_of_the_teacher_to_the_student_summed_over_classes() -> None:
    """KL((1/2, 1/2) || (1/4, 3/4)), the other direction differs; the mean over two runs, one of them the teacher."""
    teacher = np.log([[0.5, 0.5]])
    student = np.log([[[0.25, 0.75]], [[0.5, 0.5]]])
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert scores.kl_from_teacher(teacher, student)[0] == pytest.approx(expected / 2, rel=1e-12)


def test_kl_knows_nothing_of_a_constant_and_is_never_negative() -> None:
    """Logits are free up to a constant; equal models have 0, and far ones stay finite."""
    logits = np.random.default_rng(0).normal(size=(20, 6)) * 10
    same = scores.kl_from_teacher(logits, (logits + 100.0)[None])
    assert (same >= 0).all()
    np.testing.assert_allclose(same, 0, atol=1e-10)
    far = scores.kl_from_teacher(np.array([[2000.0, 0.0]]), np.array([[[0.0, 2000.0]]]))
    assert far[0] == pytest.approx(2000.0)


def test_a_diverged_run_gives_no_number_to_its_sample_only() -> None:
    """NaN ranks last when samples are selected."""
    outputs = torch.zeros(2, 1, 2, 3)
    outputs[1, 0, 0] = torch.nan
    dynamics = dynamics_of(outputs, [0, 0])
    of_epoch = [score(dynamics, 1) for score in (scores.el2n, scores.loss, scores.entropy)]
    for found in (*of_epoch, scores.aum(dynamics)):
        assert np.isnan(found).tolist() == [True, False]


def test_random_scores_are_those_of_their_seed() -> None:
    assert (scores.random_score(9, 1) == scores.random_score(9, 1)).all()
    assert (scores.random_score(9, 1) != scores.random_score(9, 2)).all()


def test_numbers_have_scores_where_these_mean_something() -> None:
    """Mean |error| and mean squared error; scores of classes are refused."""
    dynamics = TrainingDynamics(2, 1, 2, 0, (1,))
    dynamics.update(1, torch.arange(2), torch.tensor([[[1.0], [2.0]], [[0.0], [5.0]]]), torch.tensor([3.0, 2.0]))
    assert scores.el2n(dynamics, 1).tolist() == [2.5, 1.5]
    assert scores.loss(dynamics, 1).tolist() == [6.5, 4.5]
    for call in (lambda: scores.forgetting(dynamics), lambda: scores.aum(dynamics), lambda: scores.margin(dynamics, 1)):
        with pytest.raises(ValueError, match="needs classes"):
            call()


def test_outputs_that_were_not_kept_are_asked_for() -> None:
    """Uncertainty at another epoch than the kept one is not read from that one."""
    dynamics = TrainingDynamics(1, 2, 1, 2, (1,))
    for epoch in (1, 2):
        dynamics.update(epoch, torch.arange(1), torch.zeros(1, 1, 2), torch.zeros(1, dtype=torch.long))
    assert scores.margin(dynamics, 1)[0] == 1.0
    with pytest.raises(ValueError, match="margin needs the outputs of epoch 2; name it in keep_epochs"):
        scores.margin(dynamics, 2)


def test_unfinished_dynamics_are_refused() -> None:
    """A mean over fewer epochs would look like a score."""
    dynamics = TrainingDynamics(1, 2, 3, 2)
    dynamics.update(1, torch.arange(3), torch.zeros(1, 3, 2), torch.zeros(3, dtype=torch.long))
    assert np.isfinite(scores.el2n(dynamics, 1)).all()
    for call in (lambda: scores.el2n(dynamics, 2), lambda: scores.forgetting(dynamics), lambda: scores.aum(dynamics)):
        with pytest.raises(ValueError, match="lack samples"):
            call()
