"""No model is scored through a head that does not give its own logits: it is scored through those, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    BertConfig,
    BertLMHeadModel,
    HyperCLOVAXConfig,
    HyperCLOVAXForCausalLM,
    PreTrainedModel,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

from engine.common.errors import WinnowError
from engine.scoring.hidden import HiddenCache
from engine.scoring.kl import token_scores
from engine.scoring.lm_head import LmHead, OwnLogits
from engine.scoring.score import score_samples
from engine.scoring.scored_model import scored_model
from tests.fixtures.models import FAMILIES, SIZES, VOCAB, build, random_samples

SAMPLES = random_samples([30, 7, 12])


def changed(change: Callable[[torch.Tensor], torch.Tensor], seed: int = 0, **config: Any) -> PreTrainedModel:
    """A Llama that does something to its logits after the head."""

    class Changed(type(build("llama"))):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            out = super().forward(*args, **kwargs)
            out.logits = change(out.logits)
            return out

    model = build("llama", seed)
    model.__class__ = Changed
    for name, value in config.items():
        setattr(model.config, name, value)
    return model


def bert(seed: int, causal: bool = True) -> PreTrainedModel:
    torch.manual_seed(seed)
    sizes = {key: SIZES[key] for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    config = BertConfig(**sizes, num_attention_heads=2, max_position_embeddings=64, is_decoder=causal)
    config.initializer_range = 0.3
    return BertLMHeadModel(config).eval()


def recurrent_gemma(seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = RecurrentGemmaConfig(
        **{key: SIZES[key] for key in ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")},
        num_hidden_layers=3, lru_width=16, attention_window_size=64, logits_soft_cap=2.0, w_init_variance_scale=4.0,
    )  # fmt: skip
    return RecurrentGemmaForCausalLM(config).eval()


def hyperclovax(seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    return HyperCLOVAXForCausalLM(HyperCLOVAXConfig(**SIZES, logits_scaling=0.125)).eval()


UNKNOWN: dict[str, Callable[[int], PreTrainedModel]] = {
    "scaled": lambda seed: changed(lambda logits: logits * 0.9, seed),
    "soft cap": lambda seed: changed(lambda logits: 3 * torch.tanh(logits / 3), seed),
    "bias": lambda seed: changed(lambda logits: logits + torch.linspace(-1, 1, VOCAB), seed),
    "bert": bert,
    "recurrent gemma": recurrent_gemma,
    "hyperclovax": hyperclovax,
}


def plain_kl(teacher: nn.Module, student: nn.Module) -> list[float]:
    """KL of every sample from the models' own logits in float64, one sample at a time."""
    values = []
    for sample in SAMPLES:
        ids = torch.from_numpy(sample.input_ids).long()[None]
        with torch.no_grad():
            p, q = (torch.log_softmax(model(input_ids=ids).logits[0].double(), -1) for model in (teacher, student))
        values.append(float((p.exp() * (p - q)).sum(-1).mean()))
    return values


