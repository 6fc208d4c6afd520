"""Text from outside inside sentences and on screens: messages of libraries, names, samples."""

from __future__ import annotations

import re

from engine.common.characters import name_parts


def reason(error: BaseException) -> str:
    """The first line of an error's message, short enough to stand inside a sentence; its class if it has none."""
    lines = str(error).strip().splitlines()
    return printable(lines[0].strip().rstrip(".:;,")) if lines else type(error).__name__


def printable(text: str) -> str:
    """Text from outside as it may stand in a sentence: short, and without control or direction characters."""
    clipped = text if len(text) <= 200 else f"{text[:200]}…"
    return "".join(character if character.isprintable() else "\ufffd" for character in clipped)


_NAMED = {
    "\u00ad": "SHY",
    "\u061c": "ALM",
    "\u200b": "ZWSP",
    "\u200e": "LRM",
    "\u200f": "RLM",
    "\u2028": "LS",
    "\u2029": "PS",
    "\u202a": "LRE",
    "\u202b": "RLE",
    "\u202c": "PDF",
    "\u202d": "LRO",
    "\u202e": "RLO",
    "\u2060": "WJ",
    "\u2066": "LRI",
    "\u2067": "RLI",
    "\u2068": "FSI",
    "\u2069": "PDI",
    "\ufeff": "BOM",
}


# Joiners (U+200C, U+200D) stay: emoji and several scripts are misspelt without them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def escape_text(text: str) -> str:
    """The text with everything that acts but is not seen written out: terminal escapes `␛`, direction marks `⟨RLO⟩`."""
    return _UNSEEN.sub(lambda found: _shown(found[0]), text.replace("\r\n", "\n"))


def _shown(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0xE0020 <= code < 0xE007F:  # tag characters carry hidden ASCII
        return f"⟨TAG {chr(code - 0xE0000)}⟩"
    return f"⟨{_NAMED.get(character, f'U+{code:04X}')}⟩"


def one_line(text: str, most: int = 200) -> str:
    """The beginning of a text on one line, line breaks shown as ⏎."""
    line = " ".join(escape_text(text).replace("\n", " ⏎ ").split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def visible_token(token: str) -> str:
    """A token by itself: like text, and bytes that are only a part of a character are written out."""
    return visible_text(name_parts(token))


def visible_text(text: str) -> str:
    """A short text by itself: the spaces at its ends are seen."""
    shown = escape_text(text).replace("\n", "⏎").replace("\t", "⇥").replace("\ufffd", "⟨part of a character⟩")
    inner = shown.strip(" ")
    if not inner:
        return "␣" * len(shown) or "⟨nothing⟩"
    before = len(shown) - len(shown.lstrip(" "))
    after = len(shown) - len(shown.rstrip(" "))
    return "␣" * before + inner + "␣" * after
