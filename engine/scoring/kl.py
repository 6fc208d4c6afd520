"""Exact KL divergence between two language models, one vocabulary tile at a time.

What is notable here:
- the input is final hidden states and LM heads, so no (tokens x vocabulary) tensor ever exists: four float32 buffers
  of one tile are the working memory, whatever the vocabulary and the length;
- one pass over the vocabulary yields forward and reverse KL, both negative log-likelihoods, the teacher's entropy
  and the leading tokens of both models;
- the sums hold the difference of the two models, not two large numbers to be subtracted at the end, so a KL of 1e-4
  keeps its digits.

At one position, over the common vocabulary: logits z_t and z_s, running maxima m_t and m_s, offset c = m_s - m_t, and

    y = z_t - m_t        w = e^y        x = z_s - z_t - c

    Z = sum w    S = sum w (e^x - 1)    D = sum w x    R = sum w (e^x - 1) x    E = sum w y

In these units the student's partition function is Z + S. A constant added to x changes no divergence, hence

    KL(p_t || p_s) = log E_t[e^x] - E_t[x] = log1p(S/Z) - D/Z
    KL(p_s || p_t) = (R + D) / (Z + S) - log1p(S/Z)
    H(p_t)         = log Z - E/Z

The first line equals sum_j p_t log(p_t / p_s) of Casey, Lu and Zuo, "Knowledge Distillation for Data Pruning" (2024).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from engine.scoring.lm_head import Head, LmHead
from engine.scoring.top_k import TopK

LOG2_E = 1.0 / math.log(2.0)
TILE_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 24}  # of a buffer: 4 MiB stay in a CPU's cache, 64 MiB fill a GPU
LEAST_ROWS = 256  # fewer rows than this make poor matrix products, so a wide tile makes larger buffers


class TokenScores(NamedTuple):
    """The result of one pass for T positions, in nats; tensors (T,) and, for the last four, (T, k).

    At a position with NaN or infinity in a model's logits every value is NaN and the ids mean nothing; other positions
    are unaffected.
    """

    kl: Tensor  # forward KL(p_t || p_s) >= 0
    reverse_kl: Tensor  # KL(p_s || p_t) >= 0
    nll_teacher: Tensor  # -log p_t(label)
    nll_student: Tensor  # -log p_s(label)
    entropy_teacher: Tensor  # H(p_t)
    disagree: Tensor  # 1.0 if the top tokens differ, else 0.0
    teacher_ids: Tensor  # most probable first
    teacher_probs: Tensor
    student_ids: Tensor
    student_probs: Tensor


def token_scores(
    hidden_t: Tensor,
    hidden_s: Tensor,
    head_t: Head,
    head_s: Head,
    labels: Tensor,
    *,
    vocab_size: int,
    tile: int,
    top_k: int = 0,
) -> TokenScores:
    """Score T positions from the states (T, d_t) and (T, d_s) that the heads read; `labels` (T,) are the next tokens.

    Both heads are cut to their first `vocab_size` tokens, those of the tokenizer. No tensor made here is wider than
    `tile` columns, and the size of the four buffers depends on neither T nor `vocab_size`.
    """
    tile = min(tile, vocab_size)
    rows = max(LEAST_ROWS, TILE_ELEMENTS[labels.device.type] // tile)
    buffers = torch.empty(4, min(rows, len(labels)), tile, device=labels.device)
    hidden_t, hidden_s = head_t.operand(hidden_t), head_s.operand(hidden_s)
    # Differences of halves are rounded, so only float32 states may be subtracted before the head.
    shared = head_t.same_map_as(head_s) and hidden_t.dtype == torch.float32
    if shared:
        hidden_s = hidden_s - hidden_t
    sweep = _Sweep(head_t, head_s, shared, vocab_size, tile, top_k, buffers)
    parts = []
    for start in range(0, len(labels), rows):
        part = slice(start, start + rows)
        inputs = hidden_t[part], hidden_s[part], labels[part]
        scores = _run(sweep, *inputs, careful=False)
        broken = torch.isnan(scores.kl).nonzero()[:, 0]
        if len(broken):
            # Either e^x exceeded the range of float32, which the careful form avoids, or a model gave NaN.
            again = _run(sweep, *(tensor[broken] for tensor in inputs), careful=True)
            for column, repaired in zip(scores, again, strict=True):
                column[broken] = repaired
        parts.append(scores)
    return TokenScores(*map(torch.cat, zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Sweep:
    head_t: Head
    head_s: Head
    shared: bool  # one head for both: the second hidden state is h_s - h_t
    vocab_size: int
    tile: int
    top_k: int
    buffers: Tensor  # (4, rows, tile)


def _run(sweep: _Sweep, h_t: Tensor, h_s: Tensor, labels: Tensor, *, careful: bool) -> TokenScores:
    """One pass over the vocabulary for one block of positions."""
    rows = len(labels)
    sums = _Sums(rows, labels.device)
    k = min(max(sweep.top_k, 1), sweep.vocab_size)
    top_t, top_s = TopK(rows, k, labels.device), TopK(rows, k, labels.device)
    label_t, label_s = torch.zeros(2, rows, device=labels.device)
    for start in range(0, sweep.vocab_size, sweep.tile):
        stop = min(start + sweep.tile, sweep.vocab_size)
        b0, b1, b2, b3 = (buffer.flatten()[: rows * (stop - start)].view(rows, -1) for buffer in sweep.buffers)
        z_t = sweep.head_t.logits(h_t, start, stop, out=b0)
        if sweep.shared:
            dz = sweep.head_s.logits(h_s, start, stop, out=b1)
            z_s = torch.add(z_t, dz, out=b3)
        else:
            z_s = sweep.head_s.logits(h_s, start, stop, out=b1)
        here = (labels >= start) & (labels < stop)
        column = (labels - start).clamp_(0, stop - start - 1)[:, None]
        label_t = torch.where(here, z_t.gather(1, column)[:, 0], label_t)
        label_s = torch.where(here, z_s.gather(1, column)[:, 0], label_s)
        sums.update_maxima(top_t.update(z_t, start), top_s.update(z_s, start))
        if not sweep.shared:
            dz = z_s.sub_(z_t)
        sums.add(z_t, dz, b2, b3, careful)
    return _finish(sums, label_t, label_s, top_t, top_s, sweep.top_k)


class _Sums:
    """The five sums of the module docstring, (rows,) each: float32 inside a tile, float64 over tiles."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self.m_t = torch.full((rows,), -torch.inf, device=device)
        self.m_s = torch.full((rows,), -torch.inf, device=device)
        self.c = torch.zeros(rows, device=device)
        self.Z, self.S, self.D, self.R, self.E = torch.zeros(5, rows, dtype=torch.float64, device=device)
        self.empty = True

    def update_maxima(self, best_t: Tensor, best_s: Tensor) -> None:
        """Rescale the sums to the maxima after this tile: y changes by `down`, x by `shift`."""
        m_t, m_s = torch.maximum(self.m_t, best_t), torch.maximum(self.m_s, best_s)
        c = m_s - m_t
        if not self.empty:
            down, shift = (self.m_t - m_t).double(), (self.c - c).double()
            a, b = torch.exp(down), torch.exp(down + shift)
            self.R = b * (self.R + shift * self.S) + (b - a) * (self.D + shift * self.Z)
            self.S = b * self.S + (b - a) * self.Z
            self.D = a * (self.D + shift * self.Z)
            self.E = a * (self.E + down * self.Z)
            self.Z = a * self.Z
        self.m_t, self.m_s, self.c, self.empty = m_t, m_s, c, False

    def add(self, z_t: Tensor, dz: Tensor, w: Tensor, u: Tensor, careful: bool) -> None:
        """Add one tile of z_t and dz = z_s - z_t (both overwritten); `w` and `u` are buffers of their shape."""
        y = z_t.sub_(self.m_t[:, None])
        x = dz.sub_(self.c[:, None])
        torch.mul(y, LOG2_E, out=w).exp2_()  # three times as fast as exp on a CPU, and as exact
        self.Z += w.sum(1)
        self.D += torch.mul(w, x, out=u).sum(1)
        self.E += torch.mul(w, y, out=u).sum(1)
        if careful:  # e^x may overflow although w e^x = e^(z_s - m_s) does not
            torch.where(x > 1, torch.exp(x + y) - w, torch.expm1(x.clamp(max=1)) * w, out=u)
        else:
            torch.expm1(x, out=u).mul_(w)
        self.S += u.sum(1)
        self.R += u.mul_(x).sum(1)


