"""The way back through a student's training, against the full graph, finite differences and a derivation by hand."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call
from transformers import BertConfig, BertForSequenceClassification

from bench.distillation_baselines import full_graph_hypergradient
from engine.common.choices import InnerOptimizer
from engine.distillation.optimizers import Optimizer
from engine.distillation.unroll import InnerLoss, OuterLoss, Unroll

NAMES: list[InnerOptimizer] = ["sgd", "momentum", "adam"]
RATES = {"sgd": 0.3, "momentum": 0.2, "adam": 0.05}
Found = tuple[Tensor, list[Tensor], Tensor]
every_optimizer = pytest.mark.parametrize("name", NAMES)


class Problem(NamedTuple):
    """A student, synthetic inputs with their labels, and a loss on real ones; float64."""

    inner_loss: InnerLoss
    outer_loss: OuterLoss
    weights: list[Tensor]
    learned: list[Tensor]


def soft_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return -(labels * logits.log_softmax(-1)).sum(-1).mean()


def mlp(seed: int = 0) -> Problem:
    """Two inputs for each of three classes; a third tensor that is learned decays the weights."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    weights = [draw(5, 7) / 2, draw(7) / 2, draw(7, 3) / 2, draw(3) / 2]
    learned, real, classes = [draw(6, 5), draw(6, 3), draw(4) / 10], draw(9, 5), torch.arange(9) % 3

    def forward(weights: list[Tensor], inputs: Tensor) -> Tensor:
        return (inputs @ weights[0] + weights[1]).tanh() @ weights[2] + weights[3]

    def inner(weights: list[Tensor], learned: list[Tensor], step: int) -> Tensor:
        # Each step has two thirds of the inputs, so that a wrong step number is noticed.
        part = [(step + i) % 6 for i in range(4)]
        decay = sum((d * w.square().sum() for d, w in zip(learned[2], weights, strict=True)), torch.zeros(()))
        return soft_loss(forward(weights, learned[0][part]), learned[1][part]) + decay

    return Problem(inner, lambda weights: F.cross_entropy(forward(weights, real), classes), weights, learned)


def bert(attention: str = "eager") -> Problem:
    """The smallest BERT, which reads vectors in the inner loop and tokens in the outer one; its word table is fixed."""
    torch.manual_seed(0)
    config = BertConfig(  # type: ignore[call-arg]
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=10,
        num_labels=2,
        attn_implementation=attention,
    )
    model: Any = BertForSequenceClassification(config).double().eval().requires_grad_(False)
    table = model.get_input_embeddings().weight
    parameters = {name: 3 * weight for name, weight in model.named_parameters() if weight is not table}

    def call(weights: list[Tensor], **inputs: Tensor) -> Tensor:
        logits: Tensor = functional_call(model, dict(zip(parameters, weights, strict=True)), (), inputs).logits
        return logits

    def inner(weights: list[Tensor], learned: list[Tensor], _step: int) -> Tensor:
        return soft_loss(call(weights, inputs_embeds=learned[0]), learned[1])

    ids, classes = torch.randint(30, (5, 9)), torch.tensor([0, 1, 1, 0, 1])
    learned = [torch.randn(2, 6, 8).double(), torch.randn(2, 2).double()]
    return Problem(
        inner,
        lambda weights: F.cross_entropy(call(weights, input_ids=ids), classes),
        list(parameters.values()),
        learned,
    )


def rates_of(name: InnerOptimizer, steps: int) -> Tensor:
    return RATES[name] * torch.linspace(1.0, 0.5, steps, dtype=torch.float64)


def recomputed(
    problem: Problem, name: InnerOptimizer, steps: int, window: tuple[int, int] | None = None, on_host: bool = False
) -> Found:
    """The hypergradient step by step."""
    inner, outer, weights, learned = problem
    unroll = Unroll(inner, Optimizer(name), on_host)
    return unroll.hypergradient(weights, learned, rates_of(name, steps), outer, window)


def kept(problem: Problem, name: InnerOptimizer, steps: int, window: tuple[int, int] | None = None) -> Found:
    """The same through the full graph."""
    inner, outer, weights, learned = problem
    return full_graph_hypergradient(inner, Optimizer(name), weights, learned, rates_of(name, steps), outer, window)


