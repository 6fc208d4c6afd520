"""The teacher's logits while a student is trained: the same from its cache, from a pass, and from both mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.batching.batch import collate
from engine.common.errors import WinnowError
from engine.scoring.hidden import HiddenCache
from engine.scoring.score import score_samples
from engine.scoring.scored_model import scored_model
from engine.scoring.teacher_logits import TeacherLogits, cached_states
from tests.fixtures.models import VOCAB, build, random_samples

CPU = torch.device("cpu")
TOKENS = VOCAB - 30
SAMPLES = random_samples([9, 4, 12, 6, 7], vocab_size=TOKENS)
ROWS = [sample.row for sample in SAMPLES]
BATCH = [3, 0, 2]


@pytest.mark.parametrize("loss_on", ["response", "all"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("cached", [(), (0, 1), (0, 1, 2, 3, 4)])
def test_they_are_the_model_s_own(family: str, cached: tuple[int, ...], loss_on: str, tmp_path: Path) -> None:
    """Soft-caps included, cut to the tokenizer's size, one row for each counted position in the order of the batch."""
    net = build(family)
    teacher = scored_model(net, SAMPLES, TOKENS)
    cache = HiddenCache(tmp_path, 1 << 20)
    score_samples(
        net, build(family, 1), SAMPLES, vocab_size=TOKENS, token_budget=64, tile=128, cache=cache, cache_key="piece"
    )
    states = cached_states(cache, "piece", SAMPLES, teacher)
    assert all(found is not None for found in states)
    of = TeacherLogits(teacher, TOKENS, ROWS, [each if i in cached else None for i, each in enumerate(states)])
    batch = collate([SAMPLES[i] for i in BATCH], CPU, loss_on)  # type: ignore[arg-type]
    found = of.of(BATCH, batch)
    expected = []
    with torch.no_grad():
        for i in BATCH:
            sample = SAMPLES[i]
            own = net(input_ids=torch.tensor(sample.input_ids[None].astype(np.int64))).logits[0, :, :TOKENS]
            expected.append(own[torch.from_numpy(sample.response)] if loss_on == "response" else own)
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-4)
    weight = torch.ones((), requires_grad=True)
    (weight * found).sum().backward()  # it may be part of a loss


def test_states_of_other_samples_are_not_used(tmp_path: Path) -> None:
    net = build("llama")
    teacher, cache = scored_model(net, SAMPLES, TOKENS), HiddenCache(tmp_path, 1 << 20)
    score_samples(
        net, build("llama", 1), SAMPLES, vocab_size=TOKENS, token_budget=64, tile=128, cache=cache, cache_key="piece"
    )
    others = random_samples([9, 4, 12, 6, 7], vocab_size=TOKENS, seed=1)
    assert cached_states(cache, "piece", others, teacher) == [None] * 5
    assert cached_states(cache, "nothing", SAMPLES, teacher) == [None] * 5


def test_a_row_at_which_the_teacher_breaks_is_named() -> None:
    """A NaN in one loss would be in every weight after the next step."""
    net = build("llama")
    teacher = scored_model(net, SAMPLES, TOKENS)
    with torch.no_grad():
        net.get_input_embeddings().weight[int(SAMPLES[0].input_ids[0])] = float("nan")
    assert SAMPLES[0].input_ids[0] not in np.concatenate([SAMPLES[3].input_ids, SAMPLES[2].input_ids])
    batch = collate([SAMPLES[i] for i in BATCH], CPU, "response")
    with pytest.raises(WinnowError, match=r"row 100, .*training\.kd_weight = 0"):
        TeacherLogits(teacher, TOKENS, ROWS, [None] * 5).of(BATCH, batch)
