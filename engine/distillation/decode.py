"""Reading vectors as tokens: the nearest rows of an embedding table, and how far away they are.

Similarities are such that high = near: the cosine, the dot product, or minus the L2 distance. A first pass over the
table, one tile at a time, ranks by one matrix product; the few rows it leaves are measured in float64, without the
cancellation of |v|² - 2 v·t + |t|², so that a row of the table lies at distance 0 from itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.common.choices import Similarity
from engine.common.errors import WinnowError

TILE = 1024  # rows of the table at a time
BLOCK = 1024  # vectors at a time
SPARE = 5  # rows beyond those asked for that the first pass leaves, for its roundings to do no harm
LOW = (1 << 32) - 1

_FILLERS = re.compile(r"\[unused\d+\]|madeupword\d+")  # rows without a word, of BERT and of fairseq (RoBERTa)
_UNREADABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}  # Unicode: control, format, unassigned, white space


def nearest_tokens(
    vectors: Tensor, table: Tensor, allowed: Tensor, similarity: Similarity, count: int = 5, tile: int = TILE
) -> tuple[Tensor, Tensor]:
    """Ids and similarities (float32) of the nearest rows, nearest first, both (…, count).

    `vectors` (…, d), `table` (V, d), `allowed` (V,) bool: the rows that may be named; if those are fewer than
    `count`, all of them are. Of equally similar rows the one with the lower id comes first. A vector or row of zeros
    has cosine 0 with everything. Raises WinnowError if the widths differ or no row is allowed.
    """
    _check(vectors, table, allowed)
    flat = vectors.detach().reshape(-1, vectors.shape[-1])
    places = allowed.nonzero()[:, 0]
    count = min(count, len(places))
    ids, values = [], []
    for start in range(0, len(flat), BLOCK):
        block = flat[start : start + BLOCK]
        near = _shortlist(block, table, places, similarity, min(count + SPARE, len(places)), tile)
        exact = _measure(block.double(), table.detach()[near].double(), similarity).float()
        keys = _keys(exact, near).topk(count).values
        ids.append(_ids(keys))
        values.append(_values(keys))
    shape = (*vectors.shape[:-1], count)
    if not ids:
        return places.new_empty(shape), table.new_empty(shape, dtype=torch.float32)
    return torch.cat(ids).view(shape), torch.cat(values).view(shape)


def embedding_penalty(vectors: Tensor, table: Tensor, allowed: Tensor) -> Tensor:
    """Mean over vectors (n, L, d) of the squared L2 distance to the nearest allowed row of `table` (V, d), a scalar.

    The nearest row is held fixed, so the gradient is 2 (v - row) / (n L): it goes through the vectors alone.
    Raises WinnowError if the widths differ or no row is allowed.
    """
    ids, _ = nearest_tokens(vectors, table, allowed, "l2", count=1)
    rows = table.detach()[ids[..., 0]].to(vectors.dtype)
    return (vectors - rows).square().sum(-1).mean()


def allowed_tokens(texts: Sequence[str], special: Collection[int], rows: int) -> Tensor:
    """Which of `rows` rows of an embedding table may be named, (rows,) bool.

    `texts` is what each token id decodes to, `special` the ids of special and added tokens. Left out are those, rows
    that stand for no word ([unused7], or beyond the last token), and tokens that show nothing: only white space,
    control characters, or the replacement character that stands for part of a letter.
    """
    allowed = torch.zeros(rows, dtype=torch.bool)
    for place, text in enumerate(texts[:rows]):
        allowed[place] = place not in special and not _FILLERS.fullmatch(text.strip()) and _shows(text)
    return allowed


def _shows(text: str) -> bool:
    return any(letter != "\ufffd" and unicodedata.category(letter) not in _UNREADABLE for letter in text)


def _check(vectors: Tensor, table: Tensor, allowed: Tensor) -> None:
    if vectors.shape[-1] != table.shape[-1]:
        raise WinnowError(
            f"The vectors have {vectors.shape[-1]:,} numbers and the rows of the embedding table {table.shape[-1]:,}; "
            "read them with the table of the model they were learned for."
        )
    if allowed.shape != table.shape[:1]:
        raise WinnowError(
            f"The embedding table has {len(table):,} rows, but {len(allowed):,} are marked as allowed or not; "
            "use the tokenizer that belongs to the model."
        )
    if not allowed.any():
        raise WinnowError(
            "No token of the embedding table may be named, all are special or show nothing; use another tokenizer."
        )


def _tiles(table: Tensor, places: Tensor, tile: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(places), tile):
        part = places[start : start + tile]
        yield part, table.detach()[part].float()


def _shortlist(vectors: Tensor, table: Tensor, places: Tensor, similarity: Similarity, count: int, tile: int) -> Tensor:
    """The ids (n, count) of the `count` most similar rows at `places` as far as float32 tells them apart."""
    vectors = vectors.float()
    best = places.new_empty(len(vectors), 0)
    for part, rows in _tiles(table, places, tile):
        if similarity == "cosine":
            rows = F.normalize(rows, dim=-1)  # the norm of a vector changes no order
        scores = vectors @ rows.T
        if similarity == "l2":
            scores -= rows.square().sum(-1) / 2  # -|v - t|² = 2 (v·t - |t|²/2) - |v|²
        keys = _keys(scores, part)
        best = torch.cat([best, keys.topk(min(count, len(part))).values], 1)
        best = best.topk(min(count, best.shape[1])).values
    return _ids(best)


def _measure(vectors: Tensor, rows: Tensor, similarity: Similarity) -> Tensor:
    """Similarities (n, m) of vectors (n, d) and the rows (n, m, d) beside each of them."""
    if similarity == "l2":
        distances: Tensor = (vectors[:, None] - rows).norm(dim=-1)
        return -distances
    if similarity == "cosine":
        vectors, rows = F.normalize(vectors, dim=-1), F.normalize(rows, dim=-1)
    return (vectors[:, None] * rows).sum(-1)


def _keys(values: Tensor, ids: Tensor) -> Tensor:
    """One whole number for a float32 and an id: larger for larger values and, among equal ones, for lower ids.

    The bits of a float32 are ordered as its value is, once all but the sign of negative ones are turned over.
    """
    bits = (values + 0.0).view(torch.int32)  # -0.0 + 0.0 is 0.0
    return ((bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32) | (LOW - ids)


def _ids(keys: Tensor) -> Tensor:
    return LOW - (keys & LOW)


def _values(keys: Tensor) -> Tensor:
    bits = (keys >> 32).int()
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)
