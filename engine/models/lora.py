"""LoRA on a frozen student, and its state as plain tensors, so that training goes on where it was killed."""

from __future__ import annotations

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from engine.common.errors import WinnowError
from engine.common.text import reason
from engine.config.pruning import LoraSettings
from engine.models.loading import empty_model

# Mixers whose kernel takes the weights of these layers and never calls them: an adapter there would do nothing, and
# PEFT refuses the first.
_KERNEL_MODELS = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
_READ_BY_KERNEL = ("out_proj", "dt_proj")


def attach_lora(model: PreTrainedModel, settings: LoraSettings, seed: int) -> PeftModel:
    """The model with fresh LoRA weights on every linear layer but the head; B starts at zero, so nothing changes yet.

    The adapter is float32 even on a bfloat16 model: AdamW at a learning rate of 1e-4 loses small steps in bfloat16.
    Raises WinnowError naming the model if it has no layer that can take one.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        exclude_modules=_unfit_layers(model) or None,
        task_type="CAUSAL_LM",
    )
    try:
        peft = get_peft_model(model, config, autocast_adapter_dtype=True)
    except ValueError as error:
        if settings.dropout and "lora_dropout" in str(error):
            raise WinnowError(
                f"{model.name_or_path} keeps its experts in one parameter, and LoRA cannot drop out their inputs; set "
                "training.lora.dropout = 0."
            ) from error
        raise WinnowError(
            f"{model.name_or_path} cannot be trained with LoRA ({reason(error)}); choose another student."
        ) from error
    peft.eval()
    return peft


def check_lora(source: str, settings: LoraSettings, name: str = "") -> None:
    """Raises WinnowError naming the model if it cannot be trained with LoRA; its weights are not read. It is cut if
    `name` says so, as `exit:LAYER`."""
    with torch.random.fork_rng(devices=[]):
        attach_lora(empty_model(source, name), settings, seed=0)


def _unfit_layers(model: PreTrainedModel) -> list[str]:
    """Names of linear layers that are not used as such: they return more than a product (the routers of some mixtures
    of experts), or only their weight is read."""
    kernel = _READ_BY_KERNEL if model.config.model_type in _KERNEL_MODELS else ()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and (type(module).forward not in (nn.Linear.forward, Conv1D.forward) or name.endswith(kernel))
    ]


def detach_lora(peft: PeftModel) -> None:
    """Restore the base model as it was."""
    peft.unload()


def adapter_state(peft: PeftModel) -> dict[str, Tensor]:
    """The LoRA weights by name."""
    return get_peft_model_state_dict(peft)


def load_adapter(peft: PeftModel, weights: dict[str, Tensor]) -> None:
    set_peft_model_state_dict(peft, weights)
