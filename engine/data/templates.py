"""Prompt templates: how an instruction and its input become the text a response follows.

`alpaca` is the form of the Stanford Alpaca set, word for word, so that models tuned on it meet what they know;
`plain` is the bare text. A template has two forms, one for samples with an input and one for those without.
"""

from __future__ import annotations

from engine.common.hashing import digest

TEMPLATES: dict[str, tuple[str, str]] = {
    "alpaca": (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Response:\n",
    ),
    "plain": ("{instruction}\n{input}\n", "{instruction}\n"),
}
"""Name of each template, with its form for samples with an input and its form for samples without."""


def render(template: str, instruction: str, input: str) -> str:
    """The prompt; the response follows it directly.

    A sample with neither instruction nor input is bare text and has no prompt at all: "".
    """
    with_input, without_input = TEMPLATES[template]
    if input.strip():
        return with_input.format(instruction=instruction, input=input)
    return without_input.format(instruction=instruction) if instruction.strip() else ""


def template_hash(template: str) -> str:
    """Sixteen hex digits that change when either form of the template does."""
    return digest(TEMPLATES[template])
