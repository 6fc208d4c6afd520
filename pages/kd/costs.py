"""Whom a student learns from and what it costs: teachers, flipped labels, and the price of a point of accuracy."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.analysis import kd, kd_costs
from engine.analysis.kd_costs import ArmFacts
from engine.analysis.wording import percent
from engine.common import formats
from pages.kd import figures
from pages.kd.controls import View
from pages.shared import charts, session
from pages.shared.escape import escape_markdown


def teachers(view: View, facts: ArmFacts) -> None:
    """Which teacher is best at which fraction, and how large and good each is."""
    cells = view.cells
    if len(cells.teachers) > 1:
        st.markdown(
            "**A larger or a smaller teacher?** :gray[the larger the marker, the larger the teacher · bars: 95 % "
            "over seeds]"
        )
        sizes = facts.teachers(cells.teachers, view.noise, "parameters")
        charts.show(
            figures.teachers(cells, view.score, view.noise, sizes), key="kd_teachers",
            alt=f"Accuracy against the share of data kept for {len(cells.teachers)} teachers",
        )  # fmt: skip
        if sentence := kd.teachers_compared(cells, view.score, view.fraction, view.noise):
            st.markdown(escape_markdown(sentence))
        session.explain(
            "Every line is the same student with another teacher, each at the weight that is best on held-out samples."
        )
    words = kd_costs.teacher_words(cells, facts, view.noise)
    for name, known in words.items():
        st.markdown(f"**{escape_markdown(name)}** :gray[{known}]")
    if not words:
        st.caption("No teacher has been trained yet.")


def noise(view: View) -> None:
    """What flipped labels do with and without a teacher, and how many of them each score keeps."""
    cells = view.cells
    flipped = view.noise or max(cells.noises)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(f"**Does a teacher soften them?** :gray[at {kd.of_data(view.fraction, view.score)}]")
        charts.show(
            figures.noisy(cells, view.score, view.fraction, view.teacher), key="kd_noisy",
            alt="Accuracy against the share of flipped labels, with a teacher and without",
        )  # fmt: skip
        if sentence := kd_costs.gain_under_noise(cells, view.score, view.fraction, view.teacher, flipped):
            st.markdown(sentence)
    with right:
        st.markdown(
            f"**Which scores keep the wrong labels?** :gray[{percent(flipped)} flipped, {percent(view.fraction)} kept]"
        )
        if shares := kd_costs.flipped_kept(cells, view.fraction, view.teacher, flipped):
            charts.show(
                figures.flipped(shares, flipped), key="kd_flipped",
                alt="For each score the share of kept samples whose label was flipped",
            )  # fmt: skip
        else:
            st.caption("Nothing has been kept at this share yet.")
    session.explain(
        "Some training labels were replaced by wrong ones on purpose. Scores that look for hard samples tend to pick "
        "those, because a wrong label is hard to learn."
    )


def cost(view: View, facts: ArmFacts) -> None:
    """What a student at each fraction costs and reaches, what the teacher cost, and all cells to download."""
    cells, numbers = view.cells, view.cells.measure.numbers
    if sentence := kd_costs.shared_cost(facts, view.score, view.teacher, view.noise):
        st.markdown(sentence)
    table = kd_costs.cost_table(cells, facts, view.score, view.teacher, view.noise)
    accuracy = "%.3f" if numbers else "%.1f %%"
    shapes = {
        "samples": "%,d", "steps": "%,d", "seconds a student": "%.2f", "seconds in all": "%.2f", "no teacher": accuracy,
        "with teacher": accuracy, "above chance": "%+.1f", "gained": "%+.3f" if numbers else "%+.1f",
        "±": "%.3f" if numbers else "%.1f", "teacher seconds a point": "%.2f", "teacher kB a point": "%.1f",
    }  # fmt: skip
    st.dataframe(
        table, hide_index=True, width="stretch", alt="Samples, steps, seconds and accuracy at every fraction",
        column_config={
            name: st.column_config.NumberColumn(format=shape) for name, shape in shapes.items() if name in table
        },
    )  # fmt: skip
    point = "" if numbers else " A point is a hundredth of the test set."
    st.caption(
        f"Means over {formats.count(len(cells.seeds), 'seed')}, of what is {kd.kept_by(view.score)}; in all: with "
        f"teacher and scoring. ± is the 95 % interval over seeds, and Holm's correction over the rows decides what is "
        f"settled: only that has a price.{point}"
    )
    st.download_button(
        f"All {formats.count(len(cells.grid), 'cell')} as CSV", lambda: csv(cells.grid),
        file_name=f"{view.run.id}-grid.csv", mime="text/csv", icon=":material/download:", on_click="ignore",
        key="kd_csv",
    )  # fmt: skip


def csv(grid: pd.DataFrame) -> bytes:
    """Every cell as it was recorded, failures with their sentence."""
    return grid.to_csv(index=False).encode()
