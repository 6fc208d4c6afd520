"""What the arms of a run of dynamic pruning learned, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from engine.analysis.pruning_results import Results
from engine.common import formats
from engine.config.kinds import PRUNING
from engine.storage.ledger import Run
from pages.shared import arm_charts, charts, empty, session
from pages.shared.arm_styles import Styles

if TYPE_CHECKING:
    import plotly.graph_objects as go


_CURVES = (
    ("perplexity", "lower is better", "How many words the model hesitates between, on samples it never read."),
    ("loss", "lower is better", "How surprised the model is by the right answer, on samples it never read."),
    ("accuracy", "higher is better", "How often the model's first guess for the next token is the right one."),
    (
        "gap",
        "far below zero: memorised",
        "Far below zero the model knows what it trained on better than what it did not. An arm that trains on hard "
        "samples alone stands higher, because its training loss is that of hard samples.",
    ),
)


def curves(found: Results, arms: Styles, against: str) -> None:
    """What the arms learned, where the threshold stood, how often samples were used: small charts."""
    grid = st.grid(3, min_column_width=320, gap=("medium", "medium"))
    for column, hint, plain in _CURVES:
        with grid.cell():
            _panel(arm_charts.TITLES[column], hint, arm_charts.curves(found.table, arms, column, against), plain)
    if "dynamic" in arms:
        with grid.cell():
            _panel(
                "Kept in each epoch", "and the threshold τ below", arm_charts.kept(found.table, found.samples),
                "How many samples were above the threshold in each epoch, and below them the threshold itself. The "
                "hatched part was not read in that epoch; it is scored again before the next.",
            )  # fmt: skip
    with grid.cell():
        _panel(
            "How often a sample was used", "mean over seeds", arm_charts.usage(found.usage, arms),
            "How many samples were trained on in no epoch, in one, and so on. Training on everything uses every sample "
            "every time.",
        )  # fmt: skip


def _panel(title: str, hint: str, drawn: go.Figure, plain: str) -> None:
    st.markdown(f"**{title}** :gray[{hint}]")
    charts.show(drawn, alt=f"{title}, {hint}", key=f"panel_{title}")
    session.explain(plain)


def to_come(run: Run) -> None:
    """What will stand on the page, while there is nothing to show yet."""
    recipe = run.recipe_as(PRUNING)
    empty.ahead(
        run, "The first epoch is still ahead.", "its first epoch ended",
        f"It will train {formats.count(len(recipe.arms), 'arm')} for {formats.count(recipe.training.epochs, 'epoch')} "
        f"with {formats.count(len(recipe.seeds), 'seed')}. The curves of all arms, what each costs, and which way of "
        "choosing pays will stand here, epoch by epoch.",
    )  # fmt: skip
