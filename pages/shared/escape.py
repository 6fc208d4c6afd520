"""Text of samples made safe to show.

A sample is text from anywhere. `escape_text` is for every place that shows plain text (st.text, table cells, components
that set textContent), `escape_markdown` for the places that read Markdown (headings, labels, captions, alerts,
tooltips), `escape_plotly` for plotly, which reads a few HTML tags in labels and hover text.
"""

from __future__ import annotations

import html
import re
import string

from engine.common.text import escape_text

_PUNCTUATION = re.compile(f"([{re.escape(string.punctuation)}])")


def escape_markdown(text: str) -> str:
    """The text so that Markdown shows exactly these characters: no links, images, HTML, colours, icons or formulas."""
    escaped = _PUNCTUATION.sub(r"\\\1", " ".join(escape_text(text).split()))
    # Icons and emoji are found by their colons after Markdown has been read, so a backslash alone is not enough.
    return escaped.replace("\\:", "\\:\u2060")


def escape_plotly(text: str) -> str:
    """The text for plotly labels and hover text."""
    return html.escape(escape_text(text), quote=False)


def highlighted(text: str, search: str, most: int = 320) -> list[tuple[str, bool]]:
    """The part of a text that is shown in a list, in pieces: (text, whether it is what was searched for).

    It begins at the beginning, or a little before the first match.
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
    return [(escape_text(piece).replace("\n", " ⏎ "), hit) for piece, hit in pieces if piece]


def fold(text: str) -> str:
    """Lower case, character by character, so that positions stay those of the text."""
    return "".join(lower if len(lower := character.lower()) == 1 else character for character in text)
