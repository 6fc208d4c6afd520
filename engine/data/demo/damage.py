"""How a known share of the demo's answers is corrupted, so that one can see which damage a score finds."""

from random import Random

from engine.data.demo.draft import Draft, Writer, other

KINDS_OF_DAMAGE = ("truncated", "garbled", "off topic", "swapped", "wrong answer")
"""The kinds of corruption; those that only long answers can suffer come first."""

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def garble(rng: Random, text: str) -> str:
    """Noise: in about two words of three the letters are mixed, or a neighbouring key was hit."""
    words = text.split(" ")
    while (garbled := [_garbled_word(rng, word) for word in words]) == words:
        continue
    return " ".join(garbled)


def _garbled_word(rng: Random, word: str) -> str:
    letters = [place for place, sign in enumerate(word) if sign.isalpha()]
    if len(letters) < 2 or rng.random() < 1 / 3:
        return word
    signs = list(word)
    if rng.random() < 0.5:
        mixed = rng.sample(letters, len(letters))
        for place, source in zip(letters, mixed, strict=True):
            signs[place] = word[source]
    else:
        for place in rng.sample(letters, max(1, len(letters) // 3)):
            signs[place] = _neighbour_key(rng, word[place])
    return "".join(signs)


def _neighbour_key(rng: Random, sign: str) -> str:
    for row in (*KEYBOARD, *map(str.upper, KEYBOARD)):
        if sign in row:
            place = row.index(sign)
            return other(rng, row[max(0, place - 1) : place + 2], sign)
    return rng.choice("qwxz")


def truncate(rng: Random, text: str) -> str:
    """The text broken off in the middle of a word, somewhere in its second half if possible."""
    return text[: rng.choice(_breaks(text))]


def _breaks(text: str) -> list[int]:
    breaks = [place for place in range(2, len(text)) if text[place - 1].isalpha() and text[place].isalpha()]
    return [place for place in breaks if 2 * place >= len(text)] or breaks


def can_suffer(kind: str, draft: Draft) -> bool:
    """Whether the answer is long enough for the damage to be seen as such."""
    longest = max(sum(sign.isalpha() for sign in word) for word in draft.response.split(" "))
    return {"garbled": longest >= 4, "truncated": longest >= 4 and bool(_breaks(draft.response))}.get(kind, True)


def damage(rng: Random, kind: str, draft: Draft, same_task: Writer, other_task: Writer) -> str:
    """The corrupted answer of a draft.

    If it is the right answer of another question, `same_task` or `other_task` writes that question. One of the
    same task is written until its topic differs, so that its answer is wrong here.
    """
    if kind == "garbled":
        return garble(rng, draft.response)
    if kind == "truncated":
        return truncate(rng, draft.response)
    if kind == "wrong answer":
        return draft.wrong
    if kind == "off topic":
        return other_task(rng).response
    donor = same_task(rng)
    while donor.topic == draft.topic or donor.response == draft.response:
        donor = same_task(rng)
    return donor.response
