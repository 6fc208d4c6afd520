"""Tasks of the demo set about sentences: rewriting, judging, reading, and writing short texts."""

from random import Random
from typing import Any

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, capital, draft, fill, listed, other
from engine.data.demo.grammar import plural, third_person
from engine.data.demo.words import FORMS, WORDS, load

PARTS = load("sentences")


def _event(rng: Random) -> dict[str, str]:
    """Who did what, and when: the parts that several tasks build their sentences from."""
    verb, past, participle, objects = rng.choice(WORDS.actions)
    agent, thing = rng.choice(WORDS.roles), rng.choice(objects)
    parts = {"agent": agent, "verb": verb, "third": third_person(verb), "past": past, "participle": participle}
    return parts | {"thing": thing, "when": rng.choice(PARTS.times)}


def politeness(rng: Random) -> Draft:
    """Turn an order into a polite request."""
    order = rng.choice(PARTS.orders)
    wrong = other(rng, PARTS.orders, order)
    return draft(rng, EASY, FORMS.politeness, order, wrong, order=order, name=rng.choice(WORDS.names))


def rewriting(rng: Random) -> Draft:
    """Turn a statement into a question, a negation, or another tense."""
    event = _event(rng)
    wrong = other(rng, rng.choice(WORDS.actions)[3], event["thing"])
    level, *form = rng.choice(FORMS.rewriting)
    return draft(rng, level, [form], event["thing"], wrong, **event)


def passive(rng: Random) -> Draft:
    """From active to passive and back."""
    event = _event(rng)
    return draft(rng, HARD, FORMS.passive, event["agent"], other(rng, WORDS.roles, event["agent"]), **event)


def sentiment(rng: Random) -> Draft:
    """Is a short review positive or negative? In a hard one what comes after "but" decides."""
    level = rng.choice(LEVELS)
    good = rng.random() < 0.5
    subject = rng.choice(PARTS.reviewed)
    words, clauses = (PARTS.praise, PARTS.praise_clauses) if good else (PARTS.blame, PARTS.blame_clauses)
    opposite = PARTS.blame if good else PARTS.praise
    if level == EASY:
        review = f"The {subject} was {rng.choice(words)}{rng.choice(('', f' and {rng.choice(words)}'))}."
    elif level == MEDIUM:
        review = f"All I can say about the {subject}: {rng.choice(clauses)}."
    elif rng.random() < 0.5:
        review = f"The {subject} seemed {rng.choice(opposite)} at first, but {rng.choice(clauses)}."
    else:
        review = f"The {subject} was anything but {rng.choice(opposite)}."
    answer, wrong = ("positive", "negative") if good else ("negative", "positive")
    return draft(rng, level, FORMS.sentiment, answer, wrong, review=review)


def reading(rng: Random) -> Draft:
    """Read a very short story and answer a question about it."""
    level = rng.choice(LEVELS)
    drawn: dict[str, Any] = {kind: rng.sample(vars(WORDS)[kind], 2) for kind in ("names", "places", "things", "days")}
    if level == MEDIUM:
        drawn["names"].append(other(rng, WORDS.names, *drawn["names"]))
    story = fill(FORMS.reading[level]["story"], **drawn)
    *form, answer, wrong = rng.choice(FORMS.reading[level]["forms"])
    return draft(rng, level, [form], answer, wrong, story=story, **drawn)


def titles(rng: Random) -> Draft:
    """Give a tiny story its title."""
    hero, wrong = rng.sample((*WORDS.kinds["animal"], *WORDS.roles), 2)
    thing = rng.choice(WORDS.things)
    found = rng.choice(("found", "lost", "stole", "sold", "broke"))
    fields = {"hero": hero, "thing": thing, "shown": capital(thing), "found": found, "when": rng.choice(PARTS.times)}
    return draft(rng, EASY, FORMS.titles, capital(hero), capital(wrong), **fields)


def stories(rng: Random) -> Draft:
    """Write a story of two sentences about two given things."""
    hero, wrong = rng.sample(WORDS.kinds["animal"], 2)
    fields = {"thing": rng.choice(WORDS.things), "place": rng.choice(WORDS.places), "ending": rng.choice(PARTS.endings)}
    fields["adjective"] = rng.choice(("old", "clever", "hungry", "quiet", "brave", "proud"))
    return draft(rng, HARD, FORMS.stories, hero, wrong, hero=hero, day=rng.choice(WORDS.days), **fields)


def recipes(rng: Random) -> Draft:
    """How to make a simple dish."""
    dish = rng.choice(tuple(PARTS.dishes))
    plant, wrong = rng.sample(WORDS.kinds["vegetable" if dish == "soup" else "fruit"], 2)
    forms = [[asked, given, told.replace("{method}", PARTS.dishes[dish])] for asked, given, told in FORMS.recipes]
    fields = {"plant": plant, "dish": dish, "name": rng.choice(WORDS.names)}
    return draft(rng, MEDIUM, forms, plural(plant), plural(wrong), **fields)


def notes(rng: Random) -> Draft:
    """Write a short note: thanks, an invitation, an apology."""
    drawn: dict[str, Any] = {kind: rng.sample(vars(WORDS)[kind], 2) for kind in ("names", "things")}
    drawn |= {"colour": rng.choice(WORDS.colours), "place": rng.choice(WORDS.places), "days": rng.sample(WORDS.days, 2)}
    level, *form, answer, wrong = rng.choice(FORMS.notes)
    return draft(rng, level, [form], answer, wrong, **drawn)


def lists(rng: Random) -> Draft:
    """Name two or three things of a kind; many answers are right."""
    kind, wrong_kind = rng.sample(tuple(WORDS.kinds), 2)
    count, word = rng.choice(((2, "two"), (3, "three"), (4, "four")))
    members = rng.sample(WORDS.kinds[kind], count)
    wrong = [*members[:-1], rng.choice(WORDS.kinds[wrong_kind])]
    rng.shuffle(wrong)
    fields = {"word": word, "kinds": plural(kind), "name": rng.choice(WORDS.names)}
    return draft(rng, EASY, FORMS.lists, listed(members), listed(wrong), topic=kind, **fields)
