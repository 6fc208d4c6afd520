"""How logits come out of what a causal language model has computed: through its LM head, or as the model gives them."""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


class Head(Protocol):
    """Makes float32 logits, a block of vocabulary columns at a time, from the states (T, d) of T positions."""

    @property
    def rows(self) -> int:
        """The tokens that the model predicts."""

    def operand(self, states: Tensor) -> Tensor:
        """`states` as `logits` takes them."""

    def logits(self, operand: Tensor, start: int, stop: int, out: Tensor) -> Tensor:
        """float32 logits (T, stop - start) of vocabulary columns start to stop - 1, written into `out`."""

    def same_map_as(self, other: "Head") -> bool:
        """Whether both are one and the same linear map, so that z_s - z_t = head(h_s - h_t)."""


@dataclass(frozen=True)
class OwnLogits:
    """Of a model whose states are its logits (T, V) already: whatever it does to them, they are what it predicts."""

    rows: int

    def operand(self, states: Tensor) -> Tensor:
        return states.float()

    def logits(self, operand: Tensor, start: int, stop: int, out: Tensor) -> Tensor:
        return out.copy_(operand[:, start:stop])

    def same_map_as(self, other: Head) -> bool:
        return False


@dataclass(frozen=True)
class LmHead:
    """The last linear layer and what follows it: z = cap(scale * (h W^T + b)) with cap(a) = s tanh(a / s).

    `scale` is the logit scale of Cohere and Granite models, `softcap` that of Gemma.
    """

    weight: Tensor  # (at least V, d)
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    @property
    def rows(self) -> int:
        return len(self.weight)

    def operand(self, hidden: Tensor) -> Tensor:
        """`hidden` in the dtype of the matrix product: half precision on CUDA, float32 everywhere else.

        A CUDA product of halves is summed and returned in float32; a CPU product of halves would be rounded to halves,
        so there both sides are widened first, which loses nothing.
        """
        if hidden.is_cuda and hidden.dtype in HALF and hidden.dtype == self.weight.dtype:
            return hidden.contiguous()
        return hidden.float().contiguous()

    def logits(self, operand: Tensor, start: int, stop: int, out: Tensor) -> Tensor:
        """float32 logits (T, stop - start) of vocabulary columns start to stop - 1, written into `out`."""
        weight = self.weight[start:stop]
        if operand.dtype == torch.float32:
            torch.mm(operand, weight.float().t(), out=out)
        else:
            torch.mm(operand, weight.t(), out_dtype=torch.float32, out=out)
        if self.bias is not None:
            out += self.bias[start:stop]
        if self.scale != 1.0:
            out *= self.scale
        if self.softcap is not None:
            out.div_(self.softcap).tanh_().mul_(self.softcap)
        return out

    def reference_logits(self, hidden: Tensor) -> Tensor:
        """float64 logits (T, all rows of the head): the plain form of `logits`."""
        bias = None if self.bias is None else self.bias.double()
        logits = F.linear(hidden.double(), self.weight.double(), bias) * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def same_map_as(self, other: Head) -> bool:
        return isinstance(other, LmHead) and (
            self.weight.data_ptr() == other.weight.data_ptr()
            and self.weight.shape == other.weight.shape
            and self.scale == other.scale
            and not any((self.bias is not None, other.bias is not None, self.softcap, other.softcap))
        )
