"""From rows to what the models read: prompt and response as token ids, cut to the context, split in two parts.

Prompt and response are tokenised apart and joined as ids. Tokenising the joined text and searching for the border
would put a merge across it in one token, and the border one token off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.data.sources import Row, Rows
from engine.data.templates import render, template_hash
from engine.data.tokenizers import begin_token, end_token, tokenizer_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOO_LONG = "longer than the context: no response left"
NO_TOKENS = "a response without tokens"
BATCH_ROWS = 1024

Tokens = np.ndarray[tuple[int], np.dtype[np.int32]]


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One prompt and response as the models read them: N positions, each predicting the token after it."""

    input_ids: Tokens  # (N,): begin token if the tokenizer adds one, prompt, response; without the end token
    labels: Tokens  # (N,): the token after each; the last is the end token, or the next one where the text was cut
    response_start: int  # first position whose label belongs to the response; N where none is left
    truncated: bool

    @property
    def length(self) -> int:
        return len(self.input_ids)

    @property
    def response_length(self) -> int:
        """Positions whose label belongs to the response, end token included."""
        return self.length - self.response_start


@dataclass(frozen=True, slots=True, eq=False)
class TokenSample:
    """One kept row; the arrays are those of `Encoding`."""

    row: int  # position in the source
    input_ids: Tokens
    labels: Tokens
    response_start: int
    split: str  # "train" or "valid"
    length: int
    response_length: int
    truncated: bool


@dataclass(frozen=True)
class Prepared:
    """Every kept row in the order of the source, as tokens (`samples`) and as text (`texts`)."""

    dataset: str  # changes with the rows, the template, the tokenizer, the context or the split
    samples: list[TokenSample]
    texts: list[Row]
    dropped: dict[str, int]  # every row that was read and is not here, by reason
    truncated: int  # kept rows that were cut to the context

    def sample_columns(self) -> dict[str, Any]:
        """The columns of the samples table, one value per kept row."""
        samples, texts = self.samples, self.texts
        return {
            "dataset": pa.repeat(self.dataset, len(samples)),
            "row": [sample.row for sample in samples],
            "content_id": [content_id(text["instruction"], text["input"], text["response"]) for text in texts],
            "split": [sample.split for sample in samples],
            "instruction": [text["instruction"] for text in texts],
            "input": [text["input"] for text in texts],
            "response": [text["response"] for text in texts],
            "fields": [list(text["fields"].items()) for text in texts],
            "length": [sample.length for sample in samples],
            "response_length": [sample.response_length for sample in samples],
            "truncated": [sample.truncated for sample in samples],
            "image": pa.nulls(len(samples)),
            "label": pa.nulls(len(samples)),
        }


def content_id(instruction: str, input: str, response: str) -> str:
    """Sixteen hex digits of the text alone: the same sample has the same id in every file and order."""
    return digest([instruction, input, response])


def prepare(
    rows: Rows,
    template: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    valid_fraction: float,
    split_seed: int,
) -> Prepared:
    """Tokenise every row, drop those without a response token inside `max_length` positions, and split the rest.

    round(valid_fraction · n) of the n kept rows, drawn at random by `split_seed`, are for validation; at least one,
    and at least one is left for training. Raises WinnowError where fewer than two rows are left.
    """
    kept: list[tuple[Row, Encoding]] = []
    dropped = Counter(rows.dropped)
    for row, encoding in zip(rows.rows, encode_rows(rows.rows, template, tokenizer, max_length), strict=True):
        if encoding.response_length:
            kept.append((row, encoding))
        else:
            dropped[TOO_LONG if encoding.truncated else NO_TOKENS] += 1
    if len(kept) < 2:
        why = ", ".join(f"{count:,} dropped: {cause}" for cause, count in dropped.items())
        raise WinnowError(
            f"Training and validation need at least two samples, and {len(kept)} of {rows.read:,} rows is left"
            f"{f' ({why})' if why else ''}; give more rows, or raise models.max_length (now {max_length:,} tokens)."
        )
    valid = _valid_rows(len(kept), valid_fraction, split_seed)
    samples = [
        TokenSample(
            row=row["row"],
            input_ids=encoding.input_ids,
            labels=encoding.labels,
            response_start=encoding.response_start,
            split="valid" if is_valid else "train",
            length=encoding.length,
            response_length=encoding.response_length,
            truncated=encoding.truncated,
        )
        for (row, encoding), is_valid in zip(kept, valid.tolist(), strict=True)
    ]
    dataset = digest(
        {
            "rows": rows.fingerprint,
            "template": template_hash(template),
            "tokenizer": tokenizer_hash(tokenizer),
            "max_length": max_length,
            "valid_fraction": valid_fraction,
            "split_seed": split_seed,
        }
    )
    return Prepared(
        dataset=dataset,
        samples=samples,
        texts=[row for row, _ in kept],
        dropped=dict(dropped),
        truncated=sum(sample.truncated for sample in samples),
    )


def _valid_rows(n: int, fraction: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    count = min(max(round(fraction * n), 1), n - 1)
    valid = np.zeros(n, dtype=np.bool_)
    valid[np.random.default_rng(seed).permutation(n)[:count]] = True
    return valid


def encode_rows(
    rows: Sequence[Row], template: str, tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> Iterator[Encoding]:
    """One encoding per row, in order, tokenised in batches."""
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        prompts = [render(template, row["instruction"], row["input"]) for row in batch]
        yield from encode(prompts, [row["response"] for row in batch], tokenizer, max_length)


def encode(
    prompts: Sequence[str], responses: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> list[Encoding]:
    """Tokenise prompts and responses and keep at most `max_length` positions of each pair (None: all).

    Text that spells a special token ("</s>") is read as text: no sample can end itself early.
    With an empty prompt and no begin token nothing predicts the first token of the response, and `response_start`
    is 0. Raises WinnowError where the tokenizer has no end token.
    """
    begin, end = begin_token(tokenizer), end_token(tokenizer)
    encodings = []
    for prompt, response in zip(_ids(tokenizer, prompts), _ids(tokenizer, responses), strict=True):
        head = begin + prompt
        whole = len(head) + len(response)
        length = whole if max_length is None else min(whole, max_length)
        tokens = np.array([*head, *response, end][: length + 1], dtype=np.int32)
        encodings.append(
            Encoding(
                input_ids=tokens[:-1],
                labels=tokens[1:],
                response_start=min(max(len(head) - 1, 0), length) if response else length,
                truncated=length < whole,
            )
        )
    return encodings


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids
