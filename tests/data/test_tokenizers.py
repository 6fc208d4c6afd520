"""Whether two tokenizers are the same is a question of content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from engine.common.errors import WinnowError
from engine.data.tokenizers import begin_token, same_tokenizer, tokenizer_hash

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


def test_same_vocabulary(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """Two copies are the same; so is a pair of which only one puts a begin token before every text."""
    assert same_tokenizer(tokenizer, make()) is None
    assert same_tokenizer(tokenizer, make(adds_begin=True)) is None


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
    from tokenizers import Tokenizer, models

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


def test_a_tokenizer_without_a_fast_form() -> None:
    """What cannot be compared by content is refused by name."""
    slow = SimpleNamespace(name_or_path="old/model", bos_token_id=None, eos_token_id=1)
    with pytest.raises(WinnowError, match=r"The tokenizer old/model has no fast form"):
        tokenizer_hash(slow)  # type: ignore[arg-type]
