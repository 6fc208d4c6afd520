"""No model is used with weights that none of its files holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from engine.common.errors import WinnowError
from engine.models.loading import load_model
from engine.models.weights import require_whole

State = dict[str, Tensor]
SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def llama(layers: int = 2, width: int = 16, *, tied: bool = False) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(**SMALL | {"num_hidden_layers": layers, "hidden_size": width, "tie_word_embeddings": tied})
    )


def saved(folder: Path, model: PreTrainedModel, change: Callable[[State], State] = dict, **config: Any) -> str:
    """The folder of a model whose file of weights, or whose config.json, has been changed afterwards."""
    model.save_pretrained(folder)
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return str(folder)


def load(source: str) -> PreTrainedModel:
    return load_model("mine", source, torch.float32, torch.device("cpu")).model


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + key: value for key, value in state.items()}


BROKEN: dict[str, tuple[Callable[[Path], str], str]] = {
    "the body alone": (lambda p: saved(p, llama().model), r"1 that the model needs .* \(lm_head\.weight\)"),
    "a layer is missing": (
        lambda p: saved(p, llama(1), num_hidden_layers=2),
        r"9 that the model needs are in no file \(model\.layers\.1\.input_layernorm\.weight, .*…\)",
    ),
    "a layer too many": (lambda p: saved(p, llama(3), num_hidden_layers=2), r"9 have no place .*model\.layers\.2\."),
    "another width": (
        lambda p: saved(p, llama(width=32), hidden_size=16),
        r"have another shape \(lm_head\.weight is \(50, 32\) in the file and \(50, 16\) in the model",
    ),
    "a wrapper's keys": (lambda p: saved(p, llama(), prefixed("module.")), r"begins with 'module\.'"),
    "a compiled model's keys": (lambda p: saved(p, llama(), prefixed("_orig_mod.")), r"begins with '_orig_mod\.'"),
    "one tensor of a layer": (
        lambda p: saved(p, llama(), lambda s: {k: v for k, v in s.items() if "layers.1.mlp.up" not in k}),
        r"\(model\.layers\.1\.mlp\.up_proj\.weight\)",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_weights_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    """One sentence that names the model and the first keys; scores against random weights look like any others."""
    make, sentence = BROKEN[case]
    with pytest.raises(WinnowError, match=f"^The weights of mine are not .*{sentence}"):
        load(make(tmp_path))


def test_a_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path, max_shard_size="10KB")
    lost = max(tmp_path.glob("*.safetensors"))
    lost.unlink()
    with pytest.raises(WinnowError, match=lost.name):
        load(str(tmp_path))


WHOLE: dict[str, Callable[[Path], str]] = {
    "tied, without a head": lambda p: saved(p, llama(tied=True)),
    "tied, saved under the head's name": lambda p: saved(
        p,
        llama(tied=True),
        lambda s: {"lm_head.weight" if "embed_tokens" in k else k: v for k, v in s.items()},
    ),
    "rotary angles of earlier versions": lambda p: saved(
        p, llama(), lambda s: s | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}
    ),
    "masks of earlier versions": lambda p: saved(
        p,
        hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)),
        lambda s: (
            s
            | {
                "transformer.h.0.attn.bias": torch.ones(1, 1, 16, 16),
                "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
            }
        ),
    ),
    "GPT-2 without its prefix, as on the Hub": lambda p: saved(
        p,
        hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)),
        lambda s: {k.removeprefix("transformer."): v for k, v in s.items()},
    ),
}


@pytest.mark.parametrize("case", WHOLE)
def test_ties_and_computed_tables_need_no_weights(case: str, tmp_path: Path) -> None:
    load(WHOLE[case](tmp_path))


def classifier(source: str, classes: int = 2) -> None:
    model, info = AutoModelForSequenceClassification.from_pretrained(
        source, num_labels=classes, ignore_mismatched_sizes=True, output_loading_info=True
    )
    require_whole("mine", model, info, fresh_head=True)


DISTIL = hf.DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=16)
BERT2 = hf.BertConfig(**SMALL | {"num_hidden_layers": 2}, max_position_embeddings=32)
BERT = hf.BertConfig(**SMALL, max_position_embeddings=32)
PRETRAINED: dict[str, Callable[[], PreTrainedModel]] = {
    "BERT, masked words": lambda: hf.BertForMaskedLM(BERT),
    "BERT, body": lambda: hf.BertModel(BERT),
    "BERT, three classes": lambda: hf.BertForSequenceClassification(
        hf.BertConfig(**BERT.to_dict() | {"num_labels": 3})
    ),
    "DistilBERT": lambda: hf.DistilBertForMaskedLM(DISTIL),
    "RoBERTa with a pooler": lambda: hf.RobertaModel(hf.RobertaConfig(**SMALL, max_position_embeddings=32)),
    "ELECTRA": lambda: hf.ElectraForPreTraining(hf.ElectraConfig(**SMALL, embedding_size=16)),
    "DeBERTa": lambda: hf.DebertaV2ForMaskedLM(hf.DebertaV2Config(**SMALL)),
    "XLNet": lambda: hf.XLNetLMHeadModel(hf.XLNetConfig(vocab_size=50, d_model=16, n_layer=1, n_head=2, d_inner=16)),
    "Llama": llama,
}


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_classifier_may_have_a_fresh_head(name: str, tmp_path: Path) -> None:
    """The head of pretraining is dropped and the classifier's is drawn: that is how every classifier begins."""
    classifier(saved(tmp_path, PRETRAINED[name]()))


BODIES: dict[str, tuple[Callable[[Path], str], str]] = {
    "a layer is missing": (
        lambda p: saved(p, hf.BertForMaskedLM(BERT), num_hidden_layers=2),
        r"bert\.encoder\.layer\.1",
    ),
    "a layer too many": (
        lambda p: saved(p, hf.BertForMaskedLM(BERT2), num_hidden_layers=1),
        r"no place in the model \(bert\.encoder\.layer\.1",
    ),
    "a layer too many, body alone": (
        lambda p: saved(p, hf.BertModel(BERT2), num_hidden_layers=1),
        r"no place in the model \(.*encoder\.layer\.1",
    ),
    "another width": (lambda p: saved(p, hf.BertForMaskedLM(BERT), intermediate_size=32), r"another shape"),
    "a wrapper's keys": (lambda p: saved(p, hf.BertModel(BERT), prefixed("module.bert.")), r"begins with 'module\.'"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_classifier_must_have_its_body(case: str, tmp_path: Path) -> None:
    make, sentence = BODIES[case]
    with pytest.raises(WinnowError, match=sentence):
        classifier(make(tmp_path))


def test_loading_says_it_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The sentence is enough: the library's own table of keys stays out of the log."""
    with caplog.at_level(logging.WARNING), pytest.raises(WinnowError):
        load(saved(tmp_path, llama().model))
    assert "LOAD REPORT" not in caplog.text
