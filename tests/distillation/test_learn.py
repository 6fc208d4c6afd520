"""The outer loop: its losses and its schedule, one step by hand, rollbacks, and resuming."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.distillation_baselines import full_graph_hypergradient
from engine.common.choices import InnerOptimizer, LabelKind
from engine.common.errors import WinnowError
from engine.common.random_streams import outer_seed
from engine.distillation.decode import embedding_penalty
from engine.distillation.learn import (
    EXPLODED,
    GOOD_EVERY,
    LAST,
    MAX_ROLLBACKS,
    WARM_UP,
    Backoff,
    OuterLoop,
    SyntheticSet,
    attention_loss,
    inner_loss,
    schedule,
    targets_of,
    weighted_loss,
)
from engine.distillation.optimizers import Optimizer
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.models.functional import softplus_inverse

WIDTH, CLASSES, TOKENS = 5, 3, 4
STEPS = 40  # of the outer loop
RATES = (0.05, 0.03, 0.02)
KINDS: tuple[LabelKind, ...] = ("hard", "soft", "unrestricted")
Batch = tuple[tuple[Tensor, ...], Tensor]


class Small:
    """One hidden layer in float64; what it attends to are its hidden units."""

    def init(self, seed: int) -> list[Tensor]:
        random = torch.Generator().manual_seed(seed)
        shapes = ((WIDTH, TOKENS), (TOKENS, CLASSES), (CLASSES,))
        return [torch.randn(shape, generator=random, dtype=torch.float64) / 2 for shape in shapes]

    def forward(self, weights: list[Tensor], *inputs: Tensor) -> Tensor:
        return (inputs[0] @ weights[0]).tanh() @ weights[1] + weights[2]

    def forward_embeds(
        self, weights: list[Tensor], inputs: Tensor, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        found = (inputs @ weights[0]).softmax(-1)[:, None, None] if attention else None
        return self.forward(weights, inputs), found


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def synthetic_set(kind: LabelKind = "unrestricted", steps: int = 3, attention: bool = False) -> SyntheticSet:
    """Two inputs of each class."""
    return SyntheticSet(
        drawn(1, 2 * CLASSES, WIDTH),
        drawn(2, 2 * CLASSES, CLASSES),
        torch.full((steps,), softplus_inverse(0.3), dtype=torch.float64),
        drawn(3, 2 * CLASSES, 1, 1, TOKENS) if attention else None,
        kind,
    )


def outer_of(
    synthetic: SyntheticSet | None = None, name: InnerOptimizer = "sgd", window: int = 99, **changes: Any
) -> OuterLoop:
    given: dict[str, Any] = {"steps": STEPS, "rates": RATES, "backoff": Backoff(8, window), "seed": 4} | changes
    return OuterLoop(Small(), synthetic or synthetic_set(), Optimizer(name), **given)


def batch(number: int) -> Batch:
    """A real batch that can be learned: the class is the largest of the first three numbers."""
    inputs = drawn(1000 + number, 8, WIDTH)
    return (inputs,), inputs[:, :CLASSES].argmax(-1)


def broken(number: int) -> Batch:
    return (batch(number)[0][0] * math.nan,), batch(number)[1]


def copy_of(outer: OuterLoop) -> dict[str, Tensor]:
    """All that is learned and the moments of Adam."""
    found = {name: tensor.detach().clone() for name, tensor in outer.synthetic.tensors().items()}
    for place, state in outer.adam.state_dict()["state"].items():
        found |= {f"{place}.{key}": torch.as_tensor(value).clone() for key, value in state.items()}
    return found


def assert_bitwise(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


# -- labels and losses --------------------------------------------------------------------------------------------


def test_what_labels_mean() -> None:
    """One class each, probabilities, or the numbers themselves; a set is stored as what students are trained on."""
    labels = drawn(0, 6, CLASSES)
    hard, soft, unrestricted = (targets_of(labels, kind) for kind in KINDS)
    assert hard.dtype == labels.dtype
    assert torch.equal(hard, torch.eye(CLASSES, dtype=torch.float64)[labels.argmax(-1)])
    torch.testing.assert_close(soft, labels.exp() / labels.exp().sum(-1, keepdim=True))
    assert torch.equal(unrestricted, labels)
    for kind in KINDS:
        synthetic = synthetic_set(kind)
        synthetic.labels.requires_grad_()
        assert torch.equal(synthetic.targets, targets_of(synthetic.labels.detach(), kind))
        assert not synthetic.targets.requires_grad


def test_learning_rates_are_positive() -> None:
    """Whatever the outer loop makes of their raw numbers."""
    synthetic = synthetic_set()
    torch.testing.assert_close(synthetic.learning_rates, torch.full((3,), 0.3, dtype=torch.float64))
    synthetic.rates.copy_(torch.tensor([-30.0, 0.0, 30.0]))
    assert (synthetic.learning_rates > 0).all()


@given(seed=st.integers(0, 1000), count=st.integers(1, 5), classes=st.integers(2, 6))
def test_the_loss_of_probabilities_is_cross_entropy(seed: int, count: int, classes: int) -> None:
    """With one-hot and with soft targets it is what torch calls cross entropy."""
    logits, labels = 3 * drawn(seed, count, classes), drawn(seed + 1, count, classes)
    hard, soft = targets_of(labels, "hard"), targets_of(labels, "soft")
    torch.testing.assert_close(weighted_loss(logits, hard), F.cross_entropy(logits, labels.argmax(-1)))
    torch.testing.assert_close(weighted_loss(logits, soft), F.cross_entropy(logits, soft))


@given(seed=st.integers(0, 1000), scale=st.floats(-5, 5))
def test_the_loss_is_linear_in_unrestricted_targets(seed: int, scale: float) -> None:
    """Targets need not sum to 1 nor be positive: twice the target is twice the gradient."""
    logits, one, other = (drawn(seed + i, 4, CLASSES) for i in range(3))
    found = weighted_loss(logits, one + scale * other)
    torch.testing.assert_close(found, weighted_loss(logits, one) + scale * weighted_loss(logits, other))


def test_the_loss_of_attention() -> None:
    """KL(label ‖ attention): zero where they are equal, else positive, and finite where attention is zero."""
    labels = drawn(0, 4, 2, 3, TOKENS)
    attention = drawn(1, 4, 2, 3, TOKENS).softmax(-1)
    assert float(attention_loss(labels.softmax(-1), labels)) == pytest.approx(0, abs=1e-12)
    expected = F.kl_div(attention.log(), labels.softmax(-1), reduction="sum") / (4 * 2 * 3)
    assert float(expected) > 0
    torch.testing.assert_close(attention_loss(attention, labels), expected)
    nowhere = torch.eye(TOKENS, dtype=torch.float64).expand(4, 2, 4, TOKENS)
    assert attention_loss(nowhere, drawn(2, 4, 2, 4, TOKENS)).isfinite()


def test_the_inner_loss_asks_for_attention_where_it_has_labels() -> None:
    """Without labels of attention nothing is added."""
    student, synthetic = Small(), synthetic_set("soft", attention=True)
    assert synthetic.attention is not None
    weights = student.init(0)
    logits, attention = student.forward_embeds(weights, synthetic.inputs, True)
    assert attention is not None
    plain = inner_loss(student, "soft")(weights, [synthetic.inputs, synthetic.labels], 0)
    torch.testing.assert_close(plain, F.cross_entropy(logits, synthetic.labels.softmax(-1)))
    whole = inner_loss(student, "soft")(weights, [synthetic.inputs, synthetic.labels, synthetic.attention], 0)
    torch.testing.assert_close(whole, plain + attention_loss(attention, synthetic.attention))


# -- rates, heads, batches ----------------------------------------------------------------------------------------


@given(steps=st.integers(1, 3000))
def test_the_schedule_rises_and_falls(steps: int) -> None:
    """Up to the peak within the first steps, then down in a line to a tenth of it; never zero."""
    shares = np.array([schedule(step, steps) for step in range(steps)])
    warm = max(1, int(WARM_UP * steps))
    assert shares[:warm] == pytest.approx(np.arange(1, warm + 1) / warm)
    assert shares.max() == 1.0
    assert shares[warm:].min(initial=1.0) >= LAST
    falls = np.diff(shares[warm:])
    assert (falls < 0).all()
    assert falls == pytest.approx(falls[:1].repeat(len(falls)))
    assert schedule(steps, steps) == pytest.approx(LAST)


def test_heads_of_runs_that_lie_close_are_no_neighbours() -> None:
    """Two seeds share no fresh head, and none is one of those that sets are measured with."""
    heads = [outer_seed(seed, step) for seed in range(5) for step in range(5000)]
    assert len(set(heads)) == len(heads)
    assert min(heads) > 30_000


# -- one step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_the_first_step_is_adam_on_the_gradient_of_the_full_graph(
    name: InnerOptimizer, kind: LabelKind, attention: bool
) -> None:
    """Loss, gradients (that of the rates through softplus) and the first move of Adam, lr · g / (|g| + 1e-8)."""
    before, outer = synthetic_set(kind, attention=attention), outer_of(synthetic_set(kind, attention=attention), name)
    inputs, classes = batch(0)
    given = [before.inputs, before.labels, *([] if before.attention is None else [before.attention])]
    loss, gradients, slopes = full_graph_hypergradient(
        inner_loss(Small(), kind),
        Optimizer(name),
        Small().init(outer_seed(4, 0)),
        given,
        F.softplus(before.rates),
        lambda weights: F.cross_entropy(Small().forward(weights, *inputs), classes),
    )
    assert outer.step(0, inputs, classes) == pytest.approx(float(loss))
    expected = {"inputs": gradients[0], "labels": gradients[1], "rates": slopes * before.rates.sigmoid()}
    rates = {"inputs": RATES[0], "labels": RATES[1], "rates": RATES[2]}
    if attention:
        expected["attention"], rates["attention"] = gradients[2], RATES[1]
    assert outer.synthetic.tensors().keys() == expected.keys()
    for part, tensor in outer.synthetic.tensors().items():
        gradient = expected[part]
        assert tensor.grad is not None
        torch.testing.assert_close(tensor.grad, gradient, rtol=1e-7, atol=1e-12)
        move = rates[part] * schedule(0, STEPS) * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(tensor.detach(), before.tensors()[part] - move, rtol=1e-6, atol=1e-9)
        assert bool(gradient.any()) == ((kind, part) != ("hard", "labels"))


def test_steps_make_the_trained_student_better() -> None:
    """What is learned lowers the loss on batches that were never seen."""
    outer = outer_of(rates=(0.1, 0.1, 0.05))

    def measured() -> float:
        synthetic, losses = outer.synthetic, []
        for head in range(5):
            weights = [part.clone() for part in Small().init(head)]
            loss = inner_loss(Small(), synthetic.kind)
            for rate in synthetic.learning_rates:
                weights = [part.requires_grad_() for part in weights]
                found = torch.autograd.grad(
                    loss(weights, [synthetic.inputs.detach(), synthetic.labels.detach()], 0), weights
                )
                weights = [(part - rate * slope).detach() for part, slope in zip(weights, found, strict=True)]
            inputs, classes = batch(500 + head)
            losses.append(float(F.cross_entropy(Small().forward(weights, *inputs), classes)))
        return float(np.mean(losses))

    before = measured()
    for number in range(STEPS):
        outer.step(number, *batch(number))
    assert measured() < 0.8 * before


def test_one_bad_batch_moves_nothing_far() -> None:
    """A gradient far above the usual norm is cut to twice that norm, in its own direction."""
    strength = [1.0]
    outer = outer_of(penalty=lambda inputs: strength[0] * inputs.sum())
    outer.step(0, *batch(0))
    assert outer.synthetic.inputs.grad is not None
    usual = float(outer.synthetic.inputs.grad.norm())
    strength[0] = 1e6
    outer.step(1, *batch(1))
    grad = outer.synthetic.inputs.grad
    assert float(grad.norm()) == pytest.approx(2 * usual)
    torch.testing.assert_close(grad / grad.norm(), torch.ones_like(grad) / grad.numel() ** 0.5, rtol=1e-4, atol=1e-4)
    assert outer.state()["usual"][0] == pytest.approx(1.1 * usual)


def test_the_pull_draws_vectors_to_the_table() -> None:
    """With it they end nearer to tokens than without it, and a strong one brings them there."""
    table, allowed = drawn(7, 12, WIDTH), torch.ones(12, dtype=torch.bool)
    ends = []
    for strength in (0.0, 1.0, 100.0):

        def penalty(inputs: Tensor, strength: float = strength) -> Tensor:
            return strength * embedding_penalty(inputs[:, None], table, allowed)

        outer = outer_of(penalty=penalty if strength else None)
        start = float(embedding_penalty(outer.synthetic.inputs.detach()[:, None], table, allowed))
        for number in range(STEPS):
            outer.step(number, *batch(number))
        ends.append(float(embedding_penalty(outer.synthetic.inputs.detach()[:, None], table, allowed)))
    assert ends[1] < ends[0]
    assert ends[2] < 0.5 * start


# -- windows ------------------------------------------------------------------------------------------------------


def window_of(steps: int, window: int, seed: int, number: int) -> tuple[int, int]:
    """The inner steps whose rate was given a gradient."""
    outer = outer_of(synthetic_set(steps=steps), window=window, seed=seed)
    outer.step(number, *batch(number))
    assert outer.synthetic.rates.grad is not None
    places = outer.synthetic.rates.grad.nonzero()[:, 0].tolist()
    assert places == list(range(places[0], places[-1] + 1))
    return places[0], places[-1] + 1


@given(steps=st.integers(1, 8), window=st.integers(1, 10), seed=st.integers(0, 50), number=st.integers(0, STEPS - 1))
def test_windows_lie_inside(steps: int, window: int, seed: int, number: int) -> None:
    """As long as asked for, all steps where there are no more, and the same again for the same seed and step."""
    first, stop = window_of(steps, window, seed, number)
    assert 0 <= first < stop <= steps
    assert stop - first == min(window, steps)
    assert window_of(steps, window, seed, number) == (first, stop)


def test_windows_are_everywhere() -> None:
    """Every place comes up, in another order for another seed."""
    places = [[window_of(5, 2, seed, number) for number in range(STEPS)] for seed in (0, 1)]
    assert {*places[0]} == {(first, first + 2) for first in range(4)}
    assert places[0] != places[1]


# -- where a step goes wrong --------------------------------------------------------------------------------------


def with_bad_pull() -> tuple[OuterLoop, Callable[[], None]]:
    """A sound loss with a gradient that is NaN once the switch is thrown."""
    factor = [0.0]
    outer = outer_of(penalty=lambda inputs: (factor[0] * inputs).sum())

    def throw() -> None:
        factor[0] = math.nan

    return outer, throw


@pytest.mark.parametrize("trouble", ["loss", "gradient", "explosion"])
def test_back_to_the_last_good_state(trouble: str) -> None:
    """Bit for bit, moments included; the rates are halved from there on, and the step returns NaN."""
    outer, throw = with_bad_pull()
    good: dict[str, Tensor] = {}
    for number in range(GOOD_EVERY + 3):
        if number == GOOD_EVERY:
            good = copy_of(outer)
        assert math.isfinite(outer.step(number, *batch(number)))
    assert not torch.equal(outer.synthetic.inputs, good["inputs"])
    inputs, classes = batch(99)
    if trouble == "loss":
        inputs = (inputs[0] * math.nan,)
    elif trouble == "gradient":
        throw()
    else:
        with torch.no_grad():
            outer.synthetic.labels.mul_(1e4)  # finite, and far above the loss of guessing
    assert math.isnan(outer.step(GOOD_EVERY + 3, inputs, classes))
    assert_bitwise(copy_of(outer), good)
    assert outer.backoff.rollbacks == 1
    if trouble != "gradient":
        number = GOOD_EVERY + 4
        assert math.isfinite(outer.step(number, *batch(number)))
        rates = [group["lr"] for group in outer.adam.param_groups]
        assert rates == pytest.approx([rate * schedule(number, STEPS) / 2 for rate in RATES])


def test_a_first_step_that_goes_wrong_changes_nothing() -> None:
    """There is a state to restore from the beginning, and Adam has no moments of what did not happen."""
    outer = outer_of()
    assert math.isnan(outer.step(0, *broken(0)))
    assert_bitwise(copy_of(outer), {name: tensor.detach() for name, tensor in synthetic_set().tensors().items()})


def test_a_loss_below_the_limit_is_learned_from() -> None:
    """Ten times the loss of guessing among C + 1 classes is the limit; a bad loss below it causes no rollback."""
    losses = {}
    for factor in (1.0, 3.0, 1e3):
        synthetic = synthetic_set()
        synthetic.labels.mul_(factor)
        outer = outer_of(synthetic)
        losses[factor] = outer.step(0, *batch(0))
        assert outer.backoff.rollbacks == int(math.isnan(losses[factor]))
    assert losses[3.0] < EXPLODED * math.log(CLASSES + 1)
    assert math.isnan(losses[1e3])


def test_a_distillation_that_keeps_diverging_ends() -> None:
    """After the last rollback there is one sentence with the keys to change, and not a run that learns nothing."""
    outer = outer_of()
    for number in range(MAX_ROLLBACKS):
        assert math.isnan(outer.step(number, *broken(number)))
        assert outer.backoff.rollbacks == number + 1
    with pytest.raises(WinnowError, match=r"diverged 9 times, .* lower inner\.learning_rate or outer\.learning_rate"):
        outer.step(MAX_ROLLBACKS, *broken(0))


# -- resuming -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", [False, True])
def test_a_distillation_goes_on_as_if_it_had_not_stopped(attention: bool, tmp_path: Path) -> None:
    """Six steps are bit for bit three, a checkpoint on disk, and three more in another OuterLoop."""

    def fresh() -> OuterLoop:
        return outer_of(synthetic_set(steps=4, attention=attention), window=2)

    whole = fresh()
    losses = [whole.step(number, *batch(number)) for number in range(6)]
    first, second = fresh(), fresh()
    found = [first.step(number, *batch(number)) for number in range(3)]
    save_checkpoint(tmp_path / "state", first.state(), first.adam, step=3)
    tensors, counters = load_checkpoint(tmp_path / "state", second.adam)
    second.restore(tensors)
    assert_bitwise(copy_of(second), copy_of(first))
    found += [second.step(number, *batch(number)) for number in range(counters["step"], 6)]
    assert found == losses
    assert_bitwise(copy_of(second), copy_of(whole))
    assert torch.equal(second.state()["usual"], whole.state()["usual"])


def test_what_has_given_way_is_kept_with_the_limits() -> None:
    """A resumed distillation after a rollback goes on at the halved rates."""
    outer = outer_of(backoff=Backoff(8, 99, rollbacks=2))
    outer.step(5, *batch(5))
    rates = [group["lr"] for group in outer.adam.param_groups]
    assert rates == pytest.approx([rate * schedule(5, STEPS) / 4 for rate in RATES])
