"""Texts of tokens as whole characters, also if several tokens spell one.

A token of a tokenizer that works on bytes may hold a part of a character. Its text has a stand-in for every byte that
is part of no whole character in the token: U+EF80 to U+EFFF for 0x80 to 0xFF, the part of the private use area that
MirBSD's OPTU encodings use for this. Characters of that range are stood in for themselves, so that texts of tokens
that are joined give back every byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import regex

_BASE = 0xEF00  # of the stand-ins; that of Python's surrogateescape is 0xDC00
_HIGH = range(0x80, 0x100)
_STAND_INS = {0xDC00 + byte: chr(_BASE + byte) for byte in _HIGH} | {
    _BASE + byte: "".join(chr(_BASE + each) for each in chr(_BASE + byte).encode()) for byte in _HIGH
}
_ESCAPES = {_BASE + byte: chr(0xDC00 + byte) for byte in _HIGH}
_PARTS = re.compile(f"[{chr(_BASE + 0x80)}-{chr(_BASE + 0xFF)}]+")
_LAST_PARTS = re.compile(_PARTS.pattern + "$")
_ESCAPED = re.compile("[\udc80-\udcff]+")
_CLUSTERS = regex.compile(r"[\udc80-\udcff]+|\X")  # a run of bytes that spell nothing, or what people see as one


class Characters(NamedTuple):
    """The text of tokens `first` to `stop` - 1 of a list: as few as together spell whole characters."""

    text: str
    first: int
    stop: int


def from_bytes(raw: bytes) -> str:
    """The text of a token, with a stand-in for every byte that is part of no whole character."""
    return raw.decode("utf-8", "surrogateescape").translate(_STAND_INS)


def to_bytes(token: str) -> bytes:
    """The bytes that a token stands for: the inverse of `from_bytes`."""
    return token.translate(_ESCAPES).encode("utf-8", "surrogateescape")


def joined(tokens: Sequence[str]) -> str:
    """The text that tokens spell together; bytes that spell nothing are U+FFFD."""
    return b"".join(map(to_bytes, tokens)).decode("utf-8", "replace")


def characters(tokens: Sequence[str]) -> list[Characters]:
    """Tokens in groups that end where a character ends, so that the texts of the groups joined are `joined(tokens)`.

    A character is what people see as one (an extended grapheme cluster of UAX #29): an emoji of several code points and
    a letter with its marks stay together. Bytes that spell nothing stay together too.
    """
    raw = [to_bytes(token) for token in tokens]
    ends, reached = set(), 0
    for cluster in _CLUSTERS.finditer(b"".join(raw).decode("utf-8", "surrogateescape")):
        reached += len(cluster[0].encode("utf-8", "surrogateescape"))
        ends.add(reached)
    groups, first, reached = [], 0, 0
    for stop, piece in enumerate(raw, 1):
        reached += len(piece)
        if reached in ends or not reached:
            groups.append(Characters(joined(tokens[first:stop]), first, stop))
            first = stop
    return groups


def completed(before: Sequence[str], token: str) -> str:
    """A token after those `before`: the character that it completes if these have begun one, else as it is."""
    found = _LAST_PARTS.search(from_bytes(to_bytes("".join(before))))
    if not found:
        return token
    whole = from_bytes(to_bytes(found[0] + token))
    return token if _PARTS.match(whole) else whole


def name_parts(token: str) -> str:
    """A token as text, with bytes that are part of no whole character written out: `⟨bytes E2 80 of a character⟩`."""
    text = to_bytes(token).decode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda found: _named(found[0].encode("utf-8", "surrogateescape")), text)


def _named(raw: bytes) -> str:
    return f"⟨byte{'s' if len(raw) > 1 else ''} {raw.hex(' ').upper()} of a character⟩"


def byte_alphabet() -> dict[str, int]:
    """How byte-level tokenizers write each byte as one visible character (GPT-2): character to byte."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(0x100 + place): byte for place, byte in enumerate(hidden)}
