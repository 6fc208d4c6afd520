"""Conversations: the shapes in which sets keep them, recognised by what a value is rather than by its column's name.

A list of objects, each a turn with its speaker and its text under the usual keys (role and content, from and value),
or each with texts under the names of their speakers; the same as an object of lists, as `datasets` writes it; the same
as JSON or as Python's own text, as a CSV holds it. Texts alone are turns only if the column says so.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SPEAKERS = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "ipython": "tool",
    "function": "tool",
    "function_response": "tool",
    "observation": "tool",
}
"""Who speaks, by what sets call them, in lower case."""

_WHO = ("role", "from", "speaker", "author", "sender")
_WHAT = ("content", "value", "text", "utterance", "message", "parts")
_IN_ORDER = ("system", "user", "tool", "assistant")  # of the speakers whose texts are in one object
_GAPS = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|\}\s+\{""")
"""A text in quotes, or two objects without a comma between them, as an array of NumPy has them in pandas' CSV."""
_NAMED = re.compile(r"\s*(System|User|Assistant|Tool)\s*:\s?", re.IGNORECASE)
UNKNOWN = "a turn of an unknown speaker"


class Turn(NamedTuple):
    speaker: str  # "system", "user", "assistant" or "tool"; another word if the set has one that is not known
    text: str


def turns_of(value: Any, alternate: bool = False) -> list[Turn] | None:
    """The turns of a conversation; None if the value is something else. An empty list is none.

    `alternate`: two texts or more are turns of user and assistant by turns.
    """
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, Mapping):
        value = value.get("messages") or _items(value) or ([dict(value)] if _by_speaker([value]) else None)
    if not isinstance(value, list) or not value:
        return None
    if alternate and len(value) > 1 and all(isinstance(item, str) for item in value):
        return [Turn(("user", "assistant")[place % 2], text) for place, text in enumerate(value)]
    turns = [_turn(item) for item in value]
    known = [turn for turn in turns if turn is not None]
    return known if len(known) == len(turns) else _by_speaker(value)


def is_whole(turns: Sequence[Turn]) -> bool:
    """Whether something is answered here: the last turn is the assistant's, and one of another speaker comes before."""
    speakers = [turn.speaker for turn in turns]
    return bool(speakers) and speakers[-1] == "assistant" and any(speaker != "assistant" for speaker in speakers)


def answered(turns: Sequence[Turn]) -> list[Turn]:
    """The turns up to the last one of the assistant that says something; none if there is no such turn.

    Turns after it are answered by nobody, and turns without text say nothing.
    """
    spoken = [turn for turn in turns if turn.text.strip()]
    while spoken and spoken[-1].speaker != "assistant":
        spoken.pop()
    return spoken


def transcript(turns: Sequence[Turn]) -> str:
    """The turns as a person reads them, each after the name of its speaker."""
    return "\n".join(f"{turn.speaker.capitalize()}: {turn.text}" for turn in turns)


def parse_transcript(text: str) -> list[Turn]:
    """The turns of a text as `transcript` writes it; what stands before the first name is said by the user."""
    turns: list[Turn] = []
    for line in text.splitlines():
        named = _NAMED.match(line)
        if named:
            turns.append(Turn(named[1].lower(), line[named.end() :]))
        elif turns:
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].text}\n{line}")
        elif line.strip():
            turns.append(Turn("user", line))
    return [Turn(speaker, said.strip()) for speaker, said in turns]


def _parsed(text: str) -> Any:
    """JSON or Python's text of a list of objects as what it holds; None if it is other text."""
    if not text.lstrip().startswith("[") or "{" not in text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about backslashes in the text
            return ast.literal_eval(_GAPS.sub(lambda found: found[1] or "}, {", text.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _items(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An object of lists of one length as a list of objects; [] if it is another object."""
    lists = [each for each in value.values() if isinstance(each, list)]
    if len(lists) < len(value) or len({len(each) for each in lists}) != 1:
        return []
    return [dict(zip(value, each, strict=True)) for each in zip(*lists, strict=True)]


def _turn(item: Any) -> Turn | None:
    if not isinstance(item, Mapping):
        return None
    speaker = next((item[who] for who in _WHO if isinstance(item.get(who), str)), None)
    what = next((what for what in _WHAT if what in item), "")
    if speaker is None or not (what or item.get("tool_calls")):
        return None
    text = _text(item.get(what), item.get("tool_calls"))
    name = speaker.strip().lower()
    return None if text is None else Turn(SPEAKERS.get(name, name), text)


def _by_speaker(items: Sequence[Any]) -> list[Turn] | None:
    """The turns of objects whose keys are speakers; None unless all are, and user and assistant among them."""
    turns: list[Turn] = []
    for item in items:
        if not isinstance(item, Mapping):
            return None
        said = [(SPEAKERS.get(who.lower()), text) for who, text in item.items() if text is not None]
        own = [Turn(speaker, text) for speaker, text in said if speaker and isinstance(text, str)]
        if len(own) < len(said):
            return None
        turns += sorted(own, key=lambda turn: _IN_ORDER.index(turn.speaker))
    return turns if {"user", "assistant"} <= {turn.speaker for turn in turns} else None


def _text(content: Any, calls: Any) -> str | None:
    """The content of a turn: text, text parts, nothing, or an object as JSON; calls of tools follow it as JSON.

    None if it holds what is not text, such as an image.
    """
    if isinstance(content, list):
        parts = [_part(part) for part in content]
        if any(not isinstance(part, str) for part in parts):
            return None
        content = "\n".join(parts)
    text = "" if content is None else content if isinstance(content, str) else _json(content)
    return text if not calls else f"{text}\n{_json(calls)}".strip()


def _part(part: Any) -> Any:
    """The text of a part of a turn; what a tool is given or gives as JSON."""
    if not isinstance(part, Mapping):
        return part
    return _json(part) if part.get("type") in ("tool_use", "tool_result") else part.get("text")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
