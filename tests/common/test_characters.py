"""Tokens that are parts of characters: joined they give back every byte, and they end where characters end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.common.characters import (
    Characters,
    byte_alphabet,
    characters,
    completed,
    from_bytes,
    joined,
    name_parts,
    to_bytes,
)


def cut(raw: bytes, cuts: set[int]) -> list[str]:
    """Bytes cut into tokens at these places."""
    places = [0, *sorted(place for place in cuts if 0 < place < len(raw)), len(raw)]
    return [from_bytes(raw[first:last]) for first, last in pairwise(places) if first < last]


@given(st.binary(max_size=40))
def test_a_token_keeps_its_bytes(raw: bytes) -> None:
    """Whatever bytes a token holds, its text can be stored as UTF-8 and read back."""
    assert to_bytes(from_bytes(raw).encode().decode()) == raw


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode), st.sets(st.integers(0, 60)))
def test_groups_join_to_the_text(raw: bytes, cuts: set[int]) -> None:
    """However bytes are cut into tokens, the groups are all of them, in order, and spell what they spell together."""
    tokens = cut(raw, cuts)
    groups = characters(tokens)
    assert "".join(group.text for group in groups) == joined(tokens) == raw.decode("utf-8", "replace")
    assert [group.first for group in groups] == [0, *(group.stop for group in groups)][: len(groups)]
    assert (groups[-1].stop if groups else 0) == len(tokens)


@given(st.text(max_size=30), st.sets(st.integers(0, 120)))
def test_no_character_is_split(text: str, cuts: set[int]) -> None:
    """Of a valid text no group shows a replacement character that the text does not have."""
    groups = characters(cut(text.encode(), cuts))
    assert sum(group.text.count("\ufffd") for group in groups) == text.count("\ufffd")


@pytest.mark.parametrize(
    "character",
    ["م", "語", "👩🏽‍💻", "👨‍👩‍👧", "🇩🇪", "e\u0301", "कि", "क्ष", "ก็", "\u1112\u1161\u11ab", "❤️"],
)
def test_what_people_see_as_one_character_stays_together(character: str) -> None:
    """One token a byte or one a code point: it is one group, beside letters that are not in it."""
    for pieces in ([bytes([byte]) for byte in character.encode()], [code.encode() for code in character]):
        tokens = ["a", *map(from_bytes, pieces), "b"]
        assert characters(tokens) == [
            Characters("a", 0, 1),
            Characters(character, 1, len(tokens) - 1),
            Characters("b", len(tokens) - 1, len(tokens)),
        ]


def test_bytes_that_spell_nothing() -> None:
    """A text that was cut inside a character ends in U+FFFD, in one group."""
    assert [group.text for group in characters([from_bytes(b"a"), from_bytes(b"\xe3"), from_bytes(b"\x81")])] == [
        "a",
        "\ufffd",
    ]
    assert characters([]) == []
    assert [group.text for group in characters(["", "a", ""])] == ["", "a", ""]


def test_a_part_is_named() -> None:
    """Bytes are written out, and a token that completes a character is shown as that character."""
    assert name_parts(from_bytes(b" \xe2\x80")) == " ⟨bytes E2 80 of a character⟩"
    assert name_parts("plain \ufffd") == "plain \ufffd"
    begun, rest = from_bytes(b"x\xd9"), from_bytes(b"\x85\xd8")
    assert name_parts(completed([begun], rest)) == "م⟨byte D8 of a character⟩"
    assert completed(["x"], rest) == completed([], rest) == rest
    assert completed([begun], " word") == " word"
    assert completed([begun, from_bytes(b"\x85")], rest) == rest


def test_the_alphabet_of_bytes() -> None:
    """It is that of the library that wrote the vocabularies."""
    from tokenizers import pre_tokenizers

    alphabet = byte_alphabet()
    assert sorted(alphabet) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(alphabet.values()) == list(range(256))
    assert (alphabet["A"], alphabet["Ġ"], alphabet["Ù"]) == (0x41, 0x20, 0xD9)