def scored(teacher: nn.Module, student: nn.Module, **changes: Any) -> list[float]:
    settings: dict[str, Any] = {"vocab_size": VOCAB, "token_budget": 40, "tile": 64} | changes
    return [each.metrics()["kl"] for each in score_samples(teacher, student, SAMPLES, **settings)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_known_families_keep_the_fast_way(family: str, dtype: torch.dtype) -> None:
    """Protects speed: a head that gives the model's own logits is used, in bfloat16 too."""
    found = scored_model(nn.Module.to(build(family), dtype), SAMPLES, VOCAB)
    assert isinstance(found.head, LmHead)
    assert found.why == ""


@pytest.mark.parametrize("family", UNKNOWN)
def test_a_model_that_changes_its_logits_is_scored_through_them(family: str) -> None:
    """The score is that of the model's own logits, whatever it does after its last layer; the reason is recorded."""
    teacher, student = UNKNOWN[family](0), UNKNOWN[family](1)
    assert isinstance(scored_model(teacher, SAMPLES, VOCAB).head, OwnLogits)
    assert scored_model(teacher, SAMPLES, VOCAB).why
    assert scored(teacher, student) == pytest.approx(plain_kl(teacher, student), rel=1e-5)


def test_one_of_the_two_may_have_its_own_way() -> None:
    """A teacher through its logits and a student through its head, and the other way round, give the same as plain."""
    known, unknown = build("llama", 5), UNKNOWN["soft cap"](0)
    assert scored(unknown, known) == pytest.approx(plain_kl(unknown, known), rel=1e-5)
    assert scored(known, unknown) == pytest.approx(plain_kl(known, unknown), rel=1e-5)


def test_a_setting_that_may_change_logits_is_enough() -> None:
    """A cap so high that no logit here reaches it would still bend others, so a setting of that kind is not trusted."""
    model = changed(lambda logits: logits, final_logits_cap=1000.0)
    assert "final_logits_cap" in scored_model(model, SAMPLES, VOCAB).why


def test_lora_on_the_head_is_scored() -> None:
    """A head that is no plain linear layer is part of the model's own logits, adapter included."""
    settings = LoraConfig(target_modules=["q_proj", "lm_head"], init_lora_weights=False)
    teacher, student = build("llama", 3), get_peft_model(build("llama"), settings).eval()
    assert scored(teacher, student) == pytest.approx(plain_kl(teacher, student), rel=1e-5)


def test_an_error_in_the_comparison_means_not_known() -> None:
    """A model whose body cannot be run apart is scored through its logits, not given up."""
    teacher, student = build("llama"), build("llama", 1)
    broken: Any = teacher
    broken.get_decoder = lambda: (_ for _ in ()).throw(AttributeError("no decoder"))
    assert "no decoder" in scored_model(teacher, SAMPLES, VOCAB).why
    assert scored(teacher, student) == pytest.approx(plain_kl(teacher, student), rel=1e-5)


def test_a_model_that_sees_later_tokens_is_refused() -> None:
    """A BERT that is no decoder reads the very tokens it should predict, so its scores would mean nothing."""
    with pytest.raises(WinnowError, match="changes with the tokens after it, so it is no causal language model"):
        scored(bert(0, causal=False), build("llama"))


def test_a_model_that_cannot_be_run_is_one_sentence() -> None:
    """Whatever a model raises is named together with the model."""

    def fail(_logits: torch.Tensor) -> torch.Tensor:
        raise IndexError("index out of range in self")

    with pytest.raises(WinnowError, match=r"cannot be run as a causal language model \(IndexError: index out of range"):
        scored(changed(fail), build("llama"))


def test_logits_are_not_cached(tmp_path: Any) -> None:
    """Logits are a hundred times larger than states: they do not fill the disk, and scores are the same again."""
    cache = HiddenCache(tmp_path, 10**9)
    teacher, student = UNKNOWN["scaled"](0), build("llama", 1)
    first = scored(teacher, student, cache=cache, cache_key="a")
    assert cache.bytes == 0
    assert scored(teacher, student, cache=cache, cache_key="a") == first


def test_rounds_hold_few_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are cut so that the logits of a model fit into a fixed amount of memory; the scores do not change."""
    from engine.scoring import score

    teacher, student = UNKNOWN["scaled"](0), UNKNOWN["scaled"](1)
    whole = scored(teacher, student, token_budget=1000)
    rows: list[int] = []
    inner = token_scores

    def counted(hidden_t: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        rows.append(len(hidden_t))
        return inner(hidden_t, *args, **kwargs)

    monkeypatch.setattr(score, "token_scores", counted)
    monkeypatch.setitem(score.LOGITS_BYTES, "cpu", 4 * VOCAB * 19)
    assert np.allclose(scored(teacher, student, token_budget=1000), whole, rtol=1e-6)
    assert rows == [30, 19]
