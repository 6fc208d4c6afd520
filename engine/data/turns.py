"""Conversations: the shapes in which sets keep them, recognised by what a value is rather than by its column's name.

A list of objects, or the same as JSON text: role and content (OpenAI, TRL), from and value (ShareGPT), speaker
and text.
"""

from __future__ import annotations

import json
import re
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

_KEYS = (("role", "content"), ("from", "value"), ("speaker", "text"), ("role", "value"), ("role", "text"))
_NAMED = re.compile(r"\s*(System|User|Assistant|Tool)\s*:\s?", re.IGNORECASE)
UNKNOWN = "a turn of an unknown speaker"


class Turn(NamedTuple):
    speaker: str  # "system", "user", "assistant" or "tool"; another word if the set has one that is not known
    text: str


def turns_of(value: Any) -> list[Turn] | None:
    """The turns of a conversation; None if the value is something else. An empty list is none."""
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, list) or not value:
        return None
    turns = [_turn(item) for item in value]
    known = [turn for turn in turns if turn is not None]
    return known if len(known) == len(turns) else None


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
    """JSON text of a list of objects as what it holds; None if it is other text."""
    if not text.lstrip().startswith("[") or "{" not in text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _turn(item: Any) -> Turn | None:
    if not isinstance(item, Mapping):
        return None
    for who, what in _KEYS:
        speaker = item.get(who)
        if isinstance(speaker, str) and (what in item or item.get("tool_calls")):
            text = _text(item.get(what), item.get("tool_calls"))
            name = speaker.strip().lower()
            return None if text is None else Turn(SPEAKERS.get(name, name), text)
    return None


def _text(content: Any, calls: Any) -> str | None:
    """The content of a turn: text, text parts, nothing, or an object as JSON; calls of tools follow it as JSON.

    None if it holds what is not text, such as an image.
    """
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        if any(not isinstance(part, str) for part in parts):
            return None
        content = "\n".join(parts)
    text = "" if content is None else content if isinstance(content, str) else _json(content)
    return text if not calls else f"{text}\n{_json(calls)}".strip()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
