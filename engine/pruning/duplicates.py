"""Samples that repeat another one: in their text, or in the teacher's states.

Both functions return (n,) booleans, true for what is left out because a sample that stays is at least `similarity` like
it. Samples are looked at one after the other and compared with those that stay, so each one left out has its like.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from engine.common.random_streams import Stream, stream_rng

LeftOut = NDArray[np.bool_]

SHINGLE = 5  # characters
PERMUTATIONS = 128
FOUND = 0.98  # probability with which LSH proposes two texts that are exactly as similar as asked

EXACT = 50_000  # samples up to which all pairs of states are compared
CLUSTER = 10_000  # samples of a cluster, on average; Abbas et al. 2023 have 440 million in 50,000
BLOCK = 2048
ROUNDING = 1e-9  # of a cosine in float64: equal states have a likeness of 1


def near_duplicates(texts: Sequence[str], similarity: float, seed: int) -> LeftOut:
    """Which of the n texts are near-duplicates of an earlier one that stays: Jaccard similarity at least `similarity`.

    Broder 1997, "On the Resemblance and Containment of Documents". Compared are the sets of 5-grams of characters,
    after case folding and with single spaces: other than words they exist in scripts without spaces, and a text of one
    word has several. A text shorter than 5 characters is one shingle.

    Locality-sensitive hashing of 128 MinHashes by `seed` proposes pairs, so a few may be missed: two texts of exactly
    this similarity with a probability of at most 2 % (from 0.04 on), more similar ones with a smaller one. What is
    proposed is decided by the sets themselves, so nothing else is left out. (If the texts have more than 7,130
    different characters, 64-bit hashes of the 5-grams are compared.) Memory: about 8 bytes a character, 10 kB a text.

    Raises ValueError if the similarity is not in (0, 1].
    """
    _require_similarity(similarity)
    shingles = list(_shingles(texts))
    minhashes = MinHash.generator(
        (each.tolist() for each in shingles),
        num_perm=PERMUTATIONS,
        seed=int(stream_rng(Stream.MINHASH, seed).integers(2**32)),
        hashfunc=int,
        scheme="affine64",
    )
    index = MinHashLSH(num_perm=PERMUTATIONS, params=_bands(similarity))
    left_out = np.zeros(len(texts), np.bool_)
    for row, minhash in enumerate(minhashes):
        if any(_jaccard(shingles[row], shingles[other]) >= similarity for other in index.query(minhash)):
            left_out[row] = True
        else:
            index.insert(row, minhash)
    return left_out


def similar_states(states: NDArray[np.floating], similarity: float) -> LeftOut:
    """Which of the states (n, d) have a cosine of at least `similarity` with one that stays.

    Abbas et al. 2023, "SemDeDup: Data-efficient Learning at Web-scale through Semantic Deduplication". As in the paper,
    of similar states the one least like the centre stays, and pairs are looked for within k-means clusters, but only
    above 50,000 samples; below, all are one cluster, whose centre is their mean. The paper leaves out what is similar
    to any sample farther from the centre, also if that one is left out itself; here, only what is similar to one that
    stays. Of equal states the first row stays. States that are zero or not finite have no cosine, and stay.

    Memory: the states in float64 and two blocks of 2,048 x 2,048 numbers. Raises ValueError if the similarity is not in
    (0, 1].
    """
    _require_similarity(similarity)
    lengths = np.linalg.norm(states.astype(np.float64), axis=1)
    rows = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    units = states[rows] / lengths[rows, None]
    left_out = np.zeros(len(states), np.bool_)
    for members in _clusters(units):
        # Rounded, so that equal states stay in the order of their rows.
        likeness = (units[members] @ units[members].mean(0)).round(9)
        order = members[np.argsort(likeness, kind="stable")]
        left_out[rows[order]] = _repeated(units[order], similarity - ROUNDING)
    return left_out


def _shingles(texts: Sequence[str]) -> Iterator[NDArray[np.uint64]]:
    """The set of 5-grams of each text, sorted; a 5-gram is the number whose digits are its characters."""
    plain = [" ".join(text.casefold().split()) for text in texts]
    alphabet = _points("".join(sorted(set().union(*plain))))
    base = np.uint64(len(alphabet) + 2 | 1)  # digit 0 fills up short texts; odd, so that no digit is lost modulo 2^64
    for text in plain:
        digits = np.zeros(max(len(text), SHINGLE), np.uint64)
        digits[: len(text)] = np.searchsorted(alphabet, _points(text)) + 1
        codes = np.zeros(len(digits) - SHINGLE + 1, np.uint64)
        for i in range(SHINGLE):
            codes = codes * base + digits[i : i + len(codes)]
        yield np.unique(codes)


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def _bands(similarity: float) -> tuple[int, int]:
    """Bands and MinHashes of each: the most MinHashes with which texts of this similarity are still proposed.

    Two texts are proposed if all r MinHashes of one of b bands are equal: probability 1 - (1 - s^r)^b.
    """
    for rows in range(PERMUTATIONS // 2, 1, -1):
        bands = PERMUTATIONS // rows
        if 1 - (1 - similarity**rows) ** bands >= FOUND:
            return bands, rows
    return PERMUTATIONS, 1


def _clusters(units: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
    """Rows within which pairs are looked for."""
    labels = np.zeros(len(units), np.int32)
    if len(units) > EXACT:
        labels = KMeans(-(-len(units) // CLUSTER), random_state=0).fit_predict(units)
    for label in np.unique(labels):
        yield np.flatnonzero(labels == label)


def _repeated(units: NDArray[np.float64], least: float) -> LeftOut:
    """(n,) which rows have a cosine of at least `least` with an earlier one of which that is not true."""
    repeated = np.zeros(len(units), np.bool_)
    for start in range(0, len(units), BLOCK):
        block, now = units[start : start + BLOCK], repeated[start : start + BLOCK]
        for before in range(0, start, BLOCK):
            earlier = units[before : before + BLOCK][~repeated[before : before + BLOCK]]
            now |= (block @ earlier.T >= least).any(1)
        similar = block @ block.T >= least
        for i in range(len(block)):
            if not now[i]:
                now[i + 1 :] |= similar[i, i + 1 :]
    return repeated


def _require_similarity(similarity: float) -> None:
    if not 0 < similarity <= 1:
        raise ValueError(f"the similarity is {similarity}, not above 0 and at most 1")
