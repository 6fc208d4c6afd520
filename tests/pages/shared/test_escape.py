"""Text made safe to show: nothing acts, nothing is lost, and every match of a search is marked."""

from __future__ import annotations

import string
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from engine.common import formats
from engine.common.text import escape_text, one_line
from pages.shared import escape
from pages.shared.escape import escape_markdown, escape_plotly

ANY = st.text(st.characters(codec=None))  # surrogates too


@given(ANY)
def test_escape_text_leaves_nothing_that_acts(text: str) -> None:
    """No control, direction mark, tag or surrogate is left; line breaks and tabs are."""
    for character in escape_text(text):
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")
        assert unicodedata.bidirectional(character) not in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        )
        assert not 0xE0000 <= ord(character) <= 0xE007F


@given(st.text(string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", "")))
def test_escape_text_leaves_ordinary_text_alone(text: str) -> None:
    """Ordinary text stays as it is."""
    assert escape_text(text) == text


def test_escape_text_names_what_it_shows() -> None:
    """Readers can tell which invisible character stood there; emoji keep their joiners."""
    assert escape_text("\x1b[31m\x07\u202e\u00ad\u200b\r") == "␛[31m␇⟨RLO⟩⟨SHY⟩⟨ZWSP⟩␍"
    assert escape_text("\U000e0041\ud800") == "⟨TAG A⟩⟨U+D800⟩"
    assert escape_text("👩\u200d🔬 می\u200cخواهم") == "👩\u200d🔬 می\u200cخواهم"


@given(ANY)
def test_escape_markdown_escapes_every_mark(text: str) -> None:
    """Every character that Markdown could read is escaped, and the text is one line."""
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    at = 0
    while at < len(escaped):
        if escaped[at] == "\\":
            assert escaped[at + 1] in string.punctuation
            at += 2
        else:
            assert escaped[at] not in string.punctuation
            at += 1
    assert not [i for i in range(len(escaped) - 1) if escaped[i] == ":" and escaped[i + 1] != "\u2060"]


def test_escape_plotly() -> None:
    """Plotly reads a few tags; a text has none."""
    assert escape_plotly("<b>bold</b> <a href='x'>&amp;\x1b") == "&lt;b&gt;bold&lt;/b&gt; &lt;a href='x'&gt;&amp;amp;␛"


TYPED = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=300)


@given(TYPED, st.one_of(st.text("ab \n", min_size=1, max_size=3), TYPED.filter(bool)))
def test_highlighted_marks_every_place(text: str, search: str) -> None:
    """A short text is shown whole, with every place marked at which the search is found."""
    pieces = escape.highlighted(text, search)
    assert "".join(piece for piece, _ in pieces) == escape_text(text).replace("\n", " ⏎ ")
    assert sum(hit for _, hit in pieces) == escape.fold(text).count(escape.fold(search))


def test_highlighted_begins_near_the_first_hit() -> None:
    """In a long text the piece that is shown is the one around the first hit, whole when the text is short."""
    pieces = [("a ", False), ("lamp", True), (", a ", False), ("Lamp", True)]
    assert escape.highlighted("a lamp, a Lamp", "LAMP") == pieces
    assert escape.highlighted("a lamp", "") == [("a lamp", False)]
    long = "x" * 1000 + "lamp" + "y" * 1000
    pieces = escape.highlighted(long, "lamp", most=100)
    assert pieces[0] == ("…", False)
    assert ("lamp", True) in pieces
    assert pieces[-1] == ("…", False)
    assert sum(len(piece) for piece, _ in pieces) < 120
    assert escape.highlighted("one\ntwo", "one")[1] == (" ⏎ two", False)


@given(st.text(max_size=300), st.integers(5, 60))
def test_one_line(text: str, most: int) -> None:
    """One line, never longer than asked for."""
    line = one_line(text, most)
    assert len(line) <= most
    assert "\n" not in line


def test_numbers() -> None:
    """Numbers are written the way people write them."""
    assert formats.count(1, "sample") == "1 sample"
    assert formats.count(1800, "sample") == "1,800 samples"
    assert formats.count(2, "query", "queries") == "2 queries"
    assert [formats.value(v) for v in (0.41834, 12.345, 1234.5, 0.0, float("nan"))] == [
        "0.418",
        "12.3",
        "1,234",
        "0",
        "NaN",
    ]
