"""Tasks of the demo set about words: their letters, their order, their forms."""

from random import Random

from engine.data.demo.draft import EASY, HARD, LEVELS, MEDIUM, Draft, article, draft, listed, other, swapped
from engine.data.demo.grammar import past, plural
from engine.data.demo.words import FORMS, WORDS

ANY_WORD = tuple(dict.fromkeys(word for words in (*WORDS.kinds.values(), WORDS.things, WORDS.roles) for word in words))


def copying(rng: Random) -> Draft:
    """Say a word, a list or a sentence again."""
    kind = rng.choice(("word", "list", "sentence"))
    forms, name = FORMS.copying[kind], rng.choice(WORDS.names)
    if kind == "word":
        words = rng.sample(ANY_WORD, 2)
        times, count = rng.choice((("twice", 2), ("three times", 3), ("four times", 4)))
        answer, wrong = (" ".join([word] * count) for word in words)
        return draft(rng, EASY, forms, answer, wrong, word=words[0], times=times, name=name)
    if kind == "list":
        words = rng.sample(ANY_WORD, rng.choice((3, 4)))
        wrong_words = words.copy()
        wrong_words[rng.randrange(len(words))] = other(rng, ANY_WORD, *words)
        return draft(rng, MEDIUM, forms, listed(words), listed(wrong_words), words=listed(words))
    role, place = rng.choice(WORDS.roles), rng.choice(WORDS.places)
    sentence, wrong = (f"The {role} keeps the {thing} at the {place}." for thing in rng.sample(WORDS.things, 2))
    return draft(rng, EASY, forms, sentence, wrong, sentence=sentence, name=name)


def spelling(rng: Random) -> Draft:
    """Spell a word letter by letter, or put the letters together."""
    word = rng.choice(ANY_WORD)
    near_word = _misspelt(rng, word)
    level = EASY if len(word) <= 4 else MEDIUM if len(word) <= 6 else HARD
    if rng.random() < 0.35:
        return draft(rng, level, FORMS.spelling["join"], word, near_word, dashed="-".join(word))
    return draft(rng, level, FORMS.spelling["split"], "-".join(word), "-".join(near_word), word=word)


def reversal(rng: Random) -> Draft:
    """Write a word backwards, or a list of words in reverse order."""
    if rng.random() < 0.5:
        words = rng.sample(ANY_WORD, rng.choice((3, 4)))
        wrong_words = rng.sample(words, len(words))
        while wrong_words == words[::-1]:
            wrong_words = rng.sample(words, len(words))
        answer, wrong = " ".join(words[::-1]), " ".join(wrong_words)
        return draft(rng, MEDIUM, FORMS.reversal["list"], answer, wrong, words=" ".join(words))
    word = rng.choice(ANY_WORD)
    level = MEDIUM if len(word) <= 4 else HARD
    return draft(rng, level, FORMS.reversal["word"], word[::-1], _misspelt(rng, word)[::-1], word=word)


def _misspelt(rng: Random, word: str) -> str:
    """The word with one letter replaced by another."""
    spot = rng.randrange(len(word))
    return word[:spot] + other(rng, "abcdefghiklmnoprstuw", word[spot]) + word[spot + 1 :]


def letters(rng: Random) -> Draft:
    """Name the first or last letter of a word, or count letters."""
    level = rng.choice(LEVELS)
    forms, word = FORMS.letters[level], rng.choice(ANY_WORD)
    if level == EASY:
        which, verb, answer = rng.choice((("first", "begin", word[0]), ("last", "end", word[-1])))
        wrong = other(rng, "abcdeghilmnoprst", answer)
        return draft(rng, level, forms, answer, wrong, word=word, which=which, verb=verb)
    if level == MEDIUM:
        return draft(rng, level, forms, len(word), _near_count(rng, len(word)), word=word)
    letter = rng.choice(word) if rng.random() < 0.7 else rng.choice("aeiost")
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
        return draft(rng, level, FORMS.alphabet["first"], *ordered, words=words, listed=listed(words))
    wrong = swapped(rng, ordered)
    return draft(rng, level, FORMS.alphabet["order"], listed(ordered), listed(wrong), listed=listed(words))


def word_forms(rng: Random) -> Draft:
    """Plurals, past tenses, comparatives and superlatives, regular and irregular."""
    kind = rng.choice(("plural", "past", "degree"))
    forms, irregular = FORMS.word_forms[kind], rng.random() < 0.45
    if kind == "degree":
        table = WORDS.irregular_adjectives if irregular else WORDS.adjectives
        word = rng.choice(tuple(table))
        degree, answer = rng.choice(tuple(zip(("comparative", "superlative"), table[word], strict=True)))
        wrong = other(rng, (*table[word], f"{word}er", f"more {word}"), answer)
        return draft(rng, MEDIUM, forms, answer, wrong, word=word, degree=degree)
    if kind == "plural":
        words, endings = WORDS.irregular_nouns if irregular else WORDS.regular_nouns, ("s", "es", "en")
    else:
        words, endings = WORDS.irregular_verbs if irregular else WORDS.regular_verbs, ("ed", "t", "en")
    word = rng.choice(tuple(words))
    answer = plural(word) if kind == "plural" else past(word)
    wrong = other(rng, [word + ending for ending in endings], answer)
    return draft(rng, MEDIUM if irregular else EASY, forms, answer, wrong, word=word)


def opposites(rng: Random) -> Draft:
    """The opposite of an adjective, alone or in a sentence."""
    *pair, thing = rng.choice(WORDS.opposites)
    word, answer = rng.sample(pair, 2)
    wrong = other(rng, [adjective for *both, _ in WORDS.opposites for adjective in both], word, answer)
    if rng.random() < 0.6:
        return draft(rng, EASY, FORMS.opposites["word"], answer, wrong, word=word, name=rng.choice(WORDS.names))
    return draft(rng, MEDIUM, FORMS.opposites["sentence"], answer, wrong, word=word, thing=thing)


def rhymes(rng: Random) -> Draft:
    """Choose the word that rhymes."""
    group, *others = rng.sample(WORDS.rhymes, 3)
    word, answer = rng.sample(group, 2)
    decoys = [rng.choice(words) for words in others]
    level, shown = (EASY, [answer, decoys[0]]) if rng.random() < 0.5 else (MEDIUM, [answer, *decoys])
    rng.shuffle(shown)
    return draft(rng, level, FORMS.rhymes, answer, decoys[0], word=word, shown=listed(shown))


def categories(rng: Random) -> Draft:
    """What kind of thing is this? Which one does not belong?"""
    level = rng.choice(LEVELS)
    kinds = rng.sample(tuple(WORDS.kinds), 2)
    forms, word = FORMS.categories[level], rng.choice(WORDS.kinds[kinds[0]])
    if level == EASY:
        return draft(rng, level, forms, *map(article, kinds), word=word, choice=rng.sample(kinds, 2))
    if level == MEDIUM:
        asked = rng.choice(kinds)
        yes, no = "Yes, a/an {word} is a/an {asked}.", "No, a/an {word} is a/an {another}."
        answer, wrong = (yes, no) if asked == kinds[0] else (no, yes)
        return draft(rng, level, forms, answer, wrong, word=word, asked=asked, another=kinds[asked == kinds[0]])
    words = [*rng.sample(WORDS.kinds[kinds[0]], 3), rng.choice(WORDS.kinds[kinds[1]])]
    odd, wrong = words[-1], rng.choice(words[:-1])
    rng.shuffle(words)
    return draft(rng, level, forms, odd, wrong, words=listed(words), kind=kinds[0])
