"""Other uses of distilled texts: two tasks at once, one task after the other, and examples in a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from engine.analysis import distillation, run_labels
from engine.analysis.distilled_sets import DistilledSet
from engine.analysis.evaluations import Result
from engine.analysis.wording import Chance
from engine.common.text import one_line
from engine.config.distillation import MAIN, MERGED, OTHER, PROMPTS, REPLAYS
from pages.distillation import figures
from pages.shared import charts, session
from pages.shared.escape import escape_markdown


def draw(shown: DistilledSet) -> None:
    """All three; nothing for pictures, which have neither a second task nor prompts."""
    if shown.pictures:
        return
    st.header("What else a distilled set can do", anchor=False)
    if shown.sets[0] in shown.unchanged_sets:
        st.caption("No token of its text has changed: decoded text stands for the sentences it started from here.")
    if any(shown.evaluations.among(methods, MAIN, shown.key) for methods in (MERGED, REPLAYS, PROMPTS)):
        st.caption("Bars: 95 % intervals over fresh starts; for prompts over draws of their examples.")
    left, right = st.columns(2, gap="large")
    with left:
        _two_tasks(shown)
    with right:
        _replay(shown)
        _prompt(shown)
    session.explain(
        "A model that learns a second task forgets the first, unless something of it is repeated. A handful of "
        "distilled inputs is a cheap thing to repeat, and words can even be shown to a model that is never trained."
    )


def _two_tasks(shown: DistilledSet) -> None:
    st.markdown("**Two tasks at once** :gray[one encoder, a classifier for each; alone: one task]")
    merged = {task: shown.evaluations.among(MERGED, task, shown.key) for task in (MAIN, OTHER)}
    if not any(merged.values()):
        st.caption(_missing(shown, "the recipe has an `[other]` task", bool(shown.recipe.other)))
    for task, results in merged.items():
        if results:
            st.caption(f"Right on the test set of {distillation.TASKS[task]}{_source(shown, task)}")
            _chart([*shown.alone(task), *results], f"distilled_merged_{task}", shown.chance(task))


def _replay(shown: DistilledSet) -> None:
    st.markdown("**One task after the other** :gray[right on the first, after the second was learned]")
    results = shown.evaluations.among(REPLAYS, MAIN, shown.key)
    if results:
        st.caption("While the second task was learned, this much of the first was repeated:")
        _chart(results, "distilled_replays", shown.chance(MAIN))
    else:
        st.caption(_missing(shown, "the recipe has an `[other]` task", bool(shown.recipe.other)))


def _prompt(shown: DistilledSet) -> None:
    st.markdown("**As examples in a prompt** :gray[a language model is shown them and asked, without any training]")
    results = shown.evaluations.among(PROMPTS, MAIN, shown.key)
    if results:
        model = shown.evaluations.measured_among(results[0].method, MAIN, shown.key)["trained"].iloc[0]
        st.caption(f"Asked: {escape_markdown(str(model))}")
        _chart(results, "distilled_prompts", shown.chance(MAIN))
    else:
        st.caption(_missing(shown, "`[prompting]` names a causal language model", bool(shown.recipe.prompting)))


def _missing(shown: DistilledSet, condition: str, asked: bool) -> str:
    """Why there is nothing, in one line."""
    if asked and run_labels.active(shown.run):
        return "Still to come: it is measured after the sets."
    return "The run ended before this was measured." if asked else f"Measured if {condition}."


def _source(shown: DistilledSet, task: str) -> str:
    settings = shown.recipe.data if task == MAIN else shown.recipe.other
    return f", {escape_markdown(one_line(settings.source, 60))}" if settings else ""


def _chart(results: Sequence[Result], key: str, chance: Chance | None) -> None:
    """A small chart with an axis of its own."""
    guessing = chance.share if chance else None
    drawn = figures.accuracies(results, guessing, figures.span(results, guessing))
    charts.show(drawn, key=key, alt=f"Accuracy of {len(results)} ways, with intervals")
