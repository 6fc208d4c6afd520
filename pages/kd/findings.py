"""The finding of a grid of students: the sentence, whether it is settled, and accuracy against the data kept."""

from __future__ import annotations

import streamlit as st

from engine.analysis import kd, kd_costs
from engine.analysis.kd_costs import ArmFacts
from engine.common import formats
from engine.config.grid import PRUNING_SCORES
from pages.kd import figures
from pages.kd.controls import View
from pages.shared import charts, data_note, run_select, session

MANY = 6  # scores drawn at once, unless more are asked for


def headline(view: View, facts: ArmFacts) -> None:
    """The finding first, whether it is one, and how much of the grid is behind it."""
    cells = view.cells
    nothing = f"At {kd.of_data(view.fraction, view.score)}, there are no weights of the teacher to compare yet."
    st.subheader(kd.headline(cells, *view.place) or nothing, anchor=False)
    if sentence := kd.against_random(cells, view.fraction, view.teacher, view.noise):
        st.markdown(sentence)
    if figures := kd.figures(cells, *view.place):
        told = kd_costs.all_told(cells, facts, *view.place)
        st.caption(f"{figures} · {told}" if told else figures)
    with st.container(horizontal=True, gap="small"):
        word, colour = kd.verdict(cells, *view.place)
        if word:
            rule = cells.all_gains(view.score, view.teacher, view.noise).rule("share kept", "shares kept")
            st.badge(word, icon=":material/balance:", color=colour, help=f"{rule} Seeds share one split of the data.")
        st.badge(
            f"{cells.finished:,} of {formats.count(cells.wanted, 'student')}",
            icon=":material/check:" if cells.finished == cells.wanted else ":material/timelapse:",
            color="gray" if cells.finished == cells.wanted else "blue",
        )
        if cells.failures:
            st.badge(f"{cells.failures:,} failed", icon=":material/error:", color="red")
    data_note.draw(view.run)
    session.explain(
        "A teacher is a network that has learned from all of the data. A student learns from the part that was kept: "
        "from its labels, and from what the teacher would have answered. The weight says how much it listens to which. "
        "It is chosen on samples held out from training, and then tested on others that played no part in the choice."
    )


def curves(view: View) -> None:
    """Accuracy against the fraction for every score, with and without the teacher."""
    cells = view.cells
    st.markdown(
        "**How little data is enough?** :gray[solid: with the teacher, at its best weight · dashed: without · bars: "
        f"95 % over {formats.count(len(cells.seeds), 'seed')}]"
    )
    drawn = cells.scores
    if len(cells.scores) > MANY:
        run_select.forget_unless("kd_drawn", cells.scores)
        first = list(dict.fromkeys([view.score, *cells.scores]))[:MANY]
        drawn = st.pills(
            "Drawn", cells.scores, selection_mode="multi", default=first, format_func=PRUNING_SCORES.__getitem__,
            key="kd_drawn", bind="query-params", label_visibility="collapsed",
        ) or [view.score]  # fmt: skip
    charts.show(
        figures.curves(cells, drawn, view.score, view.teacher, view.noise), key="kd_curves",
        alt=f"Accuracy on the test set against the share of data kept, for {len(drawn)} scores",
    )  # fmt: skip
    session.explain(
        "Further left means trained on fewer samples. Where the solid line of a colour lies above its dashed one, the "
        "teacher made up for some of what was thrown away. The bars are the range the mean over seeds lies in 95 "
        "times out of 100."
    )
