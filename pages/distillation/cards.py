"""Distilled inputs as cards: the decoded text token by token, or the picture, its learned label, and real neighbours.

A token is the fainter, the farther the learned vector is from it. What is drawn is set as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import streamlit as st

from engine.analysis import distillation
from engine.analysis.distilled_sets import class_names
from engine.common.choices import Similarity
from engine.common.text import escape_text, one_line, visible_token
from pages.kd.gallery import picture

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "winnow_distilled",
    html='<div class="distilled"></div>',
    css=(_HERE / "cards.css").read_text(encoding="utf-8"),
    js=(_HERE / "cards.js").read_text(encoding="utf-8"),
)
NEIGHBOURS = 3  # real samples beside an input
MOST_LABELS = 24  # classes whose learned numbers are drawn: the largest by size if there are more
LABELS = {"hard": "label", "soft": "learned label", "unrestricted": "learned label"}
SPACED = (" ", "Ġ", "▁")  # how tokenizers write that a token begins a word
Style = Literal["texts", "pictures", "trajectory", "trajectory stills"]
NO_TOKENS = pd.DataFrame(columns=["input", "position", "start", "nearest", "similarity"])


def show(data: Mapping[str, Any], *, key: str) -> None:
    _mount(key=key, data=dict(data))


def prepared(
    inputs: pd.DataFrame,
    tokens: pd.DataFrame,
    style: Style,
    *,
    similarity: Similarity = "cosine",
    labels: str = "unrestricted",
    initialization: str = "samples",
    near: Mapping[int, Mapping[str, Any]] | None = None,
    started: Mapping[int, bytes] | None = None,
) -> dict[str, Any]:
    """What the component draws of the inputs of one snapshot, class by class.

    `inputs` and `tokens` are `Store.distilled` and `Store.distilled_tokens`; `labels` and `initialization` are the
    recipe's; `near` are samples by row, with `words` and `image`; `started` are the pictures at step 0, by input. In a
    trajectory the labels and neighbours are left out.
    """
    moving = style.startswith("trajectory")
    names = class_names(inputs)
    values = [value for each in inputs["labels"] for value in each] if not moving else []
    scale = _scale(tokens, similarity)
    by_input = dict(iter(tokens.groupby("input", sort=False))) if len(tokens) else {}
    classes: dict[str, list[dict[str, Any]]] = {}
    for row in inputs.to_dict("records"):
        number = int(row["input"])
        mine = by_input.get(number)
        classes.setdefault(str(row["label"]), []).append(
            {
                "name": one_line(str(row["label"]), 60),
                "text": escape_text(row["text"] or ""),
                "tokens": _tokens(mine, scale) if mine is not None else [],
                "image": picture(row["image"]),
                "changed": distillation.changed(int(row["changed"]), int(row["length"]), initialization),
                "unchanged": bool(row["length"]) and not row["changed"],
                "labels": [] if moving else _labels(names, row["labels"]),
                "near": [] if moving else _near(row["near_rows"], row["near_values"], near or {}),
                "started": "" if moving else picture((started or {}).get(number)),
            }
        )
    return {
        "style": style,
        "badge": "" if moving else "machine-made",
        "labels": LABELS[labels],
        "most": max((abs(value) for value in values), default=1.0) if labels == "unrestricted" else 1.0,
        "negative": any(value < 0 for value in values),
        "classes": [{"name": one_line(name, 60) or "(no name)", "cards": cards} for name, cards in classes.items()],
    }


def _labels(names: Sequence[str], values: Sequence[float]) -> list[tuple[str, float]]:
    if len(names) != len(values):
        names = [f"class {place}" for place in range(len(values))]
    pairs = [(one_line(name, 40), float(value)) for name, value in zip(names, values, strict=True)]
    if len(pairs) <= MOST_LABELS:
        return pairs
    largest = sorted(pairs, key=lambda pair: -abs(pair[1]))[:MOST_LABELS]
    return [pair for pair in pairs if pair in largest]


def _near(rows: Sequence[int], values: Sequence[float], known: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "row": int(row),
            "value": float(value),
            "words": one_line(str(known[int(row)]["words"])),
            "image": picture(known[int(row)]["image"]),
        }
        for row, value in list(zip(rows, values, strict=True))[:NEIGHBOURS]
        if int(row) in known
    ]


def _scale(tokens: pd.DataFrame, similarity: Similarity) -> tuple[float, float]:
    """The similarities drawn faintest and strongest: 0 and 1 for cosine, else the least and the largest there are."""
    if similarity == "cosine" or not len(tokens):
        return 0.0, 1.0
    every = [float(value) for each in tokens["similarity"] for value in each]
    return min(every), max(every)


def _strength(value: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 1.0


def _tokens(mine: pd.DataFrame, scale: tuple[float, float]) -> list[dict[str, Any]]:
    """The tokens of one input, in order, each with its nearest ones as (token, similarity, width of its bar)."""
    found = []
    spaced = any(str(nearest[0]).startswith(SPACED) for nearest in mine["nearest"])
    for start, nearest, similarity in zip(mine["start"], mine["nearest"], mine["similarity"], strict=True):
        token = str(nearest[0])
        begins = token.startswith(SPACED) if spaced else not token.startswith("##")
        found.append(
            {
                "text": visible_token(strip_mark(token)),
                "space": begins,
                "strength": round(_strength(float(similarity[0]), scale), 3),
                "same": token == start,
                "start": visible_token(str(start)),
                "near": [
                    (visible_token(str(name)), float(value), round(100 * _strength(float(value), scale)))
                    for name, value in zip(nearest, similarity, strict=True)
                ],
            }
        )
    return found


def strip_mark(token: str) -> str:
    """A token without the mark its tokenizer puts at the beginning of a word, or of the rest of one."""
    if token.startswith("##") and len(token) > 2:
        return token[2:]
    return token[1:] if len(token) > 1 and token.startswith(SPACED) else token
