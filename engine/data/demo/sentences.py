"""Tasks of the demo set about sentences: rewriting, judging, reading, and writing short texts."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, article, capital, draft, listed, other
from engine.data.demo.grammar import plural, third_person
from engine.data.demo.words import WORDS, load

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
    forms = (
        ("Make this polite.", "{order}!", "Could you please {answer}?"),
        ("Say it more politely: {order}!", "", "Could you please {answer}?"),
        ("Ask {name} politely.", "{order}!", "{name}, would you please {answer}?"),
        ("{name} should do something. Ask in a friendly way.", "{order}!", "{name}, could you please {answer}?"),
        ("Turn the order into a friendly request.", "{order}!", "Please be so kind and {answer}."),
    )
    return draft(rng, EASY, forms, order, wrong, order=order, name=rng.choice(WORDS.names))


def rewriting(rng: Random) -> Draft:
    """Turn a statement into a question, a negation, or another tense."""
    event = _event(rng)
    wrong = other(rng, rng.choice(WORDS.actions)[3], event["thing"])
    present, done = "The {agent} {third} the {thing}.", "The {agent} {past} the {thing}."
    kinds = (
        (MEDIUM, ("Turn this into a question.", present, "Does the {agent} {verb} the {answer}?")),
        (MEDIUM, ("Make a question out of the sentence.", done, "Did the {agent} {verb} the {answer}?")),
        (MEDIUM, ("Say that this is not so.", present, "The {agent} does not {verb} the {answer}.")),
        (MEDIUM, ("Negate the sentence.", done, "The {agent} did not {verb} the {answer}.")),
        (EASY, ("Put this into the future.", present, "The {agent} will {verb} the {answer}.")),
        (HARD, ("Put the sentence into the past.", present, "The {agent} {past} the {answer}.")),
        (HARD, ("Write this in the present tense.", done, "The {agent} {third} the {answer}.")),
    )
    level, form = rng.choice(kinds)
    return draft(rng, level, (form,), event["thing"], wrong, **event)


def passive(rng: Random) -> Draft:
    """From active to passive and back."""
    event = _event(rng)
    wrong = other(rng, WORDS.roles, event["agent"])
    active, turned = "The {agent} {past} the {thing} {when}.", "The {thing} was {participle} by the {agent} {when}."
    forms = (
        ("Rewrite in the passive.", active, turned.replace("agent", "answer")),
        ("Say the same, beginning with the {thing}.", active, turned.replace("agent", "answer")),
        ("Rewrite in the active voice.", turned, active.replace("agent", "answer")),
    )
    return draft(rng, HARD, forms, event["agent"], wrong, **event)


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
    forms = (
        ("Is this review positive or negative?", review, "{answer}"),
        ("What does the guest feel?", review, "The review is {answer}."),
        ("Judge the mood of the review.", review, "This is a {answer} review."),
    )
    return draft(rng, level, forms, answer, wrong)


def reading(rng: Random) -> Draft:
    """Read a very short story and answer a question about it."""
    level = rng.choice(LEVELS)
    one, two = rng.sample(WORDS.names, 2)
    place, place2 = rng.sample(WORDS.places, 2)
    thing, thing2 = rng.sample(WORDS.things, 2)
    day, day2 = rng.sample(WORDS.days, 2)
    if level == EASY:
        story = f"On {day} {one} found {article(thing)} at the {place}."
        questions = [
            ("Who found something?", f"{{answer}} found {article(thing)}.", one, two),
            ("What was found?", "{answer}", article(thing), article(thing2)),
            ("Where was it found?", "It was found at the {answer}.", place, place2),
            ("On which day did it happen?", "on {answer}", day, day2),
        ]
    elif level == MEDIUM:
        story = f"{one} went to the {place} on {day}. There {one} met {two}, who was selling {article(thing)}."
        questions = [
            (f"Whom did {one} meet?", f"{one} met {{answer}}.", two, other(rng, WORDS.names, one, two)),
            (f"What did {two} sell?", "{answer}", article(thing), article(thing2)),
            (f"Where did {one} go?", f"{one} went to the {{answer}}.", place, place2),
        ]
    else:
        story = (
            f"{one} walked to the {place} and {two} to the {place2}. "
            f"{one} lost {article(thing)}, {two} lost {article(thing2)}."
        )
        questions = [
            (f"Where was the {thing} lost?", f"The {thing} was lost at the {{answer}}.", place, place2),
            (f"Where was the {thing2} lost?", "at the {answer}", place2, place),
            (f"Who walked to the {place2}?", f"{{answer}} walked to the {place2}.", two, one),
            (f"What was lost at the {place}?", "{answer}", article(thing), article(thing2)),
        ]
    question, response, answer, wrong = rng.choice(questions)
    return draft(rng, level, ((question, story, response),), answer, wrong)


def titles(rng: Random) -> Draft:
    """Give a tiny story its title."""
    hero, wrong = rng.sample((*WORDS.kinds["animal"], *WORDS.roles), 2)
    thing = rng.choice(WORDS.things)
    found = rng.choice(("found", "lost", "stole", "sold", "broke"))
    when = rng.choice(PARTS.times)
    story = capital(f"{article(hero)} {found} {article(thing)} {when}.")
    forms = (
        ("Give this story a title.", story, "The {answer} and the {shown}"),
        ("What would you call this tale?", story, "The {answer} and the {shown}"),
        ("Find a title.", story, "The Tale of the {answer} and the {shown}"),
    )
    return draft(rng, EASY, forms, capital(hero), capital(wrong), shown=capital(thing))


def stories(rng: Random) -> Draft:
    """Write a story of two sentences about two given things."""
    hero, wrong = rng.sample(WORDS.kinds["animal"], 2)
    thing, place, ending = rng.choice(WORDS.things), rng.choice(WORDS.places), rng.choice(PARTS.endings)
    adjective = rng.choice(("old", "clever", "hungry", "quiet", "brave", "proud"))
    day = rng.choice(WORDS.days)
    forms = (
        (
            "Write a short story about {a_hero} and {a_thing}.",
            "",
            f"The {adjective} {{answer}} lived near the {place}. On {day} it found {{a_thing}} and {ending}.",
        ),
        (
            "Tell me a tale of two sentences with these words.",
            "{hero}, {thing}",
            f"Once {article(adjective)} {{answer}} took {{a_thing}} to the {place}. It met a friend and {ending}.",
        ),
        (
            "Make up a story. It should begin on {day} and tell of {a_hero} and {a_thing}.",
            "",
            f"On {day} the {adjective} {{answer}} came to the {place}. It saw {{a_thing}} there and {ending}.",
        ),
    )
    fields = {"hero": hero, "a_hero": article(hero), "thing": thing, "a_thing": article(thing), "day": day}
    return draft(rng, HARD, forms, hero, wrong, **fields)


def recipes(rng: Random) -> Draft:
    """How to make a simple dish."""
    dish = rng.choice(tuple(PARTS.dishes))
    plants = WORDS.kinds["vegetable"] if dish == "soup" else WORDS.kinds["fruit"]
    plant, wrong = rng.sample(plants, 2)
    method = PARTS.dishes[dish].replace("{things}", "{answer}")
    forms = (
        ("How do I make {plant} {dish}?", "", f"{method}."),
        ("Give me a recipe.", "{plant} {dish}", f"{method}."),
        ("{name} wants to make {plant} {dish}. What is to be done?", "", f"First {method}."),
        ("Explain in one sentence how {plant} {dish} is made.", "", f"You {method}."),
    )
    fields = {"plant": plant, "dish": dish, "name": rng.choice(WORDS.names)}
    return draft(rng, MEDIUM, forms, plural(plant), plural(wrong), **fields)


def notes(rng: Random) -> Draft:
    """Write a short note: thanks, an invitation, an apology."""
    one, two = rng.sample(WORDS.names, 2)
    thing, wrong_thing = rng.sample(WORDS.things, 2)
    colour, place = rng.choice(WORDS.colours), rng.choice(WORDS.places)
    day, wrong_day = rng.sample(WORDS.days, 2)
    gift = article(f"{colour} {thing}")
    kinds = (
        (
            MEDIUM,
            (
                "Write a note from {one} to {two}.",
                f"Thanks for the {colour} {thing}.",
                "Dear {two}, thank you for the {answer}! Yours, {one}",
            ),
            f"{colour} {thing}",
            f"{colour} {wrong_thing}",
        ),
        (
            MEDIUM,
            (
                "Invite {two} to the {place} on {day}. Sign as {one}.",
                "",
                "Dear {two}, will you come to the {place} on {answer}? Yours, {one}",
            ),
            day,
            wrong_day,
        ),
        (
            HARD,
            (
                "{one} has lost {gift} that belongs to {two}. Write the apology.",
                "",
                "Dear {two}, I am sorry that I lost your {answer}. Yours, {one}",
            ),
            f"{colour} {thing}",
            f"{colour} {wrong_thing}",
        ),
    )
    level, form, answer, wrong = rng.choice(kinds)
    return draft(rng, level, (form,), answer, wrong, one=one, two=two, gift=gift, place=place, day=day)


def lists(rng: Random) -> Draft:
    """Name two or three things of a kind; many answers are right."""
    kind, wrong_kind = rng.sample(tuple(WORDS.kinds), 2)
    count, word = rng.choice(((2, "two"), (3, "three"), (4, "four")))
    members = rng.sample(WORDS.kinds[kind], count)
    wrong = [*members[:-1], rng.choice(WORDS.kinds[wrong_kind])]
    rng.shuffle(wrong)
    kinds = plural(kind)
    forms = (
        ("Name {word} {kinds}.", "", "{answer}"),
        ("List {word} {kinds}.", "", "{answer}"),
        ("Give {name} {word} examples of {kinds}.", "", "{answer}"),
        ("{name} needs {word} {kinds} for a drawing. Which could it be?", "", "{answer}"),
    )
    fields = {"word": word, "kinds": kinds, "name": rng.choice(WORDS.names)}
    return draft(rng, EASY, forms, listed(members), listed(wrong), topic=kind, **fields)
