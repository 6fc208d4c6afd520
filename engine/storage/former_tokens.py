"""Texts of tokens in parts of earlier versions, which wrote a part of a character as its piece of the vocabulary.

Such a piece is `Ù` (byte-level) or `<0xD9>` (byte fallback). It looks like text, so only what spells characters
together with its neighbours is read as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from engine.common.characters import byte_alphabet, from_bytes

_ALPHABET = byte_alphabet()
_BYTE = re.compile("<0x([89A-F][0-9A-F])>")


def current_tokens(tokens: Sequence[str]) -> list[str]:
    """The tokens of a text as they are written today (engine.common.characters)."""
    found: list[str] = []
    for is_raw, run in groupby(((token, _raw(token)) for token in tokens), key=lambda pair: pair[1] is not None):
        pairs = list(run)
        spelled = b"".join(raw or b"" for _, raw in pairs).decode("utf-8", "ignore")
        found += [from_bytes(raw) if is_raw and raw and not spelled.isascii() else token for token, raw in pairs]
    return found


def current_likeliest(tokens: Sequence[str], likeliest: Sequence[Sequence[str]]) -> list[list[str]]:
    """The likeliest tokens of each position: bytes only if the token that followed was a part of a character."""
    changed = [now != then for now, then in zip(current_tokens(tokens), tokens, strict=True)][1:]
    return [
        [from_bytes(raw) if parts and (raw := _raw(token)) else token for token in top]
        for top, parts in zip(likeliest, [*changed, False], strict=True)
    ]


def _raw(token: str) -> bytes | None:
    """The bytes that a token would be as a piece of a vocabulary, if they are no text by themselves."""
    if found := _BYTE.fullmatch(token):
        return bytes([int(found[1], 16)])
    if token.isascii() or not all(character in _ALPHABET for character in token):
        return None
    raw = bytes(_ALPHABET[character] for character in token)
    return raw if "\ufffd" in raw.decode("utf-8", "replace") else None
