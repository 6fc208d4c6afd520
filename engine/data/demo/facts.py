"""Tasks of the demo set about facts: given in the question, or part of general knowledge."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, Forms, article, draft, other
from engine.data.demo.words import WORDS, load

FACTS = load("facts")


def lookup(rng: Random) -> Draft:
    """Answer from two or three facts that stand in the input; the hard ones need two steps."""
    level = rng.choice(LEVELS)
    one, two, three = rng.sample(WORDS.names, 3)
    thing, thing2, thing3 = rng.sample(WORDS.things, 3)
    colour, colour2 = rng.sample(WORDS.colours, 2)
    if level == EASY:
        facts = [(one, colour, thing), (two, colour2, thing2)]
        text = " ".join(f"{who} owns {article(f'{shade} {what}')}." for who, shade, what in facts)
        asked, wrong = facts if rng.random() < 0.5 else facts[::-1]
        questions = (
            (
                "What does {who} own?",
                "{who} owns {answer}.",
                article(f"{asked[1]} {asked[2]}"),
                article(f"{wrong[1]} {wrong[2]}"),
            ),
            ("What colour is the {what} of {who}?", "It is {answer}.", asked[1], wrong[1]),
            ("Who owns the {what}?", "{answer} owns the {what}.", asked[0], wrong[0]),
        )
        question, response, answer, slip = rng.choice(questions)
        fields = {"who": asked[0], "what": asked[2]}
        return draft(rng, level, ((question, text, response),), answer, slip, **fields)
    place, place2, place3 = rng.sample(WORDS.places, 3)
    if level == MEDIUM:
        people = [(one, thing, place), (two, thing2, place2), (three, thing3, place3)]
        text = " ".join(f"{who} has the {what} at the {where}." for who, what, where in people)
        asked, wrong = rng.sample(people, 2)
        forms = (
            ("Where is the {what}?", text, "The {what} is at the {answer}."),
            ("Who has the {what}, and where?", text, "{who} has it at the {answer}."),
            ("At which place does one find {who}?", text, "at the {answer}"),
        )
        return draft(rng, level, forms, asked[2], wrong[2], who=asked[0], what=asked[1])
    chains = (
        (
            f"{one} has {article(colour)} {thing}. {two} has {article(colour2)} {thing2}. "
            f"The {thing3} of {three} has the colour of the {thing}.",
            f"What colour is the {thing3}?",
            "It is {answer}.",
            colour,
            colour2,
        ),
        (
            f"The {thing} is in the {colour} box. The {thing2} is in the {colour2} box. "
            f"The {colour} box stands at the {place}, the {colour2} box at the {place2}.",
            f"Where is the {thing}?",
            f"The {thing} is at the {{answer}}.",
            place,
            place2,
        ),
        (
            f"{one} is older than {two}. {two} is older than {three}.",
            "Who is the youngest of the three?",
            "{answer}",
            three,
            rng.choice((one, two)),
        ),
    )
    text, question, response, answer, slip = rng.choice(chains)
    return draft(rng, level, ((question, text, response),), answer, slip)


def records(rng: Random) -> Draft:
    """Read one value out of a record or a line of a table."""
    name, town = rng.choice(WORDS.names), rng.choice(tuple(FACTS.capitals.values()))
    age, colour = rng.randint(5, 80), rng.choice(WORDS.colours)
    values: dict[str, object] = {"name": name, "age": age, "town": town, "colour": colour}
    key = rng.choice(tuple(values))
    answer = values[key]
    wrong: object = {
        "name": other(rng, WORDS.names, name),
        "age": other(rng, range(5, 81), age),
        "town": other(rng, tuple(FACTS.capitals.values()), town),
        "colour": other(rng, WORDS.colours, colour),
    }[key]
    if rng.random() < 0.5:
        shown = ", ".join(f"{field}: {value}" for field, value in values.items())
        forms: Forms = (
            ("Read the {key} from the record.", "{shown}", "{answer}"),
            ("What is the {key}?", "{shown}", "The {key} is {answer}."),
        )
        return draft(rng, EASY, forms, answer, wrong, key=key, shown=shown)
    shown = ";".join(map(str, values.values()))
    forms = (
        ("The columns are name;age;town;colour. Give the {key}.", "{shown}", "{answer}"),
        ("Take the {key} out of this line (name;age;town;colour).", "{shown}", "{answer}"),
    )
    return draft(rng, MEDIUM, forms, answer, wrong, key=key, shown=shown)


def colours(rng: Random) -> Draft:
    """Mix two colours of paint."""
    one, two, answer = rng.choice(FACTS.mixtures)
    if rng.random() < 0.5:
        one, two = two, one
    wrong = other(rng, WORDS.colours, answer, one, two)
    forms = (
        ("Which colour do {one} and {two} make?", "", "{one} and {two} make {answer}."),
        ("Mix {one} paint with {two} paint. What do you get?", "", "You get {answer} paint."),
        ("{name} mixes {one} and {two}. What colour is the {thing} that {name} paints with it?", "", "{answer}"),
        ("What colour is the paint now?", "{name} pours {one} paint into the {two} paint.", "It is {answer} now."),
    )
    name, thing = rng.choice(WORDS.names), rng.choice(WORDS.things)
    return draft(rng, EASY, forms, answer, wrong, one=one, two=two, name=name, thing=thing)


def capitals(rng: Random) -> Draft:
    """Countries and their capitals."""
    country, city = rng.choice(tuple(FACTS.capitals.items()))
    if rng.random() < 0.65:
        forms: Forms = (
            ("What is the capital of {country}?", "", "{answer}"),
            ("Name the capital.", "{country}", "{answer}"),
            ("Which city is the capital of {country}?", "", "The capital of {country} is {answer}."),
            ("{name} visits the capital of {country}. Which city is that?", "", "It is {answer}."),
        )
        wrong = other(rng, tuple(FACTS.capitals.values()), city)
        return draft(rng, EASY, forms, city, wrong, country=country, name=rng.choice(WORDS.names))
    forms = (
        ("Which country has the capital {city}?", "", "{answer}"),
        ("{name} lives in {city}. In which country is that?", "", "{name} lives in {answer}."),
        ("In which country is {city}?", "", "{city} is in {answer}."),
    )
    wrong = other(rng, tuple(FACTS.capitals), country)
    return draft(rng, MEDIUM, forms, country, wrong, city=city, name=rng.choice(WORDS.names))


def animals(rng: Random) -> Draft:
    """The young, homes, sounds and legs of animals."""
    animal = rng.choice(tuple(FACTS.animals))
    column = rng.randrange(4)
    answer = FACTS.animals[animal][column]
    wrong = other(rng, sorted({row[column] for row in FACTS.animals.values()}, key=str), answer)
    forms = (
        (
            ("How many legs does {animal} have?", "", "{animal} has {answer} legs."),
            ("Count the legs of {animal}.", "", "{answer} legs"),
            ("{name} draws {animal}. How many legs must it have?", "", "{answer}"),
        ),
        (
            ("What is the young of {animal} called?", "", "{answer}"),
            ("Name the baby of {animal}.", "", "{answer}"),
            ("{name} sees {animal} with its young. What is the young one called?", "", "It is called a {answer}."),
        ),
        (
            ("Where does {animal} live?", "", "{animal} lives in a {answer}."),
            ("{name} is looking for {animal}. Where should one look?", "", "in a {answer}"),
        ),
        (
            ("What sound does {animal} make?", "", "It {answer}."),
            ("{name} hears {animal}. What does it do?", "", "It {answer}."),
        ),
    )[column]
    level = EASY if column == 0 else MEDIUM
    return draft(rng, level, forms, answer, wrong, animal=article(animal), name=rng.choice(WORDS.names))


def translation(rng: Random) -> Draft:
    """Single words from English into German, French or Spanish, and back."""
    word = rng.choice(tuple(FACTS.dictionary))
    column = rng.randrange(3)
    language, foreign = FACTS.languages[column], FACTS.dictionary[word][column]
    if rng.random() < 0.7:
        forms: Forms = (
            ("Translate into {language}.", "{word}", "{answer}"),
            ("What is the {language} word for {word}?", "", "The {language} word for {word} is {answer}."),
            ("How does one say {word} in {language}?", "", "{answer}"),
            ("{name} is learning {language} and asks for the word {word}.", "", "{answer}"),
        )
        wrong = other(rng, [row[column] for row in FACTS.dictionary.values()], foreign)
        return draft(rng, HARD, forms, foreign, wrong, language=language, word=word, name=rng.choice(WORDS.names))
    forms = (
        ("What does the {language} word {foreign} mean?", "", "{answer}"),
        ("Translate from {language} into English.", "{foreign}", "{answer}"),
    )
    return draft(
        rng, MEDIUM, forms, word, other(rng, tuple(FACTS.dictionary), word), language=language, foreign=foreign
    )


def definitions(rng: Random) -> Draft:
    """What a thing is for, and which thing one needs."""
    thing = rng.choice(tuple(FACTS.purposes))
    kind, purpose = FACTS.purposes[thing]
    wrong_thing = rng.choice([one for one, row in FACTS.purposes.items() if row[1] != purpose])
    wrong_kind, wrong_purpose = FACTS.purposes[wrong_thing]
    if rng.random() < 0.5:
        forms: Forms = (
            ("What is {thing}?", "", "{thing} is {answer}."),
            ("Explain the word.", "{bare}", "{thing} is {answer}."),
            ("{name} asks what {thing} is.", "", "It is {answer}."),
            ("Write a definition of the word {bare}.", "", "{thing} is {answer}."),
        )
        answer = f"{article(kind)} for {purpose}"
        wrong = f"{article(wrong_kind)} for {wrong_purpose}"
        name = rng.choice(WORDS.names)
        return draft(rng, HARD, forms, answer, wrong, thing=article(thing), bare=thing, name=name)
    forms = (
        ("What does one need for {purpose}?", "", "One needs {answer} for {purpose}."),
        ("Which thing is made for {purpose}?", "", "{answer}"),
        ("{name} is thinking of {purpose}. What will help?", "", "{answer} will help."),
    )
    return draft(
        rng, MEDIUM, forms, article(thing), article(wrong_thing), purpose=purpose, name=rng.choice(WORDS.names)
    )
