"""The one-pass divergence against closed forms, against plain float64, and against its own promises."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.scoring import kl
from engine.scoring.kl import TokenScores, reference_kl, token_scores
from engine.scoring.lm_head import LmHead

FLOATS = TokenScores._fields[:6]


def score(
    h_t: Tensor, h_s: Tensor, head_t: LmHead, head_s: LmHead, vocab_size: int, tile: int = 64, top_k: int = 0
) -> TokenScores:
    labels = torch.arange(len(h_t)) % vocab_size
    return token_scores(h_t, h_s, head_t, head_s, labels, vocab_size=vocab_size, tile=tile, top_k=top_k)


def score_logits(z_t: Tensor, z_s: Tensor, tile: int = 64, top_k: int = 0) -> TokenScores:
    """Scores of given logits: the hidden states are the logits and the heads identities (two separate ones)."""
    identity = torch.eye(z_t.shape[1])
    return score(z_t, z_s, LmHead(identity), LmHead(identity.clone()), z_t.shape[1], tile, top_k)


def random_pair(
    tokens: int, vocab: int, width_t: int = 12, width_s: int = 7, scale: float = 1.0, seed: int = 0
) -> tuple[Tensor, Tensor, LmHead, LmHead]:
    random = torch.Generator().manual_seed(seed)
    h_t, h_s = (scale * torch.randn(tokens, width, generator=random) for width in (width_t, width_s))
    w_t, w_s = (torch.randn(vocab, width, generator=random) for width in (width_t, width_s))
    return h_t, h_s, LmHead(w_t), LmHead(w_s)


def plain(z_t: Tensor, z_s: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Every score straight from its definition, float64."""
    log_t, log_s = torch.log_softmax(z_t.double(), 1), torch.log_softmax(z_s.double(), 1)
    return {
        "kl": (log_t.exp() * (log_t - log_s)).sum(1),
        "reverse_kl": (log_s.exp() * (log_s - log_t)).sum(1),
        "nll_teacher": -log_t.gather(1, labels[:, None])[:, 0],
        "nll_student": -log_s.gather(1, labels[:, None])[:, 0],
        "entropy_teacher": -(log_t.exp() * log_t).sum(1),
        "disagree": (z_t.argmax(1) != z_s.argmax(1)).double(),
    }


def test_two_tokens_closed_form() -> None:
    """A vocabulary of two: KL, reverse KL, losses and entropy as one writes them by hand."""
    p, q = 0.8, 0.3
    z_t, z_s = (torch.tensor([[math.log(a), math.log(1 - a)]] * 2) for a in (p, q))
    scores = score_logits(z_t, z_s, tile=1)
    expected = {
        "kl": p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)),
        "reverse_kl": q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p)),
        "entropy_teacher": -p * math.log(p) - (1 - p) * math.log(1 - p),
        "disagree": 1.0,
    }
    for name, value in expected.items():
        assert getattr(scores, name).tolist() == pytest.approx([value, value], rel=1e-6)
    assert scores.nll_teacher.tolist() == pytest.approx([-math.log(p), -math.log(1 - p)], rel=1e-6)
    assert scores.nll_student.tolist() == pytest.approx([-math.log(q), -math.log(1 - q)], rel=1e-6)


def test_gaussian_shift_closed_form() -> None:
    """Two discretised normal distributions of one variance: KL = (difference of means)^2 / (2 variance)."""
    x = torch.linspace(-12, 12, 4801)
    scores = score_logits(-(x[None] ** 2) / 2, -((x[None] - 0.5) ** 2) / 2, tile=1000)
    assert scores.kl.item() == pytest.approx(0.125, rel=1e-5)
    assert scores.reverse_kl.item() == pytest.approx(0.125, rel=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_equal_models_give_exactly_zero(shared: bool) -> None:
    """A model against itself has KL 0.0, not something small: otherwise a threshold of 0 would keep noise."""
    h, _, head, _ = random_pair(50, 300)
    other = head if shared else LmHead(head.weight.clone())
    scores = score(h, h.clone(), head, other, 300)
    for name in ("kl", "reverse_kl", "disagree"):
        assert getattr(scores, name).tolist() == [0.0] * 50
    assert torch.equal(scores.nll_teacher, scores.nll_student)


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.integers(1, 9),
    vocab=st.integers(2, 150),
    padding_t=st.integers(0, 5),
    padding_s=st.integers(0, 5),
    tile=st.integers(1, 170),
    scale=st.sampled_from([0.01, 1.0, 5.0]),
    seed=st.integers(0, 1000),
)
@example(tokens=9, vocab=2, padding_t=2, padding_s=0, tile=1, scale=5.0, seed=201)
def test_every_score_equals_its_definition(
    tokens: int, vocab: int, padding_t: int, padding_s: int, tile: int, scale: float, seed: int
) -> None:
    """Any shape, tile width and padded vocabulary agrees with plain float64 over the common vocabulary."""
    h_t, h_s, head_t, _ = random_pair(tokens, vocab + padding_t, scale=scale, seed=seed)
    _, _, _, head_s = random_pair(tokens, vocab + padding_s, scale=scale, seed=seed + 1)
    scores = score(h_t, h_s, head_t, head_s, vocab, tile)
    z_t, z_s = head_t.reference_logits(h_t)[:, :vocab], head_s.reference_logits(h_s)[:, :vocab]
    # A float32 logit is off by a few roundings of the terms it sums, however small the score is.
    terms = max(float((h.abs() @ head.weight.abs().t()).max()) for h, head in ((h_t, head_t), (h_s, head_s)))
    for name, expected in plain(z_t, z_s, torch.arange(tokens) % vocab).items():
        torch.testing.assert_close(getattr(scores, name), expected, rtol=2e-5, atol=2e-6 + terms * 2**-22, msg=name)
    torch.testing.assert_close(
        scores.kl, reference_kl(h_t, h_s, head_t, head_s, vocab_size=vocab), rtol=1e-4, atol=1e-9
    )


