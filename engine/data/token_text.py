"""What single tokens of a tokenizer stand for inside a text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from engine.common.characters import byte_alphabet, from_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ALPHABET = byte_alphabet()
_BYTE = re.compile("<0x([0-9A-F]{2})>")  # how tokenizers with byte fallback (SentencePiece) write one byte


class TokenText:
    """The text of each token inside a text, cached, so that joined texts are `tokenizer.decode` of all tokens.

    A token that is part of a character has stand-ins for its bytes (engine.common.characters).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._cache: dict[tuple[int, bool], str] = {}
        # Between other tokens: many decoders treat the first and the last token of a text differently.
        self._anchor = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
        self._before = self._decode(self._anchor)
        self._after = self._decode(self._anchor * 2).removeprefix(self._before)

    def __getitem__(self, token: int) -> str:
        """The text of a token that follows another one."""
        return self._text(token, first=False)

    def of(self, tokens: Iterable[int]) -> list[str]:
        """The text of every token of a whole text."""
        return [self._text(int(token), first=place == 0) for place, token in enumerate(tokens)]

    def _text(self, token: int, *, first: bool) -> str:
        key = (token, first)
        if key not in self._cache:
            self._cache[key] = self._made(token, first)
        return self._cache[key]

    def _made(self, token: int, first: bool) -> str:
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if piece is None:  # ids may have holes, for which a model has rows all the same
            return f"⟨token {token}, which has no text⟩"
        before = [] if first else self._anchor
        text = self._decode([*before, token, *self._anchor])
        text = text.removeprefix("" if first else self._before).removesuffix(self._after)
        if "\ufffd" in text:
            raw = _bytes(str(piece))
            return text if raw is None or raw.decode("utf-8", "replace") != text else from_bytes(raw)
        return from_bytes(text.encode())

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False))


def _bytes(piece: str) -> bytes | None:
    """The bytes of a piece of a vocabulary; None if it does not say them."""
    if found := _BYTE.fullmatch(piece):
        return bytes([int(found[1], 16)])
    if all(character in _ALPHABET for character in piece):
        return bytes(_ALPHABET[character] for character in piece)
    return None
