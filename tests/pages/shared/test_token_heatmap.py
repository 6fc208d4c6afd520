"""Token heat: the KL of a position belongs to the token after it, and every token can be read."""

from __future__ import annotations

import json
from typing import Any

from engine.common.characters import from_bytes
from engine.common.text import visible_token
from pages.shared import token_heatmap


def scores(tokens: list[str], response_start: int, kl: list[float] | None = None) -> dict[str, Any]:
    count = len(tokens)
    return {
        "tokens": tokens,
        "response": [place >= response_start for place in range(count)],
        "turns": None,
        "kl": kl or [float(i) for i in range(count)],
        "teacher_tokens": [[f"t{i}", "other"] for i in range(count)],
        "teacher_probs": [[0.75, 0.25]] * count,
        "student_tokens": [["other", f"t{i + 1}"] for i in range(count)],
        "student_probs": [[0.5, 0.25]] * count,
    }


def test_kl_stands_at_the_token_it_is_about() -> None:
    """Position i predicts token i + 1; the last prediction is of the end."""
    cells = token_heatmap.prepared(scores(["t0", "t1", "t2"], response_start=1))["cells"]
    assert [cell["text"] for cell in cells] == ["t0", "t1", "t2", "⟨end⟩"]
    assert [cell.get("kl") for cell in cells] == [None, 0.0, 1.0, 2.0]
    assert [cell["part"] for cell in cells] == [0, 0, 1, 1]  # position 1 is the first of the response
    assert cells[1]["student"] == [("other", 0.5, False), ("t1", 0.25, True)]
    assert cells[1]["teacher"] == [("t0", 0.75, False), ("other", 0.25, False)]


def test_a_truncated_text() -> None:
    """If the text was truncated, the last prediction is not the end, and no token is expected there."""
    last = token_heatmap.prepared(scores(["t0", "t1"], response_start=0), ends=False)["cells"][-1]
    assert last["text"] == "⟨truncated⟩"
    assert last["known"] is False


def test_no_number() -> None:
    """A NaN is neither a colour nor an expectation, and what is drawn stays valid JSON."""
    broken = scores(["a", "b"], 0, [float("nan"), 1.0]) | {"student_probs": [[float("nan")] * 2, [0.5, 0.25]]}
    cells = token_heatmap.prepared(broken)["cells"]
    assert [cell.get("kl") for cell in cells] == [None, None, 1.0]
    assert cells[1]["student"] == []
    json.dumps(cells, allow_nan=False)


def test_a_response_without_prompt() -> None:
    """If every position belongs to the response, only the first token, which is not predicted, stands before it."""
    cells = token_heatmap.prepared(scores(["a", "b"], 0))["cells"]
    assert [cell["part"] for cell in cells] == [0, 1, 1]


def test_search_is_marked_across_tokens() -> None:
    """What was searched for is marked in every token it touches, in any case of letters."""
    cells = token_heatmap.prepared(scores(["The ri", "VER", " runs"], 0), search="River")["cells"]
    assert [cell["mark"] for cell in cells] == [True, True, False, False]


def test_the_tokens_of_a_character_are_one() -> None:
    """They are shaded by their mean, and what the models expected is that of the token where they differ most."""
    parts = [from_bytes(bytes([byte])) for byte in "語".encode()]
    found = scores(["x", *parts, "."], 0, [0.5, 2.0, 0.5, 1.0, 3.0])
    found["student_tokens"][1] = [parts[1], from_bytes(b"\x80")]
    found["teacher_tokens"][2] = [parts[2], from_bytes(b"\xa9")]
    cells = token_heatmap.prepared(found)["cells"]
    assert [cell["text"] for cell in cells] == ["x", "語", ".", "⟨end⟩"]
    assert [cell.get("kl") for cell in cells] == [None, 1.0, 1.0, 3.0]
    assert (cells[1]["name"], cells[1]["tokens"], cells[1]["which"]) == ("語", 3, " (token 2 of 3)")
    assert (cells[2]["tokens"], cells[2]["which"]) == (1, "")
    assert cells[1]["student"] == [
        ("⟨byte AA of a character⟩", 0.5, True),
        ("⟨byte 80 of a character⟩", 0.25, False),
    ]
    found["kl"][2] = 9.0  # at its last byte the likeliest tokens are the characters that they complete
    assert token_heatmap.prepared(found)["cells"][1]["teacher"] == [("語", 0.75, True), ("誩", 0.25, False)]


def test_turns_begin_where_they_begin() -> None:
    """The first token of a turn names its speaker, and no character reaches into the next turn."""
    turns = [{"speaker": "user", "first": 0}, {"speaker": "assistant", "first": 2}]
    begun, rest = from_bytes(b"\xd9"), from_bytes(b"\x85")
    cells = token_heatmap.prepared(scores(["x", begun, rest], 5) | {"turns": turns})["cells"]
    assert [(cell["text"], cell["turn"]) for cell in cells] == [
        ("x", "User"),
        ("\ufffd", ""),
        ("\ufffd", "Assistant"),
        ("⟨end⟩", ""),
    ]


def test_tokens_are_readable() -> None:
    """Spaces at the ends, line breaks, tabs, parts of characters and empty tokens are seen; nothing acts."""
    shown = [visible_token(token) for token in (" the", "  ", "\n", "\t", "\ufffd", "", "a b", "\x1b[2J", "\u202e")]
    assert shown == ["␣the", "␣␣", "⏎", "⇥", "⟨part of a character⟩", "⟨nothing⟩", "a b", "␛[2J", "⟨RLO⟩"]
    flowing = token_heatmap.prepared(scores(["x", "a\n\n", "\t"], 0))["cells"]
    assert [cell["text"] for cell in flowing[1:3]] == ["a⏎\n⏎\n", "⇥\t"]
