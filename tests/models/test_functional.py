"""Students as functions of their weights: what is pretrained, what is drawn by seed, how vectors are read."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    CanineConfig,
    CanineForSequenceClassification,
    DistilBertConfig,
    DistilBertModel,
    FNetConfig,
    LongformerConfig,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTForImageClassification,
    XLNetConfig,
)

from engine.common.errors import WinnowError
from engine.config.models import NetworkSettings
from engine.models.functional import FunctionalModel, ImageModel, TextModel, softplus_inverse
from engine.models.networks import make_network

CPU = torch.device("cpu")
WORDS = ["a", "the", "cat", "sat", "on", "mat", "and", "dog", "ran", "off"]
POSITIONS = 20
COMMON: dict[str, Any] = {"vocab_size": 15, "pad_token_id": 0}
SMALL = COMMON | {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 16}

ENCODERS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SMALL, max_position_embeddings=POSITIONS)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(**COMMON, n_layers=2, n_heads=2, dim=8, hidden_dim=16, max_position_embeddings=POSITIONS)
    ),
    "roberta": lambda: RobertaModel(RobertaConfig(**SMALL | {"pad_token_id": 1}, max_position_embeddings=POSITIONS)),
}
encoders = pytest.mark.parametrize("name", ENCODERS)


def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """Whole words, between [CLS] and [SEP] or between <s> and </s>, with the ids that the configuration has."""
    pad, begin, end = ("<pad>", "<s>", "</s>") if name == "roberta" else ("[PAD]", "[CLS]", "[SEP]")
    specials = [begin, pad, end] if name == "roberta" else [pad, begin, end]
    unknown = "<unk>" if name == "roberta" else "[UNK]"
    vocabulary = {word: place for place, word in enumerate([*specials, unknown, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(token, vocabulary[token]) for token in (begin, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=pad, cls_token=begin, sep_token=end, unk_token=unknown
    )


def saved(folder: Path, name: str, model: PreTrainedModel | None = None) -> str:
    """A folder of an encoder; larger weights than usual, so that a difference in what is read is seen."""
    torch.manual_seed(0)
    model = model or ENCODERS[name]()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(10)
    model.save_pretrained(folder)
    return str(folder)


def text_learner(folder: Path, name: str = "bert", classes: int = 3, model: PreTrainedModel | None = None) -> TextModel:
    source = saved(folder, name, model)
    return TextModel(NetworkSettings(model=source), source, tokenizer_of(name), classes, CPU)


def by_name(learner: FunctionalModel, seed: int) -> dict[str, Tensor]:
    return dict(zip(learner.names, learner.init(seed), strict=True))


def assert_only_the_head_is_random(learner: FunctionalModel) -> None:
    """Of two seeds the head differs and nothing else; of one seed nothing does."""
    one, other = by_name(learner, 1), by_name(learner, 2)
    differ = {name for name in learner.names if not torch.equal(one[name], other[name])}
    assert differ == {name for name in learner.head_names if one[name].dim() > 1}
    assert learner.head_names < set(learner.names)
    assert all(torch.equal(one[name], again) for name, again in by_name(learner, 1).items())


@encoders
def test_a_fresh_head_on_the_same_body(name: str, tmp_path: Path) -> None:
    """Sets are measured with several heads on one pretrained body; matrices are drawn, biases start at zero."""
    source = saved(tmp_path, name)
    learner = text_learner(tmp_path, name)
    assert_only_the_head_is_random(learner)
    start, prefix = by_name(learner, 1), f"{name}."
    trained = type(ENCODERS[name]()).from_pretrained(source)
    for part, weight in trained.named_parameters():
        if weight is not trained.get_input_embeddings().weight and "pooler" not in part:
            assert torch.equal(start[prefix + part], weight), part
    assert {part for part in learner.head_names if not part.startswith(prefix)} >= {
        part for part in learner.names if part.startswith("classifier")
    }
    assert all(not start[part].any() for part in learner.head_names if part.endswith("bias"))
    drawn = torch.cat([start[part].flatten() for part in learner.head_names if start[part].dim() > 1])
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.5)


def test_weights_that_no_file_has_count_as_head(tmp_path: Path) -> None:
    """A pooling layer that was not saved is drawn by the seed, or two loads of one folder would be two students."""
    model = BertModel(BertConfig(**SMALL, max_position_embeddings=POSITIONS), add_pooling_layer=False)
    first = text_learner(tmp_path, "bert", model=model)
    assert {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "classifier.weight",
        "classifier.bias",
    } == first.head_names
    torch.rand(7)
    second = TextModel(NetworkSettings(model=str(tmp_path)), str(tmp_path), tokenizer_of("bert"), 3, CPU)
    assert_only_the_head_is_random(second)
    assert all(torch.equal(a, b) for a, b in zip(first.init(5), second.init(5), strict=True))


def test_a_pooling_layer_that_was_saved_is_body(tmp_path: Path) -> None:
    """What the file has is pretrained and the same for every seed."""
    assert text_learner(tmp_path, "bert").head_names == {"classifier.weight", "classifier.bias"}


def test_a_head_of_other_classes_is_drawn_afresh(tmp_path: Path) -> None:
    """A folder of a classifier keeps its body; its own head has no say, whether the classes are as many or not."""
    config = BertConfig(**SMALL, max_position_embeddings=POSITIONS, num_labels=3)  # type: ignore[call-arg]
    model = BertForSequenceClassification(config)
    for classes in (3, 5):
        learner = text_learner(tmp_path, "bert", classes, model)
        start = by_name(learner, 0)
        assert start["classifier.weight"].shape == (classes, 8)
        assert not torch.equal(model.classifier.weight, start["classifier.weight"])
        assert torch.equal(start["bert.pooler.dense.weight"], model.bert.pooler.dense.weight)


def test_scales_in_a_head_start_at_one(tmp_path: Path) -> None:
    """A layer norm whose scale were zero would hide the whole body; ModernBERT has one in its head."""
    config = ModernBertConfig(
        **SMALL | {"num_hidden_layers": 1},
        max_position_embeddings=POSITIONS,
        cls_token_id=1,
        sep_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    learner = text_learner(tmp_path, "bert", model=ModernBertModel(config))
    start = by_name(learner, 0)
    scales = [name for name in learner.head_names if name.endswith("norm.weight")]
    assert scales
    assert all((start[name] == 1).all() for name in scales)
    logits, _ = learner.forward_embeds(list(start.values()), torch.randn(2, 4, 8))
    assert logits.any()


@encoders
def test_vectors_of_words_read_as_the_words(name: str, tmp_path: Path) -> None:
    """What is learned stands where token embeddings stand, special tokens, positions and types included."""
    learner, tokenizer = text_learner(tmp_path, name), tokenizer_of(name)
    weights = learner.init(0)
    batch = tokenizer(["the cat sat on a mat", "a dog ran off and sat"], return_tensors="pt")
    ids = batch["input_ids"]
    found, attention = learner.forward_embeds(weights, learner.table[ids[:, 1:-1]])
    assert attention is None
    read = learner.forward(weights, ids, batch["attention_mask"])
    torch.testing.assert_close(found, read)
    assert not torch.allclose(found[0], found[1])
    assert torch.equal(learner.add_special_tokens(learner.table[ids[:, 1:-1]]), learner.table[ids])


@encoders
def test_padding_is_not_read(name: str, tmp_path: Path) -> None:
    """Real samples come padded; what a student makes of one must not depend on its neighbours."""
    learner, tokenizer = text_learner(tmp_path, name), tokenizer_of(name)
    weights = learner.init(0)
    alone = tokenizer(["the cat"], return_tensors="pt")
    padded = tokenizer(["the cat", "a dog ran off and sat"], padding=True, return_tensors="pt")
    one = learner.forward(weights, alone["input_ids"], alone["attention_mask"])
    both = learner.forward(weights, padded["input_ids"], padded["attention_mask"])
    torch.testing.assert_close(both[:1], one)


@encoders
def test_attention_of_the_first_token(name: str, tmp_path: Path) -> None:
    """(n, layers, heads, tokens) with the special tokens among the tokens; probabilities."""
    learner = text_learner(tmp_path, name)
    logits, attention = learner.forward_embeds(learner.init(0), torch.randn(3, 5, 8), attention=True)
    assert logits.shape == (3, 3)
    assert attention is not None
    assert attention.shape == (3, 2, 2, 7)
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, 2, 2))
    assert (attention > 0).all()


@encoders
def test_fused_attention_is_switched_off_and_said(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """sdpa has no second derivative on a CPU: with eager attention one exists, and the log tells of the change."""
    caplog.set_level(logging.INFO, logger="engine.models.functional")
    learner = text_learner(tmp_path, name)
    messages = [record.getMessage() for record in caplog.records if record.name == "engine.models.functional"]
    assert messages == [f"{tmp_path} asks for sdpa attention, which has no second derivative; switched to eager"]
    weights = [weight.clone().requires_grad_() for weight in learner.init(0)]
    inputs = torch.randn(2, 4, 8, requires_grad=True)
    loss = learner.forward_embeds(weights, inputs)[0].square().sum()
    gradients = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
    total = sum((gradient.square().sum() for gradient in gradients), torch.zeros(()))
    (second,) = torch.autograd.grad(total, inputs)
    assert second.isfinite().all()
    assert second.any()


@encoders
def test_the_word_table_is_no_weight(name: str, tmp_path: Path) -> None:
    """Vectors do not pass through it, so it is neither trained nor counted; position embeddings are."""
    learner = text_learner(tmp_path, name)
    assert learner.table.shape == (15, 8)
    assert not any("word_embeddings" in part for part in learner.names)
    assert any("position_embeddings" in part for part in learner.names)
    assert learner.parameters == sum(weight.numel() for weight in learner.init(0))
    assert learner.parameters == sum(weight.numel() for weight in learner.network.parameters()) - 15 * 8
    assert not any(weight.requires_grad for weight in learner.init(0))


def test_other_weights_give_other_logits(tmp_path: Path) -> None:
    """A student is a function of the weights it is given, and leaves those of its network alone."""
    learner = text_learner(tmp_path)
    ids = torch.tensor([[1, 5, 6, 2]])
    before = [weight.clone() for weight in learner.network.parameters()]
    first, second = (learner.forward(learner.init(seed), ids, torch.ones_like(ids)) for seed in (0, 1))
    assert not torch.equal(first, second)
    doubled = [2 * weight if name.startswith("classifier") else weight for name, weight in by_name(learner, 0).items()]
    torch.testing.assert_close(learner.forward(doubled, ids, torch.ones_like(ids)), 2 * first)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "context"), [("bert", POSITIONS), ("distilbert", POSITIONS), ("roberta", POSITIONS - 2)]
)
def test_the_longest_input(name: str, context: int, tmp_path: Path) -> None:
    """RoBERTa's positions begin after its padding token; the longest input is read and one token more is not."""
    learner = text_learner(tmp_path, name)
    assert learner.context == context
    weights = learner.init(0)
    assert learner.forward_embeds(weights, torch.randn(1, context - 2, 8))[0].shape == (1, 3)
    with pytest.raises((IndexError, RuntimeError)):
        learner.forward_embeds(weights, torch.randn(1, context - 1, 8))


