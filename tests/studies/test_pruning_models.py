"""Runs on models that people have: what a model cannot do is found in the check and before anything is scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
)

from engine.runtime.recipe_check import check_recipe
from engine.runtime.trace import trace
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace
from tests.fixtures.studies import do, table
from tests.fixtures.tiny import tiny_recipe, write_rows

SMALL: dict[str, Any] = {"vocab_size": 257, "hidden_size": 16, "num_hidden_layers": 1, "initializer_range": 0.3}
ATTENTION: dict[str, Any] = SMALL | {"intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2}


def saved(folder: Path, model: Any) -> str:
    """The model's folder, with a tokenizer of bytes."""
    model.save_pretrained(folder)
    symbols = {symbol: place for place, symbol in enumerate(["</s>", *sorted(ByteLevel.alphabet())])}
    words = Tokenizer(BPE(symbols, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)
    return str(folder)


def llama(folder: Path, seed: int = 0) -> str:
    torch.manual_seed(seed)
    return saved(folder, LlamaForCausalLM(LlamaConfig(**ATTENTION)))


def gpt2(folder: Path, positions: int, seed: int) -> str:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"vocab_size": 257, "n_embd": 16, "n_layer": 1, "n_head": 2, "initializer_range": 0.3}
    return saved(folder, GPT2LMHeadModel(GPT2Config(**sizes, n_positions=positions)))


def recipe(tmp_path: Path, teacher: str, student: str, **changes: Any) -> Any:
    return tiny_recipe(
        write_rows(tmp_path / "rows.jsonl", 24),
        seeds=[0],
        arms=["dynamic", "full"],
        training__epochs=2,
        models={"teacher": teacher, "student": student, "max_length": 48},
        scratch=None,
        **changes,
    )


def ended(workspace: Workspace, asked: Any) -> Run:
    return Ledger(workspace).run(do(workspace, asked))


def problems(workspace: Workspace, asked: Any) -> list[str]:
    return check_recipe(workspace, Ledger(workspace), {"recipe": asked.model_dump()})["problems"]


def test_texts_are_cut_at_the_positions_of_both_models(workspace: Workspace, tmp_path: Path) -> None:
    """The one that reads least decides; the cut is counted, recorded and told, and a trace keeps to it."""
    asked = recipe(tmp_path, gpt2(tmp_path / "t", 40, 0), gpt2(tmp_path / "s", 24, 1))
    notes = check_recipe(workspace, Ledger(workspace), {"recipe": asked.model_dump()})["notes"]
    assert any("longer than 24 tokens and will be cut there" in note for note in notes)
    run = ended(workspace, asked)
    assert run.state == "done", run.error
    assert run.provenance["max_length"] == 24
    samples = table(workspace, run.id, "samples")
    assert samples.length.max() == 24
    assert run.provenance["truncated"] > 0
    text = {"instruction": "Say stone 4 times.", "input": "", "response": "stone " * 9}
    found = trace(workspace, Ledger(workspace), {"run": run.id, "student": "dynamic", **text})
    assert found["truncated"]


def test_a_mamba_student_is_trained(workspace: Workspace, tmp_path: Path) -> None:
    torch.manual_seed(1)
    student = saved(tmp_path / "s", MambaForCausalLM(MambaConfig(**SMALL, state_size=4)))
    run = ended(workspace, recipe(tmp_path, llama(tmp_path / "t"), student))
    assert run.state == "done", run.error


def test_experts_with_dropout_are_refused_before_anything_is_scored(workspace: Workspace, tmp_path: Path) -> None:
    torch.manual_seed(1)
    student = saved(tmp_path / "s", MixtralForCausalLM(MixtralConfig(**ATTENTION, num_local_experts=2)))
    asked = recipe(tmp_path, llama(tmp_path / "t"), student)
    run = ended(workspace, asked)
    assert run.state == "failed"
    assert "training.lora.dropout = 0" in str(run.error)
    assert not Ledger(workspace).parts(run.id)
    assert [problem for problem in problems(workspace, asked) if "training.lora.dropout = 0" in problem]


def test_a_model_without_its_head_is_refused_before_anything_is_scored(workspace: Workspace, tmp_path: Path) -> None:
    torch.manual_seed(1)
    headless = saved(tmp_path / "s", LlamaForCausalLM(LlamaConfig(**ATTENTION)).model)
    run = ended(workspace, recipe(tmp_path, llama(tmp_path / "t"), headless))
    assert run.state == "failed"
    assert "lm_head.weight" in str(run.error)
    assert not Ledger(workspace).parts(run.id, "scores")


def kl_of_base(workspace: Workspace, run: Run) -> pd.Series:
    scores = table(workspace, run.id, "scores")
    return scores[(scores.arm == "base") & (scores.metric == "kl")].set_index("row").value.sort_index()


def test_a_teacher_on_disk_gives_the_same_scores_and_one_in_eight_bits_nearly(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head is not in memory, and its weights are no plain tensors; the caches of one are not used for the other."""
    pytest.importorskip("torchao", reason="the extra `quantized` is not installed")
    pair = llama(tmp_path / "t"), llama(tmp_path / "s", seed=1)
    plain = kl_of_base(workspace, ended(workspace, recipe(tmp_path, *pair)))
    eight = kl_of_base(workspace, ended(workspace, recipe(tmp_path, *pair, models__teacher_bits=8)))
    for module in ("accelerate.utils.modeling", "transformers.integrations.accelerate"):
        monkeypatch.setattr(f"{module}.get_max_memory", lambda _=None: {"cpu": 1000})
    away = kl_of_base(workspace, ended(workspace, recipe(tmp_path, *pair, models__teacher_device_map="auto")))
    np.testing.assert_allclose(away, plain, rtol=1e-5)
    assert 0 < np.abs(eight - plain).max() < 0.02 * plain.mean()


def test_an_extra_that_is_missing_is_found_before_the_work(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.placement.find_spec", lambda _: None)
    asked = recipe(tmp_path, llama(tmp_path / "t"), llama(tmp_path / "s", seed=1), models__teacher_bits=4)
    run = ended(workspace, asked)
    assert "winnow[quantized]" in str(run.error)
    assert not Ledger(workspace).parts(run.id)
    assert [problem for problem in problems(workspace, asked) if "winnow[quantized]" in problem]


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_an_adapter_is_a_model_of_a_pair(role: str, workspace: Workspace, tmp_path: Path) -> None:
    """Scored, trained if it is the student, and unlike its own base."""
    base = llama(tmp_path / "base")
    peft = get_peft_model(
        LlamaForCausalLM.from_pretrained(base),
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    peft.save_pretrained(str(tmp_path / "adapter"))
    pair = {"teacher": base, "student": base, role: str(tmp_path / "adapter")}
    asked = recipe(tmp_path, **pair)
    assert problems(workspace, asked) == []
    run = ended(workspace, asked)
    assert run.state == "done", run.error
    scores = table(workspace, run.id, "scores")
    assert scores[scores.metric == "kl"].value.min() > 0
