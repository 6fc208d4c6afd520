"""Text of samples made safe to look at, and numbers as people write them.

A sample is text from anywhere. `inert` is for every place that shows plain text (st.text, table cells, components
that set textContent); `literal` is for the places that read Markdown (headings, labels, captions, alerts, tooltips);
`plotted` is for plotly, which reads a few HTML tags in labels and hover text.
"""

from __future__ import annotations

import html
import re
import string

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
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_PUNCTUATION = re.compile(f"([{re.escape(string.punctuation)}])")


def inert(text: str) -> str:
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


def literal(text: str) -> str:
    """The text so that Markdown shows exactly these characters: no links, images, HTML, colours, icons or formulas."""
    escaped = _PUNCTUATION.sub(r"\\\1", " ".join(inert(text).split()))
    # Icons and emoji are found by their colons after Markdown has been read, so a backslash alone is not enough.
    return escaped.replace("\\:", "\\:\u2060")


def plotted(text: str) -> str:
    """The text for plotly labels and hover text."""
    return html.escape(inert(text), quote=False)


def one_line(text: str, most: int = 200) -> str:
    """The beginning of a text on one line, line breaks shown as ⏎."""
    line = " ".join(inert(text).replace("\n", " ⏎ ").split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def found(text: str, search: str, most: int = 320) -> list[tuple[str, bool]]:
    """The part of a text worth showing in a list, in pieces: (words, whether they are what was searched for).

    It begins at the beginning, or a little before the first place where something was found.
    """
    at = [match.span() for match in re.finditer(re.escape(fold(search)), fold(text))] if search else []
    start = max(0, at[0][0] - most // 5) if at and at[0][1] > most // 3 else 0
    stop = start + most
    pieces = [("…", False)] if start else []
    reached = start
    for first, last in at:
        if first < reached or last > stop:
            continue
        pieces += [(text[reached:first], False), (text[first:last], True)]
        reached = last
    pieces += [(text[reached:stop], False), ("…" if len(text) > stop else "", False)]
    return [(inert(piece).replace("\n", " ⏎ "), hit) for piece, hit in pieces if piece]


def fold(text: str) -> str:
    """Lower case, character by character, so that positions stay those of the text."""
    return "".join(lower if len(lower := character.lower()) == 1 else character for character in text)


def count(number: float, one: str, many: str = "") -> str:
    """`1 sample`, `1,800 samples`."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def value(number: float, digits: int = 3) -> str:
    """A measured number with a few significant digits: `0.418`, `12.3`, `1,240`; `no number` for NaN."""
    if number != number:
        return "no number"
    if abs(number) >= 10**digits:
        return f"{number:,.0f}"
    return f"{number:.{digits}g}"
