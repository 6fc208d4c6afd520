"""Scoring samples end to end on tiny models: order, batching, cache, memory, cancelling, bad input."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn

from engine.common.errors import WinnowError
from engine.config.rankings import METRICS
from engine.scoring.hidden import HiddenCache, lm_head_of
from engine.scoring.score import SampleScores, score_samples
from tests.fixtures.models import VOCAB, Sample, build, random_samples

EMPTY = np.zeros((1, 0), dtype=np.float32)
LENGTHS = [9, 4, 30, 7, 7, 2, 18, 25, 4, 11]


def score(teacher: Any, student: nn.Module, samples: Sequence[Sample], **changes: Any) -> list[SampleScores]:
    settings = {"vocab_size": VOCAB, "token_budget": 64, "tile": 100}
    return score_samples(teacher, student, samples, **settings | changes)


def arrays(result: SampleScores) -> dict[str, np.ndarray]:
    return {name: value for name, value in vars(result).items() if isinstance(value, np.ndarray)}


def assert_close(found: Sequence[SampleScores], expected: Sequence[SampleScores]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.row == other.row
        assert one.response.tolist() == other.response.tolist()
        for name, values in arrays(one).items():
            np.testing.assert_allclose(values, arrays(other)[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    return build("llama", seed=1), build("llama", seed=2)


class FailsAbove:
    """Makes a model's decoder raise `error` for batches of more than `tokens` padded tokens, and counts its calls."""

    def __init__(self, model: nn.Module, tokens: int, error: BaseException) -> None:
        self.calls: list[int] = []

        def check(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, Any]) -> None:
            size = kwargs["input_ids"].numel()
            self.calls.append(size)
            if size > tokens:
                raise error

        self.handle = model.get_decoder().register_forward_pre_hook(check, with_kwargs=True)

    def __enter__(self) -> FailsAbove:
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


def test_metrics_are_the_formula_over_full_logits(pair: tuple[nn.Module, nn.Module]) -> None:
    """Each metric of a sample is what plain torch gives from the full logits, over the positions it names."""
    samples = random_samples(LENGTHS)
    for sample, result in zip(samples, score(*pair, samples), strict=True):
        ids, labels = (torch.from_numpy(a).long() for a in (sample.input_ids, sample.labels))
        with torch.no_grad():
            log_t, log_s = (F.log_softmax(m(input_ids=ids[None]).logits[0].double(), 1) for m in pair)
        kl = F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(1)
        response = sample.response
        expected = {
            "kl": kl.mean(),
            "kl_response": kl[response].mean(),
            "reverse_kl": F.kl_div(log_t, log_s, reduction="none", log_target=True).sum(1).mean(),
            "nll_teacher": F.nll_loss(log_t[response], labels[response]),
            "nll_student": F.nll_loss(log_s[response], labels[response]),
            "entropy_teacher": -(log_t.exp() * log_t).sum(1).mean(),
            "disagreement": (log_t.argmax(1) != log_s.argmax(1)).double().mean(),
            "excess_loss": (log_t - log_s).gather(1, labels[:, None])[response].mean(),
            "trusted_kl": (log_t.exp().gather(1, labels[:, None])[:, 0] * kl)[response].mean(),
        }
        assert result.metrics() == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-4)


def test_metrics_are_those_a_recipe_can_name(pair: tuple[nn.Module, nn.Module]) -> None:
    """Every metric of the recipes is computed, and nothing else."""
    assert list(score(*pair, random_samples([5]))[0].metrics()) == list(METRICS)


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_batching_changes_no_score(pair: tuple[nn.Module, nn.Module], budget: int) -> None:
    """One by one, in padded batches, all at once: the same scores in the order of the samples, rows unmixed."""
    samples = random_samples(LENGTHS)
    alone = [score(*pair, [sample], top_k=3)[0] for sample in samples]
    assert_close(score(*pair, samples, token_budget=budget, top_k=3), alone)


def test_padded_vocabulary_is_cut(pair: tuple[nn.Module, nn.Module]) -> None:
    """Columns beyond the tokenizer belong to no token: making them likely changes nothing."""
    teacher, student = (copy.deepcopy(model) for model in pair)
    samples = random_samples(LENGTHS, vocab_size=300)
    before = score(teacher, student, samples, vocab_size=300)
    with torch.no_grad():
        student.get_output_embeddings().weight[300:] *= 50
    assert_close(score(teacher, student, samples, vocab_size=300), before)


def test_a_damaged_student_scores_higher(pair: tuple[nn.Module, nn.Module]) -> None:
    """High = keep: the further a student is from its teacher, the higher KL and loss of every sample."""
    teacher = pair[0]
    students = [copy.deepcopy(teacher) for _ in range(2)]
    with torch.no_grad():
        for student, level in zip(students, (0.002, 0.02), strict=True):
            torch.manual_seed(0)
            for weight in student.parameters():
                weight += level * torch.randn_like(weight)
    near, far = (score(teacher, student, random_samples(LENGTHS)) for student in students)
    for one, other in zip(near, far, strict=True):
        assert 0 < one.metrics()["kl"] < other.metrics()["kl"]
        assert one.metrics()["reverse_kl"] < other.metrics()["reverse_kl"]


