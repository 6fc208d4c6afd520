"""What a run of dynamic pruning found, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from engine.analysis import pruning
from engine.analysis.pruning_results import Results
from engine.common import formats
from engine.config.kinds import PRUNING
from engine.storage.ledger import Run
from pages.shared import arm_charts, charts, empty, session

if TYPE_CHECKING:
    import plotly.graph_objects as go


def finding(found: Results) -> None:
    """The finding first, then whether it is one."""
    ending = pruning.ending(found.last)
    if not ending:
        st.subheader(
            "No seed has come to its end with every arm yet; the curves below grow with each epoch.", anchor=False
        )
        return
    st.subheader(ending, anchor=False)
    for sentence in (pruning.verdict(found.last), found.early_stop()):
        if sentence:
            st.markdown(sentence)


def badges(found: Results) -> None:
    """Settled or not, and how much of the run is behind it."""
    seeds = found.recipe.seeds
    with st.container(horizontal=True, gap="small"):
        word, colour = pruning.badge(found.last)
        if word:
            st.badge(word, icon=":material/balance:", color=colour)
        if len(found.finished) < len(seeds):
            st.badge(f"{len(found.finished)} of {len(seeds)} seeds finished", icon=":material/timelapse:")
        elif len(seeds) == 1:
            st.badge("one seed", icon=":material/looks_one:", color="gray")


def difference(found: Results) -> None:
    """The picture of the finding: dynamic pruning against each other arm, seed by seed."""
    if not len(pruning.differences(found.last, "perplexity", "dynamic", "random")):
        return
    st.markdown("**Dynamic pruning against each other arm** :gray[final perplexity, seed by seed]")
    charts.show(arm_charts.forest(found.last), key="forest", alt=pruning.verdict(found.last))
    session.explain(
        "Each ring is one seed: the same initialization and the same data order for both arms, so only the choice of "
        "samples differs. The line through a mean is the range the true difference lies in 95 times out of 100. If it "
        "crosses the dotted line, chance alone could explain the difference."
    )


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


def curves(found: Results, against: str) -> None:
    """What the arms learned, where the threshold stood, how often samples were used: six small charts."""
    grid = st.grid(3, min_column_width=320, gap=("medium", "medium"))
    for column, hint, plain in _CURVES:
        with grid.cell():
            _panel(arm_charts.TITLES[column], hint, arm_charts.curves(found.table, column, against), plain)
    with grid.cell():
        _panel(
            "Kept in each epoch", "and the threshold τ below", arm_charts.kept(found.table, found.samples),
            "How many samples were above the threshold in each epoch, and below them the threshold itself. The hatched "
            "part was not read in that epoch; it is scored again before the next.",
        )  # fmt: skip
    with grid.cell():
        _panel(
            "How often a sample was used", "mean over seeds", arm_charts.usage(found.usage),
            "How many samples were trained on in no epoch, in one, and so on. Training on everything uses every sample "
            "every time.",
        )  # fmt: skip


def _panel(title: str, hint: str, drawn: go.Figure, plain: str) -> None:
    st.markdown(f"**{title}** :gray[{hint}]")
    charts.show(drawn, alt=f"{title}, {hint}", key=f"panel_{title}")
    session.explain(plain)


def cost(found: Results) -> None:
    """What each arm spent up to its end, in tokens, steps and seconds with scoring counted."""
    table = found.cost()
    table = table.reindex([arm for arm in arm_charts.STYLES if arm in table.index])
    columns = {
        "arm": [arm_charts.STYLES[arm].label for arm in table.index],
        "tokens read": table["tokens_read"],
        "of everything": 100 * table["share"],
        "steps": table["steps_taken"],
        "seconds scoring": table["seconds_scoring"],
        "seconds training": table["seconds_training"],
        "seconds": table["seconds"],
        "seeds": table["seeds"],
    }
    shapes = {
        "tokens read": "%,d", "of everything": "%.0f %%", "steps": "%,d", "seconds scoring": "%.1f",
        "seconds training": "%.1f", "seconds": "%.1f",
    }  # fmt: skip
    st.dataframe(
        pd.DataFrame(columns), hide_index=True, width="stretch", alt="Tokens, steps and seconds of every arm",
        column_config={name: st.column_config.NumberColumn(format=shape) for name, shape in shapes.items()},
    )  # fmt: skip
    st.caption("Mean over the finished seeds." if len(found.last) else "So far; no seed is finished.")


def to_come(run: Run) -> None:
    """What will stand on the page, while there is nothing to show yet."""
    recipe = run.recipe_as(PRUNING)
    empty.ahead(
        run, "The first epoch is still ahead.", "its first epoch ended",
        f"It will train {formats.count(len(recipe.arms), 'arm')} for {formats.count(recipe.training.epochs, 'epoch')} "
        f"with {formats.count(len(recipe.seeds), 'seed')}. The curves of all arms, the threshold and what it kept, and "
        "the samples that crossed it will stand here, epoch by epoch.",
    )  # fmt: skip
