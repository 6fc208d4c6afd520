"""A text as the models read it, every token shaded by how far teacher and student differ there.

Position i has read token i and predicts the next one, so the KL of position i belongs to token i + 1: that is the
token the two disagreed about. The first token is not predicted and stays unshaded. Tokens that spell one character
together are shaded together, by the mean of their KL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from engine.analysis.token_groups import Group, expected, token_groups
from engine.common.text import escape_text, visible_text, visible_token
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
    groups = token_groups(scores)
    texts = [group.text if group.text is not None else "" for group in groups]
    marked = _marked(texts, search)
    starts = {int(turn["first"]): str(turn["speaker"]).capitalize() for turn in scores["turns"] or ()}
    cells: list[dict[str, Any]] = []
    for group, text, mark in zip(groups, texts, marked, strict=True):
        after = group.text is None  # what follows the text: which token ends a text differs between tokenizers
        ending = "⟨end⟩" if ends else "⟨truncated⟩"
        cell = {
            "text": ending if after else _inline(text),
            "part": int(group.stop > 1 and scores["response"][group.stop - 2]),
            "turn": starts.get(group.first, ""),
            "mark": mark,
        }
        if group.position is not None:
            cell |= {
                "name": ending if after else visible_text(text),
                "kl": group.kl,
                "tokens": group.predicted,
                "which": group.which,
                "known": not after,
                "teacher": _likeliest(scores, "teacher", group),
                "student": _likeliest(scores, "student", group),
            }
        cells.append(cell)
    return {"cells": cells}


def _likeliest(scores: Mapping[str, Any], model: str, group: Group) -> list[tuple[str, float, bool]]:
    """Tokens as (name, probability, whether it is the token of the text), likeliest first."""
    position = group.position or 0
    tokens, following = scores[f"{model}_tokens"][position], [*scores["tokens"], None][position + 1]
    found = zip(expected(scores, group, model), tokens, scores[f"{model}_probs"][position], strict=True)
    return [(visible_token(name), float(prob), token == following) for name, token, prob in found if prob == prob][:TOP]


def _marked(texts: Sequence[str], search: str) -> list[bool]:
    """Which texts of groups overlap something that was searched for."""
    marked = [False] * len(texts)
    if not search:
        return marked
    text, starts = "", []
    for each in texts:
        starts.append(len(text))
        text += escape.fold(each)
    for found in re.finditer(re.escape(escape.fold(search)), text):
        for index, start in enumerate(starts):
            if start < found.end() and start + len(texts[index]) > found.start():
                marked[index] = True
    return marked


def _inline(token: str) -> str:
    """A token inside the running text: line breaks and tabs are seen and still break the line."""
    return escape_text(token).replace("\n", "⏎\n").replace("\t", "⇥\t") or "⟨nothing⟩"
