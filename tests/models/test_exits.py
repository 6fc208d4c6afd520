"""A student that is its teacher cut short: what it computes, what it shares, and what is refused."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MambaConfig,
    MambaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from engine.common.errors import WinnowError
from engine.config.models import PairSettings
from engine.config.pruning import LoraSettings
from engine.models import exits
from engine.models.exits import exit_of
from engine.models.loading import LoadedModel, empty_model, model_facts_of
from engine.models.lora import attach_lora, check_lora, detach_lora
from engine.scoring.score import score_samples
from tests.fixtures.models import SIZES, VOCAB, build, random_samples

IDS = torch.arange(1, 24)[None]
OTHERS: dict[str, Any] = {
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**(SIZES | {"num_hidden_layers": 3}))),
    "mamba": lambda: MambaForCausalLM(MambaConfig(vocab_size=VOCAB, hidden_size=16, num_hidden_layers=3)),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(
            vocab_size=VOCAB, hidden_size=16, num_hidden_layers=3, ffn_dim=32, num_attention_heads=2,
            word_embed_proj_dim=16,
        )
    ),
}  # fmt: skip


def teacher(family: str = "llama") -> LoadedModel:
    if family in OTHERS:
        torch.manual_seed(0)
        model = OTHERS[family]().eval()
    else:
        model = build(family)
    model.requires_grad_(False)
    return LoadedModel("big", "/models/big", model, "0f3a", model.num_parameters())


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits.clone()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_kl_to_the_teacher_is_that_of_its_own_states_through_its_own_head(family: str) -> None:
    """Scores of a run against norm(h_1) W^T in float64, with h_1 as the teacher itself hands it out."""
    whole = teacher(family)
    student = exit_of("exit:1", whole).model
    samples = random_samples([9, 4, 12])
    found = score_samples(whole.model, student, samples, vocab_size=VOCAB, token_budget=64, tile=128)
    net: Any = whole.model
    norm, head = (net.model.norm, net.lm_head) if family == "llama" else (net.transformer.ln_f, net.lm_head)
    for sample, scores in zip(samples, found, strict=True):
        ids = torch.tensor(sample.input_ids[None].astype(np.int64))
        with torch.no_grad():
            states = net(input_ids=ids, output_hidden_states=True).hidden_states
            log_s = (norm(states[1][0]).double() @ head.weight.double().T).log_softmax(-1)
            log_t = (states[-1][0].double() @ head.weight.double().T).log_softmax(-1)
        np.testing.assert_allclose(scores.kl, (log_t.exp() * (log_t - log_s)).sum(-1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "gemma2", "gemma3", "mamba", "opt"])
def test_it_shares_every_weight_and_leaves_the_teacher_whole(family: str) -> None:
    whole = teacher(family)
    before, layers = logits(whole.model), whole.model.config.num_hidden_layers
    found = exit_of("exit:1", whole)
    own = {id(weight) for weight in whole.model.parameters()}
    assert {id(weight) for weight in found.model.parameters()} < own
    assert not set(map(id, found.model.modules())) & set(map(id, whole.model.modules()))
    assert not torch.equal(logits(found.model), before)
    assert torch.equal(logits(whole.model), before)
    assert (found.model.config.num_hidden_layers, whole.model.config.num_hidden_layers) == (1, layers)
    assert (found.name, found.source, found.hash) == ("exit:1", "/models/big", "0f3a:exit:1")
    assert found.parameters == sum(weight.numel() for weight in found.model.parameters()) < whole.parameters
    assert exit_of("exit:1", whole) is found


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_lora_on_the_student_never_touches_the_teacher(family: str) -> None:
    """Its logits stay as they are bit for bit while an adapter trains, and after it is taken off."""
    whole = teacher(family)
    before, student = logits(whole.model), exit_of("exit:1", whole).model
    untrained = logits(student)
    peft = attach_lora(student, LoraSettings(r=2), seed=0)
    optimizer = torch.optim.SGD([weight for weight in peft.parameters() if weight.requires_grad], lr=10.0)
    peft.train()
    for _ in range(3):
        optimizer.zero_grad()
        peft(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        assert torch.equal(logits(whole.model), before)
    assert not any(module.training for module in whole.model.modules())
    peft.eval()
    assert not torch.equal(logits(peft), untrained)
    detach_lora(peft)
    assert torch.equal(logits(whole.model), before)
    assert torch.equal(logits(student), untrained)


def test_a_teacher_that_is_let_go_leaves_nothing_behind() -> None:
    """The students are known as long as their teacher is, and do not keep it in memory."""
    whole = teacher()
    exit_of("exit:1", whole)
    known = len(exits._cut)
    del whole
    gc.collect()
    assert len(exits._cut) == known - 1


@pytest.mark.parametrize("layer", ["", "0", "2", "-1", "1.0", "last", "²", "9" * 5000], ids=range(8))
def test_a_layer_that_the_teacher_lacks_is_refused_with_how_many_it_has(layer: str) -> None:
    with pytest.raises(WinnowError, match=r"the teacher big has 2 layers: write exit:LAYER with .* from 1 to 1\."):
        exit_of(f"exit:{layer}", teacher())


def test_models_that_cannot_be_cut_are_refused() -> None:
    whole = teacher()
    exits.cut(whole.model, 1)
    with pytest.raises(WinnowError, match="has only 1 layer, so there is nothing to cut"):
        exit_of("exit:1", whole)
    net: Any = whole.model
    net.model.layers = torch.nn.Sequential(*net.model.layers)
    with pytest.raises(WinnowError, match=r"The layers of LlamaForCausalLM are not one list of 1"):
        exit_of("exit:1", whole)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher": "exit:2", "student": "small"}, "teacher is exit:2, and only a student can be"),
        ({"teacher_bits": 8}, "student is exit:1, which is trained on the teacher's own weights"),
        ({"teacher_device_map": "auto"}, "leave teacher_device_map and teacher_bits out"),
    ],
)
def test_pairs_that_cannot_be_are_refused_by_the_recipe(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PairSettings(**({"teacher": "big", "student": "exit:1"} | changes))


def test_facts_and_lora_are_checked_without_weights(tmp_path: Path) -> None:
    """As they are when it is loaded."""
    model: PreTrainedModel = build("llama")
    model.save_pretrained(tmp_path)
    facts = model_facts_of(str(tmp_path), "exit:1")
    loaded = exit_of("exit:1", teacher())
    assert (facts["name"], facts["parameters"]) == ("exit:1", loaded.parameters)
    assert facts["origin"] == exits.OF_TEACHER
    assert next(empty_model(str(tmp_path), "exit:1").parameters()).is_meta
    check_lora(str(tmp_path), LoraSettings(), "exit:1")
    for check in (model_facts_of, empty_model):
        with pytest.raises(WinnowError, match="has 2 layers"):
            check(str(tmp_path), "exit:5")
