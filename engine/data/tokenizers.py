"""What a tokenizer is, by its content: its hash, its size, its begin and end token, and whether two are the same."""

from __future__ import annotations

import json
import math
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.data.tokenizer_probes import other_reading

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def begin_token(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The begin token if the tokenizer has one and puts it before every text by default, else []."""
    begin = tokenizer.bos_token_id
    if begin is None:
        return []
    ids: list[int] = tokenizer("a")["input_ids"]
    return [begin] if ids[:1] == [begin] else []


def context_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """What stands before a text that is read without a prompt, so that its first token is predicted as well.

    The begin token, also if the tokenizer does not put it there; else the end token, which separates the texts that
    most models are trained on. Raises WinnowError if there is neither.
    """
    begin: int | None = tokenizer.bos_token_id
    return end_token(tokenizer) if begin is None else begin


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The end token. Raises WinnowError if there is none: no model could learn where a response ends."""
    end: int | None = tokenizer.eos_token_id
    if end is None:
        raise WinnowError(
            f"The tokenizer {tokenizer.name_or_path or 'of this pair'} has no end token; choose a pair that has one."
        )
    return end


def vocabulary_size(tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest id + 1: rows that a model needs. Ids may have holes, so `len(tokenizer)` can be less."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sixteen hex digits of everything that decides which ids a text becomes.

    Vocabulary, merges, added tokens, normalisation and splitting count, and the begin and end token; where the files
    are, how they were written, and the truncation or padding last asked for do not.
    """
    content: dict[str, Any] = json.loads(_backend(tokenizer).to_str())
    backend = {key: value for key, value in content.items() if key not in ("truncation", "padding")}
    return digest({"backend": backend, "begin": begin_token(tokenizer), "end": tokenizer.eos_token_id})


def shared_tokenizer(
    teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase, names: tuple[str, str]
) -> PreTrainedTokenizerBase:
    """The tokenizer that both models read with: the student's, with the teacher's chat template if it has none.

    Raises WinnowError naming both and the first difference if they do not read texts alike.
    """
    if difference := same_tokenizer(teacher, student):
        raise WinnowError(
            f"{names[0]} and {names[1]} do not share a tokenizer: {difference}; choose a pair of one family."
        )
    return with_chat_template(student, teacher)


def with_chat_template(student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The student's tokenizer, with the teacher's chat template if it has none."""
    if not student.chat_template:
        student.chat_template = teacher.chat_template
    return student


def same_tokenizer(
    teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase, *, ends: bool = True
) -> str | None:
    """None if both have the same tokens under the same ids and the same rules, and read a set of odd texts alike.

    Else the first difference as a clause: "token 5 is 'a' in the teacher and 'b' in the student". What counts is what
    they do: files that are written differently may be the same tokenizer. The end token is compared if `ends`; chat
    templates are not, because the student's is used for both.
    """
    return (
        _other_tokens(teacher, student)
        or _other_rules(teacher, student)
        or _other_begin(teacher, student)
        or (_other_end(teacher, student) if ends else None)
        or other_reading(teacher, student)
    )


def _other_tokens(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str | None:
    ours, theirs = teacher.get_vocab(), student.get_vocab()
    if ours == theirs:
        return None
    first, second = ({token: text for text, token in vocabulary.items()} for vocabulary in (ours, theirs))
    token = min(token for token in first.keys() | second.keys() if first.get(token) != second.get(token))
    return f"token {token:,} {_difference(first.get(token), second.get(token))}"


def _other_rules(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str | None:
    """The first merge (BPE) or score of a token (Unigram) that differs."""
    ours, theirs = (_backend(tokenizer).model.__getstate__() for tokenizer in (teacher, student))
    if ours == theirs:
        return None
    first, second = json.loads(ours), json.loads(theirs)
    merges = [[" ".join(pair) for pair in model.get("merges", [])] for model in (first, second)]
    for number, (a, b) in enumerate(zip_longest(*merges)):
        if a != b:
            return f"all tokens are the same, but merge {number:,} {_difference(a, b)}"
    if first["type"] == second["type"] == "Unigram":
        for (token, a), (_, b) in zip(first["vocab"], second["vocab"], strict=False):
            if not math.isclose(a, b, rel_tol=1e-6):
                return f"all tokens are the same, but the score of {token!r} {_difference(a, b)}"
    return None


def _other_begin(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str | None:
    ours, theirs = begin_token(teacher), begin_token(student)
    if ours == theirs:
        return None
    who = "both put a begin token before a text, but not the same" if ours and theirs else None
    one, other = ("teacher", "student") if ours else ("student", "teacher")
    begin = teacher.convert_ids_to_tokens(ours or theirs)[0]
    return (
        f"{who or f'only the {one} puts a begin token before a text ({begin!r})'}, so one of them would read texts "
        f"that begin as in none of its training; if both were trained alike, save the tokenizer of the {one} into the "
        f"folder of the {other}, or the other way round"
    )


def _other_end(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str | None:
    ours, theirs = teacher.eos_token_id, student.eos_token_id
    if ours == theirs or None in (ours, theirs):
        return None
    return (
        f"the end token {_difference(teacher.eos_token, student.eos_token)}, so they would not agree where a response "
        "ends; give eos_token in their tokenizer_config.json the same value"
    )


def _difference(a: object, b: object) -> str:
    if b is None:
        return f"is {a!r} in the teacher and does not exist in the student"
    if a is None:
        return f"does not exist in the teacher and is {b!r} in the student"
    return f"is {a!r} in the teacher and {b!r} in the student"


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise WinnowError(
            f"The tokenizer {tokenizer.name_or_path} has no fast form (tokenizer.json); choose a model that has one."
        )
    return backend