def test_fresh_lora_has_no_divergence(pair: tuple[nn.Module, nn.Module]) -> None:
    """A base model against itself with a fresh adapter is exactly zero everywhere."""
    student = get_peft_model(copy.deepcopy(pair[0]), LoraConfig(target_modules=["q_proj", "v_proj"]))
    for result in score(pair[0], student, random_samples(LENGTHS)):
        assert not result.kl.any()
        assert not result.disagree.any()


def test_top_tokens_only_when_asked_for(pair: tuple[nn.Module, nn.Module]) -> None:
    """k columns of ids and probabilities, or none."""
    samples = random_samples([6, 8])
    assert [result.teacher_ids.shape for result in score(*pair, samples)] == [(6, 0), (8, 0)]
    full = score(*pair, samples, top_k=5)
    assert [result.student_probs.shape for result in full] == [(6, 5), (8, 5)]
    assert all((np.diff(result.teacher_probs) <= 0).all() for result in full)


def test_not_a_number_names_its_sample_alone(pair: tuple[nn.Module, nn.Module]) -> None:
    """A token whose embedding is NaN spoils the sample that holds it, and no other."""
    student = copy.deepcopy(pair[1])
    samples = random_samples(LENGTHS, vocab_size=VOCAB - 1)
    samples[3].input_ids[2] = VOCAB - 1
    with torch.no_grad():
        student.get_input_embeddings().weight[VOCAB - 1] = torch.nan
    results = score(pair[0], student, samples)
    assert [np.isnan(result.metrics()["kl"]) for result in results] == [i == 3 for i in range(len(samples))]
    assert np.isnan(results[3].kl[2:]).all()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_budget_and_goes_on(pair: tuple[nn.Module, nn.Module], error: BaseException) -> None:
    """The same scores come out, every sample once, and progress still ends at the total."""
    samples = random_samples(LENGTHS)
    expected = score(*pair, samples)
    reported: list[tuple[int, int]] = []
    with FailsAbove(pair[1], 35, error) as seen:
        found = score(*pair, samples, token_budget=500, tick=lambda *progress: reported.append(progress))
    assert max(seen.calls) > 35
    assert seen.calls[-1] <= 35
    assert_close(found, expected)
    assert reported[-1] == (sum(LENGTHS), sum(LENGTHS))


def test_a_row_that_never_fits_is_named(pair: tuple[nn.Module, nn.Module]) -> None:
    """Out of memory with one row alone ends in a sentence that names it."""
    sentence = r"Row 102 \(30 tokens\) does not fit into memory even alone"
    with FailsAbove(pair[0], 20, torch.OutOfMemoryError("out of memory")), pytest.raises(WinnowError, match=sentence):
        score(*pair, random_samples(LENGTHS))


def test_other_errors_are_not_taken_for_memory(pair: tuple[nn.Module, nn.Module]) -> None:
    """A real bug inside a model comes through at once."""
    error = RuntimeError("shapes cannot be multiplied")
    with FailsAbove(pair[0], 0, error) as seen, pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        score(*pair, random_samples(LENGTHS))
    assert len(seen.calls) == 1


def test_cached_epoch_does_not_run_the_teacher(pair: tuple[nn.Module, nn.Module], tmp_path: Path) -> None:
    """The first epoch fills the cache; later ones give the same scores without the teacher's body, in any batches."""
    samples = random_samples(LENGTHS)
    cache = HiddenCache(tmp_path, 10**6)
    first = score(*pair, samples, cache=cache, cache_key="shard")
    assert cache.bytes >= HiddenCache.estimate(sum(LENGTHS), 16, torch.float32)
    with FailsAbove(pair[0], 0, AssertionError("the teacher ran")) as seen:
        later = score(*pair, samples, cache=cache, cache_key="shard", token_budget=33)
    assert seen.calls == []
    assert_close(later, first)
    assert_close(score(lm_head_of(pair[0]), pair[1], samples, cache=cache, cache_key="shard"), first)


def test_stale_or_missing_states_are_made_again(pair: tuple[nn.Module, nn.Module], tmp_path: Path) -> None:
    """Other samples under the same key, or a deleted file, run the teacher; its head alone is then not enough."""
    cache = HiddenCache(tmp_path, 10**6)
    score(*pair, random_samples(LENGTHS), cache=cache, cache_key="shard")
    others = random_samples(LENGTHS, seed=5)
    assert_close(score(*pair, others, cache=cache, cache_key="shard"), score(*pair, others))
    with pytest.raises(WinnowError, match="not cached under 'elsewhere'; load the teacher"):
        score(lm_head_of(pair[0]), pair[1], others, cache=cache, cache_key="elsewhere")


