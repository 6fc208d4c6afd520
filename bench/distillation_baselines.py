"""What the recomputation of inner steps is measured and tested against: the whole graph, kept, and `higher`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.distillation.optimizers import Optimizer
from engine.distillation.unroll import InnerLoss, OuterLoss


def full_graph_hypergradient(
    inner_loss: InnerLoss,
    optimizer: Optimizer,
    weights: Sequence[Tensor],
    params: Sequence[Tensor],
    rates: Tensor,
    outer_loss: OuterLoss,
    window: tuple[int, int] | None = None,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """As Unroll.hypergradient, by one backward pass through all steps.

    With a window, the steps before it have neither inputs nor rates in common with those in it, and the state is
    detached between them.
    """
    count = len(weights)
    first, stop = window or (0, len(rates))
    leaves = [part.detach().requires_grad_() for part in params]
    fixed = [part.detach() for part in params]
    rate_leaves = rates.detach().requires_grad_()
    state = [part.detach().requires_grad_() for part in optimizer.init(weights)]
    with torch.enable_grad():
        for step in range(stop):
            loss = inner_loss(state[:count], leaves if step >= first else fixed, step)
            gradients = torch.autograd.grad(loss, state[:count], create_graph=True, materialize_grads=True)
            state = optimizer.update(state, gradients, rate_leaves[step], step)
            if step < first:
                state = [part.detach().requires_grad_() for part in state]
        loss = outer_loss(state[:count])
        *found, rate_gradient = torch.autograd.grad(loss, [*leaves, rate_leaves], materialize_grads=True)
    return loss.detach(), list(found), rate_gradient


def higher_hypergradient(
    network: nn.Module, inner_loss: Any, inputs: Tensor, labels: Tensor, rates: Tensor, outer_loss: Any
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The same for SGD by `higher` (Grefenstette et al. 2019): losses take its copy of the network, not weights."""
    import higher

    leaves = [part.detach().requires_grad_() for part in (inputs, labels)]
    rate_leaves = rates.detach().requires_grad_()
    plain = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=1.0)
    with higher.innerloop_ctx(network, plain, track_higher_grads=True) as (student, optimizer):
        for step in range(len(rate_leaves)):
            optimizer.step(inner_loss(student, leaves), override={"lr": [rate_leaves[step]]})
        loss = outer_loss(student)
        *found, rate_gradient = torch.autograd.grad(loss, [*leaves, rate_leaves])
    return loss.detach(), list(found), rate_gradient
