"""How likely a causal language model finds each label as the continuation of a prompt.

The likelihood of a label is the product over its tokens, which favours labels of few tokens; so labels are compared by
the mean log-likelihood per token, as Brown et al. (2020, section 2.4) do for most of their tasks. Not corrected: other
ways of saying the same share the probability of a label, the surface form competition of Holtzman et al. (2021).

The labels of one prompt are read together: of a label the model reads all tokens but the last, and what one label reads
another may use. With labels of one token each prompt is read once, however many labels there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LOGIT_ROWS = 256  # positions of a batch whose logits are kept: 150 MB in float32 with 150,000 tokens

LogitsOf = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(ids (B, L), mask (B, L): 1 for tokens, 0 for padding on the right, columns (K,)) -> logits (B, K, V) there."""


def label_likelihoods(
    logits_of: LogitsOf,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    pad: int,
    *,
    tokens: int = 8192,
    shared: int = 0,
    tick: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Log-likelihoods in nats, float64 (n, C): the sum of log p(token) over the tokens of each label after each prompt.

    Prompts of similar length are read together, at most `tokens` at once, padding counted, or one longer prompt alone;
    `shared` is how many tokens `logits_of` itself holds before every prompt. No mask is needed to keep padding out, as
    no causal model looks to its right. `tick(done, total)` gets the sequences read after every batch and may raise to
    stop. Raises ValueError if a prompt or a label has no tokens.
    """
    if not all(prompts) or not all(labels):
        raise ValueError("every prompt and every label needs at least one token")
    endings = _endings(labels)
    read_by = [next(e for e, ending in enumerate(endings) if _begins(ending, label[:-1])) for label in labels]
    rows = [(i, e) for i in range(len(prompts)) for e in range(len(endings))]
    lengths = [len(prompts[i]) + len(endings[e]) for i, e in rows]
    sums = torch.zeros(len(prompts) * len(labels), dtype=torch.float64)
    done = 0
    for members in _batches([len(prompts[i]) for i, _ in rows], lengths, tokens, shared):
        ids = torch.full((len(members), max(lengths[m] for m in members)), pad)
        mask = torch.zeros_like(ids)
        wanted = []  # (row, position, token, place in the sums)
        for row, m in enumerate(members):
            i, e = rows[m]
            ids[row, : lengths[m]] = torch.tensor([*prompts[i], *endings[e]])
            mask[row, : lengths[m]] = 1
            for c, label in enumerate(labels):
                if read_by[c] == e:
                    first = len(prompts[i]) - 1
                    wanted += [(row, first + t, token, i * len(labels) + c) for t, token in enumerate(label)]
        row_of, position, token_of, place = torch.tensor(wanted).T
        columns, column_of = position.unique(return_inverse=True)
        sums.index_add_(0, place, _log_probabilities(logits_of(ids, mask, columns), row_of, column_of, token_of))
        done += len(members)
        if tick is not None:
            tick(done, len(rows))
    return sums.view(len(prompts), len(labels))


def label_scores(likelihoods: Tensor, labels: Sequence[Sequence[int]]) -> Tensor:
    """The scores that decide, (n, C), high = likely: mean log-likelihood per token of the label, nats."""
    return likelihoods / torch.tensor([len(label) for label in labels], device=likelihoods.device)


def _log_probabilities(logits: Tensor, rows: Tensor, columns: Tensor, tokens: Tensor) -> Tensor:
    """log p(token) at the given places of logits (B, K, V), in nats; float64 on the CPU."""
    rows, columns, tokens = (index.to(logits.device) for index in (rows, columns, tokens))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (logits[rows, columns, tokens] - logits.logsumexp(-1)[rows, columns]).to("cpu", torch.float64)


def _endings(labels: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """What has to be read after a prompt so that every token of every label is predicted somewhere."""
    beginnings = dict.fromkeys(tuple(label[:-1]) for label in labels)
    return [a for a in beginnings if not any(a != b and _begins(b, a) for b in beginnings)]


def _begins(sequence: Sequence[int], start: Sequence[int]) -> bool:
    return list(sequence[: len(start)]) == list(start)


def _batches(prompts: Sequence[int], lengths: Sequence[int], tokens: int, shared: int) -> list[list[int]]:
    """Every index once, longest sequences first: memory runs out at once or never.

    `prompts` and `lengths` are tokens of the prompt alone and of all that is read.
    """
    batches: list[list[int]] = []
    columns: set[int] = set()
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        own = set(range(prompts[index] - 1, lengths[index]))
        more = len(batches[-1]) + 1 if batches else 0
        if more and more * (shared + width) <= tokens and more * len(columns | own) <= LOGIT_ROWS:
            batches[-1].append(index)
            columns |= own
        else:
            batches.append([index])
            columns, width = own, lengths[index]
    return batches
