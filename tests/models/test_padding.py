"""A classifier answers to a text as if it stood alone, whatever padding beside others it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from engine.common.errors import WinnowError
from engine.config.models import NetworkSettings
from engine.models.networks import Classifier, longest_text, make_network
from engine.models.padding import padding_of

VOCAB = 40
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 24,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "bert": lambda: hf.BertConfig(**SIZES),
    "roberta": lambda: hf.RobertaConfig(**SIZES),
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=24, bos_token_id=0, eos_token_id=0
    ),
    "gpt2 without an end token": lambda: hf.GPT2Config(
        vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=24, bos_token_id=None, eos_token_id=None
    ),
    "gpt2 whose end token is none of its tokens": lambda: hf.GPT2Config(
        vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=24
    ),
    "llama with two end tokens": lambda: hf.LlamaConfig(**SIZES, eos_token_id=[2, 3]),
    "xlnet": lambda: hf.XLNetConfig(vocab_size=VOCAB, d_model=16, n_layer=2, n_head=2, d_inner=32),
    "deberta": lambda: hf.DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "t5": lambda: hf.T5Config.from_dict(
        {"vocab_size": VOCAB, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        | {"decoder_start_token_id": 0}
    ),
    "bart": lambda: hf.BartConfig(
        vocab_size=VOCAB, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=24,
    ),
}  # fmt: skip


def classifier(name: str, folder: Path, config: Any = None) -> Classifier:
    """As a study makes it from a folder; larger weights than usual, so that reading one token too many is seen."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config or CONFIGS[name]())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
    model.save_pretrained(folder)
    made = make_network(NetworkSettings(model=str(folder)), "text", (24,), 2, 0)
    assert isinstance(made, Classifier)
    return made.eval()


def padded(texts: list[list[int]], token: int) -> tuple[Tensor, Tensor]:
    """As data has them: padding on the right, of any token."""
    width = max(map(len, texts))
    ids = torch.tensor([text + [token] * (width - len(text)) for text in texts])
    return ids, torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])


@pytest.mark.parametrize("token", [0, 7])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_padded_text_is_read_as_if_it_stood_alone(name: str, token: int, tmp_path: Path) -> None:
    """Logits and embeddings, whatever token the tokenizer pads with and wherever the model looks for the end."""
    made = classifier(name, tmp_path)
    end = {"t5": 1, "bart": 2}.get(name, 9)
    texts = [[5, 6, 7, 8, end], [11, 12, 13, 14, 15, 16, 17, 18, 19, end], [21, 22, end]]
    with torch.no_grad():
        together, embedded = made(*padded(texts, token)), made.features(*padded(texts, token))
        for place, text in enumerate(texts):
            torch.testing.assert_close(together[place : place + 1], made(*padded([text], token)), rtol=1e-3, atol=1e-5)
            alone = made.features(*padded([text], token))
            torch.testing.assert_close(embedded[place : place + 1], alone, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(together[0], together[1], rtol=0.01)


def test_padding_goes_where_the_model_needs_it(tmp_path: Path) -> None:
    """XLNet classifies at the last position, so its padding comes first; the order of the tokens stays."""
    padding = classifier("xlnet", tmp_path).padding
    assert padding is not None
    assert padding.left
    ids, mask = padding.arrange(*padded([[8, 9, 10, 11], [12, 13]], 0))
    assert ids.tolist() == [[8, 9, 10, 11], [padding.token, padding.token, 12, 13]]
    assert mask.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]


def test_trying_a_classifier_leaves_it_as_it_was(tmp_path: Path) -> None:
    """Neither its weights nor its dropout nor random numbers may change."""
    model = AutoModelForSequenceClassification.from_config(CONFIGS["bert"]()).train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    padding_of(model, "a model")
    assert torch.equal(torch.rand(2), expected)
    assert model.training
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_classifier_that_reads_padding_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """FNet has no attention mask: the log of the run tells, and learned vectors are refused elsewhere."""
    torch.manual_seed(0)
    config = hf.FNetConfig(
        vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, intermediate_size=32, max_position_embeddings=24
    )
    padding = padding_of(AutoModelForSequenceClassification.from_config(config), "an FNet")
    assert not padding.ignored
    assert not padding.left
    assert "an FNet reads padding: its answer to a text changes with the length of the longest text" in caplog.messages


def test_a_model_that_cannot_classify_is_one_sentence() -> None:
    """Whatever a model raises when it is tried becomes a sentence that names it."""

    class Broken(nn.Module):
        config = hf.BertConfig(**SIZES)

        def forward(self, **_: Tensor) -> None:
            raise IndexError("index out of range in self")

    with pytest.raises(WinnowError, match=r"some/model cannot classify texts here \(IndexError: index out of range in"):
        padding_of(Broken(), "some/model")


def test_how_long_a_text_may_be(tmp_path: Path) -> None:
    """Asked of the folder, before weights are loaded."""
    for name, most in (("bert", 24), ("roberta", 22), ("gpt2", 24), ("xlnet", None), ("t5", None)):
        CONFIGS[name]().save_pretrained(tmp_path / name)
        assert longest_text(str(tmp_path / name)) == most
    with pytest.raises(WinnowError, match="holds no model"):
        longest_text(str(tmp_path))


def saved_body(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> NetworkSettings:
    """A folder of a BERT classifier whose weights were changed."""
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(CONFIGS["bert"]())
    model.save_pretrained(folder, state_dict=change(model.state_dict()))
    return NetworkSettings(model=str(folder))


def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    """A layer that no file holds would be drawn at random; a head that none holds is what studies train."""
    lacking = saved_body(tmp_path / "a", lambda held: {k: v for k, v in held.items() if "layer.1.output" not in k})
    with pytest.raises(WinnowError, match=r"bert\.encoder\.layer\.1\.output") as caught:
        make_network(lacking, "text", (24,), 2, 0)
    assert str(tmp_path / "a") in str(caught.value)
    wrapped = saved_body(tmp_path / "b", lambda held: {f"module.{k}": v for k, v in held.items()})
    with pytest.raises(WinnowError, match=r"module\."):
        make_network(wrapped, "text", (24,), 2, 0)
    headless = saved_body(tmp_path / "c", lambda held: {k: v for k, v in held.items() if "classifier" not in k})
    assert make_network(headless, "text", (24,), 7, 0)(torch.ones(1, 3).long(), torch.ones(1, 3).long()).shape == (1, 7)