def test_full_cache_only_costs_time(pair: tuple[nn.Module, nn.Module], tmp_path: Path) -> None:
    """Above the limit nothing is stored and the scores are the same."""
    samples = random_samples(LENGTHS)
    cache = HiddenCache(tmp_path, 100)
    assert_close(score(*pair, samples, cache=cache, cache_key="shard"), score(*pair, samples))
    assert cache.bytes == 0


def test_tick_counts_up_and_may_stop(pair: tuple[nn.Module, nn.Module]) -> None:
    """Progress rises to the total, and an exception from it ends the scoring and is not swallowed."""
    reported: list[int] = []

    def stop(done: int, total: int) -> None:
        assert total == sum(LENGTHS)
        reported.append(done)
        if len(reported) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(*pair, random_samples(LENGTHS), tick=stop)
    assert reported == sorted(set(reported))


def test_models_return_to_training(pair: tuple[nn.Module, nn.Module]) -> None:
    """A student that was training is training again, also when scoring failed."""
    student = copy.deepcopy(pair[1]).train()
    score(pair[0], student, random_samples(LENGTHS))
    with FailsAbove(student, 0, ZeroDivisionError()), pytest.raises(ZeroDivisionError):
        score(pair[0], student, random_samples(LENGTHS))
    assert all(module.training for module in student.modules())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"response": np.zeros(5, dtype=np.bool_)}, "Row 100 has 5 tokens and 5 labels, 0 of them of a response"),
        ({"labels": np.zeros(4, dtype=np.int32)}, "Row 100 has 5 tokens and 4 labels"),
        ({"input_ids": np.zeros(0, dtype=np.int32)}, "Row 100 has 0 tokens"),
        ({"input_ids": np.full(5, VOCAB, dtype=np.int32)}, "Row 100 holds a token outside the vocabulary of 331"),
        ({"labels": np.full(5, -100, dtype=np.int32)}, "Row 100 holds a token outside the vocabulary of 331"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(
    pair: tuple[nn.Module, nn.Module], change: dict[str, Any], sentence: str
) -> None:
    """Bad rows end in one sentence with their number."""
    with pytest.raises(WinnowError, match=sentence):
        score(*pair, [replace(random_samples([5])[0], **change)])


def test_a_tokenizer_larger_than_the_model_is_refused(pair: tuple[nn.Module, nn.Module]) -> None:
    """A vocabulary the head cannot predict would be scored over fewer tokens than it has."""
    with pytest.raises(WinnowError, match="The tokenizer has tokens up to id 399 and the teacher predicts only 331"):
        score(*pair, random_samples([5]), vocab_size=400)


def test_noise_that_the_teacher_does_not_believe_counts_for_little() -> None:
    """Directions: what the teacher knows and the student does not ranks high, and a wrong label does not, as in KL."""
    certain: dict[str, Any] = {
        "teacher_ids": EMPTY,
        "teacher_probs": EMPTY,
        "student_ids": EMPTY,
        "student_probs": EMPTY,
    }

    def sample(nll_teacher: float, nll_student: float, kl: float) -> dict[str, float]:
        one = {"reverse_kl": kl, "entropy_teacher": 0.0, "disagree": 1.0, "kl": kl}
        columns = one | {"nll_teacher": nll_teacher, "nll_student": nll_student}
        arrays: dict[str, Any] = {name: np.array([value], dtype=np.float32) for name, value in columns.items()}
        return SampleScores(row=0, response=np.ones(1, dtype=np.bool_), **arrays, **certain).metrics()

    learnable, wrong, known = sample(0.1, 3.0, 2.5), sample(9.0, 5.0, 4.0), sample(0.1, 0.1, 0.01)
    assert wrong["kl"] > learnable["kl"] > known["kl"]
    assert learnable["excess_loss"] > known["excess_loss"] > wrong["excess_loss"]
    assert learnable["trusted_kl"] > known["trusted_kl"] > wrong["trusted_kl"]


def test_some_samples_alone(tmp_path: Path) -> None:
    """In the order that is asked for, with the scores they have among all; nothing half-made goes into the cache."""
    teacher, student, samples = build("llama"), build("llama", 1), random_samples([5, 9, 3, 12, 7])
    settings: dict[str, Any] = {"vocab_size": VOCAB, "token_budget": 16, "tile": 64}
    whole = score_samples(teacher, student, samples, **settings)
    cache = HiddenCache(tmp_path, 1 << 20)
    for _ in range(2):
        some = score_samples(teacher, student, samples, only=[3, 0], cache=cache, cache_key="piece", **settings)
        assert [one.row for one in some] == [samples[3].row, samples[0].row]
        for one, place in zip(some, (3, 0), strict=True):
            np.testing.assert_allclose(one.kl, whole[place].kl, atol=1e-6)
        if not cache.has("piece"):
            score_samples(teacher, student, samples, cache=cache, cache_key="piece", **settings)
    assert score_samples(teacher, student, samples, only=[], **settings) == []
