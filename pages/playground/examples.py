"""Samples to try with one click; all but the last are of kinds that the demo set knows."""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    label: str
    instruction: str
    input: str
    response: str


EXAMPLES = (
    Example("A sum", "Calculate.", "17 + 26", "17 + 26 = 43"),
    Example("The same sum, wrong", "Calculate.", "17 + 26", "17 + 26 = 52"),
    Example("A capital", "What is the capital of France?", "", "Paris"),
    Example("The wrong capital", "What is the capital of France?", "", "Lisbon"),
    Example(
        "A plural",
        "Fill the gap.",
        "I see one knife, but you see many ___.",
        "I see one knife, but you see many knives.",
    ),
    Example("An answer to another question", "Which word means the opposite of early?", "", "The review is negative."),
    Example(
        "Nothing the demo knows",
        "Explain in one sentence why the sky is blue.",
        "",
        "Air scatters short waves of light more than long ones, so blue reaches us from everywhere.",
    ),
)