@pytest.mark.parametrize("tile", [1, 7, 32, 64, 100, 311, 5000])
def test_the_tile_width_does_not_matter(tile: int) -> None:
    """Scores are the same however the vocabulary is cut, leading tokens included."""
    h_t, h_s, head_t, head_s = random_pair(20, 311)
    whole, cut = (score(h_t, h_s, head_t, head_s, 311, width, top_k=5) for width in (311, tile))
    for name in TokenScores._fields:
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("shared", [True, False])
def test_a_kl_of_one_ten_thousandth_keeps_its_digits(shared: bool) -> None:
    """A lightly tuned copy: the mean of 64 positions agrees with float64 within 1e-4 where KL is about 1e-4."""
    random = torch.Generator().manual_seed(0)
    h = torch.randn(256, 128, generator=random)
    weight = 0.3 * torch.randn(8192, 128, generator=random)
    h_s = h + 0.004 * torch.randn(h.shape, generator=random)
    other = weight if shared else weight + 0.001 * torch.randn(weight.shape, generator=random)
    heads = LmHead(weight), LmHead(other)
    exact = reference_kl(h, h_s, *heads, vocab_size=8192).view(-1, 64).mean(1)
    found = score(h, h_s, *heads, 8192, tile=1000).kl.view(-1, 64).mean(1)
    assert 2e-5 < exact.min() < exact.max() < 5e-4
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=0)


def test_one_head_for_both_gives_what_two_copies_give() -> None:
    """The short cut through (h_s - h_t) W^T changes no score."""
    h_t, h_s, head, _ = random_pair(30, 200, width_s=12)
    one, two = (
        score(h_t, h_s, head, head, 200, top_k=3),
        score(h_t, h_s, head, LmHead(head.weight.clone()), 200, top_k=3),
    )
    for name in TokenScores._fields:
        torch.testing.assert_close(getattr(one, name), getattr(two, name), rtol=1e-5, atol=1e-6, msg=name)


def test_reverse_kl_is_forward_kl_with_the_models_exchanged() -> None:
    """KL(s || t) of a pair is KL(t || s) of the exchanged pair, and the losses change places."""
    h_t, h_s, head_t, head_s = random_pair(30, 200)
    forward, exchanged = score(h_t, h_s, head_t, head_s, 200), score(h_s, h_t, head_s, head_t, 200)
    torch.testing.assert_close(forward.reverse_kl, exchanged.kl, rtol=1e-5, atol=0)
    torch.testing.assert_close(forward.nll_student, exchanged.nll_teacher, rtol=1e-5, atol=0)


def test_entropy_of_certain_and_uniform_teachers() -> None:
    """Entropy is 0 for a certain teacher and log V for a uniform one."""
    z = torch.zeros(2, 100)
    z[0, 41] = 200.0
    scores = score_logits(z, torch.zeros(2, 100))
    assert scores.entropy_teacher.tolist() == pytest.approx([0.0, math.log(100)], abs=1e-6)


def test_high_means_far_apart() -> None:
    """The worse a student, the higher its KL and its loss: high = keep."""
    h_t, noise, head, _ = random_pair(200, 300, width_s=12)
    levels = [score(h_t, h_t + level * noise, head, head, 300) for level in (0.0, 0.1, 0.3, 1.0)]
    for name in ("kl", "reverse_kl", "disagree"):
        means = [getattr(scores, name).mean().item() for scores in levels]
        assert means == sorted(means)
        assert means[0] < means[-1]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["teacher", "student"])
def test_not_a_number_stays_in_its_row(bad: float, side: str) -> None:
    """NaN or Inf from a model makes every value of that position NaN and leaves all others bit for bit alone."""
    h_t, h_s, head_t, head_s = random_pair(10, 200)
    clean = score(h_t, h_s, head_t, head_s, 200, top_k=2)
    (h_t if side == "teacher" else h_s)[3, 1] = bad
    scores = score(h_t, h_s, head_t, head_s, 200, top_k=2)
    others = torch.arange(10) != 3
    for name in TokenScores._fields:
        column = getattr(scores, name)
        if column.is_floating_point():
            assert column[3].isnan().all(), name
        torch.testing.assert_close(column[others], getattr(clean, name)[others], rtol=1e-6, atol=1e-7)


