"""Tasks of the demo set about words: their letters, their order, their forms."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, Forms, article, draft, listed, other
from engine.data.demo.grammar import past, plural
from engine.data.demo.words import WORDS

ANY_WORD = tuple(dict.fromkeys(word for words in (*WORDS.kinds.values(), WORDS.things, WORDS.roles) for word in words))


def copying(rng: Random) -> Draft:
    """Say a word, a list or a sentence again."""
    kind = rng.choice(("word", "list", "sentence"))
    name = rng.choice(WORDS.names)
    if kind == "word":
        word, wrong = rng.sample(ANY_WORD, 2)
        times, count = rng.choice((("twice", 2), ("three times", 3), ("four times", 4)))
        forms: Forms = (
            ("Repeat this word {times}.", "{word}", "{answer}"),
            ("Say {word} {times}.", "", "{answer}"),
            ("{name} says {word} {times}. What does one hear?", "", "One hears {answer}."),
        )
        answer, slip = (" ".join([one] * count) for one in (word, wrong))
        return draft(rng, EASY, forms, answer, slip, word=word, times=times, name=name)
    if kind == "list":
        words = rng.sample(ANY_WORD, rng.choice((3, 4)))
        wrong_words = words.copy()
        wrong_words[rng.randrange(len(words))] = other(rng, ANY_WORD, *words)
        forms = (
            ("Copy these words.", "{words}", "{answer}"),
            ("Write down the same list again.", "{words}", "{answer}"),
            ("Repeat after me: {words}.", "", "{answer}"),
        )
        return draft(rng, MEDIUM, forms, listed(words), listed(wrong_words), words=listed(words))
    role, place = rng.choice(WORDS.roles), rng.choice(WORDS.places)
    sentence, slip = (f"The {role} keeps the {thing} at the {place}." for thing in rng.sample(WORDS.things, 2))
    forms = (
        ("Copy this sentence.", "{sentence}", "{answer}"),
        ("Say it again: {sentence}", "", "{answer}"),
        ("Repeat what {name} says.", "{sentence}", "{answer}"),
    )
    return draft(rng, EASY, forms, sentence, slip, sentence=sentence, name=name)


def spelling(rng: Random) -> Draft:
    """Spell a word letter by letter, or put the letters together."""
    word = rng.choice(ANY_WORD)
    near_word = _misspelt(rng, word)
    level = EASY if len(word) <= 4 else MEDIUM if len(word) <= 6 else HARD
    dashed = "-".join(word)
    if rng.random() < 0.35:
        forms: Forms = (
            ("Which word do these letters spell?", "{dashed}", "{answer}"),
            ("Join the letters to a word: {dashed}.", "", "{answer}"),
        )
        return draft(rng, level, forms, word, near_word, dashed=dashed)
    forms = (
        ("Spell the word {word}.", "", "{answer}"),
        ("Write this word with a dash between the letters.", "{word}", "{answer}"),
        ("How do you spell {word}?", "", "{answer}"),
    )
    return draft(rng, level, forms, dashed, "-".join(near_word), word=word)


def reversal(rng: Random) -> Draft:
    """Write a word backwards, or a list of words in reverse order."""
    if rng.random() < 0.5:
        words = rng.sample(ANY_WORD, rng.choice((3, 4)))
        wrong_words = rng.sample(words, len(words))
        while wrong_words == words[::-1]:
            wrong_words = rng.sample(words, len(words))
        forms: Forms = (
            ("Reverse the order of these words.", "{words}", "{answer}"),
            ("Say this list from back to front.", "{words}", "{answer}"),
        )
        return draft(rng, MEDIUM, forms, " ".join(words[::-1]), " ".join(wrong_words), words=" ".join(words))
    word = rng.choice(ANY_WORD)
    forms = (
        ("Write {word} backwards.", "", "{answer}"),
        ("Reverse the letters of this word.", "{word}", "{answer}"),
        ("Read this word from right to left.", "{word}", "{answer}"),
    )
    level = MEDIUM if len(word) <= 4 else HARD
    return draft(rng, level, forms, word[::-1], _misspelt(rng, word)[::-1], word=word)


def _misspelt(rng: Random, word: str) -> str:
    """The word with one letter replaced by another."""
    spot = rng.randrange(len(word))
    return word[:spot] + other(rng, "abcdefghiklmnoprstuw", word[spot]) + word[spot + 1 :]


def letters(rng: Random) -> Draft:
    """Name the first or last letter of a word, or count letters."""
    level = rng.choice(LEVELS)
    word = rng.choice(ANY_WORD)
    if level == EASY:
        which, answer = rng.choice((("first", word[0]), ("last", word[-1])))
        wrong = other(rng, "abcdeghilmnoprst", answer)
        forms: Forms = (
            ("What is the {which} letter of {word}?", "", "{answer}"),
            ("Give me the {which} letter of this word.", "{word}", "{answer}"),
            ("With which letter does {word} {verb}?", "", "It {third} with {answer}."),
        )
        verb = "begin" if which == "first" else "end"
        return draft(rng, level, forms, answer, wrong, word=word, which=which, verb=verb, third=f"{verb}s")
    if level == MEDIUM:
        forms = (
            ("How many letters are in the word {word}?", "", "{word} has {answer} letters."),
            ("Count the letters.", "{word}", "{answer}"),
            ("How long is this word?", "{word}", "{answer} letters"),
        )
        return draft(rng, level, forms, len(word), _near_count(rng, len(word)), word=word)
    letter = rng.choice(word) if rng.random() < 0.7 else rng.choice("aeiost")
    forms = (
        ("How many times does {letter} occur in {word}?", "", "{answer}"),
        ("Count the letter {letter} in this word.", "{word}", "{answer}"),
    )
    count = word.count(letter)
    return draft(rng, level, forms, count, _near_count(rng, count), word=word, letter=letter)


def _near_count(rng: Random, count: int) -> int:
    return other(rng, range(max(0, count - 2), count + 3), count)


def alphabet(rng: Random) -> Draft:
    """Put words in alphabetical order."""
    level = rng.choice(LEVELS)
    words = rng.sample(ANY_WORD, {EASY: 2, MEDIUM: 3, HARD: 4}[level])
    ordered = sorted(words)
    if level == EASY:
        forms: Forms = (
            ("Which word comes first in the alphabet, {one} or {two}?", "", "{answer}"),
            ("Which of these words would a dictionary list first?", "{one}, {two}", "{answer}"),
        )
        return draft(rng, level, forms, ordered[0], ordered[1], one=words[0], two=words[1])
    wrong = ordered.copy()
    one, two = rng.sample(range(len(words)), 2)
    wrong[one], wrong[two] = wrong[two], wrong[one]
    forms = (
        ("Sort these words by the alphabet.", "{words}", "{answer}"),
        ("Put the words into alphabetical order.", "{words}", "{answer}"),
        ("List {words} in alphabetical order.", "", "{answer}"),
    )
    return draft(rng, level, forms, listed(ordered), listed(wrong), words=listed(words))


def word_forms(rng: Random) -> Draft:
    """Plurals, past tenses, comparatives and superlatives, regular and irregular."""
    kind = rng.choice(("plural", "past", "degree"))
    irregular = rng.random() < 0.45
    level = MEDIUM if irregular else EASY
    if kind == "plural":
        word = rng.choice(tuple(WORDS.irregular_nouns) if irregular else WORDS.regular_nouns)
        answer = plural(word)
        wrong = rng.choice([form for form in (f"{word}s", f"{word}es", f"{word}en") if form != answer])
        forms: Forms = (
            ("What is the plural of {word}?", "", "The plural of {word} is {answer}."),
            ("Write this noun in the plural.", "{word}", "{answer}"),
            ("One {word}, two ...?", "", "two {answer}"),
            (
                "Fill the gap.",
                "I see one {word}, but you see many ___.",
                "I see one {word}, but you see many {answer}.",
            ),
        )
        return draft(rng, level, forms, answer, wrong, word=word)
    if kind == "past":
        word = rng.choice(tuple(WORDS.irregular_verbs) if irregular else WORDS.regular_verbs)
        answer = past(word)
        wrong = rng.choice([form for form in (f"{word}ed", f"{word}t", f"{word}en") if form != answer])
        forms = (
            ("What is the past tense of {word}?", "", "The past tense of {word} is {answer}."),
            ("Put this verb into the past.", "{word}", "{answer}"),
            ("Today I {word}. What did I do yesterday?", "", "Yesterday I {answer}."),
            ("Fill the gap.", "Today we {word}, yesterday we ___.", "Today we {word}, yesterday we {answer}."),
        )
        return draft(rng, level, forms, answer, wrong, word=word)
    table = WORDS.irregular_adjectives if irregular else WORDS.adjectives
    word = rng.choice(tuple(table))
    comparative, superlative = table[word]
    degree, answer = rng.choice((("comparative", comparative), ("superlative", superlative)))
    wrong = other(rng, (comparative, superlative, f"{word}er", f"more {word}"), answer)
    forms = (
        ("What is the {degree} of {word}?", "", "The {degree} of {word} is {answer}."),
        ("Give the {degree} of this adjective.", "{word}", "{answer}"),
    )
    return draft(rng, MEDIUM, forms, answer, wrong, word=word, degree=degree)


def opposites(rng: Random) -> Draft:
    """The opposite of an adjective, alone or in a sentence."""
    *pair, thing = rng.choice(WORDS.opposites)
    word, answer = rng.sample(pair, 2)
    wrong = other(rng, [adjective for *both, _ in WORDS.opposites for adjective in both], word, answer)
    if rng.random() < 0.6:
        forms: Forms = (
            ("What is the opposite of {word}?", "", "{answer}"),
            ("Give the opposite.", "{word}", "{answer}"),
            ("Not {word}, but ...?", "", "Not {word}, but {answer}."),
            ("{name} wants to know the opposite of {word}.", "", "{answer}"),
            ("Which word means the opposite of {word}?", "", "The opposite of {word} is {answer}."),
        )
        return draft(rng, EASY, forms, answer, wrong, word=word, name=rng.choice(WORDS.names))
    forms = (
        ("Replace the adjective with its opposite.", "The {thing} is {word}.", "The {thing} is {answer}."),
        ("Say the opposite.", "This {thing} is {word}.", "This {thing} is {answer}."),
    )
    return draft(rng, MEDIUM, forms, answer, wrong, word=word, thing=thing)


def rhymes(rng: Random) -> Draft:
    """Choose the word that rhymes."""
    group, *others = rng.sample(WORDS.rhymes, 3)
    word, answer = rng.sample(group, 2)
    decoys = [rng.choice(words) for words in others]
    level, shown = (EASY, [answer, decoys[0]]) if rng.random() < 0.5 else (MEDIUM, [answer, *decoys])
    rng.shuffle(shown)
    forms = (
        ("Which word rhymes with {word}?", "{shown}", "{answer}"),
        ("Find the rhyme for {word}: {shown}.", "", "{word} rhymes with {answer}."),
        ("What rhymes with {word}?", "{shown}", "{word} and {answer}"),
    )
    return draft(rng, level, forms, answer, decoys[0], word=word, shown=listed(shown))


def categories(rng: Random) -> Draft:
    """What kind of thing is this? Which one does not belong?"""
    level = rng.choice(LEVELS)
    kind, other_kind = rng.sample(tuple(WORDS.kinds), 2)
    word = rng.choice(WORDS.kinds[kind])
    if level == EASY:
        forms: Forms = (
            ("What kind of thing is {a_word}?", "", "{a_word} is {answer}."),
            ("Is {a_word} {choice}?", "", "It is {answer}."),
            ("Name the category.", "{word}", "{answer}"),
        )
        choice = " or ".join(article(one) for one in rng.sample((kind, other_kind), 2))
        return draft(
            rng, level, forms, article(kind), article(other_kind), word=word, a_word=article(word), choice=choice
        )
    if level == MEDIUM:
        asked = rng.choice((kind, other_kind))
        forms = (("Is {a_word} {a_kind}?", "", "{answer}"), ("Would you call {a_word} {a_kind}?", "", "{answer}"))
        yes, no = f"Yes, {article(word)} is {article(asked)}.", f"No, {article(word)} is "
        answer, wrong = (yes, no + f"{article(other_kind)}.") if asked == kind else (no + f"{article(kind)}.", yes)
        return draft(rng, level, forms, answer, wrong, a_word=article(word), a_kind=article(asked))
    words = [*rng.sample(WORDS.kinds[kind], 3), rng.choice(WORDS.kinds[other_kind])]
    odd = words[-1]
    wrong = rng.choice(words[:-1])
    rng.shuffle(words)
    forms = (
        ("Which word does not belong?", "{words}", "{answer}"),
        ("Find the odd one out.", "{words}", "{answer}"),
        ("One of these is not {a_kind}. Which one?", "{words}", "The {answer} is not {a_kind}."),
    )
    return draft(rng, level, forms, odd, wrong, words=listed(words), a_kind=article(kind))
