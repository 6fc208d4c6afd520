"""From rows to what the models read: prompt and response as token ids, cut to the context, split in two parts.

Prompt and response are tokenised apart and joined as ids. Tokenising the joined text and searching for the border
would put a merge across it in one token, and the border one token off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.common.text import printable
from engine.data.chat import Encoded, encode_chats, token_ids
from engine.data.sources import Row, Rows
from engine.data.templates import Piece, Template, chat_turns, pieces, template_hash
from engine.data.tokenizers import begin_token, end_token, tokenizer_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOO_LONG = "longer than the context: no response left"
NO_TOKENS = "a response without tokens"
BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSample:
    """One prompt and response as the models read them: N positions, each predicting the token after it."""

    row: int  # position in the source
    tokens: NDArray[np.int32]  # (N + 1,): begin token if the tokenizer adds one, prompt, response, and the last label
    response: NDArray[np.bool_]  # (N,): whether the label of a position belongs to a response
    truncated: bool
    split: str = "train"  # or "valid"
    turns: tuple[tuple[str, int], ...] = ()  # of a conversation: each turn's speaker and its first token

    @property
    def input_ids(self) -> NDArray[np.int32]:
        """(N,): without the end token."""
        return self.tokens[:-1]

    @property
    def labels(self) -> NDArray[np.int32]:
        """(N,): the token after each; the last is the end token, or the next one if the text was cut."""
        return self.tokens[1:]

    @property
    def length(self) -> int:
        return len(self.tokens) - 1

    @property
    def response_length(self) -> int:
        """Positions whose label belongs to a response, end tokens included."""
        return int(self.response.sum())


@dataclass(frozen=True)
class Prepared:
    """Every kept row in the order of the source, as tokens (`samples`) and as text (`texts`)."""

    dataset: str  # changes with the rows, the template, the tokenizer, the context or the split
    samples: list[EncodedSample]
    texts: list[Row]
    dropped: dict[str, int]  # every row that was read and is not here, by reason
    truncated: int  # kept rows that were cut to the context

    def sample_columns(self) -> dict[str, Any]:
        """The columns of the samples table, one value per kept row."""
        samples, texts = self.samples, self.texts
        return {
            "dataset": pa.repeat(self.dataset, len(samples)),
            "row": [sample.row for sample in samples],
            "content_id": [
                content_id(text["instruction"], text["input"], text["response"], text["system"]) for text in texts
            ],
            "split": [sample.split for sample in samples],
            "instruction": [text["instruction"] for text in texts],
            "input": [text["input"] for text in texts],
            "response": [text["response"] for text in texts],
            "system": [text["system"] for text in texts],
            "turns": [[turn._asdict() for turn in text["turns"]] or None for text in texts],
            "fields": [list(text["fields"].items()) for text in texts],
            "length": [sample.length for sample in samples],
            "response_length": [sample.response_length for sample in samples],
            "truncated": [sample.truncated for sample in samples],
            "image": pa.nulls(len(samples)),
            "label": pa.nulls(len(samples)),
        }


def content_id(instruction: str, input: str, response: str, system: str = "") -> str:
    """Sixteen hex digits of the text alone: the same sample has the same id in every file and order."""
    return digest([instruction, input, response, system] if system else [instruction, input, response])


def prepare(
    rows: Rows,
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    valid_fraction: float,
    split_seed: int,
    valid_only: Mapping[str, str] | None = None,
) -> Prepared:
    """Tokenise every row, drop those without a response token inside `max_length` positions, and split the rest.

    round(valid_fraction · n) of the n kept rows, drawn at random by `split_seed`, are for validation; at least one,
    and at least one is left for training. `valid_only` names values of fields: only rows that have them all are held
    out. Raises WinnowError if fewer than two rows are left, or too few have these values.
    """
    samples, texts = [], []
    dropped = Counter(rows.dropped)
    for row, sample in zip(rows.rows, encode_rows(rows.rows, template, tokenizer, max_length), strict=True):
        if isinstance(sample, str):
            dropped[sample] += 1
        elif sample.response_length:
            samples.append(sample)
            texts.append(row)
        else:
            dropped[TOO_LONG if sample.truncated else NO_TOKENS] += 1
    if len(samples) < 2:
        why = ", ".join(f"{count:,} dropped: {cause}" for cause, count in dropped.items())
        raise WinnowError(
            f"Training and validation need at least two samples, and {len(samples)} of {rows.read:,} rows is left"
            f"{f' ({why})' if why else ''}; give more rows, or raise models.max_length (now {max_length:,} tokens)."
        )
    for number in _valid_samples(texts, valid_fraction, split_seed, valid_only or {}):
        samples[number] = replace(samples[number], split="valid")
    dataset = digest(
        {
            "rows": rows.fingerprint,
            "template": template_hash(template, tokenizer),
            "tokenizer": tokenizer_hash(tokenizer),
            "max_length": max_length,
            "valid_fraction": valid_fraction,
            "split_seed": split_seed,
        }
        | ({"valid_only": dict(valid_only)} if valid_only else {})
    )
    return Prepared(
        dataset=dataset,
        samples=samples,
        texts=texts,
        dropped=dict(dropped),
        truncated=sum(sample.truncated for sample in samples),
    )


def _valid_samples(texts: Sequence[Row], fraction: float, seed: int, only: Mapping[str, str]) -> list[int]:
    n = len(texts)
    count = min(max(round(fraction * n), 1), n - 1)
    order = np.random.default_rng(seed).permutation(n).tolist()
    able = [number for number in order if all(texts[number]["fields"].get(key) == only[key] for key in only)]
    if len(able) < count:
        asked = " and ".join(f"{printable(column)} = {printable(value)}" for column, value in only.items())
        raise WinnowError(
            f"{len(able):,} of {n:,} samples have {asked}, as data.valid_only wants, and data.valid_fraction = "
            f"{fraction:g} holds out {count:,}; lower valid_fraction, or check the columns of valid_only."
        )
    return able[:count]


def encode_rows(
    rows: Sequence[Row], template: Template, tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> Iterator[EncodedSample | str]:
    """One sample per row, in order, tokenised in batches: at most `max_length` positions of each (None: all).

    A row that the chat template cannot write is a sentence's end that says why. Raises WinnowError if the tokenizer
    has no end token.
    """
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        found: Sequence[Encoded | str]
        if template == "chat":
            found = encode_chats([chat_turns(row) for row in batch], tokenizer)
        else:
            found = encode_pieces([pieces(template, row) for row in batch], tokenizer)
        for row, encoded in zip(batch, found, strict=True):
            yield encoded if isinstance(encoded, str) else _cut(row["row"], encoded, max_length)


def readable(
    rows: Sequence[Row], template: Template, tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> list[EncodedSample]:
    """Those rows as samples that the template can write and that have a response inside `max_length`."""
    found = encode_rows(rows, template, tokenizer, max_length)
    return [sample for sample in found if not isinstance(sample, str) and sample.response_length]


def encode_pieces(samples: Sequence[Sequence[Piece]], tokenizer: PreTrainedTokenizerBase) -> list[Encoded]:
    """Tokenise every piece apart, and put the end token after every reply.

    Text that spells a special token ("</s>") is read as text: no sample can end itself early.
    """
    begin, end = begin_token(tokenizer), end_token(tokenizer)
    ids = iter(token_ids(tokenizer, [piece.text for sample in samples for piece in sample]))
    found = []
    for sample in samples:
        tokens, reply = list(begin), [False] * len(begin)
        turns: list[tuple[str, int]] = []
        for piece in sample:
            if piece.speaker and (not turns or turns[-1][0] != piece.speaker):
                turns.append((piece.speaker, len(tokens) if turns else 0))
            own = next(ids)
            tokens += own
            reply += [piece.reply] * len(own)
            if piece.reply:
                tokens.append(end)
                reply.append(bool(own))  # a reply without tokens is none
        found.append(Encoded(tokens, reply, tuple(turns)))
    return found


def _cut(row: int, encoded: Encoded, max_length: int | None) -> EncodedSample:
    """At most `max_length` positions of what was encoded. The first token is predicted by none."""
    whole = len(encoded.tokens) - 1
    length = whole if max_length is None else min(whole, max_length)
    turns = tuple((speaker, first) for speaker, first in encoded.turns if first < length)
    tokens = np.array(encoded.tokens[: length + 1], dtype=np.int32)
    return EncodedSample(
        row, tokens, np.array(encoded.reply[1 : length + 1], dtype=np.bool_), length < whole, turns=turns
    )
