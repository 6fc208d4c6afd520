"""What a tokenizer is, by its content: its hash, its begin and end token, and whether two are the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from engine.common.errors import WinnowError
from engine.common.hashing import digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def begin_token(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The begin token if the tokenizer has one and puts it before every text by default, else []."""
    begin = tokenizer.bos_token_id
    if begin is None:
        return []
    ids: list[int] = tokenizer("a")["input_ids"]
    return [begin] if ids[:1] == [begin] else []


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The end token. Raises WinnowError if there is none: no model could learn where a response ends."""
    end: int | None = tokenizer.eos_token_id
    if end is None:
        raise WinnowError(
            f"The tokenizer {tokenizer.name_or_path or 'of this pair'} has no end token; choose a pair that has one."
        )
    return end


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sixteen hex digits of everything that decides which ids a text becomes.

    Vocabulary, merges, added tokens, normalisation and splitting count, and the begin and end token; where the files
    are, how they were written, and the truncation or padding last asked for do not.
    """
    return digest({"backend": _backend(tokenizer), "begin": begin_token(tokenizer), "end": tokenizer.eos_token_id})


def same_tokenizer(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str | None:
    """None if both have the same tokens under the same ids and the same merges.

    Else the first difference as a clause: "token 5 is 'a' in the teacher and 'b' in the student".
    """
    ours, theirs = _tokens(teacher), _tokens(student)
    for token in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(token), theirs.get(token)
        if a != b:
            return f"token {token:,} {_difference(a, b)}"
    ours_rules, theirs_rules = _merges(teacher), _merges(student)
    for number in range(max(len(ours_rules), len(theirs_rules))):
        a, b = (rules[number] if number < len(rules) else None for rules in (ours_rules, theirs_rules))
        if a != b:
            return f"all tokens are the same, but merge {number:,} {_difference(a, b)}"
    return None


def _difference(a: str | None, b: str | None) -> str:
    if b is None:
        return f"is {a!r} in the teacher and does not exist in the student"
    if a is None:
        return f"does not exist in the teacher and is {b!r} in the student"
    return f"is {a!r} in the teacher and {b!r} in the student"


def _tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    return {token: text for text, token in tokenizer.get_vocab().items()}


def _merges(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return [" ".join(pair) for pair in _backend(tokenizer)["model"].get("merges", [])]


def _backend(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise WinnowError(
            f"The tokenizer {tokenizer.name_or_path} has no fast form (tokenizer.json); choose a model that has one."
        )
    content: dict[str, Any] = json.loads(backend.to_str())
    return {key: value for key, value in content.items() if key not in ("truncation", "padding")}
