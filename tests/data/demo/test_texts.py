"""The demo's labelled texts: different sentences, written alike on every machine, neither trivial nor hopeless."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.common.paths import CHECKOUT
from engine.data.demo.texts import FEELINGS, FEWEST_WORDS, MOST_WORDS, OPINIONS, SCENES, TOPICS, Deck, feelings, topics
from engine.data.labelled.samples import read_labelled
from tests.data.conftest import make_tokenizer
from tests.fixtures.labelled_files import settings

SETS = {
    "demo-feelings": (feelings, OPINIONS, ["bad", "good"]),
    "demo-topics": (topics, SCENES, sorted(TOPICS.topics)),
}
HASHES = {"demo-feelings": "78c46cf4a6da1d7f", "demo-topics": "8f289ec26af77994"}  # of seed 0
COUNTED = {"demo-feelings": 0.974, "demo-topics": 0.951}  # accuracy of word counts and logistic regression, five folds
sets = pytest.mark.parametrize("name", SETS)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


@sets
@pytest.mark.parametrize("seed", [0, 1])
def test_no_sentence_twice_and_every_class_alike(name: str, seed: int) -> None:
    """A sentence in training and in testing would flatter every method; capitals and marks do not make another one."""
    write, each, classes = SETS[name]
    rows = write(seed)
    assert Counter(row["label"] for row in rows) == dict.fromkeys(classes, each)
    assert len({tuple(words(row["text"])) for row in rows}) == len(rows)
    lengths = [len(row["text"].split()) for row in rows]
    assert FEWEST_WORDS <= min(lengths) < 8
    assert 15 < max(lengths) <= MOST_WORDS


@sets
def test_sentences_are_sentences(name: str) -> None:
    """Nothing is left unfilled or cut: a capital first, a mark last, no word twice running."""
    for row in SETS[name][0]():
        text = row["text"]
        assert re.fullmatch(r"[A-Z][A-Za-z,;' -]*[.?]", text), text
        assert all(a != b for a, b in pairwise(words(text))), text


@sets
def test_the_same_on_every_machine(name: str) -> None:
    """Python's own hash differs between processes; the texts do not. Another seed gives others."""
    write = SETS[name][0]
    code = f"import json; from engine.data.demo.texts import {write.__name__} as f; print(json.dumps(f(3)))"
    printed = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == write(3)
    assert digest(write()) == HASHES[name]  # trained encoders are stored under the hash of the texts
    assert {row["text"] for row in write(3)} != {row["text"] for row in write(4)}


@sets
def test_counting_words_helps_and_does_not_suffice(name: str) -> None:
    """A set that all its words solve to the last text, or a text of each class solves, would show no difference."""
    rows = SETS[name][0]()
    texts, labels = np.array([row["text"] for row in rows]), np.array([row["label"] for row in rows])
    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    found = cross_val_score(model, texts, labels, cv=folds).mean()
    assert COUNTED[name] - 0.06 < found < min(COUNTED[name] + 0.06, 0.99)
    rng = np.random.default_rng(0)
    few = [[rng.choice(np.flatnonzero(labels == label)) for label in np.unique(labels)] for _ in range(20)]
    scores = [model.fit(texts[chosen], labels[chosen]).score(texts, labels) for chosen in few]
    chance = 1 / len(few[0])
    assert chance - 0.05 < float(np.mean(scores)) < chance + 0.1


def test_a_small_fault_does_not_give_the_judgement_away() -> None:
    """Merits and faults stand in both classes: what decides is what else is said."""
    labels: dict[str, set[str]] = {kind: set() for kind in ("merits", "faults")}
    for row in feelings():
        for matter in FEELINGS.matters:
            for kind, found in labels.items():
                if any(f" {clause}" in row["text"] for clause in matter[kind]):
                    found.add(row["label"])
    assert labels == {"merits": {"good", "bad"}, "faults": {"good", "bad"}}


def test_a_deck_deals_every_card_before_any_again() -> None:
    """So no clause is left unused because chance would have it, and nothing is "charming and charming"."""
    deck = Deck(Random(0), list("abc"))
    dealt = [deck.draw() for _ in range(90)]
    assert all(sorted(dealt[start : start + 3]) == list("abc") for start in range(0, 90, 3))
    assert all(a != b for a, b in pairwise(dealt))


@sets
def test_read_like_any_labelled_set(name: str) -> None:
    """A fifth is held out for testing, every class is in every split, and the columns need not be named."""
    write, each, classes = SETS[name]
    labelled = read_labelled(settings(name, task="text"), make_tokenizer())
    rows = write()
    assert labelled.texts == [row["text"] for row in rows]
    assert labelled.class_names == classes
    assert [classes[label] for label in labelled.labels] == [row["label"] for row in rows]
    assert (labelled.split == "test").sum() == each * len(classes) // 5
    for split in ("train", "valid", "test"):
        assert set(labelled.labels[labelled.split == split]) == set(range(len(classes)))


def test_there_is_no_other_split() -> None:
    """What was made here has one split, and says so."""
    with pytest.raises(WinnowError, match="demo-topics"):
        read_labelled(settings("demo-topics", task="text", split="validation"), make_tokenizer())
