"""Tasks of the demo set about measures: units, the clock and the calendar."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, Forms, draft, other
from engine.data.demo.numbers import in_words
from engine.data.demo.words import WORDS


def units(rng: Random) -> Draft:
    """Change a quantity to a smaller or a larger unit."""
    level = rng.choice(LEVELS)
    large, small, factor = rng.choice(WORDS.units[:2] if level == EASY else WORDS.units[2:])
    count = rng.randint(2, 12)
    if level == HARD:
        forms: Forms = (
            ("How many {large} are {total} {small}?", "", "{answer} {large}"),
            ("Convert to {large}.", "{total} {small}", "{answer} {large}"),
        )
        return draft(
            rng, level, forms, count, other(rng, range(2, 13), count), large=large, small=small, total=count * factor
        )
    total = count * factor
    wrong = other(rng, (total + factor, total - factor, total * 10, total + 10), total)
    forms = (
        ("How many {small} are {count} {large}?", "", "{answer} {small}"),
        ("Convert to {small}.", "{count} {large}", "{answer} {small}"),
        ("{count} {large} are how many {small}?", "", "{count} {large} are {answer} {small}."),
    )
    return draft(rng, level, forms, total, wrong, large=large, small=small, count=count)


def clock(rng: Random) -> Draft:
    """Add minutes or hours to a time of day."""
    level = rng.choice(LEVELS)
    hour, minute = rng.randint(1, 20), 5 * rng.randint(0, 10)
    if level == EASY:
        ahead = rng.randint(1, 3)
        added, later = ahead * 60, "one hour" if ahead == 1 else f"{in_words(ahead)} hours"
    else:
        left = 60 - minute
        steps = range(5, left, 5) if level == MEDIUM else range(left + 5, 100, 5)
        added = rng.choice(steps)
        later = f"{added} minutes"
    end = hour * 60 + minute + added
    answer = _time(end)
    wrong = _time(end + rng.choice((-60, -10, -5, 5, 10, 60)))
    name = rng.choice(WORDS.names)
    forms = (
        ("It is {now}. What time is it {later} later?", "", "It is {answer}."),
        ("The film starts at {now} and lasts {later}. When does it end?", "", "at {answer}"),
        ("{name} leaves at {now}. The way takes {later}. When does {name} arrive?", "", "{name} arrives at {answer}."),
    )
    return draft(rng, level, forms, answer, wrong, now=_time(hour * 60 + minute), later=later, name=name)


def _time(minutes: int) -> str:
    return f"{minutes // 60 % 24}:{minutes % 60:02d}"


def calendar(rng: Random) -> Draft:
    """Days and months before and after."""
    level = rng.choice(LEVELS)
    cycle, unit = rng.choice(((WORDS.days, "day"), (WORDS.days, "day"), (WORDS.months, "month")))
    place = rng.randrange(len(cycle))
    start = cycle[place]
    if level == EASY:
        side, step = rng.choice((("after", 1), ("before", -1)))
        forms: Forms = (
            ("Which {unit} comes {side} {start}?", "", "{answer}"),
            ("Name the {unit} right {side} {start}.", "", "The {unit} {side} {start} is {answer}."),
            ("What is the {unit} {side} {start} called?", "", "It is {answer}."),
        )
    else:
        step = rng.randint(2, 4) if level == MEDIUM else rng.randint(5, 20)
        side = in_words(step)
        forms = (
            ("Today is {start}. What {unit} is it in {side} {unit}s?", "", "In {side} {unit}s it is {answer}."),
            ("Which {unit} is {side} {unit}s after {start}?", "", "It is {answer}."),
            ("{name} starts on {start} and needs {side} {unit}s. When is it done?", "", "on {answer}"),
        )
        forms = forms if unit == "day" else forms[1:2]
    answer = cycle[(place + step) % len(cycle)]
    wrong = other(rng, cycle, answer, start)
    return draft(rng, level, forms, answer, wrong, unit=unit, start=start, side=side, name=rng.choice(WORDS.names))
