"""The inputs of a distilled set, class by class: texts token by token or pictures, with labels and real neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from engine.analysis import distillation
from engine.analysis.distilled_sets import DistilledSet
from engine.config.distillation import MAIN
from pages.distillation import cards
from pages.shared import session

SIMILARITIES = {"cosine": "cosine similarity", "l2": "distance (L2)", "dot": "dot product"}
LABELS = {
    "hard": "Each input has the one label of its class.",
    "soft": "Learned labels are probabilities.",
    "unrestricted": "Learned labels are numbers of any size and sign, no probabilities; hollow bars are below zero.",
}


def draw(shown: DistilledSet) -> None:
    """Every input of the set."""
    synthetic = shown.recipe.synthetic
    if sentence := distillation.unchanged(shown.inputs):
        st.caption(f":material/info: {sentence}")
    if shown.pictures:
        data = cards.prepared(
            shown.table, cards.NO_TOKENS, "pictures", labels=synthetic.labels, near=_near(shown), started=_first(shown)
        )
        legend = (
            "Below each picture: where it started, and the nearest real pictures of its class by cosine similarity. "
        )
        plain = "A learned picture is no photograph of anything: it is what teaches the model most."
    else:
        step = None if shown.step is not None else shown.snapshots[-1]
        data = cards.prepared(
            shown.table, shown.store.distilled_tokens(shown.run.id, shown.key, step), "texts",
            similarity=synthetic.similarity, labels=synthetic.labels, initialization=synthetic.initialization,
            near=_near(shown),
        )  # fmt: skip
        legend = (
            f"Each word is the token nearest to a learned vector, by {SIMILARITIES[synthetic.similarity]}: the "
            "fainter, the farther away. Point at one for the next nearest. "
        )
        plain = (
            "What is learned are lists of numbers, and the words are only the nearest ones a dictionary has. So the "
            "text may read oddly and still teach well, and something is lost on the way: the chart below says how much."
        )
    cards.show(data, key="distilled_cards")
    st.caption(legend + LABELS[synthetic.labels])
    session.explain(plain)


def _near(shown: DistilledSet) -> Mapping[int, Mapping[str, Any]]:
    """The real samples named as neighbours, by row. The store holds those of the first task."""
    if shown.key.task != MAIN:
        return {}
    rows = [int(row) for each in shown.table["near_rows"] for row in list(each)[: cards.NEIGHBOURS]]
    samples = shown.store.labelled_samples(shown.run.id, rows)
    images = shown.store.images(shown.run.id, rows) if shown.pictures else {}
    return {
        row: {"words": f"{sample['instruction']} {sample['input']}".strip(), "image": images.get(row)}
        for row, sample in samples.items()
    }


def _first(shown: DistilledSet) -> dict[int, bytes]:
    """The pictures at the first snapshot, by input."""
    first = shown.store.distilled(shown.run.id, shown.key, shown.snapshots[0])
    return {int(number): image for number, image in zip(first["input"], first["image"], strict=True) if image}
