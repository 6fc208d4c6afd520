"""How a text classifier reads padded texts: it must answer the same whatever stands beside a text in a batch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.common.errors import WinnowError
from engine.common.text import reason

log = logging.getLogger(__name__)

TOLERANCE = 0.05  # of the largest logit: what the rounding of half precision may change, and no padding that is read
_TOKENS, _PADDING = 4, 2  # of the texts that a classifier is tried with


@dataclass(frozen=True)
class Padding:
    """The pad token of a model, and at which side of a text it has to stand."""

    token: int
    left: bool  # XLNet classifies at the last position, so its padding comes first
    ignored: bool  # whether the logits are those of the text alone

    def arrange(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids and masks (n, L), padded on the right with any token, as the model reads them."""
        ids = ids.masked_fill(mask == 0, self.token)
        if not self.left:
            return ids, mask
        length = mask.shape[1]
        moved = (torch.arange(length, device=mask.device) + mask.sum(1, keepdim=True)) % length
        return ids.gather(1, moved), mask.gather(1, moved)


def padding_of(model: Any, source: str) -> Padding:
    """How a text classifier has to be padded, found by trying it with a few tokens; its weights stay as they are.

    A model without a pad token gets one, since a classifier that reads the last token has to know where the text ends.
    Raises WinnowError naming the source if the model cannot classify padded texts at all.
    """
    config = model.config
    token, vocabulary = getattr(config, "pad_token_id", None), getattr(config, "vocab_size", None)
    if token is None or (vocabulary and token >= vocabulary):
        # Any token will do that ends no text: the mask hides it from attention.
        end = _end(config) or 0
        token = config.pad_token_id = 0 if vocabulary and end >= vocabulary else end
    ids = sample_ids(model)
    padded = torch.cat([ids, torch.full((len(ids), _PADDING), token)], 1)
    mask = torch.cat([torch.ones_like(ids), torch.zeros(len(ids), _PADDING, dtype=torch.long)], 1)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = _logits(model, ids, torch.ones_like(ids))
            off = [
                float((_logits(model, *Padding(token, left, True).arrange(padded, mask)) - alone).abs().max())
                for left in (False, True)
            ]
    except Exception as error:
        raise WinnowError(
            f"{source} cannot classify texts here ({type(error).__name__}: {reason(error)}); choose another text "
            "classifier, such as BERT."
        ) from error
    finally:
        model.train(was_training)
    bound = TOLERANCE * float(alone.abs().max())
    left = off[0] > bound and off[1] < off[0]
    ignored = min(off) <= bound
    if not ignored:
        log.warning("%s reads padding: its answer to a text changes with the length of the longest text", source)
    return Padding(token, left and ignored, ignored)


def sample_ids(model: nn.Module) -> Tensor:
    """Two texts (2, 4) of ordinary tokens, with an end token last if an encoder-decoder needs one."""
    config: Any = model.config
    named = (getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "cls", "sep", "mask"))
    special = {token for found in named for token in (found if isinstance(found, list) else [found])}
    vocabulary = getattr(config, "vocab_size", None) or 256
    usual = [token for token in range(vocabulary) if token not in special][-2 * _TOKENS :]
    ids = torch.tensor((usual * 2 * _TOKENS)[: 2 * _TOKENS]).view(2, _TOKENS)
    if getattr(config, "is_encoder_decoder", False):
        ids[:, -1] = _end(config) or 0
    return ids


def _end(config: Any) -> int | None:
    """The end token; the first one if there are several."""
    found = getattr(config, "eos_token_id", None)
    return found[0] if isinstance(found, list) else found


def _logits(model: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits.float()