def assert_same(one: Found, other: Found, relative: float = 1e-10) -> None:
    """Equal relative to the largest entry of each tensor: single entries may be differences that all but vanish."""
    pairs = list(zip([one[0], *one[1], one[2]], [other[0], *other[1], other[2]], strict=True))
    for a, b in pairs:
        assert float((a - b).abs().max()) <= relative * float(b.abs().max())
    assert all(b.count_nonzero() for _, b in pairs)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(NAMES), steps=st.integers(1, 6), seed=st.integers(0, 100))
def test_recomputing_equals_the_full_graph(name: InnerOptimizer, steps: int, seed: int) -> None:
    """Loss and the gradients of inputs, labels, a third tensor and rates, for a small network."""
    assert_same(recomputed(mlp(seed), name, steps), kept(mlp(seed), name, steps))


@every_optimizer
@pytest.mark.parametrize("steps", [1, 4])
def test_recomputing_equals_the_full_graph_of_a_transformer(name: InnerOptimizer, steps: int) -> None:
    """Attention, layer norms and GELU, vectors in the place of word embeddings."""
    assert_same(recomputed(bert(), name, steps), kept(bert(), name, steps))


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    steps=st.integers(1, 6),
    ends=st.tuples(st.integers(0, 5), st.integers(1, 6)),
    seed=st.integers(0, 100),
)
def test_a_window_equals_the_full_graph_with_earlier_states_detached(
    name: InnerOptimizer, steps: int, ends: tuple[int, int], seed: int
) -> None:
    """The student stops where the window does; rates outside it have no gradient."""
    stop = min(ends[1], steps)
    window = min(ends[0], stop - 1), stop
    found = recomputed(mlp(seed), name, steps, window)
    assert_same(found, kept(mlp(seed), name, steps, window))
    assert found[2].nonzero()[:, 0].tolist() == list(range(*window))


@every_optimizer
def test_the_whole_window_is_no_window(name: InnerOptimizer) -> None:
    """(0, T) gives bit for bit what no window gives."""
    assert_same(recomputed(mlp(), name, 5, (0, 5)), recomputed(mlp(), name, 5), relative=0.0)


@every_optimizer
@pytest.mark.parametrize("problem", [mlp, bert])
def test_finite_differences(name: InnerOptimizer, problem: Callable[[], Problem]) -> None:
    """The outer loss really changes as the gradient says, along random directions of all that is learned."""
    inner, outer, weights, learned = problem()
    unroll, rates = Unroll(inner, Optimizer(name)), rates_of(name, 3)
    _, gradients, slopes = unroll.hypergradient(weights, learned, rates, outer)
    random = torch.Generator().manual_seed(1)
    for place, gradient in enumerate([*gradients, slopes]):
        for _ in range(2):
            direction = torch.randn(gradient.shape, generator=random, dtype=torch.float64)
            losses = []
            for h in (1e-6, -1e-6):
                moved = [*learned, rates]
                moved[place] = moved[place] + h * direction * moved[place].abs().mean()
                losses.append(float(outer(unroll.train(weights, moved[:-1], moved[-1]))))
            scale = float([*learned, rates][place].abs().mean())
            expected = float((gradient * direction).sum()) * scale
            bound = 1e-6 * float(gradient.norm() * direction.norm()) * scale
            assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(expected, abs=bound)


def test_one_step_of_linear_regression_by_hand() -> None:
    """Loss |Xθ - y|² / 2, one step at rate r, outer loss |Zθ₁ - u|² / 2: every gradient has a closed form."""
    random = torch.Generator().manual_seed(0)
    x, y, z, u, theta = (
        torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((4, 3), (4,), (5, 3), (5,), (3,))
    )
    rates = torch.tensor([0.1], dtype=torch.float64)
    unroll = Unroll(lambda w, given, _: (given[0] @ w[0] - given[1]).square().sum() / 2, Optimizer())
    loss, (by_x, by_y), by_rate = unroll.hypergradient(
        [theta], [x, y], rates, lambda w: (z @ w[0] - u).square().sum() / 2
    )
    error = x @ theta - y
    moved = theta - 0.1 * x.T @ error
    slope = z.T @ (z @ moved - u)
    torch.testing.assert_close(loss, (z @ moved - u).square().sum() / 2)
    torch.testing.assert_close(by_y, 0.1 * x @ slope)
    torch.testing.assert_close(by_x, -0.1 * (torch.outer(error, slope) + torch.outer(x @ slope, theta)))
    torch.testing.assert_close(by_rate, -(slope @ x.T @ error)[None])


