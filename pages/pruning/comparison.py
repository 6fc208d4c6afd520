"""The arms of a run of dynamic pruning side by side: which of them stand in front, the table, and what each cost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from engine.analysis.arms import called
from engine.analysis.pruning_results import Results
from engine.analysis.tournament import difference_text, multiplier_cell, net_text
from engine.analysis.verdicts import p_text
from engine.analysis.wording import flops
from pages.shared import arm_charts, charts, run_select, session
from pages.shared.arm_styles import ASKED, Styles, styles

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

SHOW = "show_arms"  # key of the widget, and parameter of the address


def asked(found: Results) -> list[str]:
    """The arms that a person puts in front, and the control for it; none if every arm stands in front anyway."""
    others = [name for name, style in styles(found).items() if not style.front]
    run_select.forget_unless(SHOW, others)
    if not others:
        return []
    return st.multiselect(
        "Show", others, format_func=called, key=SHOW, bind="query-params", max_selections=len(ASKED), width=420,
        placeholder=f"{len(others)} more arms, thin and grey", select_all=False,
    )  # fmt: skip


def table(arms: pd.DataFrame, drawn: Styles) -> None:
    """The tournament as a table that sorts; `arms` is that of `tournament`."""
    shown = pd.DataFrame(
        {
            "arm": [drawn[arm].label for arm in arms["arm"]],
            "verdict": arms["verdict"],
            "multiplier": arms["multiplier"],
            "net of choosing": arms["net"],
            "difference": arms["difference"],
            "place": arms["place"],
            "what it does": arms["does"],
            "loss": arms["loss"],
            "perplexity": arms["perplexity"],
            "tokens": arms["tokens"],
            "of everything": arms["share"],
            "choosing": arms["seconds_scoring"],
            "training": arms["seconds_training"],
            "net, FLOP": arms["net_flops"],
            "FLOP": arms["flops"],
            "p": arms["p_holm"],
            "steps": arms["steps"],
            "seeds": arms["seeds"],
        }
    )
    empty = [name for name in shown if name != "arm" and (shown[name].isna() | (shown[name] == "")).all()]
    shown = shown.drop(columns=empty)
    st.dataframe(
        _written(shown, arms), hide_index=True, width="stretch", height="content", placeholder="", key="tournament",
        alt="Every arm: where it ended, beside random choice, and what it cost",
        column_config={name: st.column_config.Column(**how) for name, how in _COLUMNS.items() if name in shown},
    )  # fmt: skip


_COLUMNS: dict[str, dict[str, Any]] = {
    "arm": {"pinned": True},
    "multiplier": {"help": "How many times its tokens random choice needs for the same loss; 95 % interval over seeds"},
    "verdict": {"help": "Against random choice; settled by Holm's correction over all selections"},
    "difference": {"help": "Final loss minus that of random choice at the same tokens, nats; below 0 is better"},
    "net of choosing": {"help": "The multiplier of seconds, those of choosing included"},
    "net, FLOP": {"help": "The multiplier of floating-point operations, those of choosing included"},
    "place": {"help": "Between random choice (0 %) and the oracle (100 %)"},
    "loss": {"help": "On the validation samples on which nothing is picked, nats per token"},
    "perplexity": {"help": "On all validation samples"},
    "p": {"help": "Of no difference to random choice, after Holm's correction"},
    "tokens": {"help": "Trained on, from the start to the end"},
    "of everything": {"help": "Share of the tokens that training on everything reads"},
    "choosing": {"help": "Seconds of scoring and choosing"},
    "training": {"help": "Seconds of training"},
    "what it does": {"width": 330},
}


_FORMATS: dict[Any, Any] = {
    "place": lambda share: f"{round(100 * share)} %".replace("-", "−"),
    "loss": "{:.3f}",
    "perplexity": "{:.2f}",
    "p": p_text,
    "tokens": "{:,.0f}",
    "of everything": "{:.0%}",
    "choosing": "{:,.1f} s",
    "training": "{:,.1f} s",
    "steps": "{:,.0f}",
    "FLOP": flops,
    "seeds": "{:.0f}",
}


def _written(shown: pd.DataFrame, arms: pd.DataFrame) -> Styler:
    """The table with its numbers as people read them; it is still sorted by the numbers."""
    style = shown.style.format(_FORMATS, na_rep="")
    for place, row in enumerate(arms.to_dict("records")):
        for column, text in _texts(row).items():
            if column in shown:
                style = style.format({column: partial(_always, text)}, subset=(shown.index[place], column))
    return style


def _always(text: str, _: object) -> str:
    return text


def _texts(row: dict[Any, Any]) -> dict[str, str]:
    """What stands in the cells that hold more than their number."""
    return {
        "multiplier": multiplier_cell(row),
        "difference": difference_text(row),
        "net of choosing": net_text(row["net"], row["net_bound"], row["seeds"]),
        "net, FLOP": net_text(row["net_flops"], row["net_flops_bound"], row["seeds"]),
    }


def cost(found: Results, arms: pd.DataFrame, drawn: Styles) -> None:
    """What each arm spent up to its end: tokens, and seconds of choosing and of training."""
    grid = st.grid(2, min_column_width=340, gap=("large", "medium"))
    with grid.cell():
        st.markdown("**Tokens trained on** :gray[share of what everything reads]")
        charts.show(arm_charts.tokens(arms, drawn), key="cost_tokens", alt="Tokens that every arm trained on")
    with grid.cell():
        st.markdown("**Seconds** :gray[of choosing and of training]")
        charts.show(arm_charts.seconds(arms, drawn), key="cost_seconds", alt="Seconds of choosing and of training")
    session.explain(
        "Choosing is not free: to rank the samples, both models read all of them. An arm pays only if the training it "
        "saves takes longer than that."
    )
    st.caption("Mean over the finished seeds." if len(found.last) else "So far; no seed is finished.")
