"""Optimizers of the inner loop, written so that one can differentiate through them.

Each update is a function of tensors: new weights and new slots (velocity, moments) from old ones. Nothing is changed
in place, and every derivative exists, also at a gradient of zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.common.choices import InnerOptimizer


@dataclass(frozen=True)
class Optimizer:
    """SGD, SGD with (heavy-ball) momentum as in torch.optim.SGD, or Adam (Kingma and Ba 2015, algorithm 1).

    Adam adds `epsilon` inside the root, torch.optim.Adam outside: the root of zero has no derivative.
    """

    name: InnerOptimizer = "sgd"
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-6

    @property
    def slots(self) -> int:
        """Tensors kept beside each weight."""
        return {"sgd": 0, "momentum": 1, "adam": 2}[self.name]

    def init(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """The state before the first step: the weights, then the slots of all weights, one kind after the other."""
        return [*weights, *(torch.zeros_like(weight) for _ in range(self.slots) for weight in weights)]

    def update(self, state: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor, step: int) -> list[Tensor]:
        """The state after step number `step` (from 0) at a learning rate, a scalar tensor."""
        count = len(gradients)
        weights = state[:count]
        if self.name == "sgd":
            return [weight - rate * gradient for weight, gradient in zip(weights, gradients, strict=True)]
        if self.name == "momentum":
            velocity = [self.momentum * old + new for old, new in zip(state[count:], gradients, strict=True)]
            return [weight - rate * v for weight, v in zip(weights, velocity, strict=True)] + velocity
        first_beta, second_beta = self.betas
        first = [
            first_beta * old + (1 - first_beta) * new
            for old, new in zip(state[count : 2 * count], gradients, strict=True)
        ]
        second = [
            second_beta * old + (1 - second_beta) * new * new
            for old, new in zip(state[2 * count :], gradients, strict=True)
        ]
        first_scale = 1 / (1 - first_beta ** (step + 1))
        second_scale = 1 / (1 - second_beta ** (step + 1))
        moved = [
            weight - rate * first_scale * m / (second_scale * v + self.epsilon**2).sqrt()
            for weight, m, v in zip(weights, first, second, strict=True)
        ]
        return moved + first + second
