"""LoRA on a frozen student, and its state as plain tensors, so that training goes on where it was killed."""

from __future__ import annotations

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel

from engine.config.pruning import LoraSettings


def attach_lora(model: PreTrainedModel, settings: LoraSettings, seed: int) -> PeftModel:
    """The model with fresh LoRA weights on every linear layer but the head; B starts at zero, so nothing changes yet.

    The adapter is float32 even on a bfloat16 model: AdamW at a learning rate of 1e-4 loses small steps in bfloat16.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    peft = get_peft_model(model, config, autocast_adapter_dtype=True)
    peft.eval()
    return peft


def detach_lora(peft: PeftModel) -> None:
    """Restore the base model as it was."""
    peft.unload()


def adapter_state(peft: PeftModel) -> dict[str, Tensor]:
    """The LoRA weights by name."""
    return get_peft_model_state_dict(peft)


def load_adapter(peft: PeftModel, weights: dict[str, Tensor]) -> None:
    set_peft_model_state_dict(peft, weights)
