"""Scores from the pass that trains: those of scoring if nothing changes meanwhile, and training is not disturbed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.common.errors import WinnowError
from engine.config.pruning import LoraSettings
from engine.models.lora import adapter_state, attach_lora
from engine.scoring.hidden import HiddenCache
from engine.scoring.score import SampleScores, score_samples
from engine.scoring.scored_model import scored_model
from engine.scoring.teacher_logits import cached_states
from engine.scoring.training_pass import TrainingPassScores
from engine.training.finetune import train_epoch
from tests.fixtures.models import VOCAB, build, random_samples

TOKENS = VOCAB - 30
SAMPLES = random_samples([9, 4, 12, 6, 7, 15, 5, 8], vocab_size=TOKENS)
KEPT = np.array([True, True, False, True, True, True, False, True])
PLAIN: dict[str, Any] = {"vocab_size": TOKENS, "token_budget": 64, "tile": 128}


def lora(family: str, dropout: float = 0.0) -> PreTrainedModel:
    """A student whose adapter already does something, and which has no dropout but that of its adapter."""
    model = build(family, 1)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    peft = attach_lora(model, LoraSettings(dropout=dropout), 0)
    with torch.no_grad():
        for name, weight in peft.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.05)
    return cast(PreTrainedModel, peft)


def watched(teacher: nn.Module, student: PreTrainedModel, cached: Any = None) -> TrainingPassScores:
    read = scored_model(teacher, SAMPLES, TOKENS)
    states = cached or [None] * len(SAMPLES)
    return TrainingPassScores(
        scored_model(student, SAMPLES, TOKENS), read, SAMPLES, states, vocab_size=TOKENS, tile=128
    )


def train(student: PreTrainedModel, watch: TrainingPassScores | None, rate: float, loss_on: Any = "response") -> None:
    trainable = [weight for weight in student.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=rate, weight_decay=0.0)
    train_epoch(
        student, optimizer, SAMPLES, KEPT, batch_size=3, loss_on=loss_on, seed=0, epoch=1,
        tick=lambda _done, _total: None, watch=watch,
    )  # fmt: skip


def trained(student: PreTrainedModel, watch: TrainingPassScores, rate: float = 0.0, **more: Any) -> None:
    with watch.watching():
        train(student, watch, rate, **more)


def values(scores: SampleScores) -> list[float]:
    return list(scores.metrics().values())


@pytest.mark.parametrize("loss_on", ["response", "all"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "gemma2", "cohere", "granite"])
def test_without_steps_and_dropout_they_are_those_of_scoring(family: str, loss_on: str) -> None:
    """Every metric, prompt positions included though training looks at the response; of the kept samples alone."""
    teacher, student = build(family), lora(family)
    expected = score_samples(teacher, student, SAMPLES, **PLAIN)
    watch = watched(teacher, student)
    trained(student, watch, loss_on=loss_on)
    assert sorted(watch.scores) == np.flatnonzero(KEPT).tolist()
    for place, found in watch.scores.items():
        assert (found.row, list(found.response)) == (SAMPLES[place].row, list(SAMPLES[place].response))
        np.testing.assert_allclose(found.kl, expected[place].kl, atol=1e-5)
        np.testing.assert_allclose(values(found), values(expected[place]), rtol=1e-5, atol=1e-5)
    assert watch.seconds > 0


@pytest.mark.parametrize("cached", [(), (0, 4, 5), tuple(range(len(SAMPLES)))])
def test_the_teacher_is_run_for_what_is_not_cached(cached: tuple[int, ...], tmp_path: Path) -> None:
    """Cached states give the same scores, and spare its pass if all are there."""
    teacher, student = build("llama"), lora("llama")
    cache = HiddenCache(tmp_path, 1 << 20)
    expected = score_samples(teacher, student, SAMPLES, cache=cache, cache_key="piece", **PLAIN)
    found = cached_states(cache, "piece", SAMPLES, scored_model(teacher, SAMPLES, TOKENS))
    states: list[Tensor | None] = [each if place in cached else None for place, each in enumerate(found)]
    watch = watched(teacher, student, states)
    passes: list[int] = []
    teacher.get_decoder().register_forward_hook(lambda *_: passes.append(1))
    trained(student, watch)
    for place, one in watch.scores.items():
        np.testing.assert_allclose(values(one), values(expected[place]), rtol=1e-5, atol=1e-5)
    assert bool(passes) == (len(cached) < len(SAMPLES))


def test_training_is_the_same_bit_for_bit() -> None:
    """Watching draws no random number and leaves no trace in a gradient, so dropout and weights are as without it."""
    teacher, one, other = build("llama"), lora("llama", dropout=0.3), lora("llama", dropout=0.3)
    trained(one, watched(teacher, one), rate=1e-2)
    train(other, None, 1e-2)
    first, second = (adapter_state(cast(Any, student)) for student in (one, other))
    for name, weight in first.items():
        assert torch.equal(weight, second[name])


def test_they_are_of_the_student_as_it_trains() -> None:
    """What is approximate: dropout, and steps between the first batch and the last, both change scores a little."""
    teacher, student = build("llama"), lora("llama", dropout=0.3)
    before = score_samples(teacher, student, SAMPLES, **PLAIN)
    watch = watched(teacher, student)
    trained(student, watch)
    differences = [abs(found.metrics()["kl"] - before[place].metrics()["kl"]) for place, found in watch.scores.items()]
    assert 1e-4 < max(differences) < 0.5


def test_a_student_through_its_own_logits_is_refused() -> None:
    """There is no head to run on the states that training makes, so it is said at once, with the way out."""
    student = build("llama", 1)
    student.config.final_logits_cap = 1000.0
    with pytest.raises(WinnowError, match=r"own logits.*final_logits_cap.*scoring\.refresh = \"exact\""):
        watched(build("llama"), student)


def test_a_student_whose_states_are_not_seen_is_refused() -> None:
    """A model that calls the inside of its decoder shows no states, and those of an earlier pass are not taken."""
    student = lora("llama")
    watch = watched(build("llama"), student)
    base: Any = cast(Any, student).get_base_model()

    def forward(input_ids: Tensor, **_: Any) -> SimpleNamespace:
        hidden = base.get_decoder().forward(input_ids=input_ids, use_cache=False).last_hidden_state
        return SimpleNamespace(logits=base.lm_head(hidden))

    base.forward = forward
    with pytest.raises(WinnowError, match="does not run its decoder as one module"):
        trained(student, watch)
