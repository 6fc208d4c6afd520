"""How well a distilled set teaches: every method in one picture, other models that read it, and the table behind it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.analysis import distillation, run_labels
from engine.analysis.distilled_sets import DistilledSet
from engine.common.text import escape_text
from pages.distillation import figures
from pages.shared import charts, session
from pages.shared.escape import escape_markdown


def draw(shown: DistilledSet) -> None:
    """The chart, the other models below it, and the numbers in a table for those who want them."""
    evaluations, key = shown.evaluations, shown.key
    if not evaluations.has_distilled(key):
        when = "It is measured once its inputs are learned." if run_labels.active(shown.run) else "It was not measured."
        starts = shown.recipe.evaluation.eval_seeds
        st.caption(f"{when} Every method then stands here in one picture, with {starts} fresh starts each.")
        return
    results = evaluations.results(key, unchanged=shown.unchanged)
    others = {model: evaluations.results(key, model, unchanged=shown.unchanged) for model in evaluations.transfers(key)}
    chance = shown.guessing.share
    span = figures.span([*results, *(result for found in others.values() for result in found)], chance)
    st.markdown(
        f"**Right on the test set, trained on …** :gray[filled: machine-made · open: as many real samples "
        f"({key.per_class:,} per class) · bars: 95 % interval over fresh starts]"
    )
    charts.show(
        figures.accuracies(results, chance, span), key="distilled_worth",
        alt=f"Accuracy after training on each of {len(results)} sets, with intervals",
    )  # fmt: skip
    session.explain(
        "Farther right is better. The star is a training on everything; what is left of the dotted line is no better "
        "than guessing. Open marks are baselines: real samples, as few as there are machine-made ones, by chance or "
        "picked to cover the data well. Faint dots are single repetitions."
    )
    for place, (model, found) in enumerate(others.items()):
        st.markdown(
            f"**Read by another model: {escape_markdown(model)}** :gray[distilled for {escape_markdown(key.student)}]"
        )
        charts.show(
            figures.accuracies(found, chance, span), key=f"distilled_transfer_{place}",
            alt=f"Accuracy of another model after training on each of {len(found)} sets, with intervals",
        )  # fmt: skip
        if sentence := distillation.against_real(evaluations, key, shown.inputs, model):
            st.caption(sentence)
    if others:
        session.explain(
            "Vectors belong to one model; words can be read by any. This is whether they teach others, too."
        )
    elif not shown.pictures:
        st.caption("Whether another model learns from these words is measured if `evaluation.transfer` names one.")
    with st.expander("The numbers", icon=":material/table:"):
        _table(evaluations.summary(key, unchanged=shown.unchanged, chance=chance, distilling=shown.distilling))


def _table(table: pd.DataFrame) -> None:
    table["model"] = table["model"].map(escape_text)
    if table["model"].nunique() == 1:
        table = table.drop(columns="model")
    number = st.column_config.NumberColumn
    st.dataframe(
        table, hide_index=True, width="stretch", alt="Every method with its accuracy, cost and settings",
        column_config={
            "right": number(format="%.1f %%", help="On the test set, mean over fresh starts."),
            "±": number(format="%.1f", help="Half of the 95 % interval of that mean over fresh starts, in points."),
            "above chance": number(format="%+.1f", help="Points above what guessing reaches."),
            "held out": number(format="%.1f %%", help="On held-out samples, by which steps and rates were chosen."),
            "loss": number(format="%.3f", help="Cross-entropy on the test set, nats."),
            "seconds": number(format="%.2f", help="Of training up to the chosen step."),
            "in all": number(format="%.2f", help="Seconds of training, and of learning the set if it was learned."),
            "steps": number(format="%.0f"),
            "operations": st.column_config.TextColumn(help="Floating-point operations of training up to that step."),
            "rates": st.column_config.TextColumn(help="Learning rates chosen on held-out samples."),
        },
    )  # fmt: skip
