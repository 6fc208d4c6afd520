"""Tasks of the demo set about numbers: sums, order, sequences, other ways to write them, lines of Python."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, capital, draft, fill, listed, near, other, swapped
from engine.data.demo.grammar import plural
from engine.data.demo.words import FORMS, WORDS

ROMAN = {100: "C", 90: "XC", 50: "L", 40: "XL", 10: "X", 9: "IX", 5: "V", 4: "IV", 1: "I"}


def in_words(number: int) -> str:
    """A number from 0 to 999 in English words."""
    if number < 20:
        return WORDS.ones[number]
    if number < 100:
        return WORDS.tens[number // 10] + (f"-{WORDS.ones[number % 10]}" if number % 10 else "")
    rest = f" and {in_words(number % 100)}" if number % 100 else ""
    return f"{WORDS.ones[number // 100]} hundred{rest}"


def roman(number: int) -> str:
    """A number from 1 to 399 in Roman numerals."""
    text = ""
    for value, sign in ROMAN.items():
        text += sign * (number // value)
        number %= value
    return text


def addition(rng: Random) -> Draft:
    """Add two numbers of one to three digits."""
    level = rng.choice(LEVELS)
    one, two = (_number(rng, level) for _ in range(2))
    return draft(rng, level, FORMS.addition, one + two, near(rng, one + two), one=one, two=two)


def subtraction(rng: Random) -> Draft:
    """Take one number from a larger one."""
    level = rng.choice(LEVELS)
    two, one = sorted(_number(rng, level) for _ in range(2))
    return draft(rng, level, FORMS.subtraction, one - two, near(rng, one - two), one=one, two=two)


def multiplication(rng: Random) -> Draft:
    """Multiply: the tables up to ten, then two digits by one."""
    level = rng.choice(LEVELS)
    one = {EASY: rng.choice((2, 5, 10)), MEDIUM: rng.randint(3, 9), HARD: rng.randint(11, 39)}[level]
    two = rng.randint(2, 9 if level == HARD else 12)
    return draft(rng, level, FORMS.multiplication, one * two, near(rng, one * two), one=one, two=two)


def _number(rng: Random, level: str) -> int:
    return rng.randint(*{EASY: (1, 9), MEDIUM: (10, 99), HARD: (100, 499)}[level])


def comparison(rng: Random) -> Draft:
    """Which number is larger or smaller; even or odd."""
    level = rng.choice(LEVELS)
    if level == EASY and rng.random() < 0.4:
        number = rng.randint(1, 199)
        parity, slip = ("even", "odd") if number % 2 == 0 else ("odd", "even")
        return draft(rng, level, FORMS.comparison["parity"], parity, slip, number=number)
    count = {EASY: 2, MEDIUM: 3, HARD: 4}[level]
    numbers = rng.sample(range(1, 100) if level == EASY else range(1, 1000), count)
    large, small = ("larger", "smaller") if count == 2 else ("largest", "smallest")
    which, answer = rng.choice(((large, max(numbers)), (small, min(numbers))))
    wrong = other(rng, numbers, answer)
    return draft(rng, level, FORMS.comparison["size"], answer, wrong, numbers=listed(numbers), which=which)


def sorting(rng: Random) -> Draft:
    """Sort three to five numbers, upwards or downwards."""
    level = rng.choice((MEDIUM, HARD))
    numbers = rng.sample(range(1, 100), 3 if level == MEDIUM else 5)
    down = rng.random() < 0.35
    ordered = sorted(numbers, reverse=down)
    wrong = swapped(rng, ordered)
    how = "from large to small" if down else "from small to large"
    return draft(rng, level, FORMS.sorting, listed(ordered), listed(wrong), numbers=listed(numbers), how=how)


def sequences(rng: Random) -> Draft:
    """Continue a sequence: equal steps, then doubling, squares, and sums of the two before."""
    level = rng.choice(LEVELS)
    start = rng.randint(1, 30)
    if level == HARD:
        rule = rng.choice(("doubling", "squares", "sums"))
        if rule == "doubling":
            first = rng.randint(1, 15)
            terms = [first * 2**power for power in range(5)]
        elif rule == "squares":
            first = rng.randint(1, 12)
            terms = [(first + step) ** 2 for step in range(5)]
        else:
            terms = [rng.randint(1, 9), rng.randint(1, 9)]
            while len(terms) < 5:
                terms.append(terms[-1] + terms[-2])
    else:
        step = rng.choice((1, 2, 5, 10)) if level == EASY else rng.choice((3, 4, 6, 7, 8, 9, -2, -3, -4))
        terms = [start + (40 if step < 0 else 0) + step * place for place in range(5)]
    *shown, answer = terms
    return draft(rng, level, FORMS.sequences, answer, near(rng, answer), shown=listed(shown))


def number_words(rng: Random) -> Draft:
    """Numbers in words, and back."""
    level = rng.choice(LEVELS)
    number = rng.randint(*{EASY: (0, 20), MEDIUM: (21, 99), HARD: (100, 999)}[level])
    wrong = near(rng, number) if number < 985 else number - 10
    if rng.random() < 0.5:
        return draft(rng, level, FORMS.number_words["words"], in_words(number), in_words(wrong), number=number)
    return draft(rng, level, FORMS.number_words["digits"], number, wrong, words=in_words(number))


def roman_numerals(rng: Random) -> Draft:
    """Roman numerals up to 199, and back."""
    level = rng.choice((MEDIUM, HARD))
    number = rng.randint(*{MEDIUM: (1, 30), HARD: (31, 199)}[level])
    wrong = near(rng, number) or number + 1
    if rng.random() < 0.6:
        return draft(rng, level, FORMS.roman_numerals["roman"], roman(number), roman(wrong), number=number)
    return draft(rng, level, FORMS.roman_numerals["digits"], number, wrong, text=roman(number))


def word_problems(rng: Random) -> Draft:
    """A sum told as a little story, in one step or two."""
    level = rng.choice(LEVELS)
    name, friend = rng.sample(WORDS.names, 2)
    things = plural(rng.choice((*WORDS.kinds["fruit"], *WORDS.kinds["vegetable"], "book", "letter")))
    one, two, three = rng.randint(3, 9), rng.randint(2, 9), rng.randint(1, 4)
    if level != EASY:
        one, two = one + rng.randint(3, 12), two + rng.randint(1, 6)
    if level == HARD:
        kind, answer = "both", one + two - three
    elif rng.random() < 0.5:
        kind, answer = "more", one + two
    else:
        one, two = max(one, two) + 2, min(one, two)
        kind, answer = "fewer", one - two
    fields = {"name": name, "friend": friend, "things": things, "one": one, "two": two, "three": three}
    story, ask = (fill(text, **fields) for text in FORMS.word_problems[kind])
    forms = FORMS.word_problems["forms"]
    return draft(rng, level, forms, answer, near(rng, answer), story=story, ask=ask, **fields)


def python_lines(rng: Random) -> Draft:
    """What a line of Python prints."""
    level = rng.choice((MEDIUM, HARD))
    one, two, three = sorted(rng.sample(range(2, 13), 3))
    shuffled = rng.sample((one, two, three), 3)
    word, tail = rng.sample([word for words in WORDS.kinds.values() for word in words], 2)
    if level == MEDIUM:
        lines: list[tuple[str, object, object]] = [
            (f"{one} + {two}", one + two, near(rng, one + two)),
            (f"'{word}' + '{tail}'", word + tail, tail + word),
            (f"'{word[:2]}' * {three % 3 + 2}", word[:2] * (three % 3 + 2), word[:2] * (three % 3 + 3)),
            (f"max({listed(shuffled)})", three, rng.choice((one, two))),
        ]
    else:
        lines = [
            (f"len('{word}')", len(word), len(word) + rng.choice((-1, 1))),
            (f"sorted({shuffled})", [one, two, three], rng.choice(([two, one, three], [three, two, one]))),
            (f"'{word}'.upper()", word.upper(), capital(word)),
            (f"'{word}'[0]", word[0], word[-1]),
            (f"{two} * {three} - {one}", two * three - one, near(rng, two * three - one)),
        ]
        lines[3] = lines[3] if lines[3][1] != lines[3][2] else lines[0]
    line, answer, wrong = rng.choice(lines)
    return draft(rng, level, FORMS.python_lines, answer, wrong, line=line)
