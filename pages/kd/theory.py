"""Why a teacher helps if data is scarce: linear regression, simulated, beside its closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from engine.analysis.theory import Overlap, Regression, Simulated, best_weight, expected_risk, simulate
from pages.kd.figures import COLOURS
from pages.shared import charts, session

if TYPE_CHECKING:
    import plotly.graph_objects as go

SAMPLES, DIMENSIONS, REPEATS = 400, 20, 200
LEAST = 0.06  # of the samples: below this nothing can be fitted
WEIGHTS = [step / 10 for step in range(11)]
SETS: dict[str, Overlap] = {"other samples": "disjoint", "the student's samples too": "nested"}


def draw() -> None:
    """The whole section; moving one of its sliders redraws it alone."""
    st.markdown(
        "The smallest case with a closed form: teacher and student both fit a straight line through "
        f"noisy points in {DIMENSIONS} dimensions. Few points make a student that follows their noise. A teacher that "
        "has seen more points is off in a different way and by less, so listening to it averages errors away, the "
        "more, the fewer points the student has.",
        width=760,
    )
    st.fragment(_play)()


def _play() -> None:
    with session.show_errors():
        left, right = st.columns([2, 3], gap="large")
        with left:
            choice = st.segmented_control(
                "The teacher learned from", list(SETS), default="other samples", required=True, key="kd_why_sets"
            )
            overlap = SETS[choice or "other samples"]
            fraction = st.slider("Share kept for the student (f)", LEAST, 1.0, 0.1, 0.01, key="kd_why_f")
            of_teacher = st.slider("Share the teacher learned from", LEAST, 1.0, 0.5, 0.01, key="kd_why_teacher")
            noise = st.slider("Noise in the labels (σ)", 0.1, 2.0, 1.0, 0.1, key="kd_why_noise")
            weight = st.slider("Weight of the teacher (α)", 0.0, 1.0, 0.5, 0.05, key="kd_why_alpha")
        setting = Regression(fraction, of_teacher, SAMPLES, DIMENSIONS, noise, overlap)
        dots = _simulated(fraction, of_teacher, noise, overlap)
        with right:
            st.markdown(sentence(setting, weight))
            charts.show(
                curve(setting, weight, dots), key="kd_why_curve",
                alt="Error of the student against the weight of the teacher, by formula and simulated",
            )  # fmt: skip
            session.explain(
                "The line is worked out by formula, each dot is the mean of many students that were really fitted to "
                "random points. Lower is better. All dots share "
                "their points, so they err together."
            )
        st.caption(
            "Networks differ: they cannot copy a teacher exactly from few samples, and a score does not keep samples "
            "at random. The argument says why a weight above 0 helps, not which one is best above."
        )


@st.cache_data(show_spinner=False, max_entries=200)
def _simulated(fraction: float, of_teacher: float, noise: float, overlap: Overlap) -> Simulated:
    setting = Regression(fraction, of_teacher, SAMPLES, DIMENSIONS, noise, overlap)
    return simulate(setting, WEIGHTS, REPEATS)


def sentence(setting: Regression, weight: float) -> str:
    """The error at this weight beside that of no teacher and of the best weight."""
    best = best_weight(setting)
    alone, here = expected_risk(setting, [0.0, weight])
    here_and_alone = f"**At weight {weight:.2f} the error is {here:.3f}; without a teacher it is {alone:.3f}.**"
    if math.isnan(best):
        return f"{here_and_alone} Both learned from the same samples, so no weight is better than another."
    (least,) = expected_risk(setting, [best])
    return f"{here_and_alone} The best weight is {best:.2f}, with {least:.3f}."


def curve(setting: Regression, weight: float, dots: Simulated) -> go.Figure:
    """Closed form, simulated means with their intervals, the best weight and the one that was chosen."""
    figure = charts.figure(320, showlegend=True, legend={"orientation": "h", "y": -0.25, "x": 0})
    line = np.linspace(0, 1, 101)
    figure.add_scatter(
        x=line, y=expected_risk(setting, line), mode="lines", name="closed form",
        line={"color": COLOURS[0], "width": 3}, hovertemplate="weight %{x:.2f}: %{y:.3g} by formula<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=WEIGHTS, y=dots.mean, mode="markers", name=f"mean of {REPEATS} simulated students, 95 % over draws",
        marker={"color": COLOURS[1], "symbol": "diamond", "size": 8},
        error_y={
            "type": "data", "symmetric": False, "array": dots.high - dots.mean, "arrayminus": dots.mean - dots.low,
            "thickness": 1, "width": 4, "color": COLOURS[1],
        },
        hovertemplate="weight %{x:.1f}: %{y:.3g} simulated<extra></extra>",
    )  # fmt: skip
    best = best_weight(setting)
    if not math.isnan(best):
        figure.add_vline(x=best, line_width=1.5, line_dash="dot", line_color=charts.QUIET)
        figure.add_annotation(
            x=best, y=1, yref="paper", yanchor="bottom", showarrow=False, text="best",
            xanchor="right" if best > 0.9 else "left" if best < 0.1 else "center",
        )  # fmt: skip
    figure.add_scatter(
        x=[weight], y=expected_risk(setting, [weight]), mode="markers", showlegend=False, hoverinfo="skip",
        marker={"size": 15, "symbol": "circle-open", "color": COLOURS[0], "line": {"width": 3}},
    )  # fmt: skip
    figure.update_layout(margin={"l": 8, "r": 8, "t": 26, "b": 8})
    figure.update_xaxes(title="weight of the teacher", range=[-0.03, 1.03], showgrid=False, fixedrange=True)
    figure.update_yaxes(title="error beyond the noise", rangemode="tozero", nticks=6, fixedrange=True)
    return figure