def _finish(sums: _Sums, label_t: Tensor, label_s: Tensor, top_t: TopK, top_s: TopK, top_k: int) -> TokenScores:
    gain = torch.log1p(sums.S / sums.Z)
    lse_t = sums.m_t.double() + torch.log(sums.Z)
    lse_s = sums.m_t.double() + sums.c.double() + torch.log(sums.Z + sums.S)
    scores = TokenScores(
        kl=(gain - sums.D / sums.Z).clamp_(min=0),
        reverse_kl=((sums.R + sums.D) / (sums.Z + sums.S) - gain).clamp_(min=0),
        nll_teacher=lse_t - label_t,
        nll_student=lse_s - label_s,
        entropy_teacher=torch.log(sums.Z) - sums.E / sums.Z,
        disagree=(top_t.ids[:, 0] != top_s.ids[:, 0]).double(),
        teacher_ids=top_t.ids[:, :top_k],
        teacher_probs=torch.exp(top_t.values[:, :top_k] - lse_t[:, None]),
        student_ids=top_s.ids[:, :top_k],
        student_probs=torch.exp(top_s.values[:, :top_k] - lse_s[:, None]),
    )
    values = [column for column in scores if column.is_floating_point()]
    broken = ~torch.stack([column for column in values if column.dim() == 1]).isfinite().all(0)
    for column in values:
        column[broken] = torch.nan
    return scores


def reference_kl(hidden_t: Tensor, hidden_s: Tensor, head_t: LmHead, head_s: LmHead, *, vocab_size: int) -> Tensor:
    """Forward KL of T positions (T,) from full float64 logits: the plain reference of `token_scores`."""
    log_t = torch.log_softmax(head_t.reference_logits(hidden_t)[:, :vocab_size], 1)
    log_s = torch.log_softmax(head_s.reference_logits(hidden_s)[:, :vocab_size], 1)
    return (log_t.exp() * (log_t - log_s)).sum(1)
