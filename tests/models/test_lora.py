"""Which models can be trained with LoRA, and where it stands; found out without their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from transformers import AutoModelForCausalLM

from engine.common.errors import WinnowError
from engine.config.pruning import LoraSettings
from engine.models.lora import adapter_state, attach_lora, check_lora, load_adapter

IDS = torch.tensor([[1, 2, 3, 4, 5, 6]])
SMALL: dict[str, Any] = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2}
ATTENTION: dict[str, Any] = SMALL | {"intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2}
MAMBA2: dict[str, Any] = {"n_groups": 1, "head_dim": 8, "num_heads": 4, "state_size": 4}

PLAIN: dict[str, Callable[[], Any]] = {
    "Llama": lambda: hf.LlamaConfig(**ATTENTION),
    "GPT-2": lambda: hf.GPT2Config(vocab_size=60, n_embd=16, n_layer=2, n_head=2),
    "Bloom": lambda: hf.BloomConfig(vocab_size=60, hidden_size=16, n_layer=2, n_head=2),
    "Mamba": lambda: hf.MambaConfig(**SMALL, state_size=4),
    "Mamba 2": lambda: hf.Mamba2Config(**SMALL, **MAMBA2),
    "FalconMamba": lambda: hf.FalconMambaConfig(**SMALL, state_size=4),
    "a mixture whose router is a linear layer of its own kind": lambda: hf.PhimoeConfig(
        **ATTENTION, num_local_experts=4
    ),
}
EXPERTS: dict[str, Callable[[], Any]] = {
    "Mixtral": lambda: hf.MixtralConfig(**ATTENTION, num_local_experts=4),
    "Qwen3 MoE": lambda: hf.Qwen3MoeConfig(**ATTENTION, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8),
}


def folder_of(config: Any, folder: Path) -> str:
    config.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", [*PLAIN, *EXPERTS])
def test_every_adapter_is_trained_and_comes_back(name: str) -> None:
    """Each has a gradient, so each is used; and a checkpoint of them says the same afterwards."""
    config = (PLAIN | EXPERTS)[name]()
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config).requires_grad_(False)
    peft = attach_lora(base, LoraSettings(dropout=0.0 if name in EXPERTS else 0.1), seed=0)
    peft(input_ids=IDS, labels=IDS).loss.backward()
    adapters = {key: weight for key, weight in peft.named_parameters() if weight.requires_grad}
    assert adapters
    assert not [key for key, weight in adapters.items() if weight.grad is None]
    with torch.no_grad():
        for weight in adapters.values():
            weight.add_(torch.randn_like(weight))
        trained, state = peft(input_ids=IDS).logits, {k: v.clone() for k, v in adapter_state(peft).items()}
        for weight in adapters.values():
            weight.zero_()
        load_adapter(peft, state)
        assert torch.equal(peft(input_ids=IDS).logits, trained)


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_that_can_be_trained_passes_the_check(name: str, tmp_path: Path) -> None:
    """From its configuration alone; and the check leaves the random numbers of the run as they were."""
    before = torch.get_rng_state()
    check_lora(folder_of(PLAIN[name](), tmp_path), LoraSettings())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_in_one_parameter_take_no_dropout(name: str, tmp_path: Path) -> None:
    folder = folder_of(EXPERTS[name](), tmp_path)
    with pytest.raises(WinnowError, match=rf"{folder} .*set training\.lora\.dropout = 0\."):
        check_lora(folder, LoraSettings(dropout=0.1))
    check_lora(folder, LoraSettings(dropout=0.0))


def test_a_model_without_a_layer_for_lora_is_refused(tmp_path: Path) -> None:
    folder = folder_of(hf.LlamaConfig(**ATTENTION | {"num_hidden_layers": 0}), tmp_path)
    with pytest.raises(WinnowError, match=f"{folder} cannot be trained with LoRA .*choose another student"):
        check_lora(folder, LoraSettings())
