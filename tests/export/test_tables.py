"""Tables of a run as people take them away."""

from __future__ import annotations

from engine.common.characters import from_bytes
from engine.export.tables import run_table
from engine.storage.parts import write_part
from engine.storage.workspace import Workspace


def test_texts_of_tokens_are_readable(workspace: Workspace) -> None:
    """A character of several tokens stands at its first, and no likeliest token is half a character."""
    begun, lam, mim = (from_bytes(bytes([byte])) for byte in (0xD9, 0x84, 0x85))
    row = {
        "epoch": 1,
        "row": 0,
        "tokens": ["say", begun, mim, "."],
        "response": [False, False, False, True],
        "kl": [0.5] * 4,
        "teacher_tokens": [[begun], [mim], ["."], [mim]],
        "student_tokens": [["x"], [lam], [" y"], ["</s>"]],
        "teacher_probs": [[0.5]] * 4,
        "student_probs": [[0.5]] * 4,
        "turns": None,
    }
    part = write_part(workspace, "run", "token_scores", "a", [row])
    [found] = run_table(workspace, [part], "token_scores").to_pylist()
    assert found["tokens"] == ["say", "م", "", "."]
    assert found["teacher_tokens"] == [["⟨byte D9 of a character⟩"], ["م"], ["."], ["⟨byte 85 of a character⟩"]]
    assert found["student_tokens"] == [["x"], ["ل"], [" y"], ["</s>"]]
    assert found["kl"] == row["kl"]
