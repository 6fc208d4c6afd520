"""What a distilled set is worth: every method in one picture, read by other models too, and the table behind it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.analysis import distillation
from engine.analysis.distillation import COMPARED, Evaluations
from engine.analysis.pruning import interval
from engine.common.text import escape_text
from engine.config.distillation import SetKey
from pages.distillation import charts as distilled_charts
from pages.distillation.charts import Row
from pages.distillation.state import View
from pages.shared import charts, run_labels, session
from pages.shared.escape import escape_markdown


def draw(view: View) -> None:
    """The chart, the other models below it, and the numbers in a table for those who want them."""
    worth, key = view.worth, view.key
    if not worth.distilled(key):
        going = "It is measured once its inputs are learned." if run_labels.active(view.run) else "It was not measured."
        st.caption(f"{going} Every method then stands here in one picture, with {view.recipe.worth.heads} heads each.")
        return
    still = key in view.still
    rows = rows_of(worth, key, still=still)
    others = {model: rows_of(worth, key, model, still=still) for model in worth.transfers(key)}
    chance = 1 / view.classes
    span = distilled_charts.span([*rows, *(row for found in others.values() for row in found)], chance)
    st.markdown(
        f"**Right on the test set, trained on …** :gray[filled: machine-made · open: as many real samples "
        f"({key.per_class:,} per class) · bars: 95 % interval over heads]"
    )
    charts.show(
        distilled_charts.ladder(rows, chance, span), key="distilled_worth",
        alt=f"Accuracy after training on each of {len(rows)} sets, with intervals",
    )  # fmt: skip
    session.explain(
        "Farther right is better. The star is a training on everything; what is left of the dotted line is no better "
        "than guessing. Open marks are real samples, as few as there are machine-made ones: by chance, or picked to "
        "cover the data well. Faint dots are single repetitions."
    )
    for place, (model, found) in enumerate(others.items()):
        st.markdown(
            f"**Read by another model: {escape_markdown(model)}** :gray[distilled for {escape_markdown(key.student)}]"
        )
        charts.show(
            distilled_charts.ladder(found, chance, span), key=f"distilled_transfer_{place}",
            alt=f"Accuracy of another model after training on each of {len(found)} sets, with intervals",
        )  # fmt: skip
    if others:
        session.explain(
            "Vectors belong to one model; words can be read by any. This is whether they teach others, too."
        )
    elif not view.pictures:
        st.caption("Whether another model learns from these words is measured where `worth.transfer` names one.")
    with st.expander("The numbers", icon=":material/table:"):
        _table(table_of(worth, key, still=still))


def rows_of(worth: Evaluations, key: SetKey, trained: str | None = None, *, still: bool = False) -> list[Row]:
    """A row for each method that was measured, in the order of METHODS; `still` says that no text has changed."""
    found = []
    for method in worth.methods(key, trained):
        heads = worth.heads(key, method, trained)["accuracy"]
        found.append(Row(method, named(worth, key, method, trained, still=still), list(heads), interval(heads)))
    return found


def named(worth: Evaluations, key: SetKey, method: str, trained: str | None = None, *, still: bool = False) -> str:
    """`2 random real samples`, `all 6,920 real samples`, `decoded text`."""
    if method in COMPARED or method == "full":
        number = worth.heads(key, method, trained)["samples"].mean()
        return f"{'all ' if method == 'full' else ''}{number:,.0f} {worth.name(method).removeprefix('all ')}"
    return worth.name(method).replace("decoded", "unchanged") if still else worth.name(method)


def table_of(worth: Evaluations, key: SetKey, *, still: bool = False) -> pd.DataFrame:
    """Every method and model: accuracy with its interval, what the training took, and what was chosen for it."""
    lines = []
    for model in [key.student, *worth.transfers(key)]:
        for method in worth.methods(key, model):
            heads = worth.heads(key, method, model)
            over = interval(heads["accuracy"])
            rates = sorted({rate for rate in heads["learning_rate"] if rate == rate})
            lines.append(
                {
                    "trained on": named(worth, key, method, model, still=still),
                    "model": escape_text(model),
                    "right": 100 * over.mean,
                    "±": 100 * (over.high - over.low) / 2,
                    "held back": 100 * heads["valid"].mean(),
                    "loss": heads["loss"].mean(),
                    "seconds": heads["seconds"].mean(),
                    "steps": heads["steps"].mean(),
                    "operations": distillation.operations(heads["operations"].mean()),
                    "rates": ", ".join(f"{rate:g}" for rate in rates) or "learned",
                    "heads": over.seeds,
                }
            )
    return pd.DataFrame(lines)


def _table(table: pd.DataFrame) -> None:
    if table["model"].nunique() == 1:
        table = table.drop(columns="model")
    number = st.column_config.NumberColumn
    st.dataframe(
        table, hide_index=True, width="stretch", alt="Every method with its accuracy, cost and settings",
        column_config={
            "right": number(format="%.1f %%", help="On the test set, mean over heads."),
            "±": number(format="%.1f", help="Half of the 95 % interval of that mean, in points."),
            "held back": number(format="%.1f %%", help="On held-out samples, by which steps and rates were chosen."),
            "loss": number(format="%.3f", help="Cross-entropy on the test set, nats."),
            "seconds": number(format="%.2f", help="Of training up to the chosen step."),
            "steps": number(format="%.0f"),
            "operations": st.column_config.TextColumn(help="Floating-point operations of training up to that step."),
            "rates": st.column_config.TextColumn(help="Learning rates chosen on held-out samples."),
        },
    )  # fmt: skip
