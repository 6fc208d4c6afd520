"""Whether two tokenizers are the same is a question of content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from engine.common.errors import WinnowError
from engine.data.tokenizers import (
    begin_token,
    context_token,
    same_tokenizer,
    shared_tokenizer,
    tokenizer_hash,
    vocabulary_size,
)

Make = Callable[..., PreTrainedTokenizerFast]


def test_hash_survives_saving_and_use(tokenizer: PreTrainedTokenizerFast, make: Make, tmp_path: Path) -> None:
    """Where a tokenizer lies and what it was last asked to do are not part of what it is."""
    before = tokenizer_hash(tokenizer)
    used = make()
    used("some text", truncation=True, max_length=2, split_special_tokens=True)
    used.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert before == tokenizer_hash(used) == tokenizer_hash(loaded)
    assert same_tokenizer(tokenizer, loaded) is None


def test_hash_tells_tokenizers_apart(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """Vocabulary, merges, special tokens and the begin token all change which ids a text becomes."""
    others = [
        make(vocab_size=300),
        make(text=["other words entirely"] * 50),
        make(specials=("<s>", "</s>", "<pad>")),
        make(adds_begin=True),
        make(end="<s>"),
    ]
    assert len({tokenizer_hash(other) for other in [tokenizer, *others]}) == 6


def test_the_same(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """Two copies are the same, whatever their chat templates: the student's is used for both."""
    talking = make()
    talking.chat_template = "{{ messages[0].content }}"
    assert same_tokenizer(tokenizer, talking) is None


def test_files_written_differently(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """What counts is what tokenizers do: not the form of their merges, the order of their keys or unused settings."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    content["model"]["vocab"] = dict(reversed(content["model"]["vocab"].items()))
    content["model"] |= {"fuse_unk": True, "byte_fallback": True}
    content["normalizer"] = {"type": "Sequence", "normalizers": []}
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(dict(reversed(content.items()))), encoding="utf-8")
    other = PreTrainedTokenizerFast(tokenizer_file=str(file), bos_token="<s>", eos_token="</s>")
    assert same_tokenizer(tokenizer, other) is None
    assert same_tokenizer(other, tokenizer) is None


def altered(tokenizer: PreTrainedTokenizerFast, **parts: Any) -> PreTrainedTokenizerFast:
    """A copy with other parts of its pipeline: `normalizer=…`, `pre_tokenizer=…`."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    for name, part in parts.items():
        setattr(backend, name, part)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token
    )


BYTES = {"add_prefix_space": False, "use_regex": False}


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": normalizers.Lowercase()},
        {"normalizer": normalizers.NFC()},
        {"normalizer": normalizers.NFKC()},
        {"normalizer": normalizers.StripAccents()},
        {"normalizer": normalizers.Strip()},
        {"normalizer": normalizers.Replace(Regex(" {2,}"), " ")},
        {"normalizer": normalizers.Replace("\r\n", "\n")},
        {"normalizer": normalizers.Replace("\t", " ")},
        {"normalizer": normalizers.Prepend(" ")},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)},
        {
            "pre_tokenizer": pre_tokenizers.Sequence(
                [pre_tokenizers.Split("a", behavior="removed"), pre_tokenizers.ByteLevel(**BYTES)]
            )
        },
        {
            "pre_tokenizer": pre_tokenizers.Sequence(
                [pre_tokenizers.Split("\n", behavior="isolated"), pre_tokenizers.ByteLevel(**BYTES)]
            )
        },
    ],
    ids=str,
)
def test_other_rules_of_the_same_words(tokenizer: PreTrainedTokenizerFast, parts: dict[str, Any]) -> None:
    """The same tokens read by other rules are another tokenizer, and the sentence shows a text and both readings."""
    found = same_tokenizer(tokenizer, altered(tokenizer, **parts))
    assert found is not None
    assert re.search(r"all tokens are the same, but .* becomes .* in the teacher and .* in the student", found)
    assert len(found) < 500
    assert found.isprintable()


def test_a_difference_is_readable(tokenizer: PreTrainedTokenizerFast) -> None:
    """The first tokens that differ are named as text and as ids."""
    assert same_tokenizer(tokenizer, altered(tokenizer, normalizer=normalizers.Lowercase())) == (
        "all tokens are the same, but 'The quick BROWN fox. THE QUICK brown Fox' becomes "
        "'T' 'he␣' 'q' 'u' … (53, 278, 82, 86) in the teacher and 'the␣' 'q' 'u' 'i' … (285, 82, 86, 74) in the student"
    )


