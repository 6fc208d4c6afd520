"""Differentiating a loss after T training steps with respect to what was trained on.

The student goes θ_0 → θ_1 → … → θ_T, each step a function of the state before it and of the parameters φ that the outer
loop learns (inputs, labels, learning rates):  s_{t+1} = F_t(s_t, φ).  The outer loss is ℓ(s_T). With the adjoint
λ_T = ∂ℓ/∂s_T,

    dℓ/dφ = Σ_t λ_{t+1} ∂F_t/∂φ      λ_t = λ_{t+1} ∂F_t/∂s_t

(Maclaurin, Duvenaud, Adams 2015, reverse-mode differentiation of hyperparameters). Only the states are kept in the
forward pass. In the backward pass one step at a time is recomputed with its graph, which gives its vector-Jacobian
product and is freed, so that the memory for activations is that of one step however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.distillation.optimizers import Optimizer

InnerLoss = Callable[[list[Tensor], list[Tensor], int], Tensor]
"""(weights, params, step) -> the student's loss on the synthetic inputs, a scalar."""
OuterLoss = Callable[[list[Tensor]], Tensor]
"""weights -> the loss on a real batch, a scalar."""


@dataclass(frozen=True)
class Unroll:
    """T = len(rates) steps of a student on synthetic inputs.

    `params` are tensors the inner loss depends on; `rates` (T,) are the learning rates, one for each step. With
    `on_host` the states are kept in host memory.
    """

    inner_loss: InnerLoss
    optimizer: Optimizer
    on_host: bool = False

    def step(
        self, state: Sequence[Tensor], count: int, params: list[Tensor], rate: Tensor, step: int, *, graph: bool
    ) -> list[Tensor]:
        """One training step; with `graph` differentiable in state, params and rate. The first `count` are weights."""
        with torch.enable_grad():
            weights = [part if graph else part.detach().requires_grad_() for part in state[:count]]
            loss = self.inner_loss(weights, params, step)
            gradients = torch.autograd.grad(loss, weights, create_graph=graph, materialize_grads=True)
        with torch.set_grad_enabled(graph):
            return self.optimizer.update([*weights, *state[count:]], gradients, rate, step)

    def train(
        self, weights: Sequence[Tensor], params: Sequence[Tensor], rates: Tensor, stop: int | None = None
    ) -> list[Tensor]:
        """The weights after `stop` steps (all of them by default), without a graph."""
        state, fixed = self.optimizer.init(weights), [part.detach() for part in params]
        for step in range(len(rates) if stop is None else stop):
            state = self.step(state, len(weights), fixed, rates[step].detach(), step, graph=False)
        return [part.detach() for part in state[: len(weights)]]

    def hypergradient(
        self,
        weights: Sequence[Tensor],
        params: Sequence[Tensor],
        rates: Tensor,
        outer_loss: OuterLoss,
        window: tuple[int, int] | None = None,
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """The outer loss, its gradient with respect to each of `params`, and with respect to the rates (T,).

        `window` = (first, stop): the student is trained for `stop` steps and the gradient goes back through steps
        first … stop - 1 alone (Feng et al. 2024, random truncated windows); the default is all T.
        """
        count = len(weights)
        first, stop = window or (0, len(rates))
        fixed = [part.detach() for part in params]
        state = [part.detach() for part in self.optimizer.init(weights)]
        device = state[0].device
        kept: list[Tensor] = []
        for step in range(stop):
            if step >= first:
                # One block for each state: many small ones, among others that are freed, fragment the memory.
                block = torch.cat([part.flatten() for part in state])
                kept.append(block.to("cpu") if self.on_host else block)
            state = [part.detach() for part in self.step(state, count, fixed, rates[step].detach(), step, graph=False)]
        with torch.enable_grad():
            ends = [part.requires_grad_() for part in state[:count]]
            loss = outer_loss(ends)
            adjoint = list(torch.autograd.grad(loss, ends, materialize_grads=True))
        adjoint += [torch.zeros_like(part) for part in state[count:]]
        loss = loss.detach()  # its graph would hold the last weights
        shapes = [part.shape for part in state]
        del state, ends
        total = [torch.zeros_like(part) for part in fixed]
        rate_gradient = torch.zeros_like(rates)
        for step in reversed(range(first, stop)):
            parts = kept.pop().to(device).split([shape.numel() for shape in shapes])
            before = [part.view(shape).requires_grad_() for part, shape in zip(parts, shapes, strict=True)]
            leaves = [part.detach().requires_grad_() for part in fixed]
            rate = rates[step].detach().requires_grad_()
            after = self.step(before, count, leaves, rate, step, graph=True)
            # The adjoint before the first step is the gradient with respect to θ_0, which is not needed.
            sources = [*leaves, rate, *(before if step > first else [])]
            products = torch.autograd.grad(after, sources, adjoint, materialize_grads=True)
            for sum_, part in zip(total, products, strict=False):
                sum_ += part
            rate_gradient[step] = products[len(leaves)]
            adjoint = list(products[len(leaves) + 1 :])
            del parts, before, after, sources, products  # not in memory beside those of the next step
        return loss, total, rate_gradient
