"""What the demo set is made of, a TOML file for each: words, facts, parts of sentences, clauses, forms of questions."""

import tomllib
from importlib.resources import files
from types import SimpleNamespace


def load(name: str) -> SimpleNamespace:
    """The lists and tables of one file as attributes, in the order of the file."""
    return SimpleNamespace(**tomllib.loads(files(__name__).joinpath(f"{name}.toml").read_text("utf-8")))


WORDS, FORMS = load("words"), load("forms")
