"""What a score keeps at a fraction and what it prunes, two scores side by side, and how much of it is the same."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from engine.analysis import kd
from engine.common import formats
from engine.common.text import one_line
from engine.config.grid import PRUNING_SCORES, selection_arm
from engine.storage.store import Store
from pages.kd import drawer, form
from pages.kd.controls import View
from pages.shared import run_select, session
from pages.shared.escape import escape_markdown

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "winnow_gallery",
    html='<div class="gallery"></div>',
    css=(_HERE / "gallery.css").read_text(encoding="utf-8"),
    js=(_HERE / "gallery.js").read_text(encoding="utf-8"),
)
PICTURES, TEXTS = 16, 6  # samples of each kind
PNG = b"\x89PNG\r\n\x1a\n"


def draw(view: View, store: Store) -> None:
    """The two galleries, and in a sentence how much of what both keep is the same."""
    if view.fraction == 1:
        st.caption("At this share everything is kept; move the slider above to a smaller one.")
        return
    arms = set(store.selection_arms(view.run.id))
    offered = [s for s in view.cells.scores if selection_arm(s, view.fraction, view.noise) in arms]
    if not offered:
        st.caption("Nothing has been chosen at this share yet; pictures stand here as soon as it is.")
        return
    first = view.score if view.score in offered else offered[0]
    others = [score for score in offered if score != first]
    # Two random choices side by side would show nothing.
    second = next((score for score in others if not score.startswith("random")), others[0] if others else None)
    left, right = st.columns(2, gap="large")
    with left:
        one = _choose("kd_left", "One score", offered, first)
    shown: list[int] = []
    if second is not None:
        with right:
            other = _choose("kd_right", "and another", offered, second)
        _overlap(view, store, one, other)
        left, right = st.columns(2, gap="large")
        with right:
            shown += _gallery(view, store, other, "right")
    with left:
        shown = _gallery(view, store, one, "left") + shown
    session.explain(
        "A random handful of what each score keeps and of what it throws away. Choose a sample to see where it stands "
        "by every score."
    )
    drawer.open_if_asked(view, list(dict.fromkeys(shown)))


def _choose(key: str, label: str, scores: list[str], first: str) -> str:
    run_select.forget_unless(key, scores)
    return st.selectbox(
        label, scores, scores.index(first), format_func=PRUNING_SCORES.__getitem__, key=key, bind="query-params"
    )


def _overlap(view: View, store: Store, one: str, other: str) -> None:
    arms = [selection_arm(score, view.fraction, view.noise) for score in (one, other)]
    of = store.kept_and_total(view.run.id, arms[0])[1]
    names = (PRUNING_SCORES[one], PRUNING_SCORES[other])
    st.markdown(kd.overlap(names, *store.overlap(view.run.id, arms[0], arms[1]), of))


def _gallery(view: View, store: Store, score: str, side: str) -> list[int]:
    """Draw what one score keeps and prunes; the answer is the rows that are shown."""
    run, arm = view.run.id, selection_arm(score, view.fraction, view.noise)
    kept, of = store.kept_and_total(run, arm)
    groups, rows = [], []
    for verb, is_kept, count in (("keeps", True, kept), ("prunes", False, of - kept)):
        drawn = store.random_rows(run, arm, is_kept, PICTURES if view.cells.recipe.data.task == "images" else TEXTS)
        rows += drawn
        title = f"{PRUNING_SCORES[score]} {verb} {formats.count(count, 'sample')} ({formats.share(count, of)})"
        groups.append({"title": title, "kept": is_kept, "cards": cards(store, run, drawn)})

    def open_() -> None:
        row = int(st.session_state[f"kd_gallery_{side}"].open)
        if row in rows:
            drawer.DRAWER.open(row)

    _mount(
        key=f"kd_gallery_{side}",
        data={"groups": groups, "opened": drawer.DRAWER.row()},
        on_open_change=open_,
    )
    for note in view.run.provenance.get("emptied", []):
        if note["arm"] == arm:
            names = ", ".join(one_line(name, 40) for name in note["classes"])
            quota = form.RULES["quota"]
            st.caption(
                escape_markdown(f"No sample of {names} is kept here. A grid that keeps {quota} has some of each.")
            )
    return rows


def cards(store: Store, run: str, rows: Sequence[int]) -> list[dict[str, Any]]:
    """What the component draws of each row: its label, and its picture or the beginning of its text."""
    labelled, images = store.labelled_samples(run, rows), store.images(run, rows)
    return [
        {
            "row": row,
            "label": one_line(labelled[row]["label"], 40) or "no label",
            "image": picture(images.get(row)),
            "words": "" if row in images else one_line(f"{labelled[row]['instruction']} {labelled[row]['input']}"),
        }
        for row in rows
        if row in labelled
    ]


def picture(png: bytes | None) -> str:
    """The PNG in base64; "" for anything else, so that nothing but a picture is ever shown as one."""
    return base64.b64encode(png).decode() if png is not None and png.startswith(PNG) else ""
