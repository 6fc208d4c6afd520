"""How long a text a model can read, against what the model itself can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from engine.models.positions import AFTER_PADDING, positions_of, shortest

SMALL: dict[str, Any] = {
    "vocab_size": 30,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
POSITIONS: dict[str, Any] = {**SMALL, "max_position_embeddings": 12}

LIMITED: dict[str, Callable[[], Any]] = {
    "BERT": lambda: hf.BertConfig(**POSITIONS),
    "RoBERTa": lambda: hf.RobertaConfig(**POSITIONS, pad_token_id=1),
    "XLM-RoBERTa, another pad token": lambda: hf.XLMRobertaConfig(**POSITIONS, pad_token_id=3),
    "MPNet": lambda: hf.MPNetConfig(**POSITIONS, pad_token_id=1),
    "GPT-2": lambda: hf.GPT2Config(vocab_size=30, n_positions=12, n_embd=16, n_layer=1, n_head=2),
    "OPT": lambda: hf.OPTConfig(**SMALL, ffn_dim=16, word_embed_proj_dim=16, max_position_embeddings=12),
    "DistilBERT": lambda: hf.DistilBertConfig(
        vocab_size=30, dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=12
    ),
    "MPT": lambda: hf.MptConfig(vocab_size=30, d_model=16, n_layers=1, n_heads=2, max_seq_len=12),
}


@pytest.mark.parametrize("name", LIMITED)
def test_a_model_reads_as_many_tokens_as_it_has_positions_and_no_more(name: str) -> None:
    config = LIMITED[name]()
    model = AutoModel.from_config(config).eval()
    limit = positions_of(config)
    assert limit is not None
    model(torch.full((1, limit), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, limit + 1), 5))


def test_models_that_nothing_limits_say_so() -> None:
    """XLNet writes -1, and a state-space model, a relative bias or ALiBi have no table of positions."""
    for config in (hf.XLNetConfig(), hf.MambaConfig(), hf.T5Config(), hf.BloomConfig()):
        assert positions_of(config) is None


def test_rotary_models_have_what_they_were_built_for() -> None:
    assert positions_of(hf.LlamaConfig(max_position_embeddings=2048)) == 2048
    assert positions_of(hf.Gemma3Config(text_config={"max_position_embeddings": 777})) == 777


def test_a_pair_reads_what_both_can_read() -> None:
    assert shortest(512, 1024, None) == 512
    assert shortest(512, 64, 128) == 64
    assert shortest(512) == 512


@pytest.mark.parametrize("kind", sorted(AFTER_PADDING))
def test_families_that_count_from_the_pad_token_are_those_that_transformers_has(kind: str) -> None:
    sizes: dict[str, Any] = {"vocab_size": 33} if kind == "esm" else {}
    config = CONFIG_MAPPING[kind](**sizes)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    tables = [m for n, m in model.named_modules() if n.endswith(".position_embeddings") and isinstance(m, nn.Embedding)]
    assert tables
    assert any(table.padding_idx == config.pad_token_id for table in tables)
