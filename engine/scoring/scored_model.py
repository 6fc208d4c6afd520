"""How a model is scored: through its final hidden states and LM head if they give its logits, else through its logits.

Hidden states are small and the head is run one tile of the vocabulary at a time, so that is the fast way. But a model
may do more after its last linear layer than is known here (another soft-cap, a scale, a norm before it), and then a
score through the head would be wrong without a word. So every model is compared with its own logits first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.batching.batch import Batch, TokenSample
from engine.batching.logits import counted_logits
from engine.common.errors import WinnowError
from engine.common.memory import is_out_of_memory
from engine.common.text import reason
from engine.scoring.hidden import device_of, eval_mode, final_hidden, lm_head_of, name_of
from engine.scoring.lm_head import HALF, Head, OwnLogits

log = logging.getLogger(__name__)

CHECK_TOKENS = 128  # long enough for large logits, which a soft-cap changes most
CHECK_SAMPLES = 1
# Settings that change logits in a way `lm_head_of` knows; those of attention and routing leave the head alone.
KNOWN_SETTINGS = ("logit_scale", "lm_head_multiplier", "logits_scaling", "final_logit_softcapping")
_CHANGES_LOGITS = re.compile(r"^(?!attn|attention|router|output_)\w*(logit|lm_head_)\w*")


@dataclass(frozen=True)
class ScoredModel:
    """A model, and the head that makes logits of its states."""

    model: nn.Module
    head: Head
    why: str  # why it is scored through its own logits; "" if through hidden states and LM head

    def states(self, batch: Batch) -> Tensor:
        """What `head` reads, at the T counted positions of a batch: final hidden states (T, d), or logits (T, V)."""
        if not isinstance(self.head, OwnLogits):
            return final_hidden(self.model, batch)
        with eval_mode(self.model), torch.inference_mode():
            return counted_logits(self.model, batch).float().to(batch.labels.device)


_compared: WeakKeyDictionary[nn.Module, tuple[str, int]] = WeakKeyDictionary()  # why not, and tokens it predicts


def scored_model(model: nn.Module, samples: Sequence[TokenSample], vocab_size: int) -> ScoredModel:
    """The model with its fast head if that gives the model's own logits on random tokens and on some of `samples`.

    Otherwise, also if the comparison fails for any reason, it is scored through its own logits, and `why` says so. A
    model is compared once. Raises WinnowError if the model cannot be run at all, or looks at later tokens.
    """
    if model not in _compared:
        why, rows = _compared[model] = _compare(model, samples, vocab_size)
        if why:
            log.info("%s is scored through its own logits: %s", name_of(model), why)
    why, rows = _compared[model]
    return ScoredModel(model, OwnLogits(rows) if why else lm_head_of(model), why)


def _compare(model: nn.Module, samples: Sequence[TokenSample], vocab_size: int) -> tuple[str, int]:
    batches = _batches(samples, vocab_size, device_of(model))
    try:
        with eval_mode(model), torch.inference_mode():
            own = [counted_logits(model, batch).float() for batch in batches]
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise WinnowError(
            f"{name_of(model)} cannot be run as a causal language model ({type(error).__name__}: {reason(error)}); "
            "choose another."
        ) from error
    tolerance = 2e-2 if any(weight.dtype in HALF for weight in model.parameters()) else 1e-4
    before, after = (logits[: batches[0].tokens // 2] for logits in own[:2])  # of the same tokens
    whole = before.isfinite() & after.isfinite()  # a model may be broken at a token, and is scored at the others
    if _distance(before[whole], after[whole]) > 10 * tolerance:
        raise WinnowError(
            f"What {name_of(model)} predicts for a token changes with the tokens after it, so it is no causal language "
            "model, and its scores would mean nothing; choose another."
        )
    return _why_not_head(model, batches, own, tolerance), own[0].shape[1]


def _why_not_head(model: nn.Module, batches: Sequence[Batch], own: Sequence[Tensor], tolerance: float) -> str:
    """Why hidden states and head do not give the model's own logits; "" if they do."""
    unknown = _unknown_setting(model)
    if unknown:
        return f"its configuration sets {unknown}, which may change them after the head"
    try:
        head = lm_head_of(model)
        for batch, expected in zip(batches, own, strict=True):
            operand = head.operand(final_hidden(model, batch))
            with torch.inference_mode():
                found = head.logits(operand, 0, expected.shape[1], torch.empty_like(expected))
            if (distance := _distance(found, expected)) > tolerance:
                return f"they differ from those of its last layer by {distance:.2g} of the largest"
    except Exception as error:  # whatever goes wrong here, the head is not one that is understood
        if is_out_of_memory(error):
            raise
        return f"its last layer cannot be read apart ({type(error).__name__}: {reason(error)})"
    return ""


def _unknown_setting(model: nn.Module) -> str:
    settings = cast(PreTrainedModel, model).config.get_text_config().to_dict()
    for name, value in settings.items():
        if _CHANGES_LOGITS.match(name) and name not in KNOWN_SETTINGS and value not in (None, False, 0, 1):
            return name
    return ""


def _batches(samples: Sequence[TokenSample], vocab_size: int, device: torch.device) -> list[Batch]:
    """Two sequences of random tokens with the same first half, then the longest samples."""
    longest = sorted(samples, key=lambda sample: -len(sample.input_ids))[:CHECK_SAMPLES]
    length = max(min(len(longest[0].input_ids), CHECK_TOKENS), 1)
    first, second = np.random.default_rng(0).integers(0, vocab_size, (2, length))
    second[: length // 2] = first[: length // 2]
    texts = [first, second, *(np.asarray(sample.input_ids[:CHECK_TOKENS], dtype=np.int64) for sample in longest)]
    return [_batch(torch.from_numpy(text).to(device)[None]) for text in texts]


def _batch(ids: Tensor) -> Batch:
    return Batch(ids, torch.ones_like(ids, dtype=torch.bool), ids[0], [ids.shape[1]])


def _distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest logit; infinite if only one of both is finite anywhere."""
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        return float("inf")
    if not finite.any():
        return 0.0
    difference, largest = (found - expected)[finite].abs().max(), expected[finite].abs().max()
    return float(difference / largest.clamp(min=1e-12))
