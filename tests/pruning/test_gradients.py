"""The gradient of one sample: over all parameters, whatever the batch; and its likeness to that of a target."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engine.pruning.gradients import grand, target_likeness


def small(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, outputs)).eval()


def batch(n: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 4, 4, generator=generator), torch.arange(n) % 3


def by_autograd(network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """One backward pass per sample, in float64."""
    network, found = network.double(), []
    for x, y in zip(inputs.double(), targets, strict=True):
        network.zero_grad()
        F.cross_entropy(network(x[None]), y[None]).backward()
        found.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).norm())
    return torch.stack(found).numpy()


def test_it_is_the_gradient_over_all_parameters() -> None:
    """Against plain autograd: the last layer alone would give less."""
    inputs, targets = batch()
    found = grand(small(), inputs, targets, F.cross_entropy, 4)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, by_autograd(small(), inputs, targets), rtol=1e-4)


def test_a_linear_network_has_a_closed_form() -> None:
    """For z = W x + b: norm2(softmax(z) - onehot(y)) * sqrt(norm2(x)^2 + 1)."""
    torch.manual_seed(0)
    network = nn.Linear(5, 3).eval()
    x, y = torch.randn(6, 5), torch.arange(6) % 3
    error = (torch.softmax(network(x), -1) - torch.eye(3)[y]).norm(dim=1)
    expected = (error * (x.square().sum(1) + 1).sqrt()).detach().numpy()
    np.testing.assert_allclose(grand(network, x, y, F.cross_entropy, 6), expected, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_neither_the_batch_size_nor_the_order_matters(batch_size: int) -> None:
    """The mean of a loss over a short last batch must not enlarge its gradients."""
    inputs, targets = batch()
    expected = grand(small(), inputs, targets, F.cross_entropy, 7)
    np.testing.assert_allclose(grand(small(), inputs, targets, F.cross_entropy, batch_size), expected, rtol=1e-4)
    turned = grand(small(), inputs.flip(0), targets.flip(0), F.cross_entropy, batch_size)
    np.testing.assert_allclose(turned[::-1], expected, rtol=1e-4)


def test_a_sample_that_is_known_scores_low() -> None:
    """High = keep: the gradient of a right and sure answer is small."""
    network = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 4.0]]))
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    known, wrong = grand(network, x, torch.tensor([0, 1]), F.cross_entropy, 2)
    assert known < wrong


def test_numbers_and_networks_of_several_inputs() -> None:
    """(ids, mask) of a text, and a squared error of one output."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 4)
            self.head = nn.Linear(4, 1)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return self.head((self.embedding(ids) * mask[..., None]).sum(1))

    torch.manual_seed(0)
    network = Masked().eval()
    ids, mask, y = torch.randint(0, 10, (5, 3)), torch.ones(5, 3), torch.randn(5)

    def squared(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output[0] - target) ** 2

    together = grand(network, (ids, mask), y, squared, 5)
    np.testing.assert_allclose(together, grand(network, (ids, mask), y, squared, 1), rtol=1e-5)
    hidden = network.embedding(ids).sum(1)  # d/d head = 2 e (hidden, 1); d/d embedding = 2 e head for each token
    error = 2 * (network.head(hidden)[:, 0] - y)
    counts = F.one_hot(ids, 10).sum(1).float().square().sum(1)
    expected = error.abs() * (hidden.square().sum(1) + 1 + counts * network.head.weight.square().sum()).sqrt()
    np.testing.assert_allclose(together, expected.detach().numpy(), rtol=1e-5)


def test_a_network_in_training_mode_is_refused_and_none_is_changed() -> None:
    """Dropout would be part of the score; and scoring leaves no gradients behind."""
    network = small()
    grand(network, *batch(), F.cross_entropy, 4)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training
    network[2].train()
    with pytest.raises(ValueError, match="training mode"):
        grand(network, *batch(), F.cross_entropy, 4)


def test_likeness_to_a_target_is_a_cosine_with_its_mean() -> None:
    """Closed form: the mean of (2, 0) and (0, 2) points along (1, 1); length does not matter, and high = keep."""
    target = np.array([[2.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    samples = np.array([[3.0, 3.0], [5.0, 0.0], [1.0, -1.0], [-0.1, -0.1], [0.0, 0.0]], dtype=np.float32)
    found = target_likeness(samples, target)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [1, np.sqrt(0.5), 0, -1, np.nan], atol=1e-12)


def test_likeness_is_to_the_mean_gradient_not_to_the_mean_direction() -> None:
    """A target sample with a long gradient moves the mean more, as in the paper."""
    target = np.array([[3.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(target_likeness(np.array([[1.0, 0.0]]), target), [3 / np.sqrt(10)])


def test_without_a_target_there_is_no_likeness() -> None:
    """Opposed target samples have no mean direction; none, or other widths, is a mistake of the caller."""
    samples = np.ones((2, 3))
    assert np.isnan(target_likeness(samples, np.array([[1.0, 0, 0], [-1.0, 0, 0]]))).all()
    for target in (np.ones((0, 3)), np.ones((2, 4))):
        with pytest.raises(ValueError, match="cannot compare"):
            target_likeness(samples, target)
