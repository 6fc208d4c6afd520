"""The few rules of English grammar that the demo set's sentences need."""

from engine.data.demo.words import WORDS


def plural(noun: str) -> str:
    """The plural of a noun: irregular ones by the table, the others by the rules of spelling."""
    return WORDS.irregular_nouns.get(noun) or third_person(
        noun
    )  # boxes, berries, keys: nouns and verbs take their -s by the same rules


def third_person(verb: str) -> str:
    """The verb as it stands after he, she or it."""
    if verb.endswith(("s", "x", "ch", "sh", "z")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def past(verb: str) -> str:
    """The simple past of a verb: irregular ones by the table, the others by the rules of spelling."""
    if verb in WORDS.irregular_verbs:
        return WORDS.irregular_verbs[verb]
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + verb[-1] * (verb in WORDS.doubling) + "ed"
