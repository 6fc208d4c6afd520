"""Token scores of earlier versions: pieces of vocabularies are read as the characters that they spelled."""

from __future__ import annotations

import pyarrow as pa

from engine.common.characters import from_bytes, joined
from engine.storage.former import with_response
from engine.storage.former_tokens import current_likeliest, current_tokens


def test_pieces_that_spell_characters_together() -> None:
    """Byte-level pieces and single bytes become the characters, also if the last one was cut off."""
    tokens = ["say", "ĠÙ", "ħ", "Ø", "±", ".", "<0xE3>", "<0x81>", "<0x82>", "<0xE3>"]
    assert joined(current_tokens(tokens)) == "say مر.あ\ufffd"


def test_text_that_only_looks_like_pieces_stays() -> None:
    """Danish words, a currency and a single byte written out are what they were."""
    for tokens in (["Ø", "l"], ["pris", " £"], ["naïve", "é"], ["<0xE3>"], ["<0x41>"], ["日本", "�"], []):
        assert current_tokens(tokens) == tokens


def test_parts_of_earlier_versions() -> None:
    """A part with `response_start` is read with the columns of today, its pieces as bytes; one of today as it is."""
    columns = {
        "tokens": [["say", "Ù", "ħ"]],
        "response_start": [1],
        "teacher_tokens": [[["Ù"], ["ħ"], ["Ø"]]],
        "student_tokens": [[["x"], ["ı"], ["."]]],
    }
    begun, rest = from_bytes(b"\xd9"), from_bytes(b"\x85")
    [row] = with_response(pa.table(columns)).to_pylist()
    assert row["tokens"] == ["say", begun, rest]
    assert row["response"] == [False, True, True]
    assert row["turns"] is None
    assert row["teacher_tokens"] == [[begun], [rest], ["Ø"]]
    assert row["student_tokens"] == [["x"], [from_bytes(b"\x8f")], ["."]]
    today = pa.table({"tokens": [["Ù", "ħ"]], "response": [[True, True]]})
    assert with_response(today) is today


def test_likeliest_tokens() -> None:
    """Beside a part of a character the likeliest tokens are parts too; elsewhere they are text."""
    tokens = ["say", "Ù", "ħ", "x"]
    likeliest = [["Ù", "Ø"], ["ħ", "a"], ["Ø"], ["Ø"]]
    now = [[from_bytes(b"\xd9"), from_bytes(b"\xd8")], [from_bytes(b"\x85"), "a"], ["Ø"], ["Ø"]]
    assert current_likeliest(tokens, likeliest) == now
