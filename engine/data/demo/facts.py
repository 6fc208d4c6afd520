"""Tasks of the demo set about facts: given in the question, or part of general knowledge."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, article, draft, other
from engine.data.demo.words import FORMS, WORDS, load

FACTS = load("facts")


def lookup(rng: Random) -> Draft:
    """Answer from two or three facts that stand in the input; the hard ones need two steps."""
    level = rng.choice(LEVELS)
    forms, names, things = FORMS.lookup[level], rng.sample(WORDS.names, 3), rng.sample(WORDS.things, 3)
    colours = rng.sample(WORDS.colours, 2)
    if level == EASY:
        facts = list(zip(names, colours, things, strict=False))
        text = " ".join(f"{who} owns {article(colour)} {thing}." for who, colour, thing in facts)
        asked, slip = facts if rng.random() < 0.5 else facts[::-1]
        *form, answer, wrong = rng.choice(forms)
        return draft(rng, level, [form], answer, wrong, text=text, asked=asked, slip=slip)
    places = rng.sample(WORDS.places, 3)
    if level == MEDIUM:
        facts = list(zip(names, things, places, strict=True))
        text = " ".join(f"{who} has the {thing} at the {place}." for who, thing, place in facts)
        asked, slip = rng.sample(facts, 2)
        return draft(rng, level, forms, asked[2], slip[2], text=text, asked=asked)
    drawn = {"names": names, "things": things, "colours": colours, "places": places, "elder": rng.choice(names[:2])}
    *form, answer, wrong = rng.choice(forms)
    return draft(rng, level, [form], answer, wrong, **drawn)


def records(rng: Random) -> Draft:
    """Read one value out of a record or a line of a table."""
    options = {"name": WORDS.names, "town": [*FACTS.capitals.values()], "age": range(5, 81), "colour": WORDS.colours}
    drawn = {key: rng.choice(words) for key, words in options.items()}
    values = {key: drawn[key] for key in ("name", "age", "town", "colour")}
    key = rng.choice(tuple(values))
    wrong = {one: other(rng, options[one], value) for one, value in values.items()}[key]
    if rng.random() < 0.5:
        shown = ", ".join(f"{field}: {value}" for field, value in values.items())
        return draft(rng, EASY, FORMS.records["fields"], values[key], wrong, key=key, shown=shown)
    shown = ";".join(map(str, values.values()))
    return draft(rng, MEDIUM, FORMS.records["line"], values[key], wrong, key=key, shown=shown)


def colours(rng: Random) -> Draft:
    """Mix two colours of paint."""
    one, two, answer = rng.choice(FACTS.mixtures)
    if rng.random() < 0.5:
        one, two = two, one
    wrong = other(rng, WORDS.colours, answer, one, two)
    name, thing = rng.choice(WORDS.names), rng.choice(WORDS.things)
    return draft(rng, EASY, FORMS.colours, answer, wrong, one=one, two=two, name=name, thing=thing)


def capitals(rng: Random) -> Draft:
    """Countries and their capitals."""
    country, city = rng.choice(tuple(FACTS.capitals.items()))
    if rng.random() < 0.65:
        level, asked, answer, options = EASY, "city", city, tuple(FACTS.capitals.values())
    else:
        level, asked, answer, options = MEDIUM, "country", country, tuple(FACTS.capitals)
    wrong, name = other(rng, options, answer), rng.choice(WORDS.names)
    return draft(rng, level, FORMS.capitals[asked], answer, wrong, country=country, city=city, name=name)


def animals(rng: Random) -> Draft:
    """The young, homes, sounds and legs of animals."""
    animal = rng.choice(tuple(FACTS.animals))
    column = rng.randrange(4)
    answer = FACTS.animals[animal][column]
    wrong = other(rng, sorted({row[column] for row in FACTS.animals.values()}, key=str), answer)
    level = EASY if column == 0 else MEDIUM
    return draft(rng, level, FORMS.animals[column], answer, wrong, animal=animal, name=rng.choice(WORDS.names))


def translation(rng: Random) -> Draft:
    """Single words from English into German, French or Spanish, and back."""
    word = rng.choice(tuple(FACTS.dictionary))
    column = rng.randrange(3)
    language, foreign = FACTS.languages[column], FACTS.dictionary[word][column]
    if rng.random() < 0.7:
        wrong, name = other(rng, [row[column] for row in FACTS.dictionary.values()], foreign), rng.choice(WORDS.names)
        return draft(rng, HARD, FORMS.translation["foreign"], foreign, wrong, language=language, word=word, name=name)
    wrong = other(rng, tuple(FACTS.dictionary), word)
    return draft(rng, MEDIUM, FORMS.translation["english"], word, wrong, language=language, foreign=foreign)


def definitions(rng: Random) -> Draft:
    """What a thing is for, and which thing one needs."""
    thing = rng.choice(tuple(FACTS.purposes))
    kind, purpose = FACTS.purposes[thing]
    wrong_thing = rng.choice([one for one, row in FACTS.purposes.items() if row[1] != purpose])
    wrong_kind, wrong_purpose = FACTS.purposes[wrong_thing]
    if rng.random() < 0.5:
        level, asked = HARD, "purpose"
        answer, wrong = f"{article(kind)} for {purpose}", f"{article(wrong_kind)} for {wrong_purpose}"
    else:
        level, asked, answer, wrong = MEDIUM, "thing", article(thing), article(wrong_thing)
    name = rng.choice(WORDS.names)
    return draft(rng, level, FORMS.definitions[asked], answer, wrong, thing=thing, purpose=purpose, name=name)
