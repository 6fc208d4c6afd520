"""Reading vectors as tokens: against brute force, and what must never be named."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.common.choices import Similarity
from engine.common.errors import WinnowError
from engine.distillation import decode
from engine.distillation.decode import allowed_tokens, embedding_penalty, nearest_tokens

SIMILARITIES = get_args(Similarity)
all_similarities = pytest.mark.parametrize("similarity", SIMILARITIES)


def brute(vectors: Tensor, table: Tensor, similarity: Similarity) -> Tensor:
    """All similarities (…, V) in float64, from their definitions."""
    v, t = vectors.double()[..., None, :], table.double()
    if similarity == "l2":
        return -(v - t).square().sum(-1).sqrt()
    dots = (v * t).sum(-1)
    if similarity == "dot":
        return dots
    lengths = v.square().sum(-1).sqrt() * t.square().sum(-1).sqrt()
    return torch.where(lengths > 0, dots / lengths, 0.0)


def ordered(values: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Ids by value, high first, lower id first among equal float32 values."""
    values = values.float().masked_fill(~allowed, -math.inf)
    return values.sort(dim=-1, descending=True, stable=True).indices[..., :count]


@settings(max_examples=150, deadline=None)
@given(
    similarity=st.sampled_from(SIMILARITIES),
    shape=st.lists(st.integers(0, 4), max_size=2),
    vocab=st.integers(1, 60),
    width=st.integers(1, 9),
    count=st.integers(1, 8),
    tile=st.integers(1, 70),
    scale=st.sampled_from([0.01, 1.0, 20.0]),
    share=st.sampled_from([0.1, 0.7, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_neighbours_are_those_of_brute_force(
    similarity: Similarity,
    shape: list[int],
    vocab: int,
    width: int,
    count: int,
    tile: int,
    scale: float,
    share: float,
    seed: int,
) -> None:
    """Any shape, tile and mask: the values of the nearest rows in float64, and ids that have these values."""
    random = torch.Generator().manual_seed(seed)
    vectors = scale * torch.randn(*shape, width, generator=random)
    table = torch.randn(vocab, width, generator=random)
    allowed = torch.rand(vocab, generator=random) < share
    allowed[seed % vocab] = True
    ids, values = nearest_tokens(vectors, table, allowed, similarity, count, tile)
    count = min(count, int(allowed.sum()))
    assert ids.shape == values.shape == (*shape, count)
    assert values.dtype == torch.float32
    assert allowed[ids].all()
    truth = brute(vectors, table, similarity)
    expected = truth.masked_fill(~allowed, -math.inf).topk(count).values
    near: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6 * scale}
    torch.testing.assert_close(values.double(), expected, **near)
    torch.testing.assert_close(truth.gather(-1, ids), expected, **near)
    assert all(len(set(row)) == count for row in ids.reshape(-1, count).tolist())


@settings(max_examples=150, deadline=None)
@given(
    similarity=st.sampled_from(SIMILARITIES),
    vocab=st.integers(1, 80),
    count=st.integers(1, 9),
    tile=st.integers(1, 90),
    seed=st.integers(0, 10_000),
)
def test_exact_ties_go_to_the_lower_id(similarity: Similarity, vocab: int, count: int, tile: int, seed: int) -> None:
    """Whole numbers make ties without rounding, zeros and rows that occur many times among them."""
    random = torch.Generator().manual_seed(seed)
    table = torch.randint(-1, 2, (vocab, 2), generator=random).float()
    if similarity == "cosine":
        table[:, 1] = 0  # directions are then 1, -1 or none, and cosines exact
    vectors = torch.randint(-2, 3, (6, 2), generator=random).float()
    allowed = torch.rand(vocab, generator=random) < 0.8
    allowed[0] = True
    ids, _ = nearest_tokens(vectors, table, allowed, similarity, count, tile)
    assert torch.equal(ids, ordered(brute(vectors, table, similarity), allowed, min(count, int(allowed.sum()))))


@pytest.mark.parametrize("similarity", ["cosine", "l2"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_a_tokens_own_vector_is_read_as_that_token(similarity: Similarity, offset: float) -> None:
    """At cosine 1 and at distance exactly 0, also where the whole table lies far from the origin."""
    table = torch.randn(3000, 48, generator=torch.Generator().manual_seed(0)) + offset
    ids, values = nearest_tokens(table.view(60, 50, 48), table, torch.ones(3000, dtype=torch.bool), similarity, 2, 999)
    assert torch.equal(ids[..., 0].flatten(), torch.arange(3000))
    assert values[..., 0].unique().tolist() == [1.0 if similarity == "cosine" else 0.0]
    assert not values[..., 0].signbit().any()  # -0.0 would be shown as such
    assert (values[..., 0] > values[..., 1]).all()


def test_rows_closer_than_the_first_pass_can_tell_are_told_apart() -> None:
    """Pairs of rows a thousandth apart, far from the origin: a float32 product sees no difference."""
    table = (torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) + 10).repeat_interleave(2, 0)
    table[1::2] += 0.001
    ids, values = nearest_tokens(table, table, torch.ones(400, dtype=torch.bool), "l2", 1)
    assert ids[:, 0].tolist() == list(range(400))
    assert values.count_nonzero() == 0


@all_similarities
def test_what_is_not_allowed_is_never_named(similarity: Similarity) -> None:
    """Not even where it is the vector itself; the next nearest takes its place."""
    table = torch.nn.functional.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    allowed = torch.ones(50, dtype=torch.bool)
    first, _ = nearest_tokens(table, table, allowed, similarity, 2)
    for token in range(50):
        allowed[token] = False
        ids, _ = nearest_tokens(table[token], table, allowed, similarity, 1)
        assert ids.tolist() == first[token, 1:].tolist()
        allowed[token] = True


@all_similarities
def test_the_similarities_are_what_they_are_called(similarity: Similarity) -> None:
    """One vector, three rows, by hand: each similarity prefers another one."""
    vector, table = torch.tensor([2.0, 0.0]), torch.tensor([[9.0, 9.0], [0.5, 0.0], [2.0, 1.0]])
    expected = {"cosine": (1, 1.0), "l2": (2, -1.0), "dot": (0, 18.0)}[similarity]
    ids, values = nearest_tokens(vector, table, torch.ones(3, dtype=torch.bool), similarity, 1)
    assert (ids.item(), values.item()) == expected


def test_fewer_allowed_than_asked_for() -> None:
    """All that may be named are."""
    allowed = torch.tensor([False, True, False, True])
    ids, _ = nearest_tokens(torch.tensor([[0.9, 0.0]]), torch.eye(4)[:, :2], allowed, "dot", 5, tile=1)
    assert ids.tolist() == [[1, 3]]


class LargestTensor(TorchDispatchMode):
    """Remembers how many entries the largest tensor had that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel())
        return out


@all_similarities
def test_nothing_is_as_large_as_vectors_times_vocabulary(
    similarity: Similarity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Working memory is a block of vectors by a tile of the table, or the rows that are left."""
    monkeypatch.setattr(decode, "BLOCK", 64)
    table = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    vectors, allowed = table[:500].clone(), torch.ones(2000, dtype=torch.bool)
    with LargestTensor() as seen:
        nearest_tokens(vectors, table, allowed, similarity, 5, tile=200)
    assert seen.largest == 64 * 200


def test_half_precision_is_read_in_full() -> None:
    """A bfloat16 table and bfloat16 vectors give the neighbours of those very numbers."""
    random = torch.Generator().manual_seed(0)
    vectors, table = (torch.randn(n, 16, generator=random).bfloat16() for n in (20, 300))
    allowed = torch.ones(300, dtype=torch.bool)
    for similarity in SIMILARITIES:
        ids, values = nearest_tokens(vectors, table, allowed, similarity, 3)
        full_ids, full_values = nearest_tokens(vectors.float(), table.float(), allowed, similarity, 3)
        assert torch.equal(ids, full_ids)
        assert torch.equal(values, full_values)


def test_pull_is_zero_on_rows() -> None:
    """What already is a token is left alone."""
    table = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) + 10
    vectors = table[:12].reshape(3, 4, 6).clone().requires_grad_()
    found = embedding_penalty(vectors, table, torch.ones(40, dtype=torch.bool))
    assert found.item() == 0.0
    assert torch.autograd.grad(found, vectors)[0].count_nonzero() == 0


def test_pull_goes_to_the_nearest_allowed_row_and_moves_vectors_alone() -> None:
    """A step of n L / 2 against the gradient lands on the nearest row; the value is the mean squared distance."""
    random = torch.Generator().manual_seed(3)
    table = torch.randn(40, 6, generator=random, dtype=torch.float64).requires_grad_()
    vectors = torch.randn(2, 5, 6, generator=random, dtype=torch.float64).requires_grad_()
    allowed = torch.arange(40) % 3 > 0
    found = embedding_penalty(vectors, table, allowed)
    ids = ordered(brute(vectors.detach(), table.detach(), "l2"), allowed, 1)[..., 0]
    rows = table.detach()[ids]
    torch.testing.assert_close(found.detach(), (vectors.detach() - rows).square().sum(-1).mean())
    (moved,) = torch.autograd.grad(found, vectors, retain_graph=True)
    torch.testing.assert_close(vectors.detach() - moved * 10 / 2, rows)
    assert torch.autograd.grad(found, table, allow_unused=True) == (None,)


def test_allowed_tokens_leave_out_what_is_no_word() -> None:
    """Special tokens, fillers, rows beyond the vocabulary, white space, control and replacement characters."""
    named = ["film", "##ly", " the", "!", "é", "影", "1", "a\ufffd"]
    nothing = [
        "",
        " ",
        "\n",
        "\t ",
        "\u200b",
        "\x07",
        "\ufffd",
        "\ufffd\ufffd",
        "[unused7]",
        "madeupword0001",
        "\u00a0",
    ]
    texts = ["[CLS]", *named, *nothing, "<added>"]
    allowed = allowed_tokens(texts, {0, len(texts) - 1}, len(texts) + 4)
    assert allowed.nonzero()[:, 0].tolist() == list(range(1, 1 + len(named)))
    assert allowed.shape == (len(texts) + 4,)


def test_widths_that_differ_are_named() -> None:
    """Vectors of one model cannot be read with the table of another."""
    for call in (nearest_tokens, embedding_penalty):
        with pytest.raises(WinnowError, match=r"vectors have 3 numbers .* table 4; read them with"):
            call(torch.zeros(1, 2, 3), torch.zeros(5, 4), torch.ones(5, dtype=torch.bool), *_rest(call))


def test_a_mask_of_another_table_is_named() -> None:
    """A tokenizer with more or fewer tokens than the table has rows would shift nothing silently."""
    with pytest.raises(WinnowError, match="has 5 rows, but 6 are marked"):
        embedding_penalty(torch.zeros(1, 1, 4), torch.zeros(5, 4), torch.ones(6, dtype=torch.bool))


def test_nothing_allowed_is_said() -> None:
    """Rather than an arbitrary token."""
    for call in (nearest_tokens, embedding_penalty):
        with pytest.raises(WinnowError, match="No token of the embedding table may be named"):
            call(torch.zeros(1, 2, 4), torch.zeros(5, 4), torch.zeros(5, dtype=torch.bool), *_rest(call))


def _rest(call: object) -> list[Any]:
    return ["l2"] if call is nearest_tokens else []
