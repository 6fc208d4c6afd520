"""The second half of the page of distilled students: teachers, wrong labels, and what a point of accuracy costs."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from engine.analysis import kd
from engine.analysis.kd_cells import Point
from engine.common import formats
from engine.config.kd import arm
from engine.storage.store import Store
from pages.kd import charts as kd_charts
from pages.kd.view import View
from pages.shared import charts, session
from pages.shared.escape import escape_markdown
from pages.shared.run_check import parameters, size


def facts(store: Store, run: str) -> pd.DataFrame:
    """What is known of each arm of a grid, mean over its seeds: an index of arms, a column for each name."""
    table = store.metrics(run)
    table = table[table["split"].isin(["", "test"])]
    return table.pivot_table(index="arm", columns="name", values="value", aggfunc="mean").reindex(
        columns=["accuracy", "parameters", "cache_bytes", "seconds_training", "seconds_scoring"]
    )


def teachers(view: View, known: pd.DataFrame) -> None:
    """Which teacher is best at which fraction, and who they are."""
    cells = view.cells
    mine = {name: arm(f"teacher {name}", view.noise) for name in cells.teachers}
    sizes = _column(known, mine, "parameters")
    if len(cells.teachers) > 1:
        st.markdown("**A larger or a smaller teacher?** :gray[the larger the marker, the larger the teacher]")
        charts.show(
            kd_charts.teachers(cells, view.score, view.noise, sizes, view.measure), key="kd_teachers",
            alt=f"Accuracy against the share of data kept for {len(cells.teachers)} teachers",
        )  # fmt: skip
        session.explain(
            "Every line is the same student with another teacher, each at the weight that served it best on samples "
            "held back."
        )
    right = _column(known, mine, "accuracy")
    student = _number(known, "student", "parameters")
    for name in cells.teachers:
        said = []
        if name in sizes:
            said.append(f"{parameters(round(sizes[name]))}{beside(sizes[name], student)}")
        if name in right:
            said.append(f"{view.measure.right(right[name])} by itself")
        if said:
            st.markdown(f"**{escape_markdown(name)}** :gray[{' · '.join(said)}]")
    if not sizes and not right:
        st.caption("No teacher has been trained yet.")


def beside(size: float, student: float | None) -> str:
    """`, 3.7 times the student`, `, as large as the student`."""
    if not student:
        return ""
    return (
        ", as large as the student" if abs(size / student - 1) < 0.05 else f", {size / student:.2g} times the student"
    )


def noise(view: View) -> None:
    """What flipped labels do with and without a teacher, and how many of them each score keeps."""
    cells = view.cells
    flipped = view.noise or max(cells.noises)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(f"**Does a teacher soften them?** :gray[at {kd.of_data(view.fraction, view.score)}]")
        drawn = kd_charts.noisy(cells, view.score, view.fraction, view.teacher, view.measure)
        charts.show(
            drawn, key="kd_noisy", alt="Accuracy against the share of flipped labels, with a teacher and without"
        )
        if said := softened(view, flipped):
            st.markdown(said)
    with right:
        st.markdown(
            f"**Who keeps the wrong labels?** :gray[{kd.percent(flipped)} flipped, {kd.percent(view.fraction)} kept]"
        )
        shares = flipped_kept(view, flipped)
        if shares:
            charts.show(
                kd_charts.flipped(shares, flipped), key="kd_flipped",
                alt="For each score the share of kept samples whose label was flipped",
            )  # fmt: skip
        else:
            st.caption("Nothing has been kept at this share yet.")
    session.explain(
        "Some training labels were replaced by wrong ones on purpose. Scores that look for hard samples tend to pick "
        "those, because a wrong label is hard to learn."
    )


def flipped_kept(view: View, noise: float) -> dict[str, float]:
    """The share of flipped labels among what each score keeps at the fraction on the screen."""
    found = {}
    for score in view.cells.scores:
        points = [Point(score, view.fraction, w, view.teacher, noise) for w in view.cells.weights]
        done = [table for point in points if len(table := view.cells.of(point)) and table["samples"].sum()]
        if done:
            found[score] = float(done[0]["flipped"].sum() / done[0]["samples"].sum())
    return found


def softened(view: View, noise: float) -> str:
    """Whether the teacher gains more where labels are wrong than where they are right; "" without both."""
    weights = {
        share: view.cells.best(view.score, view.fraction, view.teacher, share, with_teacher=True)
        for share in (0.0, noise)
    }
    if any(weight is None for weight in weights.values()) or not noise:
        return ""
    gains = [
        view.cells.gain(Point(view.score, view.fraction, weight or 0.0, view.teacher, share))
        for share, weight in weights.items()
    ]
    if not all(gain.seeds for gain in gains):
        return ""
    clean, dirty = (f"{view.measure.apart(g.mean)} ({kd.spread(g, view.measure)})" for g in gains)
    return f"Listening is worth {dirty} with {kd.percent(noise)} of the labels flipped, {clean} with none."


def cost(view: View, known: pd.DataFrame) -> None:
    """What a student at each fraction costs and reaches, what the teacher cost, and all cells to take away."""
    cells, measure = view.cells, view.measure
    at = arm(f"teacher {view.teacher}", view.noise)
    seconds, cache = _number(known, at, "seconds_training"), _number(known, at, "cache_bytes")
    scoring = _number(known, arm(f"score {view.score}", view.noise), "seconds_scoring")
    spent = [
        f"the teacher took {took(seconds)} to train" if seconds else "",
        f"its kept outputs take {size(round(cache))}" if cache else "",
        f"scoring took {took(scoring)}" if scoring else "",
    ]
    if said := "; ".join(part for part in spent if part):
        st.markdown(f"Once for all students: {said}.")
    scale = 1 if measure.numbers else 100
    rows = []
    for fraction in reversed(cells.fractions):
        without = Point(view.score, fraction, 0.0, "", view.noise)
        weight = cells.best(view.score, fraction, view.teacher, view.noise, with_teacher=True)
        with_ = without._replace(kd_weight=weight, teacher=view.teacher) if weight is not None else None
        done = cells.of(with_ or without)
        if not len(done):
            continue
        gain = cells.gain(with_).mean if with_ else math.nan
        points = 100 * gain if gain > 0 and not measure.numbers else math.nan
        rows.append(
            {
                "kept": kd.percent(fraction),
                "samples": float(done["samples"].mean()),
                "steps": float(done["steps"].mean()),
                "seconds a student": float(done["seconds"].mean()),
                "no teacher": scale * cells.accuracy(without).mean,
                "with teacher": scale * cells.accuracy(with_).mean if with_ else math.nan,
                "gained": scale * gain,
                "teacher seconds a point": (seconds or math.nan) / points,
                "teacher kB a point": (cache or math.nan) / 1000 / points,
            }
        )
    form = "%.3f" if measure.numbers else "%.1f %%"
    columns = {
        "samples": "%,d", "steps": "%,d", "seconds a student": "%.2f", "no teacher": form, "with teacher": form,
        "gained": "%+.3f" if measure.numbers else "%+.1f", "teacher seconds a point": "%.2f",
        "teacher kB a point": "%.1f",
    }  # fmt: skip
    table = pd.DataFrame(rows).dropna(axis="columns", how="all")
    st.dataframe(
        table, hide_index=True, width="stretch", alt="Samples, steps, seconds and accuracy at every fraction",
        column_config={
            name: st.column_config.NumberColumn(format=form) for name, form in columns.items() if name in table
        },
    )  # fmt: skip
    st.caption(
        f"Means over seeds, of what is {kd.kept_by(view.score)}; a point is a hundredth of the test set."
        if not measure.numbers
        else f"Means over seeds, of what is {kd.kept_by(view.score)}."
    )
    st.download_button(
        f"All {formats.count(len(cells.grid), 'cell')} as CSV", lambda: csv(cells.grid),
        file_name=f"{view.run.id}-grid.csv", mime="text/csv", icon=":material/download:", on_click="ignore",
        key="kd_csv",
    )  # fmt: skip


def took(seconds: float) -> str:
    """`0.5 s` where whole seconds would say nothing, else as everywhere."""
    return f"{seconds:.2g} s" if seconds < 10 else formats.duration(seconds)


def csv(grid: pd.DataFrame) -> bytes:
    """Every cell as it was recorded, failures with their sentence."""
    return grid.to_csv(index=False).encode()


def _number(known: pd.DataFrame, arm: str, name: str) -> float | None:
    value = known[name].get(arm, math.nan)
    return None if math.isnan(value) else float(value)


def _column(known: pd.DataFrame, arms: dict[str, str], name: str) -> dict[str, float]:
    found = {teacher: _number(known, arm, name) for teacher, arm in arms.items()}
    return {teacher: value for teacher, value in found.items() if value is not None}
