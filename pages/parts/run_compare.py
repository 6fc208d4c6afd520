"""Two runs side by side: what they were told differently, and where each ended."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.ledger import Run
from engine.store import Store
from pages.parts import findings
from pages.parts.run_recipe import recipe_differences
from pages.parts.words import inert

FINAL = {"perplexity": "perplexity", "loss": "validation loss", "accuracy": "token accuracy"}


def draw(store: Store, left: Run, right: Run) -> None:
    """Recipes, then results; `left` is the run that is open."""
    told = recipe_differences(left.recipe, right.recipe)
    told = told[told["key"] != "name"]
    if told.empty:
        st.markdown("**Both were told the same.** What differs below is chance, or the machine.")
    else:
        st.markdown(f"**{len(told)} of their settings differ.**" if len(told) > 1 else "**One setting differs.**")
        st.dataframe(
            pd.DataFrame({"setting": told["key"], "this run": told["left"], "the other": told["right"]}).map(inert),
            hide_index=True, width="stretch", alt="The settings in which the two recipes differ",
        )  # fmt: skip
    _results(store, left, right)


def _results(store: Store, left: Run, right: Run) -> None:
    ended = {}
    for side, run in (("this run", left), ("the other", right)):
        if run.kind == "dynamic-pruning":
            table = findings.per_epoch(store.metrics(run.id))
            last = findings.ends(table, run.recipe["training"]["epochs"], run.recipe["seeds"], run.state == "done")
            ended[side] = last.groupby("arm")[[*FINAL, "tokens_read", "seconds"]].mean()
    if len(ended) < 2 or any(frame.empty for frame in ended.values()):
        st.caption("Results stand here side by side once an arm of both runs has come to its end.")
        return
    both = pd.concat(ended, axis=1).swaplevel(axis=1)
    names = {**FINAL, "tokens_read": "tokens read", "seconds": "seconds"}
    columns = {f"{words}, {side}": both[name, side] for name, words in names.items() for side in ended}
    st.markdown("**Where they ended**, the mean over the seeds that finished")
    st.dataframe(
        pd.DataFrame(columns).rename_axis("arm").reset_index(), hide_index=True, width="stretch",
        alt="Final metrics of every arm of both runs",
    )  # fmt: skip
    if left.recipe["data"] != right.recipe["data"] or left.recipe["models"] != right.recipe["models"]:
        st.caption("They do not read the same data with the same pair, so their losses are not on one scale.")
