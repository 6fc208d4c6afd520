"""Hidden states and heads give the logits of the models themselves, in eval mode, whatever wraps them."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from engine.batching.batch import collate
from engine.common.errors import WinnowError
from engine.scoring.hidden import eval_mode, final_hidden, lm_head_of
from tests.fixtures.models import FAMILIES, VOCAB, build, random_samples

CPU = torch.device("cpu")


def lora(family: str = "llama", targets: tuple[str, ...] = ("q_proj", "v_proj"), dropout: float = 0.0) -> nn.Module:
    settings = LoraConfig(target_modules=list(targets), lora_dropout=dropout, init_lora_weights=False)
    return get_peft_model(build(family), settings).eval()


def assert_same_logits(model: nn.Module) -> None:
    """Padded batch through hidden states and head, against each sample alone through the whole model."""
    samples = random_samples([9, 4, 7])
    head = lm_head_of(model)
    operand = head.operand(final_hidden(model, collate(samples, CPU)))
    found = head.logits(operand, 0, VOCAB, torch.empty(len(operand), VOCAB))
    with torch.no_grad():
        each = [model(input_ids=torch.from_numpy(s.input_ids).long()[None]).logits[0] for s in samples]
    torch.testing.assert_close(found, torch.cat(each), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.reference_logits(operand).float(), torch.cat(each), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_every_family(family: str) -> None:
    """Llama, Qwen2, GPT-2, soft-capped Gemma 2, scaled Cohere and Granite; padding changes nothing."""
    assert_same_logits(build(family))


def test_logits_of_a_peft_model() -> None:
    """LoRA layers are part of the hidden states."""
    model = lora()
    assert_same_logits(model)
    with model.disable_adapter():
        plain = final_hidden(model, collate(random_samples([9]), CPU))
    assert not torch.allclose(plain, final_hidden(model, collate(random_samples([9]), CPU)))


def test_lora_on_the_head_is_refused() -> None:
    """A head that is no plain linear layer would be scored without its adapter."""
    with pytest.raises(WinnowError, match="leave the head out of the LoRA targets"):
        lm_head_of(lora(targets=("q_proj", "lm_head")))


def test_scored_in_eval_mode_and_put_back() -> None:
    """Dropout does not touch the scores, and a model in training stays in training, frozen parts in eval."""
    model = lora(dropout=0.5)
    batch = collate(random_samples([9, 4]), CPU)
    expected = final_hidden(model, batch)
    model.train()
    frozen = next(module for module in model.modules() if isinstance(module, nn.Embedding))
    frozen.eval()
    assert torch.equal(final_hidden(model, batch), expected)
    assert model.training
    assert not frozen.training
    assert all(module.training for module in model.modules() if module is not frozen)


def test_training_mode_survives_an_exception() -> None:
    """A failed forward pass does not leave dropout off for the rest of the training."""
    model = build("llama").train()

    def fail() -> None:
        with eval_mode(model):
            assert not model.training
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert model.training


def test_no_gradients_are_recorded() -> None:
    """Hidden states carry no graph, so memory does not grow with the number of batches."""
    assert not final_hidden(build("llama"), collate(random_samples([5]), CPU)).requires_grad
