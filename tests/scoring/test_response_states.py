"""Projected mean states: the plain formula, distances, and one and the same matrix everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine.scoring.hidden import HiddenCache, lm_head_of
from engine.scoring.lm_head import OwnLogits
from engine.scoring.response_states import STATE_WIDTH, mean_state, projection, response_states
from engine.scoring.score import SampleScores, score_samples
from engine.scoring.scored_model import scored_model
from engine.storage.tables import SCHEMAS
from tests.fixtures.models import VOCAB, Sample, build, random_samples
from tests.scoring.test_scored_model import changed

LENGTHS = [9, 4, 30, 7, 7, 2, 18, 25, 4, 11]
SAMPLES = random_samples(LENGTHS)


def scored(teacher: Any, student: nn.Module, samples: Sequence[Sample] = SAMPLES, **changes: Any) -> list[SampleScores]:
    settings: dict[str, Any] = {"vocab_size": VOCAB, "token_budget": 64, "tile": 100, "with_states": True} | changes
    return score_samples(teacher, student, samples, **settings)


def stacked(results: list[SampleScores]) -> np.ndarray:
    return np.stack([result.state for result in results if result.state is not None])


def plain(read: list[torch.Tensor]) -> np.ndarray:
    """The mean over each response times the projection, in float64, from what the head reads in each sample."""
    means = [each[torch.from_numpy(s.response)].double().mean(0) for each, s in zip(read, SAMPLES, strict=True)]
    return (torch.stack(means) @ projection(read[0].shape[1]).double()).numpy()


def hidden(model: nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        ids = [torch.from_numpy(sample.input_ids).long()[None] for sample in SAMPLES]
        return [model.get_decoder()(input_ids=each).last_hidden_state[0] for each in ids]


def test_the_matrix_is_the_same_on_every_machine() -> None:
    """Stored states of all runs and machines are compared: another matrix needs another name in PROJECTION."""
    found = {width: hashlib.sha256(projection(width).numpy().tobytes()).hexdigest()[:16] for width in (7, 576)}
    assert found == {7: "ae561f9cb21d19c9", 576: "c5b5ca333a615a9f"}
    assert projection(576) is projection(576)


def test_the_matrix_is_gaussian_with_the_right_scale() -> None:
    """Entries N(0, 1/64): a vector keeps its squared length on average."""
    matrix = projection(4096).double()
    assert matrix.shape == (4096, STATE_WIDTH)
    assert float(matrix.mean()) == pytest.approx(0, abs=1e-3)
    assert float(matrix.square().mean() * STATE_WIDTH) == pytest.approx(1, abs=0.01)
    assert float(matrix.pow(4).mean() / matrix.square().mean() ** 2) == pytest.approx(3, abs=0.1)


def test_distances_are_kept() -> None:
    """Ratios of projected to true distances stray by 1/sqrt(2 · 64) = 9 %, whatever the width."""
    for width in (48, 576, 2048):
        points = torch.from_numpy(np.random.default_rng(width).normal(size=(60, width))) * torch.logspace(0, -2, width)
        ratio = torch.pdist(points @ projection(width).double()) / torch.pdist(points)
        assert float(ratio.mean()) == pytest.approx(1, abs=0.1)
        assert float(ratio.std()) < 0.15
        assert 0.6 < float(ratio.min()) < float(ratio.max()) < 1.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_means_are_those_of_float64(dtype: torch.dtype) -> None:
    """Half precision is summed in float32: a thousand positions lose no digit of the mean."""
    rng = np.random.default_rng(0)
    states = torch.from_numpy(rng.normal(3, 1, (1200, 16))).to(dtype)
    response = rng.random(1200) < 0.9
    found = mean_state(states, response)
    assert found.dtype == torch.float32
    expected = states[torch.from_numpy(response)].double().mean(0)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-6)


def test_linear_and_each_sample_alone() -> None:
    """A state is linear in what the head reads, prompts count for nothing, and NaN or infinity stay in their sample."""
    rng = np.random.default_rng(1)
    one, other = (torch.from_numpy(rng.normal(size=(9, 16)).astype(np.float32)) for _ in range(2))
    responses = [np.array([False, True, True, False]), np.array([False, False, False, True, True])]
    matrix = projection(16)
    found = response_states(2 * one - 3 * other, responses, matrix)
    parts = [response_states(each, responses, matrix) for each in (one, other)]
    torch.testing.assert_close(found, 2 * parts[0] - 3 * parts[1], rtol=1e-5, atol=1e-5)
    one[[0, 3, 4, 5, 6]] = torch.nan  # not of a response
    torch.testing.assert_close(response_states(one, responses, matrix), parts[0])
    for bad in (torch.nan, torch.inf):
        one[8, 5] = bad
        spoilt = response_states(one, responses, matrix)
        torch.testing.assert_close(spoilt[0], parts[0][0])
        assert spoilt[1].isnan().all()


def test_states_are_the_formula_over_hidden_states() -> None:
    """What is stored is the mean over the positions that predict the response, in the order of the samples."""
    teacher, student = build("llama", 1), build("llama", 2)
    expected = plain(hidden(teacher))
    for budget in (1, 40, 10_000):
        results = scored(teacher, student, token_budget=budget)
        np.testing.assert_allclose(stacked(results), expected, rtol=1e-4, atol=1e-5)
    assert all(result.state is None for result in scored(teacher, student, with_states=False))


def test_states_of_a_teacher_in_half_precision() -> None:
    """bfloat16 states are reduced in float32: what differs is the teacher's rounding alone."""
    teacher = nn.Module.to(build("llama", 1), torch.bfloat16)
    found = stacked(scored(teacher, nn.Module.to(build("llama", 2), torch.bfloat16), token_budget=1))
    np.testing.assert_allclose(found, plain(hidden(teacher)), rtol=1e-4, atol=1e-5)


