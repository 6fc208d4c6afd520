"""A text as the models read it, every token shaded by how far teacher and student differ there.

Position i has read token i and predicts the next one, so the KL of position i belongs to token i + 1: that is the
token the two disagreed about. The first token is not predicted and stays unshaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from engine.common.text import escape_text, visible_token
from pages.shared import escape

_HERE = Path(__file__).parent
_HTML = """
<div class="heat">
  <div class="text"></div>
  <div class="legend"><span>agree</span><i></i><span class="most"></span></div>
  <div class="panel" aria-live="polite"></div>
</div>
"""
_mount = st.components.v2.component(
    "winnow_heat",
    html=_HTML,
    css=(_HERE / "token_heatmap.css").read_text(encoding="utf-8"),
    js=(_HERE / "token_heatmap.js").read_text(encoding="utf-8"),
)
TOP = 5  # likeliest next tokens shown for each model


def show(scores: Mapping[str, Any], *, key: str, ends: bool = True, search: str = "") -> None:
    """Draw one sample's token scores, as `Store.token_scores` gives them.

    `ends` says whether the last prediction is the end of the text (False if the text was truncated). What matches
    `search` is marked.
    """
    _mount(key=key, data=prepared(scores, ends=ends, search=search))


def prepared(scores: Mapping[str, Any], *, ends: bool = True, search: str = "") -> dict[str, Any]:
    """What the component draws: cells of (text, part, KL, marked, teacher's and student's likeliest tokens)."""
    tokens: Sequence[str] = list(scores["tokens"])
    following = [*tokens[1:], "⟨end⟩" if ends else "⟨truncated⟩"]
    marked = _marked(tokens, search)
    first = int(scores["response_start"]) + 1  # the first token of the response
    cells: list[dict[str, Any]] = [{"text": _inline(tokens[0]), "part": int(first <= 0), "mark": marked[0]}]
    for position, token in enumerate(following):
        index = position + 1
        kl = float(scores["kl"][position])
        last = index == len(tokens)
        cells.append(
            {
                "text": token if last else _inline(token),
                "name": token if last else visible_token(token),
                "part": int(index >= first),
                "kl": kl if kl == kl else None,
                "mark": not last and marked[index],
                "known": not last,  # which token ends a text differs between tokenizers
                "teacher": _likeliest(scores, "teacher", position, token),
                "student": _likeliest(scores, "student", position, token),
            }
        )
    return {"cells": cells}


def _likeliest(scores: Mapping[str, Any], model: str, position: int, token: str) -> list[tuple[str, float, bool]]:
    pairs = zip(scores[f"{model}_tokens"][position], scores[f"{model}_probs"][position], strict=True)
    return [(visible_token(name), float(prob), name == token) for name, prob in pairs if prob == prob][:TOP]


def _marked(tokens: Sequence[str], search: str) -> list[bool]:
    """Which tokens overlap something that was searched for."""
    marked = [False] * len(tokens)
    if not search:
        return marked
    text, starts = "", []
    for token in tokens:
        starts.append(len(text))
        text += escape.fold(token)
    for found in re.finditer(re.escape(escape.fold(search)), text):
        for index, start in enumerate(starts):
            if start < found.end() and start + len(tokens[index]) > found.start():
                marked[index] = True
    return marked


def _inline(token: str) -> str:
    """A token inside the running text: line breaks and tabs are seen and still break the line."""
    return escape_text(token).replace("\n", "⏎\n").replace("\t", "⇥\t") or "⟨nothing⟩"
