"""Folders of adapters as models: merged, they say what PEFT says, and what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from engine.common.errors import WinnowError
from engine.config.pruning import LoraSettings
from engine.models.loading import load_model, load_tokenizer, model_facts_of, model_hash
from engine.models.lora import attach_lora, detach_lora

CPU = torch.device("cpu")
IDS = torch.tensor([[1, 2, 3, 4, 5, 6]])


def llama(width: int = 16) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=60,
            hidden_size=width,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            initializer_range=0.3,
        )
    )


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=60, n_positions=32, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3)
    )


KINDS: dict[str, tuple[Callable[[], Any], Any]] = {
    "LoRA": (llama, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")),
    "LoRA on GPT-2": (gpt2, LoraConfig(r=4, target_modules="all-linear", fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "DoRA": (llama, LoraConfig(r=4, target_modules=["q_proj"], use_dora=True, task_type="CAUSAL_LM")),
    "a head trained whole": (
        llama,
        LoraConfig(r=4, target_modules=["v_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM"),
    ),
    "biases": (gpt2, LoraConfig(r=4, target_modules=["c_fc"], bias="all", fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "IA3": (
        llama,
        IA3Config(target_modules=["v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"),
    ),
    "no task given": (llama, LoraConfig(r=4, target_modules=["q_proj"])),
}


def trained(tmp_path: Path, kind: str = "LoRA", base: str | None = None, new_tokens: int = 0) -> tuple[Path, Path]:
    """Folders of a base and of an adapter whose weights are anything but zero."""
    make, config = KINDS[kind]
    model = make()
    model.save_pretrained(tmp_path / "base")
    if new_tokens:
        model.resize_token_embeddings(60 + new_tokens)
    peft = get_peft_model(model, config)
    for name, weight in peft.named_parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, mean=float("magnitude" in name or "ia3" in name), std=0.3)
    peft.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=bool(new_tokens))
    set_base(tmp_path / "adapter", base if base is not None else str(tmp_path / "base"))
    return tmp_path / "base", tmp_path / "adapter"


def set_base(adapter: Path, base: str | None, **more: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base} | more))


def save_tokenizer(folder: Path, word: str) -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "</s>": 1, word: 2}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)


def logits(model: Any) -> Tensor:
    with torch.inference_mode():
        return model.eval()(input_ids=IDS).logits


def load(folder: Path) -> Any:
    return load_model("mine", str(folder), torch.float32, CPU)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_adapter_says_what_the_unmerged_one_says(kind: str, tmp_path: Path) -> None:
    base, adapter = trained(tmp_path, kind)
    plain = AutoModelForCausalLM.from_pretrained(base)
    before = logits(plain)
    expected = logits(PeftModel.from_pretrained(plain, str(adapter)))
    assert (expected - before).abs().max() > 0.01
    torch.testing.assert_close(logits(load(adapter).model), expected, rtol=1e-5, atol=1e-5)


def test_it_is_a_plain_model_afterwards(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Its own parameters alone, none trainable; and it can be trained with LoRA as any other student."""
    base, adapter = trained(tmp_path)
    loaded = load(adapter)
    assert not any("lora" in name or weight.requires_grad for name, weight in loaded.model.named_parameters())
    assert loaded.parameters == model_facts_of(str(adapter))["parameters"] == model_facts_of(str(base))["parameters"]
    before = logits(loaded.model)
    detach_lora(attach_lora(loaded.model, LoraSettings(), seed=0))
    assert torch.equal(logits(loaded.model), before)
    assert not [str(warning.message) for warning in recwarn if "adapter" in str(warning.message)]


def test_the_base_may_be_named_from_the_folder_of_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, adapter = trained(tmp_path, base="../base")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    load(adapter)
    (here.parent / "other" / "here").mkdir(parents=True)
    (here.parent / "other" / "base").mkdir()  # a folder of that name without a model
    monkeypatch.chdir(here.parent / "other" / "here")
    load(adapter)
    set_base(adapter, "base")
    monkeypatch.chdir(tmp_path)
    load(adapter)


