"""Networks of one architecture run as one.

One small network leaves a processor idle, so the weights of several are stacked (torch.func.vmap).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from engine.training.views import Samples

EVAL_OUTPUTS = {"cpu": 2048, "cuda": 16_384}  # outputs computed at once, over the whole group


class Group:
    """Networks of one architecture whose weights are stacked: every weight has a first dimension of S students.

    Networks whose `stacks` is false are run one after the other; the rest of a step is still done for all at once.
    """

    def __init__(self, networks: Sequence[nn.Module], device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.base = networks[0].to(device)
        self.size = len(networks)
        self.device, self.dtype = device, dtype
        weights, buffers = stack_module_state([network.to(device) for network in networks])
        self.weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        self.buffers = buffers

    def __call__(self, inputs: tuple[Tensor, ...], *, shared: bool = False) -> Tensor:
        """Outputs (S, B, C) of inputs (S, B, ...), or with `shared` of the same inputs (B, ...) for all."""
        return self._run(inputs, shared, "forward")

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Embeddings (S, B, d) of shared inputs (B, ...)."""
        return self._run(inputs, True, "features")

    def _run(self, inputs: tuple[Tensor, ...], shared: bool, method: str) -> Tensor:
        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], *x: Tensor) -> Tensor:
            state = _with_prefix(weights), _with_prefix(buffers)
            found: Tensor = functional_call(_Method(self.base, method), state, x)
            return found

        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if self.size == 1 or not self.base.stacks:
                each = [
                    one(_member(self.weights, i), _member(self.buffers, i), *(x if shared else x[i] for x in inputs))
                    for i in range(self.size)
                ]
                outputs = torch.stack(each)
            else:
                dims = (0, 0, *([None if shared else 0] * len(inputs)))
                outputs = vmap(one, in_dims=dims, randomness="different")(self.weights, self.buffers, *inputs)
        return outputs.float()

    def network(self, member: int) -> nn.Module:
        """The architecture with the weights of one student."""
        state = {name: weight[member].detach() for name, weight in (self.weights | self.buffers).items()}
        self.base.load_state_dict(state, strict=False)
        return self.base


class _Method(nn.Module):
    """Lets functional_call reach another method than forward."""

    def __init__(self, inner: nn.Module, method: str) -> None:
        super().__init__()
        self.inner, self.method = inner, method

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs: Tensor = getattr(self.inner, self.method)(*inputs)
        return outputs


def _with_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"inner.{name}": value for name, value in state.items()}


def _member(state: dict[str, Tensor], member: int) -> dict[str, Tensor]:
    return {name: value[member] for name, value in state.items()}


def outputs_of(group: Group, samples: Samples, view: int = 0, *, features: bool = False) -> Tensor:
    """Outputs (S, n, C), or embeddings (S, n, d), of every sample under one view, on the CPU."""
    return torch.cat([part for _, part in output_batches(group, samples, view, features=features)], 1)


def output_batches(
    group: Group, samples: Samples, view: int = 0, *, features: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The same in batches: pairs of the indices (B,) and their outputs (S, B, C) on the CPU."""
    size = max(1, EVAL_OUTPUTS[group.device.type] // group.size)
    was_training = group.base.training
    group.base.eval()
    with torch.no_grad():
        for start in range(0, len(samples), size):
            index = torch.arange(start, min(start + size, len(samples)), device=group.device)
            inputs = samples.take(index, view)
            yield index.cpu(), (group.features(inputs) if features else group(inputs, shared=True)).cpu()
    group.base.train(was_training)
