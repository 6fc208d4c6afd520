"""The learning trajectory of a distilled set: its inputs at one outer step, beside how well they taught then."""

from __future__ import annotations

import streamlit as st

from engine.analysis import run_labels
from engine.analysis.distilled_sets import DistilledSet
from pages.distillation import cards, figures
from pages.shared import charts, run_select, session

CURVES = (
    ("outer_loss", "train", "Outer loss :gray[on real samples, lower is better]", ".3f"),
    ("accuracy", "valid", "Right on held-out samples :gray[higher is better]", ".1%"),
)


def draw(shown: DistilledSet) -> None:
    """The slider of the step, which stands in the address, the inputs at that step, and the curves."""
    steps = shown.snapshots
    if len(steps) < 2:
        st.caption("One snapshot was kept so far; a trajectory needs two (`outer.snapshots` in the recipe).")
        return
    run_select.forget_unless("distilled_step", [None, *steps])
    at = st.select_slider(
        "Outer step", steps, shown.step if shown.step in steps else steps[-1], format_func="{:,}".format,
        key="distilled_step", bind="query-params",
    )  # fmt: skip
    left, right = st.columns([3, 2], gap="large")
    with left:
        run, key, synthetic = shown.run.id, shown.key, shown.recipe.synthetic
        tokens = cards.NO_TOKENS if shown.pictures else shown.store.distilled_tokens(run, key, at)
        style: cards.Style = "trajectory stills" if shown.pictures else "trajectory"
        data = cards.prepared(
            shown.store.distilled(run, key, at), tokens, style,
            similarity=synthetic.similarity, initialization=synthetic.initialization,
        )  # fmt: skip
        cards.show(data, key="distilled_film")
    with right:
        for name, split, title, shape in CURVES:
            curve = shown.curve(name, split)
            if curve.empty:
                continue
            st.markdown(f"**{title}**")
            drawn = figures.trajectory(curve, at, shown.step, shape)
            charts.show(drawn, key=f"distilled_{name}", alt=f"{name.replace('_', ' ')} over outer steps")
        st.caption(_best(shown, at))
    session.explain(
        "One outer step trains a model on the learned inputs, asks it about real samples, and changes the inputs a "
        "little so that the next model would do better. Drag the slider to watch them change."
    )


def _best(shown: DistilledSet, at: int) -> str:
    if shown.step is None:
        ended = "" if run_labels.active(shown.run) else "; this run ended before"
        return f"Which snapshot is best is chosen once all are there{ended}."
    best = f"★ step {shown.step:,} was best on held-out samples: it is what is shown above, measured and exported."
    return best if at != shown.step else f"On the screen: {best}"
