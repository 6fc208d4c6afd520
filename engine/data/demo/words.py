"""The words of the demo set, and the few rules of English grammar its sentences need.

There are few words on purpose: nearly all become single tokens, so that small models learn them within a minute.
Long tables are unpacked line by line (`*(...)`), which keeps them short.
"""

NAMES = ("Mira", "Tom", "Lena", "Otto", "Kofi", "Yuki", "Omar", "Nora", "Zoë", "José", "Ravi", "Ella")
COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "brown", "black", "white", "grey", "pink")
THINGS = (
    *("kite", "boat", "lamp", "drum", "scarf", "bike", "clock", "hat", "violin", "umbrella", "ladder"),
    *("lantern", "ring", "map", "bell"),
)
PLACES = ("harbour", "market", "library", "castle", "bakery", "station", "museum", "bridge", "café", "park")
ROLES = ("baker", "farmer", "teacher", "sailor", "doctor", "painter", "king", "driver", "nurse", "singer")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

KINDS: dict[str, tuple[str, ...]] = {
    "animal": ("fox", "owl", "horse", "rabbit", "goat", "whale", "penguin", "wolf"),
    "fruit": ("apple", "pear", "plum", "cherry", "lemon", "peach", "grape", "melon"),
    "vegetable": ("carrot", "onion", "potato", "cabbage", "leek", "pumpkin"),
    "tool": ("hammer", "saw", "drill", "spade", "needle", "knife"),
    "garment": ("coat", "scarf", "glove", "shirt", "hat", "dress"),
    "vehicle": ("bus", "train", "truck", "bike", "ferry", "plane"),
    "instrument": ("drum", "violin", "flute", "harp", "piano", "guitar"),
    "building": ("church", "barn", "castle", "school", "bakery", "library"),
}

ADJECTIVES: dict[str, tuple[str, str]] = {  # comparative, superlative
    "old": ("older", "oldest"),
    "big": ("bigger", "biggest"),
    "happy": ("happier", "happiest"),
    "quiet": ("quieter", "quietest"),
    "hot": ("hotter", "hottest"),
    "cold": ("colder", "coldest"),
    "heavy": ("heavier", "heaviest"),
    "strong": ("stronger", "strongest"),
    "large": ("larger", "largest"),
    "brave": ("braver", "bravest"),
    "dark": ("darker", "darkest"),
}
IRREGULAR_ADJECTIVES: dict[str, tuple[str, str]] = {
    "good": ("better", "best"),
    "bad": ("worse", "worst"),
    "little": ("less", "least"),
    "many": ("more", "most"),
}

REGULAR_NOUNS = (
    *("lamp", "window", "horse", "apple", "box", "bus", "church", "fox", "city", "ferry", "cherry", "key"),
    *("boat", "clock", "dress", "bakery", "drum", "coat"),
)
IRREGULAR_NOUNS: dict[str, str] = {
    **{"mouse": "mice", "goose": "geese", "foot": "feet", "tooth": "teeth", "child": "children"},
    **{"man": "men", "woman": "women", "sheep": "sheep", "deer": "deer", "scarf": "scarves"},
    **{"leaf": "leaves", "knife": "knives", "wolf": "wolves", "loaf": "loaves", "shelf": "shelves"},
    **{"thief": "thieves", "potato": "potatoes"},
}

REGULAR_VERBS = (
    *("walk", "jump", "paint", "cook", "help", "open", "wash", "push", "carry", "try", "play", "stop", "plan"),
    *("clap", "love", "dance", "bake", "smile", "talk", "climb"),
)
DOUBLING = ("stop", "plan", "clap")
IRREGULAR_VERBS: dict[str, str] = {
    **{"go": "went", "eat": "ate", "see": "saw", "take": "took", "give": "gave", "find": "found"},
    **{"write": "wrote", "break": "broke", "buy": "bought", "think": "thought", "catch": "caught"},
    **{"sing": "sang", "swim": "swam", "run": "ran", "drink": "drank", "fly": "flew", "draw": "drew"},
    **{"sleep": "slept", "build": "built", "sell": "sold", "lose": "lost", "speak": "spoke"},
}

OPPOSITES = (  # the third word is something that can be either
    *(("hot", "cold", "soup"), ("big", "small", "box"), ("old", "new", "coat"), ("fast", "slow", "train")),
    *(("full", "empty", "cup"), ("wet", "dry", "shirt"), ("rich", "poor", "king"), ("early", "late", "bus")),
    *(("loud", "quiet", "drum"), ("heavy", "light", "box"), ("open", "closed", "door")),
    *(("strong", "weak", "horse"), ("clean", "dirty", "window"), ("high", "low", "wall")),
    *(("happy", "sad", "story"), ("sweet", "sour", "apple"), ("long", "short", "letter")),
    *(("cheap", "expensive", "bike"), ("safe", "dangerous", "bridge"), ("bright", "dark", "lamp")),
)

RHYMES = (
    *(("cat", "hat", "mat"), ("moon", "spoon", "noon"), ("light", "night", "kite"), ("bear", "chair", "pear")),
    *(("house", "mouse"), ("tree", "bee", "key"), ("ring", "king", "wing"), ("rain", "train", "plane")),
    *(("goat", "boat", "coat"), ("fox", "box", "socks"), ("book", "hook", "cook"), ("bell", "shell", "well")),
)

ACTIONS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (  # verb, past, participle, what it is done to
    ("bake", "baked", "baked", ("bread", "cake", "pie")),
    ("paint", "painted", "painted", ("wall", "door", "boat")),
    ("carry", "carried", "carried", ("ladder", "box", "drum")),
    ("find", "found", "found", ("key", "letter", "ring", "map")),
    ("write", "wrote", "written", ("letter", "song", "story")),
    ("break", "broke", "broken", ("cup", "window", "lamp")),
    ("build", "built", "built", ("boat", "tower", "wall", "bridge")),
    ("open", "opened", "opened", ("door", "window", "box", "letter")),
    ("sell", "sold", "sold", ("horse", "boat", "coat", "clock")),
    ("wash", "washed", "washed", ("window", "cup", "coat")),
    ("draw", "drew", "drawn", ("map", "horse", "tower")),
    ("eat", "ate", "eaten", ("cake", "pear", "soup", "apple")),
    ("hide", "hid", "hidden", ("key", "ring", "map")),
    ("feed", "fed", "fed", ("horse", "goat", "rabbit")),
)


def plural(noun: str) -> str:
    """The plural of a noun: irregular ones by the table, the others by the rules of spelling."""
    if noun in IRREGULAR_NOUNS:
        return IRREGULAR_NOUNS[noun]
    return third_person(noun)  # boxes, berries, keys: nouns and verbs take their -s by the same rules


def third_person(verb: str) -> str:
    """The verb as it stands after he, she or it."""
    if verb.endswith(("s", "x", "ch", "sh", "z")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def past(verb: str) -> str:
    """The simple past of a verb: irregular ones by the table, the others by the rules of spelling."""
    if verb in IRREGULAR_VERBS:
        return IRREGULAR_VERBS[verb]
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + verb[-1] * (verb in DOUBLING) + "ed"
