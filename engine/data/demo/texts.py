"""The labelled texts of the demo, put together from clauses: short opinions, and sentences on four topics.

Which class a text belongs to is decided before it is written. Clauses are dealt like cards, so that each is used about
as often as any other of its kind; small faults, and words of another topic, stand in the way of those who count words.
"""

from collections.abc import Callable
from random import Random

from engine.data.demo.feelings import HARD, MATTERS, OPENERS, VERDICTS, WORDS, Matter
from engine.data.demo.topics import MOMENTS, PEOPLE, REMARKS, TOPICS

FEWEST_WORDS, MOST_WORDS = 5, 18
OPINIONS = 600  # of each of the two classes
SCENES = 250  # of each of the four topics

OPINION_FORMS = """{thing} was {word} and {second} | {thing} was {word}, {second} and {third} |
{thing} was {word}, and {verdict} | {opener}, {thing} was {word} and {second} |
{thing} was {word} and {second}, and {verdict} | {thing} {mild} but was {word} and {second} |
{thing} {mild} but was {word}, and {verdict} | {thing} {fitting} and was {word} and {second} |
{thing} was not {opposite}, {pronoun} was {word} and {second} | {opener}, {thing} was {word}, {second} and {third} |
{thing} was {word}, {second}, and {said} | even though {pronoun} {mild}, {thing} was {word} and {second}"""
TOPIC_FORMS = """{scene} | {scene} | {scene} {moment} | {scene}, {remark} | {moment}, {scene} | {people} {act} |
{people} {act} {moment} | {moment}, {people} {act} | {people} {act}, {remark} | {people} {act} and {more} |
{scene} while {people} {act} | {scene} while {people} {act} | {people} {act} {aside} | {people} {act} {aside}"""


def clauses(text: str) -> list[str]:
    """The clauses of a block of text, where " | " stands between two."""
    return " ".join(text.split()).split(" | ")


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
    openers = Deck(rng, clauses(OPENERS))
    rows: list[dict[str, str]] = []
    for label, other in (("good", "bad"), ("bad", "good")):
        forms = Deck(rng, clauses(OPINION_FORMS))
        shared = {"opener": openers, "verdict": Deck(rng, clauses(VERDICTS[label]))}
        words = Deck(rng, clauses(WORDS[label]))
        shared |= {"word": words, "second": words, "third": words, "opposite": Deck(rng, clauses(WORDS[other]))}
        matters = [shared | _matter_decks(rng, matter, label) for matter in MATTERS]

        def opinion(number: int, forms: Deck = forms, matters: list[dict[str, Deck]] = matters) -> str:
            return _fill(forms.draw(), matters[number % len(matters)])

        rows += [{"text": text, "label": label} for text in _unlike(opinion, clauses(HARD[label]), OPINIONS)]
    return rng.sample(rows, len(rows))


def topics(seed: int = 0) -> list[dict[str, str]]:
    """1,000 different sentences in random order, a quarter on each topic; the same for the same seed.

    Columns: `text`, of FEWEST_WORDS to MOST_WORDS words, and `label` ("kitchen", "garden", "weather" or "music").
    """
    rng = Random(f"demo topics {seed}")
    shared = {"moment": Deck(rng, clauses(MOMENTS)), "people": Deck(rng, clauses(PEOPLE))}
    shared |= {"remark": Deck(rng, clauses(REMARKS))}
    rows: list[dict[str, str]] = []
    for label, topic in TOPICS.items():
        asides = [aside for other, words in TOPICS.items() if other != label for aside in clauses(words.asides)]
        acts = Deck(rng, clauses(topic.acts))
        decks = shared | {
            "scene": Deck(rng, clauses(topic.scenes)),
            "act": acts,
            "more": acts,
            "aside": Deck(rng, asides),
        }
        forms = Deck(rng, clauses(TOPIC_FORMS))

        def scene(_number: int, forms: Deck = forms, decks: dict[str, Deck] = decks) -> str:
            return _fill(forms.draw(), decks)

        rows += [{"text": text, "label": label} for text in _unlike(scene, clauses(topic.hard), SCENES)]
    return rng.sample(rows, len(rows))


def _matter_decks(rng: Random, matter: Matter, label: str) -> dict[str, Deck]:
    merits, faults = Deck(rng, clauses(matter.merits)), Deck(rng, clauses(matter.faults))
    said = Deck(rng, clauses(matter.good if label == "good" else matter.bad))
    fitting, mild = (merits, faults) if label == "good" else (faults, merits)
    things, pronoun = Deck(rng, clauses(matter.things)), Deck(rng, [matter.pronoun])
    return {"thing": things, "pronoun": pronoun, "said": said, "fitting": fitting, "mild": mild}


def _fill(form: str, decks: dict[str, Deck]) -> str:
    """The form as a sentence, a card drawn for each {name} in it."""
    text = form
    for name, deck in decks.items():
        if f"{{{name}}}" in form:
            text = text.replace(f"{{{name}}}", deck.draw())
    return f"{text[0].upper()}{text[1:]}."


def _unlike(write: Callable[[int], str], texts: list[str], count: int) -> list[str]:
    """`count` texts, those given and as many new ones; none twice, too short or too long."""
    found = dict.fromkeys(texts)
    number = 0
    while len(found) < count:
        text = write(number)
        number += 1
        if FEWEST_WORDS <= len(text.split()) <= MOST_WORDS:
            found[text] = None
    return list(found)