@every_optimizer
def test_training_is_the_way_forward_of_the_hypergradient(name: InnerOptimizer) -> None:
    """What is measured later is the student that was differentiated through, at any number of steps."""
    inner, outer, weights, learned = mlp()
    unroll, rates = Unroll(inner, Optimizer(name)), rates_of(name, 5)
    assert torch.equal(
        outer(unroll.train(weights, learned, rates)), unroll.hypergradient(weights, learned, rates, outer)[0]
    )
    for stop in range(1, 6):
        loss, _, _ = unroll.hypergradient(weights, learned, rates, outer, (0, stop))
        assert torch.equal(outer(unroll.train(weights, learned, rates, stop)), loss)
    untouched = unroll.train(weights, learned, rates, 0)
    assert all(torch.equal(a, b) for a, b in zip(untouched, weights, strict=True))


@every_optimizer
def test_states_in_host_memory_change_nothing(name: InnerOptimizer) -> None:
    """Where weights wait between forward and back decides nothing."""
    assert_same(recomputed(mlp(), name, 4, on_host=True), recomputed(mlp(), name, 4), relative=0.0)


@every_optimizer
def test_what_is_given_is_left_as_it_was(name: InnerOptimizer) -> None:
    """Parameters that ask for gradients get none by the way, and no value changes."""
    inner, outer, weights, learned = mlp()
    rates = rates_of(name, 3)
    given = [part.clone().requires_grad_() for part in (*weights, *learned, rates)]
    loss, gradients, slopes = Unroll(inner, Optimizer(name)).hypergradient(given[:4], given[4:-1], given[-1], outer)
    assert all(torch.equal(a, b) for a, b in zip(given, [*weights, *learned, rates], strict=True))
    assert all(part.grad is None for part in given)
    assert not any(part.requires_grad for part in (loss, *gradients, slopes))


def test_works_inside_no_grad() -> None:
    """The outer loop may run without gradients of its own."""
    with torch.no_grad():
        found = recomputed(mlp(), "sgd", 3)
    assert_same(found, recomputed(mlp(), "sgd", 3), relative=0.0)


def test_weights_and_inputs_the_loss_does_not_know() -> None:
    """A weight without a gradient stays where it is; an input without one has derivative zero."""
    inner, outer, weights, learned = mlp()
    spare = torch.ones(2, dtype=torch.float64)
    unroll = Unroll(lambda w, given, step: inner(w[:4], given[:3], step), Optimizer("adam"))
    rates = rates_of("adam", 3)
    loss, gradients, slopes = unroll.hypergradient(
        [*weights, spare], [*learned, spare], rates, lambda w: outer(w[:4]) + w[4].sum()
    )
    assert_same((loss - 2, gradients[:3], slopes), recomputed(mlp(), "adam", 3))
    assert gradients[3].tolist() == [0.0, 0.0]


class Held:
    """A tensor saved for a backward pass, counted for as long as a graph holds it."""

    now = peak = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        Held.now += tensor.nbytes
        Held.peak = max(Held.peak, Held.now)

    def __del__(self) -> None:
        Held.now -= self.tensor.nbytes


def held_at_peak(work: Callable[[], Found]) -> int:
    """Bytes that graphs hold at the peak; afterwards they hold none."""
    Held.peak = 0
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        work()
    gc.collect()
    assert Held.now == 0
    return Held.peak


@every_optimizer
def test_graphs_do_not_grow_with_the_number_of_steps(name: InnerOptimizer) -> None:
    """The bytes that graphs hold at the peak are those of one step, at 12 as at 2; the full graph's grow."""
    problem = mlp()

    def peaks(hypergradient: Callable[[Problem, InnerOptimizer, int], Found]) -> list[int]:
        return [held_at_peak(partial(hypergradient, problem, name, steps)) for steps in (1, 2, 12)]

    one, two, twelve = peaks(recomputed)
    assert one == two == twelve > 0
    _, two_kept, twelve_kept = peaks(kept)
    assert twelve_kept > 4 * two_kept > 4 * two


def test_attention_without_a_second_derivative_says_so() -> None:
    """Why students are switched to eager attention: the fused one has no double backward on a CPU."""
    inner, outer, weights, learned = bert("sdpa")
    unroll, rates = Unroll(inner, Optimizer()), rates_of("sgd", 2)
    assert outer(unroll.train(weights, learned, rates)).isfinite()
    with pytest.raises(
        RuntimeError, match=r"derivative for .*scaled_dot_product.*attention.*backward.* not implemented"
    ):
        unroll.hypergradient(weights, learned, rates, outer)
