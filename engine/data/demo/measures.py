"""Tasks of the demo set about measures: units, the clock and the calendar."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, Forms, draft, other
from engine.data.demo.numbers import in_words
from engine.data.demo.words import DAYS, MONTHS, NAMES

UNITS = (  # how many of the second make one of the first
    *(("weeks", "days", 7), ("years", "months", 12), ("hours", "minutes", 60), ("minutes", "seconds", 60)),
    *(("days", "hours", 24), ("metres", "centimetres", 100), ("centimetres", "millimetres", 10)),
    *(("kilometres", "metres", 1000), ("kilograms", "grams", 1000), ("euros", "cents", 100)),
)


def units(rng: Random) -> Draft:
    """Change a quantity to a smaller or a larger unit."""
    level = rng.choice(LEVELS)
    large, small, factor = rng.choice(UNITS[:2] if level == EASY else UNITS[2:])
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
    name = rng.choice(NAMES)
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
    cycle, unit = rng.choice(((DAYS, "day"), (DAYS, "day"), (MONTHS, "month")))
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
    return draft(rng, level, forms, answer, wrong, unit=unit, start=start, side=side, name=rng.choice(NAMES))
