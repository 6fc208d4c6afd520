"""From rows to what the models read: prompt and response as token ids, cut to the context, split in two parts.

Prompt and response are tokenised apart and joined as ids. Tokenising the joined text and searching for the border
would put a merge across it in one token, and the border one token off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSample:
    """One prompt and response as the models read them: N positions, each predicting the token after it."""

    row: int  # position in the source
    tokens: NDArray[np.int32]  # (N + 1,): begin token if the tokenizer adds one, prompt, response, and the last label
    response_start: int  # first position whose label belongs to the response; N if none is left
    truncated: bool
    split: str = "train"  # or "valid"

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
        """Positions whose label belongs to the response, end token included."""
        return self.length - self.response_start


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
    and at least one is left for training. Raises WinnowError if fewer than two rows are left.
    """
    samples, texts = [], []
    dropped = Counter(rows.dropped)
    for row, sample in zip(rows.rows, encode_rows(rows.rows, template, tokenizer, max_length), strict=True):
        if sample.response_length:
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
    for number in _valid_samples(len(samples), valid_fraction, split_seed):
        samples[number] = replace(samples[number], split="valid")
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
        texts=texts,
        dropped=dict(dropped),
        truncated=sum(sample.truncated for sample in samples),
    )


def _valid_samples(n: int, fraction: float, seed: int) -> list[int]:
    count = min(max(round(fraction * n), 1), n - 1)
    return np.random.default_rng(seed).permutation(n)[:count].tolist()


def encode_rows(
    rows: Sequence[Row], template: str, tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> Iterator[EncodedSample]:
    """One sample per row, in order, tokenised in batches."""
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        prompts = [render(template, row["instruction"], row["input"]) for row in batch]
        numbers = [row["row"] for row in batch]
        yield from encode(prompts, [row["response"] for row in batch], tokenizer, max_length, numbers)


def encode(
    prompts: Sequence[str],
    responses: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    rows: Sequence[int] | None = None,
) -> list[EncodedSample]:
    """Tokenise prompts and responses and keep at most `max_length` positions of each pair (None: all).

    `rows` are their positions in the source (None: 0, 1, …). Text that spells a special token ("</s>") is read as
    text: no sample can end itself early. With an empty prompt and no begin token nothing predicts the first token of
    the response, and `response_start` is 0. Raises WinnowError if the tokenizer has no end token.
    """
    begin, end = begin_token(tokenizer), end_token(tokenizer)
    samples = []
    numbers = range(len(prompts)) if rows is None else rows
    for row, prompt, response in zip(numbers, _ids(tokenizer, prompts), _ids(tokenizer, responses), strict=True):
        head = begin + prompt
        whole = len(head) + len(response)
        length = whole if max_length is None else min(whole, max_length)
        tokens = np.array([*head, *response, end][: length + 1], dtype=np.int32)
        response_start = min(max(len(head) - 1, 0), length) if response else length
        samples.append(EncodedSample(row, tokens, response_start, length < whole))
    return samples


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