def test_one_infinite_logit_is_reported_and_contained() -> None:
    """A single infinite logit, not only a spoilt hidden state, is seen."""
    z = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    spoilt = z.clone()
    spoilt[1, 17] = math.inf
    assert score_logits_directly(z, spoilt).kl.isnan().tolist() == [False, True, False]


def score_logits_directly(z_t: Tensor, z_s: Tensor) -> TokenScores:
    """As score_logits, with the student's logits as a bias of one row at a time: infinity times zero would be NaN."""
    zero = torch.zeros(1, 1)
    rows = [
        score(zero, zero, LmHead(torch.zeros(40, 1), t), LmHead(torch.zeros(40, 1), s), 40, tile=16)
        for t, s in zip(z_t, z_s, strict=True)
    ]
    return TokenScores(*map(torch.cat, zip(*rows, strict=True)))


@pytest.mark.parametrize("tile", [1, 2, 5])
def test_logits_hundreds_apart_do_not_overflow(tile: int) -> None:
    """e^(z_s - z_t) beyond float32 is no infinity: the row is done again in the careful form."""
    z_t = torch.tensor([[0.0, -300.0, -20.0, 5.0, 0.0], [0.0, 1.0, 2.0, 3.0, 4.0]])
    z_s = torch.tensor([[-150.0, 40.0, -90.0, 0.0, 0.0], [0.5, 1.0, 2.0, 3.0, 4.0]])
    scores = score_logits(z_t, z_s, tile)
    for name, expected in plain(z_t, z_s, torch.arange(2)).items():
        torch.testing.assert_close(getattr(scores, name), expected, rtol=1e-5, atol=1e-6, msg=name)


def test_top_tokens_are_those_of_a_full_sort() -> None:
    """Ids and probabilities of the k most probable tokens of both models, most probable first."""
    h_t, h_s, head_t, head_s = random_pair(40, 1000)
    scores = score(h_t, h_s, head_t, head_s, 1000, tile=96, top_k=5)
    for side, hidden, head in (("teacher", h_t, head_t), ("student", h_s, head_s)):
        probs, ids = torch.softmax(head.reference_logits(hidden), 1).topk(5)
        assert torch.equal(getattr(scores, f"{side}_ids"), ids)
        torch.testing.assert_close(getattr(scores, f"{side}_probs"), probs, rtol=1e-5, atol=0)


def test_more_top_tokens_than_words() -> None:
    """A vocabulary smaller than k lists all of itself."""
    scores = score_logits(torch.tensor([[0.0, 2.0, 1.0]]), torch.zeros(1, 3), tile=2, top_k=5)
    assert scores.teacher_ids.tolist() == [[1, 2, 0]]
    assert scores.teacher_probs.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "extra", [{"bias": True}, {"scale": 0.3}, {"softcap": 3.0}, {"bias": True, "scale": 2.0, "softcap": 5.0}]
)
def test_bias_scale_and_softcap(extra: dict[str, float]) -> None:
    """What a head does after the matrix product is part of the distribution, one shared head included."""
    h_t, h_s, plain_head, _ = random_pair(15, 120, width_s=12)
    bias = torch.linspace(-2, 2, 120) if extra.get("bias") else None
    head = LmHead(plain_head.weight, bias, extra.get("scale", 1.0), extra.get("softcap"))
    found = score(h_t, h_s, head, head, 120, tile=50).kl
    torch.testing.assert_close(found, reference_kl(h_t, h_s, head, head, vocab_size=120), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("shared", [True, False])
def test_half_precision_models_are_scored_in_float32(shared: bool) -> None:
    """bfloat16 states and heads give the float64 KL of those very numbers, not that of rounded logits."""
    h_t, h_s, head_t, _ = random_pair(40, 500, width_s=12)
    h_s = h_t + 0.01 * h_s
    weight = head_t.weight.bfloat16()
    heads = LmHead(weight), LmHead(weight if shared else weight.clone())
    found = score(h_t.bfloat16(), h_s.bfloat16(), *heads, 500).kl
    exact = reference_kl(h_t.bfloat16(), h_s.bfloat16(), *heads, vocab_size=500)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(found.mean(), exact.mean(), rtol=1e-4, atol=0)


class LargestTensor(TorchDispatchMode):
    """Remembers the widest and the largest tensor that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.widest = self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor) and tensor.dim() > 1:
                self.widest = max(self.widest, tensor.shape[-1])
                self.largest = max(self.largest, tensor.numel())
        return out


@pytest.mark.parametrize("vocab", [700, 3000])
def test_never_more_than_one_tile_of_logits(vocab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wider than a tile, and the largest thing is the four buffers, whatever vocabulary and length."""
    tile, rows = 320, 256
    monkeypatch.setitem(kl.TILE_ELEMENTS, "cpu", tile * rows)
    h_t, h_s, head_t, head_s = random_pair(300, vocab)
    with LargestTensor() as seen:
        score(h_t, h_s, head_t, head_s, vocab, tile, top_k=5)
    assert seen.widest == tile
    assert seen.largest == 4 * tile * rows
