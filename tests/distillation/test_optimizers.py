"""The optimizers of the inner loop against torch.optim and against the published algorithm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.common.choices import InnerOptimizer
from engine.distillation.optimizers import Optimizer

NAMES: list[InnerOptimizer] = ["sgd", "momentum", "adam"]
Step = Callable[[list[Tensor], list[Tensor], float, int], None]


def tensors(seed: int, scale: float = 1.0) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((3, 4), (4,), ())]


def walk(optimizer: Optimizer, rates: list[float], scale: float = 1.0) -> list[Tensor]:
    """The weights after one step for each rate, with gradients that do not depend on them."""
    state = optimizer.init(tensors(0))
    for step, rate in enumerate(rates):
        state = optimizer.update(state, tensors(step + 1, scale), torch.tensor(rate, dtype=torch.float64), step)
    return state[:3]


def torch_walk(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], rates: list[float], scale: float = 1.0
) -> list[Tensor]:
    weights = [weight.requires_grad_() for weight in tensors(0)]
    optimizer = make(weights)
    for step, rate in enumerate(rates):
        for weight, gradient in zip(weights, tensors(step + 1, scale), strict=True):
            weight.grad = gradient
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    return [weight.detach() for weight in weights]


def assert_same(found: list[Tensor], expected: list[Tensor], relative: float) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=relative, atol=relative)


rates = st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(rates=rates)
def test_sgd_is_that_of_torch(rates: list[float]) -> None:
    """Several steps, each at a rate of its own."""
    assert_same(walk(Optimizer("sgd"), rates), torch_walk(lambda w: torch.optim.SGD(w), rates), 1e-14)


@settings(max_examples=30, deadline=None)
@given(rates=rates, momentum=st.floats(0.0, 0.99))
def test_momentum_is_that_of_torch(rates: list[float], momentum: float) -> None:
    """Heavy ball, without dampening: the first velocity is the gradient itself."""
    expected = torch_walk(lambda w: torch.optim.SGD(w, momentum=momentum), rates)
    assert_same(walk(Optimizer("momentum", momentum=momentum), rates), expected, 1e-13)


def published_adam(rates: list[float], betas: tuple[float, float], epsilon: float, scale: float) -> list[Tensor]:
    """Algorithm 1 of Kingma and Ba (2015), line by line, but with epsilon² inside the root."""
    theta = tensors(0)
    m, v = ([torch.zeros_like(part) for part in theta] for _ in range(2))
    for t, rate in enumerate(rates, start=1):
        for i, g in enumerate(tensors(t, scale)):
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g**2
            m_hat = m[i] / (1 - betas[0] ** t)
            v_hat = v[i] / (1 - betas[1] ** t)
            theta[i] = theta[i] - rate * m_hat / torch.sqrt(v_hat + epsilon**2)
    return theta


@settings(max_examples=30, deadline=None)
@given(
    rates=rates,
    first=st.floats(0.0, 0.95),
    second=st.floats(0.5, 0.9999),
    epsilon=st.sampled_from([1e-8, 1e-6, 1e-2]),
    scale=st.sampled_from([1e-6, 1e-2, 1.0]),
)
def test_adam_is_the_published_one_with_epsilon_inside_the_root(
    rates: list[float], first: float, second: float, epsilon: float, scale: float
) -> None:
    """Both moments, both corrections of their bias, gradients below and above epsilon."""
    found = walk(Optimizer("adam", betas=(first, second), epsilon=epsilon), rates, scale)
    assert_same(found, published_adam(rates, (first, second), epsilon, scale), 1e-11)


def test_adam_is_close_to_that_of_torch() -> None:
    """Where gradients are far above epsilon it does not matter where epsilon stands."""
    steps = [0.01, 0.1, 0.03, 0.2, 0.05]
    expected = torch_walk(lambda w: torch.optim.Adam(w, eps=1e-6), steps)
    found = walk(Optimizer("adam"), steps)
    assert_same(found, expected, 1e-4)
    assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) > 0  # not the same thing


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_are_finite_where_a_gradient_is_zero(name: InnerOptimizer, dtype: torch.dtype) -> None:
    """A weight nothing depends on, such as a row of positions that no input reaches: its derivatives are numbers."""
    optimizer = Optimizer(name)
    gradient, rate = torch.zeros(3, dtype=dtype, requires_grad=True), torch.tensor(0.1, dtype=dtype, requires_grad=True)
    weight = torch.ones(3, dtype=dtype, requires_grad=True)
    state = optimizer.init([weight])
    for step in range(3):
        state = optimizer.update(state, [gradient], rate, step)
    assert torch.equal(state[0], weight)
    found = torch.autograd.grad([part.sum() for part in state if part.requires_grad], [gradient, rate, weight])
    assert all(part.isfinite().all() for part in found)
    assert (found[0] != 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_changed_in_place(name: InnerOptimizer) -> None:
    """The states of the way forward are kept and used again."""
    optimizer = Optimizer(name)
    state = optimizer.init(tensors(0))
    before, gradients = [part.clone() for part in state], tensors(1)
    after = optimizer.update(state, gradients, torch.tensor(0.1, dtype=torch.float64), 0)
    assert len(after) == len(state) == 3 * (1 + optimizer.slots)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
    assert not torch.equal(after[0], state[0])
