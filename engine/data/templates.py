"""Prompt templates: how a sample becomes the text that a model reads, piece by piece.

`alpaca` is the form of the Stanford Alpaca set, word for word, so that models tuned on it meet what they know; `plain`
is the bare text; `chat` is the chat template of the tokenizer, see `engine.data.chat`. Alpaca and plain have one form
for samples with an input and one for those without, and one for conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from engine.common.hashing import digest
from engine.data.sources import Row
from engine.data.turns import Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Template = Literal["alpaca", "plain", "chat"]

PREAMBLE_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
TEMPLATES: dict[str, tuple[str, str]] = {
    "alpaca": (
        PREAMBLE_INPUT + "\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        PREAMBLE + "\n\n### Instruction:\n{instruction}\n\n### Response:\n",
    ),
    "plain": ("{instruction}\n{input}\n", "{instruction}\n"),
}
"""Name of each template, with its form for samples with an input and its form for samples without."""


class Piece(NamedTuple):
    """Text that is tokenised by itself. A reply is followed by the end token, and both count as response."""

    text: str
    reply: bool = False
    speaker: str = ""  # of the turn it belongs to, if the sample is a conversation


def resolve_template(setting: str, conversations: bool, tokenizer: PreTrainedTokenizerBase | None) -> Template:
    """The template that is used: `auto` is chat for conversations and alpaca for the rest.

    A tokenizer without a chat template, or none at all, turns chat into plain.
    """
    if setting == "auto":
        setting = "chat" if conversations else "alpaca"
    if setting == "chat":
        return "chat" if tokenizer is not None and tokenizer.chat_template else "plain"
    return "alpaca" if setting == "alpaca" else "plain"


def pieces(template: Template, row: Row) -> list[Piece]:
    """What a model reads of a row, except in a chat template. A prompt without any text is left out."""
    if row["turns"]:
        return _alpaca_turns(row["turns"]) if template == "alpaca" else _plain_turns(row["turns"])
    prompt = render(template, row["instruction"], row["input"], row["system"])
    return [*([Piece(prompt)] if prompt else []), Piece(row["response"], reply=True)]


def render(template: Template, instruction: str, input: str, system: str = "") -> str:
    """The prompt; the response follows it directly.

    A system text stands in the place of Alpaca's first sentence, and before a plain prompt. A sample with nothing but
    a response is bare text and has no prompt at all: "".
    """
    if not (instruction.strip() or input.strip()):
        return f"{system}\n" if system.strip() else ""
    with_input, without_input = TEMPLATES[template]
    form = with_input if input.strip() else without_input
    if system.strip():
        form = form.replace(PREAMBLE_INPUT, "{system}").replace(PREAMBLE, "{system}")
        form = form if template == "alpaca" else "{system}\n" + form
    return form.format(instruction=instruction, input=input, system=system)


def chat_turns(row: Row) -> list[Turn]:
    """A row as a conversation: its own turns, else system, instruction with input, and response."""
    if row["turns"]:
        return row["turns"]
    prompt = "\n".join(text for text in (row["instruction"], row["input"]) if text.strip())
    turns = [Turn("system", row["system"]), Turn("user", prompt), Turn("assistant", row["response"])]
    return [turn for turn in turns if turn.text.strip()]


def _alpaca_turns(turns: Sequence[Turn]) -> list[Piece]:
    found: list[Piece] = []
    gap = ""
    if turns[0].speaker != "system":
        found.append(Piece(PREAMBLE, speaker=turns[0].speaker))
        gap = "\n\n"
    for speaker, text in turns:
        if speaker == "assistant":
            found += [Piece(f"{gap}### Response:\n", speaker=speaker), Piece(text, reply=True, speaker=speaker)]
        else:
            found.append(
                Piece(f"{gap}{text}" if speaker == "system" else f"{gap}### Instruction:\n{text}", False, speaker)
            )
        gap = "\n\n"
    return found


def _plain_turns(turns: Sequence[Turn]) -> list[Piece]:
    found: list[Piece] = []
    gap = ""
    for speaker, text in turns:
        name = f"{gap}{speaker.capitalize()}: "
        if speaker == "assistant":
            found += [Piece(name, speaker=speaker), Piece(text, reply=True, speaker=speaker)]
        else:
            found.append(Piece(name + text, speaker=speaker))
        gap = "\n"
    return found


def template_hash(template: Template, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
    """Sixteen hex digits that change when the template does; that of `chat` is the tokenizer's."""
    if template == "chat":
        return digest(["chat", tokenizer.get_chat_template() if tokenizer is not None else ""])
    return digest(TEMPLATES[template])
