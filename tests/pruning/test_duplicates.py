"""Repeated texts and states: against all pairs, in any script, in blocks and clusters."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.pruning import duplicates
from engine.pruning.duplicates import near_duplicates, similar_states

WORDS = ["the", "model", "reads", "every", "sample", "once", "and", "keeps", "what", "is", "still", "worth"]
WORDS += ["learning", "from", "a", "teacher", "that", "knows", "more", "than", "it", "tells"]


@cache
def grams(text: str) -> frozenset[str]:
    plain = " ".join(text.casefold().split())
    return frozenset(plain[i : i + 5] for i in range(max(1, len(plain) - 4)))


def jaccard(one: str, other: str) -> float:
    return len(grams(one) & grams(other)) / len(grams(one) | grams(other))


def left_out_by_all_pairs(texts: list[str], similarity: float) -> list[bool]:
    """The definition: one text after the other, compared with those that stay."""
    stay: list[str] = []
    left_out = []
    for text in texts:
        left_out.append(any(jaccard(text, other) >= similarity for other in stay))
        if not left_out[-1]:
            stay.append(text)
    return left_out


def variants(count: int, seed: int) -> list[str]:
    """Sentences, some of them others with a few words changed, so that every similarity occurs."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, 40)) for _ in range(count // 4)]
    while len(texts) < count:
        words = texts[rng.integers(count // 4)].split()
        for place in rng.choice(40, rng.integers(0, 12), replace=False):
            words[place] = str(rng.choice(WORDS))
        texts.append(" ".join(words))
    return [texts[i] for i in rng.permutation(count)]


def test_a_text_that_is_nearly_an_earlier_one_is_left_out() -> None:
    """Case and white space do not count; the first stays; another text of the same words does too."""
    texts = ["Name the capital of France.", "name  the capital\nof FRANCE.", "The capital of France: name it."]
    assert near_duplicates(texts, 0.9, 0).tolist() == [False, True, False]
    assert near_duplicates(texts[::-1], 0.9, 0).tolist() == [False, False, True]


def test_the_decision_is_the_exact_similarity() -> None:
    """8 and 10 different 5-grams, 8 of them common: 0.8, and not a bit more."""
    texts = ["abcdefghijkl", "abcdefghijklmn"]
    assert jaccard(*texts) == 0.8
    assert near_duplicates(texts, 0.8, 0).tolist() == [False, True]
    assert near_duplicates(texts, 0.801, 0).tolist() == [False, False]


@pytest.mark.parametrize("similarity", [0.3, 0.6, 0.8, 0.95, 1.0])
def test_nothing_is_left_out_that_has_no_like(similarity: float) -> None:
    """What is left out is at least this similar to a text that stays; few pairs are missed."""
    texts = variants(200, 1)
    left_out = near_duplicates(texts, similarity, 0)
    stay = [text for text, out in zip(texts, left_out, strict=True) if not out]
    for i in np.flatnonzero(left_out):
        assert any(jaccard(texts[i], texts[j]) >= similarity for j in np.flatnonzero(~left_out) if j < i)
    missed = sum(jaccard(a, b) >= similarity for k, a in enumerate(stay) for b in stay[:k])
    assert missed <= 2
    assert 0 < left_out.sum() < 200
    assert abs(left_out.sum() - sum(left_out_by_all_pairs(texts, similarity))) <= 2


def test_the_seed_decides_and_nothing_else() -> None:
    texts = variants(100, 2)
    np.random.seed(1)  # somebody else's random numbers play no part
    first = near_duplicates(texts, 0.7, 3)
    np.random.seed(2)
    assert (first == near_duplicates(texts, 0.7, 3)).all()


@given(st.lists(st.text(max_size=12), max_size=8), st.data())
def test_a_repeated_text_is_left_out_whatever_it_is(texts: list[str], data: st.DataObject) -> None:
    """Empty, of one character, of any script; and only repeated ones are at a similarity of 1."""
    texts = texts + data.draw(st.lists(st.sampled_from(texts), max_size=4)) if texts else texts
    assert near_duplicates(texts, 1.0, 0).tolist() == left_out_by_all_pairs(texts, 1.0)


def test_scripts_without_spaces_and_single_surrogates_are_compared() -> None:
    """Words would make one shingle of each of the first two."""
    chinese = "请用一句话说明什么是知识蒸馏以及它为什么有用，并且举一个简单的例子来说明"
    texts = [
        chinese,
        chinese + "。",
        "请写一首关于春天的诗，要求语言优美，情感真挚，不少于二十行",
        "\ud800 broken",
        "\ud800 broken",
    ]
    assert near_duplicates(texts, 0.8, 0).tolist() == [False, True, False, False, True]


def test_an_alphabet_beyond_sixty_four_bits_is_still_told_apart() -> None:
    """Ten thousand different characters: 5-grams are hashed, and texts that share none stay."""
    characters = [chr(0x4E00 + i) for i in range(10_000)]
    texts = ["".join(characters[i : i + 100]) for i in range(0, 10_000, 100)]
    assert near_duplicates([*texts, texts[5] + "x", *texts], 0.9, 0).tolist() == [False] * 100 + [True] * 101


@pytest.mark.parametrize("similarity", [0.04, 0.2, 0.5, 0.8, 0.9, 0.99, 1.0])
def test_bands_propose_texts_that_are_exactly_as_similar(similarity: float) -> None:
    """With the probability that is promised, from MinHashes that there are."""
    bands, rows = duplicates._bands(similarity)
    assert bands >= 2
    assert bands * rows <= duplicates.PERMUTATIONS
    assert 1 - (1 - similarity**rows) ** bands >= 0.98


@pytest.mark.parametrize("similarity", [0.0, -0.5, 1.01, np.nan])
def test_a_similarity_that_is_none_is_refused(similarity: float) -> None:
    for call in (
        lambda: near_duplicates(["a"], similarity, 0),
        lambda: similar_states(np.ones((2, 2)), similarity),
    ):
        with pytest.raises(ValueError, match=r"not above 0 and at most 1"):
            call()


def cosines(states: np.ndarray) -> np.ndarray:
    units = states.astype(np.float64) / np.linalg.norm(states.astype(np.float64), axis=1, keepdims=True)
    return units @ units.T


def crowd(n: int, seed: int = 0) -> np.ndarray:
    """Directions, most of which have others near them, of different lengths."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n // 5, 6))
    states = centres[rng.integers(n // 5, size=n)] + rng.normal(size=(n, 6)) * 0.2
    return (states * rng.uniform(0.5, 3, (n, 1))).astype(np.float32)


def greedy(states: np.ndarray, similarity: float) -> list[int]:
    """The definition: from the one least like the mean direction on, what is like one that stays is left out."""
    alike = cosines(states)
    units = states.astype(np.float64) / np.linalg.norm(states.astype(np.float64), axis=1, keepdims=True)
    stay: list[int] = []
    for i in np.argsort(units @ units.mean(0), kind="stable"):
        if not any(alike[i, j] >= similarity for j in stay):
            stay.append(int(i))
    return sorted(set(range(len(states))) - set(stay))


@pytest.mark.parametrize("block", [3, 64, 2048])
@pytest.mark.parametrize("similarity", [0.5, 0.9, 0.99])
def test_similar_states_are_those_of_all_pairs(block: int, similarity: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of the blocks."""
    monkeypatch.setattr(duplicates, "BLOCK", block)
    states = crowd(150)
    found = np.flatnonzero(similar_states(states, similarity)).tolist()
    assert found == greedy(states, similarity)
    assert found


def test_of_two_alike_the_one_far_from_the_centre_stays() -> None:
    """Angles 0 (four times), 60 and 70 degrees: 60 and 70 are alike, and 70 is farther from the mean."""
    angles = np.deg2rad([60, 0, 0.1, 0.2, 0.3, 70])
    left_out = similar_states(np.stack([np.cos(angles), np.sin(angles)], axis=1), np.cos(np.deg2rad(15)))
    assert left_out[0]
    assert not left_out[5]
    assert left_out[1:5].sum() == 3


def test_length_does_not_count_and_direction_does() -> None:
    assert similar_states(np.array([[1.0, 2.0], [10.0, 20.0], [-1.0, -2.0]]), 0.999).sum() == 1


def test_of_equal_states_the_first_row_stays() -> None:
    """Also at a similarity of 1, which rounding would miss."""
    states = np.tile(np.random.default_rng(0).normal(size=(3, 64)), (4, 1)).astype(np.float32)
    assert similar_states(states, 1.0).tolist() == [False] * 3 + [True] * 9


def test_states_that_cannot_be_compared_stay() -> None:
    states = np.ones((8, 3))
    states[[0, 4]], states[2], states[5, 1] = np.nan, 0.0, np.inf
    assert np.flatnonzero(similar_states(states, 0.9)).tolist() == [3, 6, 7]
    assert not similar_states(np.full((3, 2), np.nan), 0.5).any()


def test_within_clusters_no_two_alike_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many samples, pairs are looked for in clusters: what lies in one place is in one cluster."""
    monkeypatch.setattr(duplicates, "EXACT", 100)
    monkeypatch.setattr(duplicates, "CLUSTER", 50)
    places = np.eye(4)[np.arange(200) % 4] + np.random.default_rng(0).normal(size=(200, 4)) * 0.001
    left_out = similar_states(places, 0.99)
    assert left_out.sum() == 196
    assert sorted(np.flatnonzero(~left_out) % 4) == [0, 1, 2, 3]
    assert (left_out == similar_states(places, 0.99)).all()