def test_cached_states_give_the_same(tmp_path: Any) -> None:
    """A run whose teacher's states are cached never runs the teacher, and stores the same."""
    teacher, student = build("llama", 1), build("llama", 2)
    expected = stacked(scored(teacher, student))
    cache = HiddenCache(tmp_path, 10**6)
    scored(teacher, student, cache=cache, cache_key="shard", with_states=False)
    found = stacked(scored(lm_head_of(teacher), student, cache=cache, cache_key="shard"))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_teacher_scored_through_its_own_logits() -> None:
    """Its state is made of the logits of the tokenizer's tokens: a model may forbid the columns beyond them."""
    beyond = torch.arange(300, VOCAB)
    teacher = changed(lambda logits: logits.index_fill(-1, beyond, -torch.inf))
    samples = random_samples(LENGTHS, vocab_size=300)
    found = scored(teacher, build("llama", 2), samples, vocab_size=300)
    assert isinstance(scored_model(teacher, samples, 300).head, OwnLogits)
    with torch.no_grad():
        logits = [teacher(input_ids=torch.from_numpy(s.input_ids).long()[None]).logits[0, :, :300] for s in samples]
    np.testing.assert_allclose(stacked(found), plain(logits), rtol=1e-4, atol=1e-4)


def test_a_teacher_that_gives_nan_spoils_the_state_of_its_sample_alone() -> None:
    """A sample without a state is NaN in every number, and the others of its batch have theirs."""
    teacher = build("llama", 1)
    samples = random_samples(LENGTHS, vocab_size=VOCAB - 1)
    samples[3].input_ids[2] = VOCAB - 1
    with torch.no_grad():
        teacher.get_input_embeddings().weight[VOCAB - 1] = torch.nan
    missing = np.isnan(stacked(scored(teacher, build("llama", 2), samples, token_budget=500)))
    assert missing.all(1).tolist() == missing.any(1).tolist() == [i == 3 for i in range(len(samples))]


def test_the_table_has_the_width_of_a_state() -> None:
    """The schema cannot import the mathematics, so the two widths are held together here."""
    assert SCHEMAS["states"].field("state").type.list_size == STATE_WIDTH
