"""The verdict of a run of dynamic pruning: which way to choose pays, by how much, and what is recommended."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engine.analysis import verdicts
from engine.analysis.pruning_results import Results
from engine.analysis.tournament import remarks
from engine.analysis.wording import Verdict
from pages.shared import arm_charts, charts, session
from pages.shared.arm_styles import Styles
from pages.shared.escape import escape_markdown


def finding(found: Results) -> None:
    """The multiplier first, large, or that random choice is as good; then what that rests on."""
    best = verdicts.finding(found.verdicts)
    if best is None:
        if not len(found.last):
            st.subheader(
                "No seed has come to its end with every arm yet; the curves below grow with each epoch.", anchor=False
            )
    elif not best.won:
        st.header(f"{best.said}.", anchor=False)
        st.markdown(escape_markdown(best.reason))
    else:
        measured = found.verdicts.set_index("arm")["multiplier"].notna()[best.arm]
        times, _, interval = best.multiplier.partition(" (")
        with st.container(gap=None):
            st.markdown(f"# {times if measured else 'Better than random'}")
            if measured:
                st.markdown(f"**{f'({interval} · ' * bool(interval)}{best.net}**")
        needs = "random choice needs that many times its tokens to end as low" if measured else "not measured"
        st.markdown(f":gray[Compute multiplier of **{best.arm}**: {needs}.]")
        st.markdown(escape_markdown(best.reason))
        session.explain(
            "Net of choosing counts seconds, those of scoring the samples included: below 1, choosing takes longer "
            "than it saves. In brackets is the range in which the multiplier lies 95 times out of 100."
        )
    for remark in remarks(found):
        st.markdown(escape_markdown(remark))


def badges(found: Results) -> None:
    """Settled or not, and how much of the run is behind it."""
    seeds = found.recipe.seeds
    with st.container(horizontal=True, gap="small"):
        word, colour = _verdict(found)
        if word:
            st.badge(word, icon=":material/balance:", color=colour)
        if len(found.finished) < len(seeds):
            st.badge(f"{len(found.finished)} of {len(seeds)} seeds finished", icon=":material/timelapse:")
        elif len(seeds) == 1:
            st.badge("one seed", icon=":material/looks_one:", color="gray")


def _verdict(found: Results) -> Verdict:
    best = verdicts.finding(found.verdicts)
    if best is None:
        return "", "gray"
    return ("better than random", "green") if best.won else ("not settled", "gray")


def pick(found: Results) -> None:
    """What is recommended, once every seed has ended; on fewer it might change."""
    if found.pick is None or len(found.finished) < len(found.recipe.seeds):
        return
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**Recommended: {found.pick.arm}** :gray[picked on one half of the validation samples]")
        st.markdown(escape_markdown(found.pick.sentence))


def forest(found: Results, table: pd.DataFrame, arms: Styles) -> None:
    """The picture of the verdict: each arm that chooses against random choice, seed by seed."""
    rows = arm_charts.compared(table)
    if not len(rows):
        return
    st.markdown("**Each selection against random choice** :gray[final validation loss at the same tokens]")
    alt = f"Difference of the final loss to random choice: {', '.join(map(_phrase, rows.to_dict('records')))}"
    charts.show(arm_charts.forest(found, table, arms), key="forest", alt=alt)
    session.explain(
        "Each ring is one seed: the same initialization for both arms, so only the choice of samples differs. The line "
        "through a mean is the range the true difference lies in 95 times out of 100. A hollow mean is not settled: "
        "with this many comparisons chance alone could explain it."
    )


def _phrase(row: dict[Any, Any]) -> str:
    return f"{row['called']} {row['difference']:+.3f}, {row['verdict']}"
