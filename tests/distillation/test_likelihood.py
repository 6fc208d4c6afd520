"""Label likelihoods against the definition, one sequence and one token at a time in float64."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from engine.distillation.likelihood import LOGIT_ROWS, label_likelihoods, label_scores

VOCAB = 23
LABELS = [[5], [7, 2], [7, 2, 9], [7, 3], [5, 1]]  # one token, shared beginnings, a label that begins another


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).double().eval()


class Asked:
    """The logits of a model, and every batch it was given."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.model = model
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, ids: Tensor, mask: Tensor, columns: Tensor) -> Tensor:
        self.batches.append((ids, mask, columns))
        with torch.inference_mode():
            return self.model(input_ids=ids, attention_mask=mask).logits[:, columns]


def prompts(count: int, longest: int = 30, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(VOCAB) for _ in range(rng.randint(1, longest))] for _ in range(count)]


def by_definition(model: LlamaForCausalLM, asked: list[list[int]], labels: list[list[int]]) -> Tensor:
    """Sum over the tokens of log p(token | everything before it), each from a forward pass of its own."""
    sums = torch.zeros(len(asked), len(labels), dtype=torch.float64)
    for i, prompt in enumerate(asked):
        for c, label in enumerate(labels):
            for t, token in enumerate(label):
                with torch.inference_mode():
                    logits = model(input_ids=torch.tensor([prompt + label[:t]])).logits[0, -1]
                sums[i, c] += logits[token] - logits.exp().sum().log()
    return sums


def test_likelihoods_are_those_of_the_definition(model: LlamaForCausalLM) -> None:
    """Labels of several tokens, some beginning like others, after prompts of every length."""
    asked = prompts(9)
    found = label_likelihoods(Asked(model), asked, LABELS, pad=0)
    torch.testing.assert_close(found, by_definition(model, asked, LABELS), rtol=1e-10, atol=1e-10)


@given(st.integers(1, 200), st.integers(0, VOCAB - 1), st.integers(0, 3))
def test_neither_batches_nor_padding_matter(model: LlamaForCausalLM, tokens: int, pad: int, seed: int) -> None:
    """However many are read together, in whatever order, and whatever fills the gaps."""
    asked = prompts(6, seed=seed)
    order = random.Random(tokens).sample(range(6), 6)
    alone = torch.cat([label_likelihoods(Asked(model), [prompt], LABELS, pad=0) for prompt in asked])
    found = label_likelihoods(Asked(model), [asked[i] for i in order], LABELS, pad=pad, tokens=tokens)
    torch.testing.assert_close(found, alone[order], rtol=1e-10, atol=1e-10)


@given(st.integers(1, 400), st.integers(0, 50), st.integers(0, 5))
def test_a_batch_holds_no_more_than_it_may(model: LlamaForCausalLM, tokens: int, shared: int, seed: int) -> None:
    """Memory is bounded in tokens and in kept logits, or the batch is one sequence."""
    asked = Asked(model)
    label_likelihoods(asked, prompts(12, seed=seed), LABELS, pad=0, tokens=tokens, shared=shared)
    for ids, mask, columns in asked.batches:
        assert len(ids) == 1 or (shared + ids.shape[1]) * len(ids) <= tokens
        assert len(ids) == 1 or len(ids) * len(columns) <= LOGIT_ROWS
        assert mask.sum(1).min() > 0
        assert (mask.diff(dim=1) <= 0).all()  # padding only on the right


def test_only_logits_that_are_needed_are_asked_for(model: LlamaForCausalLM) -> None:
    """The prompt itself is not predicted: its logits would be most of the memory."""
    asked = Asked(model)
    label_likelihoods(asked, [[1] * 20, [2] * 20], [[5, 1], [6]], pad=0)
    assert [columns.tolist() for _, _, columns in asked.batches] == [[19, 20]]


def test_labels_that_begin_alike_are_read_once(model: LlamaForCausalLM) -> None:
    """One sequence for all labels of one token; of longer ones, one for each that no other contains."""
    for labels, sequences in [([[1], [2], [3]], 1), ([[1], [2, 3]], 1), (LABELS, 2), ([[1, 2], [3, 4]], 2)]:
        asked = Asked(model)
        label_likelihoods(asked, [[4, 4, 4]], labels, pad=0)
        assert sum(len(ids) for ids, _, _ in asked.batches) == sequences


def test_the_mean_per_token_decides() -> None:
    """Two likely tokens beat one less likely token, though their sum is lower."""
    likelihoods = torch.tensor([[-1.0, -1.5]])
    scores = label_scores(likelihoods, [[1], [2, 3]])
    assert scores.tolist() == [[-1.0, -0.75]]


def test_half_precision_is_summed_in_more(model: LlamaForCausalLM) -> None:
    """The log-sum of bfloat16 logits is taken in float32: one rounding of the logits is all that is lost."""
    asked = prompts(5)

    def halved(ids: Tensor, mask: Tensor, columns: Tensor) -> Tensor:
        return Asked(model)(ids, mask, columns).bfloat16()

    def rounded(ids: Tensor, mask: Tensor, columns: Tensor) -> Tensor:
        return halved(ids, mask, columns).double()

    found, expected = (label_likelihoods(f, asked, LABELS, pad=0) for f in (halved, rounded))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_progress_is_told_after_every_batch(model: LlamaForCausalLM) -> None:
    """The count rises to the total, and what `tick` raises stops the work."""
    reported: list[tuple[int, int]] = []
    label_likelihoods(Asked(model), prompts(5), [[1], [2]], 0, tokens=1, tick=lambda *at: reported.append(at))
    assert reported == [(i, 5) for i in range(1, 6)]

    def stop(done: int, total: int) -> None:
        raise InterruptedError

    asked = Asked(model)
    with pytest.raises(InterruptedError):
        label_likelihoods(asked, prompts(5), [[1], [2]], 0, tokens=1, tick=stop)
    assert len(asked.batches) == 1


@pytest.mark.parametrize(("asked", "labels"), [([[1], []], [[1]]), ([[1]], [[1], []])])
def test_nothing_to_predict_from_or_to_predict(
    model: LlamaForCausalLM, asked: list[list[int]], labels: list[list[int]]
) -> None:
    """An empty prompt has no last position, and an empty label would always win."""
    with pytest.raises(ValueError, match="at least one token"):
        label_likelihoods(Asked(model), asked, labels, pad=0)
