"""More of what distilled sets can do: more of them, more steps, less time, two tasks at once, a prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import streamlit as st

from engine.analysis import distillation
from engine.analysis.intervals import Interval, interval
from engine.common import formats
from engine.common.text import one_line
from engine.config.distillation import MAIN, MERGED, OTHER, PROMPTS, REPLAYS, SetKey
from pages.distillation import charts as distilled_charts
from pages.distillation.cards import class_names
from pages.distillation.charts import Row
from pages.distillation.evaluation import rows_of
from pages.distillation.state import View
from pages.shared import charts, run_labels, session
from pages.shared.escape import escape_markdown

DRAWN = ("embeddings", "text_labels", "text", "random")
Field = Literal["per_class", "inner_steps"]


def against(view: View) -> None:
    """Accuracy against the number of inputs per class, and against the number of inner steps."""
    left, right = st.columns(2, gap="large")
    with left:
        _against(view, "per_class", "More inputs", "inputs per class", "synthetic.per_class")
    with right:
        _against(view, "inner_steps", "More inner steps", "inner steps", "inner.steps")
    session.explain(
        "Every point is a set of its own, learned from the start. An inner step is one step of the model that is "
        "trained on the learned inputs while these are being learned."
    )


def _against(view: View, field: Field, title: str, axis: str, setting: str) -> None:
    st.markdown(f"**{title}**")
    keys = [key for key in along(view.sets, view.key, field) if view.worth.distilled(key)]
    if len(keys) < 2:
        st.caption(missing(view, field, axis, setting))
        return
    lines: dict[str, list[tuple[int, Interval]]] = {}
    for method in DRAWN:
        points = [
            (getattr(key, field), view.worth.accuracy(key, method))
            for key in keys
            if not (method in ("text", "text_labels") and key in view.still)
        ]
        if any(over.seeds for _, over in points):
            lines[method] = [(value, over) for value, over in points if over.seeds]
    full = view.worth.accuracy(view.key, "full")
    charts.show(
        distilled_charts.against(
            lines, {method: view.worth.name(method) for method in lines}, axis,
            full.mean if full.seeds else None, 1 / view.classes,
        ), key=f"distilled_{field}_chart", alt=f"Accuracy against {axis} for {len(lines)} kinds of training data",
    )  # fmt: skip


def along(sets: list[SetKey], key: SetKey, field: Field) -> list[SetKey]:
    """The sets that differ in `field` alone, ascending.

    The recipe varies one thing at a time around its first set, so where `key` varies another thing that one is put
    back to the first.
    """

    def line(middle: SetKey) -> list[SetKey]:
        same = [each for each in sets if _but(each, field) == _but(middle, field)]
        return sorted(same, key=lambda each: int(getattr(each, field)))

    mine = line(key)
    if len(mine) > 1:
        return mine
    first = sets[0]
    if field == "per_class":
        return line(key._replace(inner_steps=first.inner_steps))
    return line(key._replace(per_class=first.per_class))


def _but(key: SetKey, free: Field) -> dict[str, object]:
    return {name: value for name, value in key._asdict().items() if name != free}


def missing(view: View, field: Field, axis: str, setting: str) -> str:
    """Why there is no curve, and how one is got. Markdown."""
    asked = view.recipe.synthetic.per_class if field == "per_class" else view.recipe.inner.steps
    if len(asked) > 1 and run_labels.active(view.run):
        return f"Still to come: {formats.count(len(asked), 'set')} with {', '.join(map(str, asked))} {axis}."
    if len(asked) > 1:
        return f"Fewer than two numbers of {axis} were measured for this student."
    return f"One number of {axis} was tried. List several under `{setting}`, such as `[1, 2, 5, 10]`, for a curve."


def cost(view: View) -> None:
    """What training on the set takes beside training on everything, and what the set itself cost."""
    worth, key = view.worth, view.key
    method = "embeddings" if len(worth.heads(key, "embeddings")) else "text"
    said = distillation.saved(worth, key, method)
    if not said:
        st.caption("What a training takes is known once this set and all real samples have been measured.")
        return
    st.markdown(f"**{said}**")
    distilling = view.metrics.loc[view.metrics["name"] == "seconds_distilling", "value"].max()
    if paid := distillation.paid(worth, key, method, float(distilling)):
        st.markdown(paid)
    names = {"seconds": "Seconds", "steps": "Steps", "operations": "Operations"}
    with st.container(horizontal=True, gap="large"):
        for column, title in names.items():
            mine, whole = worth.mean(key, method, column), worth.mean(key, "full", column)
            if not (math.isfinite(mine) and math.isfinite(whole) and whole):
                continue
            form = {"seconds": distillation.took, "operations": distillation.operations}.get(column)
            shown = form(mine) if form else f"{mine:,.0f}"
            beside = form(whole) if form else f"{whole:,.0f}"
            st.metric(
                title, shown, f"{formats.share(mine, whole)} of {beside}", delta_color="off", delta_arrow="off",
                width="content",
            )  # fmt: skip
    session.explain(
        "A distilled set is expensive to make and cheap to use: it pays where many models are trained on the same "
        "task, or where the data itself cannot be kept."
    )


def tasks(view: View) -> None:
    """Two tasks learned at once, one after the other, and examples in a prompt."""
    if view.pictures:
        return
    st.header("What else a distilled set can do", anchor=False)
    worth = view.worth
    if view.sets[0] in view.still:
        st.caption("No token of its text has changed: decoded text stands for the sentences it started from here.")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Two tasks at once** :gray[one body, a head for each; alone: one task]")
        merged = {task: worth.among(MERGED, task, view.key) for task in (MAIN, OTHER)}
        if any(merged.values()):
            for task, found in merged.items():
                if found:
                    st.caption(f"Right on the test set of {distillation.TASKS[task]}{_source(view, task)}")
                    _ladder(found, MERGED, f"distilled_merged_{task}", _alone(view, task), _chance(view, task))
        else:
            st.caption(_ask(view, "the recipe has an `[other]` task", bool(view.recipe.other)))
    with right:
        st.markdown("**One task after the other** :gray[right on the first, after the second was learned]")
        replayed = worth.among(REPLAYS, MAIN, view.key)
        if replayed:
            st.caption("While the second task was learned, this much of the first was repeated:")
            _ladder(replayed, REPLAYS, "distilled_replays", [], _chance(view, MAIN))
        else:
            st.caption(_ask(view, "the recipe has an `[other]` task", bool(view.recipe.other)))
        st.markdown("**As examples in a prompt** :gray[a language model is shown them and asked, without any training]")
        shown = worth.among(PROMPTS, MAIN, view.key)
        if shown:
            model = next(iter(shown.values()))["trained"].iloc[0]
            st.caption(f"Asked: {escape_markdown(str(model))}")
            _ladder(shown, PROMPTS, "distilled_prompts", [], _chance(view, MAIN))
        else:
            st.caption(_ask(view, "`[prompting]` names a causal language model", bool(view.recipe.prompting)))
    session.explain(
        "A model that learns a second task forgets the first, unless something of it is repeated. A handful of "
        "distilled inputs is a cheap thing to repeat, and words can even be shown to a model that is never trained."
    )


def _ask(view: View, where: str, asked: bool) -> str:
    """Why there is nothing, in one line."""
    if asked and run_labels.active(view.run):
        return "Still to come: it is measured after the sets."
    if asked:
        return "The run ended before this was measured."
    return f"Measured where {where}."


def _source(view: View, task: str) -> str:
    settings = view.recipe.data if task == MAIN else view.recipe.other
    return f", {escape_markdown(one_line(settings.source, 60))}" if settings else ""


def _chance(view: View, task: str) -> float | None:
    """What guessing reaches on a task; None where nothing of it was learned that names its classes."""
    if task == view.key.task:
        return 1 / view.classes
    key = next((each for each in view.sets if each.task == task), None)
    names = class_names(view.store.distilled(view.run.id, key)) if key else []
    return 1 / len(names) if names else None


def _alone(view: View, task: str) -> list[Row]:
    """What the learned inputs and everything real reach on the task alone, to compare with."""
    key = next((each for each in view.sets if each.task == task and each.student == view.key.student), None)
    rows = rows_of(view.worth, key, still=key in view.still) if key else []
    return [row._replace(name=f"{row.name}, alone") for row in rows if row.method in ("embeddings", "text")]


def _ladder(
    found: Mapping[str, pd.DataFrame], names: Mapping[str, str], key: str, alone: Sequence[Row], chance: float | None
) -> None:
    """A small chart of its own; `alone` stands above, to compare with."""
    rows = [*alone]
    for method, heads in found.items():
        rows.append(Row(method, names[method], list(heads["accuracy"]), interval(heads["accuracy"])))
    span = distilled_charts.span(rows, chance)
    charts.show(
        distilled_charts.ladder(rows, chance, span), key=key, alt=f"Accuracy of {len(rows)} ways, with intervals"
    )