@pytest.mark.parametrize(
    "flag", [{"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"special": False}], ids=str
)
def test_other_flags_of_an_added_token(make: Make, flag: dict[str, bool]) -> None:
    """How an added token takes the spaces around it, whether it stands in words, and whether it is special."""
    pair = make(), make()
    for tokenizer, flags in zip(pair, ({}, flag), strict=True):
        tokenizer.add_tokens([AddedToken("<turn>", **{"special": True, "normalized": False} | flags)])
    found = same_tokenizer(*pair)
    assert found is not None
    assert "<turn>" in found


def test_only_one_puts_a_begin_token_before_a_text(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """Either model would read texts as it never did in training; the sentence says which one, and what to do."""
    begins = make(adds_begin=True)
    assert same_tokenizer(begins, begins) is None
    found = same_tokenizer(begins, tokenizer)
    assert found is not None
    assert found.startswith("only the teacher puts a begin token before a text ('<s>')")
    assert "save the tokenizer of the teacher into the folder of the student" in found
    assert str(same_tokenizer(tokenizer, begins)).startswith("only the student puts a begin token")


def test_another_end(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """Another end token, or an end token after every text, is another tokenizer; a classifier needs no end token."""
    other = make(end="<s>")
    assert str(same_tokenizer(tokenizer, other)).startswith(
        "the end token is '</s>' in the teacher and '<s>' in the student"
    )
    assert same_tokenizer(tokenizer, other, ends=False) is None
    after = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    found = same_tokenizer(tokenizer, altered(tokenizer, post_processor=after))
    assert found == (
        "all tokens are the same, but with what each puts before and after a text '' becomes nothing in the teacher "
        "and '</s>' (1) in the student"
    )


def test_other_scores_of_a_unigram_model() -> None:
    """A model without merges splits by the scores of its tokens."""
    words = [("<unk>", 0.0), ("</s>", 0.0), ("a", -1.0), ("b", -1.0), ("ab", -3.0)]

    def unigram(scores: list[tuple[str, float]]) -> PreTrainedTokenizerFast:
        return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram(scores, unk_id=0)), eos_token="</s>")

    assert same_tokenizer(unigram(words), unigram(words)) is None
    assert same_tokenizer(unigram(words), unigram([*words[:-1], ("ab", -1.5)])) == (
        "all tokens are the same, but the score of 'ab' is -3.0 in the teacher and -1.5 in the student"
    )


def test_other_limits_of_a_wordpiece_model() -> None:
    """Words that only one of them finds too long are read differently."""

    def wordpiece(longest: int) -> PreTrainedTokenizerFast:
        words = {"[UNK]": 0, "ab": 1, "##ab": 2}
        backend = Tokenizer(models.WordPiece(words, unk_token="[UNK]", max_input_chars_per_word=longest))
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
        return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")

    assert same_tokenizer(wordpiece(100), wordpiece(100)) is None
    assert "becomes '␣[UNK]' (0) in the teacher and '␣ab' 'ab'" in str(same_tokenizer(wordpiece(100), wordpiece(1000)))


def test_ids_with_a_hole(make: Make) -> None:
    """The size is the largest id + 1: fewer rows of a model would leave tokens out."""
    content = json.loads(make().backend_tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] += 20
    sparse = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)), eos_token="</s>")
    assert vocabulary_size(make()) == len(make()) == len(sparse)
    assert vocabulary_size(sparse) == len(sparse) + 20
    assert same_tokenizer(sparse, sparse) is None


def test_the_first_difference_is_named(make: Make) -> None:
    """A pair that does not fit says at which token."""
    teacher = make(specials=("<s>", "</s>", "<end>"))
    assert same_tokenizer(teacher, make(specials=("<s>", "</s>", "<pad>"))) == (
        "token 2 is '<end>' in the teacher and '<pad>' in the student"
    )
    longer = make()
    last = len(longer)
    longer.add_tokens(["\x1b[31m"])
    assert same_tokenizer(longer, make()) == (
        f"token {last:,} is '\\x1b[31m' in the teacher and does not exist in the student"
    )
    assert same_tokenizer(make(), longer) == (
        f"token {last:,} does not exist in the teacher and is '\\x1b[31m' in the student"
    )


def test_same_tokens_with_other_merges(make: Make) -> None:
    """The same vocabulary split by other rules is another tokenizer."""
    vocabulary = {"</s>": 0, "a": 1, "b": 2, "ab": 3, "ba": 4}
    rules = ([("a", "b"), ("b", "a")], [("b", "a"), ("a", "b")])
    first, second = (
        PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=merges)), eos_token="</s>"
        )
        for merges in rules
    )
    assert same_tokenizer(first, second) == (
        "all tokens are the same, but merge 0 is 'a b' in the teacher and 'b a' in the student"
    )


def test_begin_token(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """A begin token counts only if the tokenizer itself would add it."""
    assert begin_token(tokenizer) == []
    assert begin_token(make(adds_begin=True)) == [0]


def test_context_token(make: Make) -> None:
    """The begin token even if the tokenizer does not add it, else the end token; a tokenizer with neither is named."""
    silent = make(adds_begin=False)
    assert context_token(silent) == silent.bos_token_id
    silent.bos_token = None
    assert context_token(silent) == silent.eos_token_id
    silent.eos_token = None
    with pytest.raises(WinnowError, match=r"has no end token"):
        context_token(silent)


def test_a_tokenizer_without_a_fast_form() -> None:
    """What cannot be compared by content is refused by name."""
    slow = SimpleNamespace(name_or_path="old/model", bos_token_id=None, eos_token_id=1)
    with pytest.raises(WinnowError, match=r"The tokenizer old/model has no fast form"):
        tokenizer_hash(slow)  # type: ignore[arg-type]


def test_a_pair_that_does_not_fit_is_refused(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """What every run of two language models asks: the sentence names both, and the student's is used."""
    assert shared_tokenizer(make(), tokenizer, ("big", "small")) is tokenizer
    with pytest.raises(WinnowError, match=r"^big and small do not share a tokenizer: only the teacher puts a begin"):
        shared_tokenizer(make(adds_begin=True), tokenizer, ("big", "small"))
