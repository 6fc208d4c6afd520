"""The labelled texts of the demo, put together from clauses: short opinions, and sentences on four topics.

Which class a text belongs to is decided before it is written. Clauses are dealt like cards, so that each is used about
as often as any other of its kind; small faults, and words of another topic, keep word counts from being enough.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from engine.data.demo.words import load

FEWEST_WORDS, MOST_WORDS = 5, 18
OPINIONS = 600  # of each of the two classes
SCENES = 250  # of each of the four topics

FEELINGS, TOPICS = load("feelings"), load("topics")


class Deck:
    """Cards drawn in random order, none twice before each was drawn once, and none of several twice running."""

    def __init__(self, rng: Random, cards: list[str]) -> None:
        self.rng, self.cards = rng, cards
        self.left: list[str] = []
        self.last = ""

    def draw(self) -> str:
        if not self.left:
            self.left = self.rng.sample(self.cards, len(self.cards))
            if self.left[-1] == self.last:
                self.left.reverse()
        self.last = self.left.pop()
        return self.last


def feelings(seed: int = 0) -> list[dict[str, str]]:
    """1,200 different opinions in random order, half of them good and half bad; the same for the same seed.

    Columns: `text`, of FEWEST_WORDS to MOST_WORDS words, and `label` ("good" or "bad").
    """
    rng = Random(f"demo feelings {seed}")
    openers = Deck(rng, FEELINGS.openers)
    rows: list[dict[str, str]] = []
    for label, other in (("good", "bad"), ("bad", "good")):
        forms = Deck(rng, FEELINGS.forms)
        clauses, words = FEELINGS.classes[label], Deck(rng, FEELINGS.classes[label]["words"])
        shared = {"opener": openers, "verdict": Deck(rng, clauses["verdicts"])}
        shared |= {"word": words, "second": words, "third": words}
        shared |= {"opposite": Deck(rng, FEELINGS.classes[other]["words"])}
        matters = [shared | _matter_decks(rng, matter, label) for matter in FEELINGS.matters]

        def opinion(number: int, forms: Deck = forms, matters: list[dict[str, Deck]] = matters) -> str:
            return _fill(forms.draw(), matters[number % len(matters)])

        rows += [{"text": text, "label": label} for text in _distinct(opinion, clauses["hard"], OPINIONS)]
    return rng.sample(rows, len(rows))


def topics(seed: int = 0) -> list[dict[str, str]]:
    """1,000 different sentences in random order, a quarter on each topic; the same for the same seed.

    Columns: `text`, of FEWEST_WORDS to MOST_WORDS words, and `label` ("kitchen", "garden", "weather" or "music").
    """
    rng = Random(f"demo topics {seed}")
    shared = {"moment": Deck(rng, TOPICS.moments), "people": Deck(rng, TOPICS.people)}
    shared |= {"remark": Deck(rng, TOPICS.remarks)}
    rows: list[dict[str, str]] = []
    for label, clauses in TOPICS.topics.items():
        asides = [aside for other, words in TOPICS.topics.items() if other != label for aside in words["asides"]]
        acts, forms = Deck(rng, clauses["acts"]), Deck(rng, TOPICS.forms)
        decks = shared | {"scene": Deck(rng, clauses["scenes"]), "act": acts, "more": acts, "aside": Deck(rng, asides)}

        def scene(_number: int, forms: Deck = forms, decks: dict[str, Deck] = decks) -> str:
            return _fill(forms.draw(), decks)

        rows += [{"text": text, "label": label} for text in _distinct(scene, clauses["hard"], SCENES)]
    return rng.sample(rows, len(rows))


def _matter_decks(rng: Random, matter: dict[str, Any], label: str) -> dict[str, Deck]:
    fitting, mild = ("merits", "faults") if label == "good" else ("faults", "merits")
    cards = {"thing": matter["things"], "pronoun": [matter.get("pronoun", "it")], "said": matter[label]}
    return {name: Deck(rng, of) for name, of in (cards | {"fitting": matter[fitting], "mild": matter[mild]}).items()}


def _fill(form: str, decks: dict[str, Deck]) -> str:
    """The form as a sentence, a card drawn for each {name} in it."""
    text = form
    for name, deck in decks.items():
        if f"{{{name}}}" in form:
            text = text.replace(f"{{{name}}}", deck.draw())
    return f"{text[0].upper()}{text[1:]}."


def _distinct(write: Callable[[int], str], texts: list[str], count: int) -> list[str]:
    """`count` texts, those given and as many new ones; none twice, too short or too long."""
    found = dict.fromkeys(texts)
    number = 0
    while len(found) < count:
        text = write(number)
        number += 1
        if FEWEST_WORDS <= len(text.split()) <= MOST_WORDS:
            found[text] = None
    return list(found)
