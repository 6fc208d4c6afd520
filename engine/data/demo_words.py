"""The words of the demo set, and the few rules of English grammar its sentences need."""

NAMES = (
    *("Mira", "Tom", "Lena", "Otto", "Ines", "Kofi", "Yuki", "Omar", "Nora", "Pavel"),
    *("Zoë", "José", "Ravi", "Ella", "Hugo", "Sami", "Ivy", "Finn", "Amara", "Chloé"),
)
COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "brown", "black", "white", "grey", "pink")
THINGS = (
    *("kite", "boat", "lamp", "drum", "scarf", "bike", "clock", "chair", "coat", "hat", "violin", "basket"),
    *("umbrella", "ladder", "lantern", "ring", "cup", "map", "bell", "box"),
)
PLACES = (
    *("harbour", "market", "library", "castle", "garden", "bakery", "station", "mill"),
    *("museum", "bridge", "café", "park"),
)
ROLES = (
    *("baker", "farmer", "teacher", "sailor", "doctor", "painter", "gardener", "king"),
    *("driver", "nurse", "singer", "tailor"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

KINDS: dict[str, tuple[str, ...]] = {
    "animal": ("fox", "owl", "horse", "rabbit", "goat", "whale", "spider", "penguin", "mouse", "wolf", "goose"),
    "fruit": ("apple", "pear", "plum", "cherry", "lemon", "peach", "grape", "melon", "fig", "mango"),
    "vegetable": ("carrot", "onion", "potato", "cabbage", "leek", "radish", "pumpkin", "turnip"),
    "tool": ("hammer", "saw", "drill", "spade", "rake", "needle", "knife", "axe"),
    "garment": ("coat", "scarf", "glove", "shirt", "sock", "hat", "dress", "jacket"),
    "vehicle": ("bus", "train", "tram", "truck", "bike", "ferry", "plane", "taxi"),
    "instrument": ("drum", "violin", "flute", "harp", "piano", "guitar", "trumpet", "cello"),
    "building": ("church", "barn", "castle", "school", "bakery", "library", "tower", "museum"),
}

ADJECTIVES: dict[str, tuple[str, str]] = {  # comparative, superlative
    "old": ("older", "oldest"),
    "big": ("bigger", "biggest"),
    "happy": ("happier", "happiest"),
    "small": ("smaller", "smallest"),
    "quiet": ("quieter", "quietest"),
    "hot": ("hotter", "hottest"),
    "cold": ("colder", "coldest"),
    "easy": ("easier", "easiest"),
    "heavy": ("heavier", "heaviest"),
    "thin": ("thinner", "thinnest"),
    "strong": ("stronger", "strongest"),
    "young": ("younger", "youngest"),
    "nice": ("nicer", "nicest"),
    "large": ("larger", "largest"),
    "sad": ("sadder", "saddest"),
    "busy": ("busier", "busiest"),
    "short": ("shorter", "shortest"),
    "brave": ("braver", "bravest"),
    "dark": ("darker", "darkest"),
    "soft": ("softer", "softest"),
}
IRREGULAR_ADJECTIVES: dict[str, tuple[str, str]] = {
    "good": ("better", "best"),
    "bad": ("worse", "worst"),
    "far": ("farther", "farthest"),
    "little": ("less", "least"),
    "many": ("more", "most"),
}

REGULAR_NOUNS = (
    *("lamp", "river", "window", "garden", "horse", "apple", "box", "bus", "church", "dish", "glass", "fox"),
    *("city", "baby", "berry", "lady", "key", "day", "toy", "boat", "chair", "table", "letter", "bridge"),
    *("watch", "brush", "story", "party", "tower", "candle", "drum", "basket", "ferry", "class", "onion"),
)
IRREGULAR_NOUNS: dict[str, str] = {
    **{"mouse": "mice", "goose": "geese", "foot": "feet", "tooth": "teeth", "child": "children"},
    **{"man": "men", "woman": "women", "sheep": "sheep", "deer": "deer", "scarf": "scarves"},
    **{"leaf": "leaves", "knife": "knives", "wolf": "wolves", "loaf": "loaves"},
    **{"shelf": "shelves", "half": "halves", "thief": "thieves", "potato": "potatoes", "tomato": "tomatoes"},
    **{"life": "lives", "wife": "wives"},
}

REGULAR_VERBS = (
    *("walk", "jump", "paint", "cook", "help", "open", "plant", "call", "wash", "push", "carry", "try", "play"),
    *("study", "stop", "plan", "clap", "love", "dance", "bake", "close", "smile", "move", "hope", "talk"),
    *("climb", "visit", "listen", "laugh", "cry", "drop", "hug", "enjoy", "repair"),
)
DOUBLING = ("stop", "plan", "clap", "drop", "hug")
IRREGULAR_VERBS: dict[str, str] = {
    **{"go": "went", "eat": "ate", "see": "saw", "take": "took", "give": "gave", "find": "found"},
    **{"write": "wrote", "break": "broke", "buy": "bought", "bring": "brought", "think": "thought"},
    **{"teach": "taught", "catch": "caught", "sing": "sang", "swim": "swam", "run": "ran", "begin": "began"},
    **{"drink": "drank", "know": "knew", "grow": "grew", "throw": "threw", "fly": "flew", "draw": "drew"},
    **{"sleep": "slept", "keep": "kept", "feel": "felt", "leave": "left", "lose": "lost", "build": "built"},
    **{"sell": "sold", "tell": "told", "stand": "stood", "speak": "spoke", "choose": "chose", "ride": "rode"},
}

OPPOSITES = (  # the third word is something that can be either
    *(("hot", "cold", "soup"), ("big", "small", "house"), ("old", "new", "coat"), ("fast", "slow", "train")),
    *(("full", "empty", "cup"), ("wet", "dry", "towel"), ("rich", "poor", "king"), ("early", "late", "bus")),
    *(("loud", "quiet", "street"), ("heavy", "light", "bag"), ("open", "closed", "door")),
    *(("strong", "weak", "rope"), ("clean", "dirty", "floor"), ("high", "low", "wall")),
    *(("thick", "thin", "book"), ("happy", "sad", "story"), ("hard", "soft", "bed"), ("sweet", "sour", "apple")),
    *(("long", "short", "road"), ("true", "false", "answer"), ("brave", "afraid", "sailor")),
    *(("cheap", "expensive", "hotel"), ("safe", "dangerous", "bridge"), ("deep", "shallow", "river")),
    *(("bright", "dark", "room"), ("smooth", "rough", "stone"), ("wide", "narrow", "path")),
)

RHYMES = (
    *(("cat", "hat", "mat"), ("moon", "spoon", "noon"), ("light", "night", "kite"), ("bear", "chair", "pear")),
    *(("house", "mouse"), ("tree", "bee", "key"), ("ring", "king", "wing"), ("rain", "train", "plane")),
    *(("goat", "boat", "coat"), ("fox", "box", "socks"), ("book", "hook", "cook"), ("bell", "shell", "well")),
    *(("cake", "lake", "snake"), ("sand", "hand", "band"), ("clock", "rock", "lock"), ("ball", "wall", "hall")),
)

ACTIONS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (  # verb, past, participle, what it is done to
    ("bake", "baked", "baked", ("bread", "cake", "pie")),
    ("paint", "painted", "painted", ("fence", "wall", "door", "boat")),
    ("carry", "carried", "carried", ("basket", "ladder", "box")),
    ("find", "found", "found", ("key", "coin", "letter", "ring")),
    ("write", "wrote", "written", ("letter", "song", "poem")),
    ("break", "broke", "broken", ("cup", "window", "chair", "plate")),
    ("build", "built", "built", ("boat", "tower", "wall", "bridge")),
    ("open", "opened", "opened", ("door", "window", "box", "gate")),
    ("sell", "sold", "sold", ("horse", "boat", "coat", "clock")),
    ("wash", "washed", "washed", ("window", "cup", "coat", "plate")),
    ("draw", "drew", "drawn", ("map", "horse", "house")),
    ("eat", "ate", "eaten", ("cake", "pear", "soup", "apple")),
    ("steal", "stole", "stolen", ("ring", "coin", "bike")),
    ("hide", "hid", "hidden", ("key", "ring", "coin")),
    ("catch", "caught", "caught", ("fish", "ball", "mouse")),
    ("feed", "fed", "fed", ("horse", "goat", "sheep")),
    ("repair", "repaired", "repaired", ("clock", "roof", "bike")),
    ("push", "pushed", "pushed", ("cart", "bike", "door")),
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
