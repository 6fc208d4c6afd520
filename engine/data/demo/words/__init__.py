"""What the demo set is made of: words, facts, parts of sentences, and clauses, a TOML file for each."""

import tomllib
from importlib.resources import files
from types import SimpleNamespace


def load(name: str) -> SimpleNamespace:
    """The lists and tables of one file as attributes, in the order of the file."""
    return SimpleNamespace(**tomllib.loads(files(__name__).joinpath(f"{name}.toml").read_text("utf-8")))


WORDS = load("words")
