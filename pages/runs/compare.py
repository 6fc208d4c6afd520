"""Two runs side by side: the settings that differ, and where each ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from engine.analysis.arms import called
from engine.analysis.pruning_results import results_of
from engine.common.text import escape_text
from engine.config.kinds import PRUNING
from engine.config.toml import recipe_differences
from engine.storage.ledger import Run

if TYPE_CHECKING:
    from engine.storage.store import Store

SHOWN = {
    "perplexity": ("perplexity", 1, "%.2f"),
    "accuracy": ("accuracy", 100, "%.1f %%"),
    "tokens_read": ("tokens", 1, "%,d"),
    "seconds": ("seconds", 1, "%.0f"),
}
"""Title, scale and number format of each column that is compared."""


def draw(store: Store, left: Run, right: Run) -> None:
    """Recipes, then results; `left` is the run that is open."""
    changed = recipe_differences(left.recipe, right.recipe)
    changed = changed[changed["key"] != "name"]
    if changed.empty:
        st.markdown("**Both have the same settings.** What differs below is chance, or the machine.")
    else:
        st.markdown(f"**{len(changed)} of their settings differ.**" if len(changed) > 1 else "**One setting differs.**")
        columns = {"setting": changed["key"], "this run": changed["left"], "the other": changed["right"]}
        st.dataframe(
            pd.DataFrame(columns).map(escape_text),
            hide_index=True, width="stretch", alt="The settings in which the two recipes differ",
        )  # fmt: skip
    _results(store, left, right)


def _results(store: Store, left: Run, right: Run) -> None:
    ended = {}
    for side, run in (("this run", left), ("the other", right)):
        results = results_of(store, run) if run.kind == PRUNING.name else None
        if results is not None and len(results.last):
            ended[side] = results.last.groupby("arm")[[*SHOWN]].mean()
    if len(ended) < 2:
        st.caption("Results stand here side by side once both runs have finished a seed.")
        return
    arms = list(dict.fromkeys(arm for run in (left, right) for arm in run.recipe_as(PRUNING).arm_names))
    columns: dict[str, object] = {"arm": [called(arm) for arm in arms]}
    for name, (title, scale, _) in SHOWN.items():
        for side, of_run in ended.items():
            columns[f"{title}, {side}"] = scale * of_run[name].reindex(arms)
    st.markdown("**Where they ended**, the mean over the finished seeds")
    st.dataframe(
        pd.DataFrame(columns), hide_index=True, width="stretch", alt="Where every arm of both runs ended",
        column_config={
            f"{title}, {side}": st.column_config.NumberColumn(format=form)
            for title, _, form in SHOWN.values()
            for side in ended
        },
    )  # fmt: skip
    if left.recipe["data"] != right.recipe["data"] or left.recipe["models"] != right.recipe["models"]:
        st.caption("They differ in data or in models, so their losses cannot be compared.")
