"""A draft is one question of the demo set with its right answer and one plausible wrong answer."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")

EASY, MEDIUM, HARD = "easy", "medium", "hard"
LEVELS = (EASY, MEDIUM, HARD)

Forms = Sequence[Sequence[str]]  # instruction, input and response of each, with {fields} to be filled in


@dataclass(frozen=True, slots=True)
class Draft:
    """One question, before anything is done to its answer.

    `wrong` has the form of `response` with another answer of the same type in it. Two drafts of one task
    with different `topic` never share a right answer, so one can be given the other's.
    """

    difficulty: str
    instruction: str
    input: str
    response: str
    wrong: str
    topic: str


Writer = Callable[[Random], Draft]


def fill(template: str, **fields: object) -> str:
    """The template with its {fields} filled in; of "a/an" the one that the next word needs is kept."""
    return re.sub(r"\ba/an (\w+)", lambda found: article(found[1]), template.format(**fields))


def draft(
    rng: Random, level: str, forms: Forms, answer: object, wrong: object, topic: str | None = None, **fields: object
) -> Draft:
    """Fill one of `forms`, chosen at random, with `fields`; {answer} in the response is the right or the wrong one.

    Both answers may name fields themselves. Questions with one right answer need no `topic`: the answer is the topic.
    """
    instruction, text, response = rng.choice(forms)
    right, slip = (fill(str(one), **fields) for one in (answer, wrong))
    return Draft(
        difficulty=level,
        instruction=capital(fill(instruction, **fields)),
        input=as_sentence(fill(text, **fields)),
        response=as_sentence(fill(response, answer=right, **fields)),
        wrong=as_sentence(fill(response, answer=slip, **fields)),
        topic=right if topic is None else topic,
    )


def capital(text: str) -> str:
    """The text with its first letter in upper case and the rest as it is."""
    return text[:1].upper() + text[1:]


def as_sentence(text: str) -> str:
    """A sentence (it ends with a stop) begins with a capital letter; a bare answer stays as it is."""
    return capital(text) if text.endswith((".", "!", "?")) else text


def article(word: str) -> str:
    """`word` with its indefinite article: a pear, an apple."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def other(rng: Random, options: Sequence[T], *taken: T) -> T:
    """One of `options` that is none of `taken`."""
    return rng.choice([option for option in options if option not in taken])


def swapped(rng: Random, items: Sequence[T]) -> list[T]:
    """The items with two of them exchanged."""
    mixed = list(items)
    one, two = rng.sample(range(len(mixed)), 2)
    mixed[one], mixed[two] = mixed[two], mixed[one]
    return mixed


def near(rng: Random, number: int) -> int:
    """A slip of the pen: a number close to `number`, at least 0 and different from it."""
    slips = {number + step for step in (-10, -2, -1, 1, 2, 10)} | {int(str(number)[::-1])}
    return rng.choice(sorted(slip for slip in slips if slip >= 0 and slip != number))


def listed(words: Sequence[object]) -> str:
    """The words with commas between them."""
    return ", ".join(str(word) for word in words)
