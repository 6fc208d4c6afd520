"""The texts of a pool of rows, and their tokens as a classifier reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.data.columns import conversation
from engine.data.labelled.sources import Pool
from engine.data.sources import clean_text, column_text, is_objects
from engine.data.turns import transcript

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Tokens:
    """n texts, each cut to the longest length allowed, and padded to the longest that is left."""

    ids: NDArray[np.int64]  # (n, L)
    mask: NDArray[np.int64]  # (n, L): 1 where there is a token of the text, 0 where there is padding
    lengths: NDArray[np.int32]  # (n,): tokens, special tokens around the text included
    truncated: NDArray[np.bool_]  # (n,): the text was longer


def read_texts(pool: Pool, column: str) -> tuple[list[str], list[int]]:
    """Every text that is not blank, and the positions of their rows in the pool. A conversation is read as its turns.

    Raises WinnowError if a value is bytes that are not text, or objects that are no turns.
    """
    texts, kept = [], []
    for row, record in enumerate(pool.rows):
        turns = conversation(column, record.get(column))
        if not turns and is_objects(record.get(column)):
            raise WinnowError(
                f"{pool.place(row)} has objects in column {printable(column)} that are no turns of a conversation in "
                "text; leave the row out, or choose another column."
            )
        text = transcript(turns) if turns else column_text(record, column, *pool.source_of(row))
        if text is not None and text.strip():
            texts.append(clean_text(text))
            kept.append(row)
    return texts, kept


def tokenise(
    texts: Sequence[str], places: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Tokens:
    """Tokens of each text with the special tokens around it, at most `max_length`; padding is on the right.

    Text that spells a special token ("[SEP]") is read as text. Raises WinnowError if a text has no tokens;
    `places[i]` is how the sentence about text i begins.
    """
    rows: list[list[int]] = []
    truncated: list[bool] = []
    for start in range(0, len(texts), BATCH_ROWS):
        encoded = tokenizer(
            list(texts[start : start + BATCH_ROWS]),
            split_special_tokens=True,
            truncation=True,
            max_length=max_length,
            verbose=False,
        )
        rows += encoded["input_ids"]
        truncated += [bool(encoding.overflowing) for encoding in encoded.encodings]
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    if not lengths.all():
        raise WinnowError(f"{places[int(lengths.argmin())]} has a text without tokens; leave the row out.")
    padding = next(
        (token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id) if token is not None),
        0,  # any token will do: the mask hides it
    )
    ids = np.full((len(rows), int(lengths.max(initial=0))), padding, dtype=np.int64)
    mask = np.arange(ids.shape[1]) < lengths[:, None]
    ids[mask] = [token for row in rows for token in row]
    return Tokens(ids, mask.astype(np.int64), lengths, np.array(truncated, dtype=np.bool_))
