"""Tasks of the demo set about measures: units, the clock and the calendar."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, draft, other
from engine.data.demo.numbers import in_words
from engine.data.demo.words import FORMS, WORDS


def units(rng: Random) -> Draft:
    """Change a quantity to a smaller or a larger unit."""
    level = rng.choice(LEVELS)
    large, small, factor = rng.choice(WORDS.units[:2] if level == EASY else WORDS.units[2:])
    count = rng.randint(2, 12)
    total = count * factor
    if level == HARD:
        wrong = other(rng, range(2, 13), count)
        return draft(rng, level, FORMS.units["larger"], count, wrong, large=large, small=small, total=total)
    wrong = other(rng, (total + factor, total - factor, total * 10, total + 10), total)
    return draft(rng, level, FORMS.units["smaller"], total, wrong, large=large, small=small, count=count)


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
    return draft(rng, level, FORMS.clock, answer, wrong, now=_time(hour * 60 + minute), later=later, name=name)


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
    else:
        step = rng.randint(2, 4) if level == MEDIUM else rng.randint(5, 20)
        side = in_words(step)
    forms = FORMS.calendar["next" if level == EASY else unit]
    answer = cycle[(place + step) % len(cycle)]
    wrong = other(rng, cycle, answer, start)
    return draft(rng, level, forms, answer, wrong, unit=unit, start=start, side=side, name=rng.choice(WORDS.names))
