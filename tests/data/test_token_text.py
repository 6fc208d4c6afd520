"""The texts of tokens join to what the tokenizer decodes, for every kind of vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from engine.common.characters import characters, from_bytes, joined
from engine.data.token_text import TokenText
from tests.data.conftest import make_tokenizer

BYTES = make_tokenizer(["مرحبا بالعالم", "日本語のテキスト", "नमस्ते दुनिया", "👩🏽‍💻 and words"] * 20, vocab_size=420)


def fallback() -> PreTrainedTokenizerFast:
    """As SentencePiece writes it: words begin with ▁, and what has no token of its own is spelled in bytes."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "ab", "▁ab", "é"]
    vocabulary = {word: place for place, word in enumerate(words)}
    backend = Tokenizer(
        models.BPE(vocabulary, [("a", "b"), ("▁", "ab")], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def wordpiece() -> PreTrainedTokenizerFast:
    words = ["[UNK]", "[CLS]", "play", "##ing", "un", "##do", ".", "é", "##é"]
    backend = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", cls_token="[CLS]")


def metaspace() -> PreTrainedTokenizerFast:
    words = [("<unk>", 0.0), ("▁", -2.0), ("▁a", -1.0), ("b", -1.0), ("é", -1.0)]
    backend = Tokenizer(models.Unigram(words, unk_id=0))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


@given(st.text(max_size=40))
def test_every_text_of_a_byte_level_vocabulary(text: str) -> None:
    """Any Unicode comes back whole, in groups that split no character."""
    ids = BYTES(text, add_special_tokens=False)["input_ids"]
    tokens = TokenText(BYTES).of(ids)
    assert joined(tokens) == BYTES.decode(ids, clean_up_tokenization_spaces=False) == text
    assert "".join(group.text for group in characters(tokens)) == text


@pytest.mark.parametrize("build", [fallback, wordpiece, metaspace])
@pytest.mark.parametrize("text", ["ab ab", "ab  ab", "playing undo. é", "日本 é 👍🏽 ab", "", " a b"])
def test_other_vocabularies(build: Callable[[], PreTrainedTokenizerFast], text: str) -> None:
    """Spaces are where the tokenizer puts them, and bytes of one character are joined."""
    tokenizer = build()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = TokenText(tokenizer).of(ids)
    assert joined(tokens) == tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def test_what_single_tokens_are() -> None:
    """A token inside a text has its space; a part of a character its bytes; an id in a hole says that it has none."""
    names = TokenText(fallback())
    assert [names[token] for token in (262, 263, 259 + 4, 3 + 0xE2, 3 + 0x0A)] == [
        "ab",
        " ab",
        " ab",
        from_bytes(b"\xe2"),
        "\n",
    ]
    assert names.of([263, 262]) == ["ab", "ab"]
    assert TokenText(wordpiece()).of([2, 3, 4, 5]) == ["play", "ing", " un", "do"]
    assert names[5000] == "⟨token 5000, which has no text⟩"
