"""What Winnow's scoring is measured against: two ways people write it, and the bare matrix products."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from engine.batching.batch import TokenSample
from engine.batching.plans import plan_rounds
from engine.scoring.hidden import lm_head_of
from engine.scoring.score import BATCH_COST


def ids_of(sample: TokenSample, device: torch.device) -> Tensor:
    return torch.from_numpy(sample.input_ids).to(device, torch.long)


def plain_loop(teacher: nn.Module, student: nn.Module, samples: Sequence[TokenSample]) -> list[float]:
    """One sample at a time: both full logits, softmax, kl_div. Returns the mean KL of every sample."""
    scores = []
    with torch.inference_mode():
        for sample in samples:
            ids = ids_of(sample, next(student.parameters()).device)[None]
            z_t, z_s = (model(input_ids=ids).logits[0].float() for model in (teacher, student))
            kl = F.kl_div(F.log_softmax(z_s, -1), F.softmax(z_t, -1), reduction="none").sum(-1)
            scores.append(float(kl.mean()))
    return scores


def padded_batches(
    teacher: nn.Module, student: nn.Module, samples: Sequence[TokenSample], size: int = 16
) -> list[float]:
    """The same in batches of 16 in the order of the data, padded to the longest, with a mask."""
    device = next(student.parameters()).device
    scores = []
    with torch.inference_mode():
        for start in range(0, len(samples), size):
            rows = [ids_of(sample, device) for sample in samples[start : start + size]]
            ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
            lengths = torch.tensor([len(row) for row in rows], device=device)
            mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
            z_t, z_s = (model(input_ids=ids, attention_mask=mask).logits.float() for model in (teacher, student))
            kl = F.kl_div(F.log_softmax(z_s, -1), F.softmax(z_t, -1), reduction="none").sum(-1)
            scores += ((kl * mask).sum(1) / mask.sum(1)).tolist()
    return scores


def floor(models: Sequence[LlamaForCausalLM], samples: Sequence[TokenSample], token_budget: int, tile: int) -> None:
    """Every matrix product of the linear layers and heads, on the real tokens of Winnow's batches; nothing else.

    No attention, no norms, no padding, no reading of the logits: what is written is thrown away.
    """
    lengths = [len(sample.input_ids) for sample in samples]
    device, dtype = models[0].device, models[0].dtype
    layers = [[layer for layer in model.model.modules() if isinstance(layer, nn.Linear)] for model in models]
    heads = [lm_head_of(model) for model in models]
    with torch.inference_mode():
        for batches in plan_rounds(lengths, token_budget, BATCH_COST[device.type]):
            for batch in batches:
                tokens = sum(lengths[i] for i in batch)
                for linears in layers:
                    widths = {layer.in_features for layer in linears}
                    inputs = {width: torch.ones(tokens, width, dtype=dtype, device=device) for width in widths}
                    for layer in linears:
                        torch.mm(inputs[layer.in_features], layer.weight.t())
            tokens = sum(lengths[i] for batch in batches for i in batch)
            out = torch.empty(min(tokens, 1024), tile, device=device)
            for start in range(0, tokens, len(out)):
                rows = min(len(out), tokens - start)
                for head in heads:
                    hidden = torch.ones(rows, head.weight.shape[1], dtype=dtype, device=device)
                    for first in range(0, len(head.weight), tile):
                        last = min(first + tile, len(head.weight))
                        head.logits(hidden, first, last, out.flatten()[: rows * (last - first)].view(rows, -1))