def test_the_hash_depends_on_base_and_adapter(tmp_path: Path) -> None:
    base, adapter = trained(tmp_path)
    first = model_hash(str(adapter))
    assert first not in (model_hash(str(base)), "")
    file = adapter / "adapter_model.safetensors"
    held = file.read_bytes()
    save_file({name: weight * 2 for name, weight in load_file(file).items()}, file)
    second = model_hash(str(adapter))
    file.write_bytes(held)
    assert model_hash(str(adapter)) == first
    gpt2().save_pretrained(base)
    assert len({first, second, model_hash(str(adapter))}) == 3


def test_the_tokenizer_is_that_of_the_adapter_or_of_the_base(tmp_path: Path) -> None:
    base, adapter = trained(tmp_path)
    save_tokenizer(base, "base")
    assert "base" in load_tokenizer(str(adapter)).get_vocab()
    save_tokenizer(adapter, "adapter")
    assert "adapter" in load_tokenizer(str(adapter)).get_vocab()


def test_new_tokens_are_made_room_for(tmp_path: Path) -> None:
    """An adapter trained with tokens that its base lacks brings the embeddings of all of them."""
    _, adapter = trained(tmp_path, new_tokens=3)
    assert load(adapter).model.get_input_embeddings().weight.shape[0] == 63


def lost(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = folder / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)


BROKEN: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "no such base": (
        lambda _, a: set_base(a, "nobody/nothing"),
        r"is an adapter, and its base nobody/nothing",
    ),
    "a base that is gone": (
        lambda _, a: set_base(a, "/gone/base"),
        r"is an adapter, and its base /gone/base",
    ),
    "no base": (lambda _, a: set_base(a, None), r"adapter .* does not say what it was trained on"),
    "its base is an adapter": (lambda _, a: set_base(a, str(a)), r"is an adapter itself"),
    "a damaged config": (lambda _, a: (a / "adapter_config.json").write_text("{"), r"of the adapter .* is damaged"),
    "a later version": (lambda _, a: set_base(a, str(a.parent / "base"), peft_type="NEW"), r"this version of PEFT"),
    "another width": (lambda b, _: llama(32).save_pretrained(b), r"cannot be merged into its base"),
    "another architecture": (lambda b, _: gpt2().save_pretrained(b), r"cannot be merged into its base"),
    "no weights": (lambda _, a: (a / "adapter_model.safetensors").unlink(), r"adapter .* has no adapter_model"),
    "half the weights": (
        lambda _, a: lost(a, lambda w: {k: v for k, v in w.items() if "layers.0" in k}),
        r"adapter .* does not fit its base .*: 4 of its weights",
    ),
    "weights of another layer": (
        lambda _, a: lost(a, lambda w: w | {"base_model.model.model.layers.7.lora_A.weight": torch.ones(1)}),
        r"adapter .* does not fit its base .*: 1 of its weights .*layers\.7",
    ),
    "another task": (lambda _, a: set_base(a, str(a.parent / "base"), task_type="SEQ_CLS"), r"for the task SEQ_CLS"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_adapter_that_cannot_be_used_ends_in_a_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base, adapter = trained(tmp_path)
    break_it, sentence = BROKEN[case]
    break_it(base, adapter)
    with pytest.raises(WinnowError, match=sentence):
        load(adapter)


def test_prompt_tuning_cannot_be_merged(tmp_path: Path) -> None:
    base, adapter = trained(tmp_path)
    prompt = PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    get_peft_model(llama(), prompt).save_pretrained(str(adapter))
    set_base(adapter, str(base))
    with pytest.raises(WinnowError, match=r"adapter .* PROMPT_TUNING, which adds to what a model reads"):
        load(adapter)
