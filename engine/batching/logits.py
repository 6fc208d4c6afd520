"""The logits that a causal language model itself gives for the positions of a batch that count."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import Tensor, nn

from engine.batching.batch import Batch


def counted_logits(model: nn.Module, batch: Batch) -> Tensor:
    """(counted positions, V) in the model's dtype, sample after sample.

    The head is run for these positions alone if the model can leave out the others. No attention mask is passed:
    padding stands on the right, where causal attention never looks back from a real position.
    """
    unwrapped: Callable[[], nn.Module] | None = getattr(model, "get_base_model", None)  # of a PEFT wrapper
    inside = unwrapped() if unwrapped else model
    if "logits_to_keep" in inspect.signature(inside.forward).parameters:
        output = model(input_ids=batch.input_ids, logits_to_keep=batch.counted, use_cache=False)
    else:
        output = model(input_ids=batch.input_ids)
    logits: Tensor = output.logits
    if logits.shape[:-1] == batch.counted.shape:
        return logits[batch.counted.to(logits.device)]
    return logits.reshape(-1, logits.shape[-1])