def test_an_encoder_that_reads_characters(tmp_path: Path) -> None:
    """CANINE hashes characters: no table, nothing to read vectors by, and one sentence that names it."""
    config = CanineConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        num_hash_functions=2,
        num_hash_buckets=16,
        local_transformer_stride=8,
    )
    source = saved(tmp_path, "canine", CanineForSequenceClassification(config))
    with pytest.raises(WinnowError, match=r"^the/canine has no table of token embeddings.* BERT\.$"):
        TextModel(NetworkSettings(model="the/canine"), source, tokenizer_of("bert"), 2, CPU)


UNFIT: dict[str, tuple[Callable[[], Any], str]] = {
    "takes no embeddings": (
        lambda: BartConfig(
            **COMMON, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=20,
        ),
        r"takes no vectors in the place of token embeddings \(NotImplementedError: .*such as BERT\.$",
    ),
    "takes no embeddings, and says so in another way": (
        lambda: LongformerConfig(**SMALL | {"pad_token_id": 1}, max_position_embeddings=20, attention_window=[4, 4]),
        r"takes no vectors in the place of token embeddings \(.*such as BERT\.$",
    ),
    "reads padding": (
        lambda: FNetConfig(
            **COMMON, hidden_size=8, num_hidden_layers=2, intermediate_size=16, max_position_embeddings=20
        ),
        r"reads the padding of a text, so its answers would depend .*such as BERT\.$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", UNFIT)
def test_an_encoder_that_cannot_learn_vectors(why: str, tmp_path: Path) -> None:
    """Found as it is loaded, before anything is learned; one sentence names it."""
    config, sentence = UNFIT[why]
    torch.manual_seed(0)
    source = saved(tmp_path, why, AutoModelForSequenceClassification.from_config(config()))
    with pytest.raises(WinnowError, match=f"^the/encoder {sentence}"):
        TextModel(NetworkSettings(model="the/encoder"), source, tokenizer_of("bert"), 2, CPU)


def test_vectors_that_are_read_otherwise_than_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that scales the embeddings of tokens alone would learn vectors that no token stands for."""
    plain = BertForSequenceClassification.forward

    def scaled(self: Any, **inputs: Any) -> Any:
        if "inputs_embeds" in inputs:
            inputs["inputs_embeds"] = inputs["inputs_embeds"] * 4 + 1
        return plain(self, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", scaled)
    with pytest.raises(WinnowError, match=r"it reads them otherwise than the tokens they stand for, so nothing could"):
        text_learner(tmp_path)


def test_an_encoder_without_a_limit(tmp_path: Path) -> None:
    """XLNet has no table of positions; padding stands before its texts, and vectors read as their words."""
    config = XLNetConfig(**COMMON, d_model=8, n_layer=2, n_head=2, d_inner=16)
    torch.manual_seed(0)
    learner = text_learner(tmp_path, "bert", model=AutoModelForSequenceClassification.from_config(config))
    tokenizer = tokenizer_of("bert")
    assert learner.context is None
    weights = learner.init(0)
    one = tokenizer(["the cat"], return_tensors="pt")
    two = tokenizer(["the cat", "a dog ran off and sat"], padding=True, return_tensors="pt")
    alone = learner.forward(weights, one["input_ids"], one["attention_mask"])
    torch.testing.assert_close(learner.forward(weights, two["input_ids"], two["attention_mask"])[:1], alone)
    vectors = learner.table[one["input_ids"][:, 1:-1]]
    torch.testing.assert_close(learner.forward_embeds(weights, vectors)[0], alone)


def test_an_encoder_without_a_layer_is_refused(tmp_path: Path) -> None:
    """Weights that no file holds would be drawn at random; only those of a head may be."""
    model = BertForSequenceClassification(BertConfig(**SMALL, max_position_embeddings=POSITIONS))
    source = saved(tmp_path, "bert", model)
    BertConfig(**SMALL | {"num_hidden_layers": 3}, max_position_embeddings=POSITIONS).save_pretrained(tmp_path)
    with pytest.raises(WinnowError, match=r"bert\.encoder\.layer\.2\."):
        TextModel(NetworkSettings(model=source), source, tokenizer_of("bert"), 2, CPU)


@pytest.mark.parametrize("error", [NotImplementedError, AttributeError])
def test_an_encoder_that_hides_its_table(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers raises if it does not know the embeddings of a model; that is no stack trace either."""

    def hidden(_model: object) -> None:
        raise error

    monkeypatch.setattr(BertForSequenceClassification, "get_input_embeddings", hidden)
    with pytest.raises(WinnowError, match="has no table of token embeddings"):
        text_learner(tmp_path)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    """The sentence names the folder and what it should hold."""
    with pytest.raises(WinnowError, match=f"{tmp_path} holds no model"):
        TextModel(NetworkSettings(model=str(tmp_path)), str(tmp_path), tokenizer_of("bert"), 2, CPU)


@pytest.mark.parametrize("settings", [NetworkSettings(width=5), NetworkSettings(model="cnn", width=4, depth=1)])
def test_a_network_made_here_starts_afresh_as_a_whole(settings: NetworkSettings) -> None:
    """θ_0 is the network that training from a grid of that seed starts from, and answers as it does."""
    learner = ImageModel(settings, (1, 8, 8), 4, CPU)
    assert learner.head_names == set(learner.names)
    pixels = torch.randn(3, 1, 8, 8)
    for seed in (0, 7):
        network = make_network(settings, "images", (1, 8, 8), 4, seed)
        start = by_name(learner, seed)
        assert start.keys() == dict(network.named_parameters()).keys()
        assert all(torch.equal(start[name], weight) for name, weight in network.named_parameters())
        weights = learner.init(seed)
        torch.testing.assert_close(learner.forward(weights, pixels), network(pixels))
        seen, attention = learner.forward_embeds(weights, pixels)
        assert torch.equal(seen, learner.forward(weights, pixels))
        assert attention is None
    with pytest.raises(ValueError, match="images have no attention labels"):
        learner.forward_embeds(learner.init(0), pixels, attention=True)


def vision(name: str) -> PreTrainedModel:
    if name == "resnet":
        return ResNetForImageClassification(
            ResNetConfig(  # type: ignore[call-arg]
                embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=6
            )
        )
    config = ViTConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config.num_labels = 6
    return ViTForImageClassification(config)


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_an_image_classifier_of_transformers(name: str, tmp_path: Path) -> None:
    """Pretrained body, fresh head, and a second derivative, whether it has attention or not."""
    saved(tmp_path, name, vision(name))
    learner = ImageModel(NetworkSettings(model=str(tmp_path)), (1, 8, 8), 4, CPU)
    assert_only_the_head_is_random(learner)
    assert all(part.startswith("model.classifier") for part in learner.head_names)
    start = by_name(learner, 0)
    trained = type(vision(name)).from_pretrained(tmp_path)
    for part, weight in trained.named_parameters():
        assert part.startswith("classifier") or torch.equal(start[f"model.{part}"], weight), part
    weights = [weight.clone().requires_grad_() for weight in learner.init(0)]
    inputs = torch.randn(2, 1, 8, 8, requires_grad=True)
    logits, _ = learner.forward_embeds(weights, inputs)
    assert logits.shape == (2, 4)
    gradients = torch.autograd.grad(logits.square().sum(), weights, create_graph=True, materialize_grads=True)
    total = sum((gradient.square().sum() for gradient in gradients), torch.zeros(()))
    assert torch.autograd.grad(total, inputs)[0].isfinite().all()


@given(value=st.floats(1e-6, 500))
def test_softplus_inverse(value: float) -> None:
    """The learned rates start where the recipe says."""
    raw = softplus_inverse(value)
    assert math.isfinite(raw)
    found = torch.nn.functional.softplus(torch.tensor(raw, dtype=torch.float64), threshold=800)
    assert float(found) == pytest.approx(value, rel=1e-9)
