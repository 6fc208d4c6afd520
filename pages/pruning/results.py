"""What a dynamic-pruning run found, piece by piece, for the page and for the card on the overview."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from engine.analysis import pruning
from engine.common import formats
from engine.storage.ledger import Run
from pages.shared import arm_charts, charts, run_labels, session

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from engine.storage.store import Store


@dataclass(frozen=True)
class Results:
    """The metrics of a run, one row per arm, seed and epoch, and where the arms of its finished seeds ended."""

    run: Run
    table: pd.DataFrame
    finished: list[int]  # seeds
    last: pd.DataFrame
    usage: pd.DataFrame
    samples: int  # that the arms choose from

    @property
    def seeds(self) -> list[int]:
        return list(self.run.recipe["seeds"])

    @property
    def epochs(self) -> int:
        return int(self.run.recipe["training"]["epochs"])


def of(store: Store, run: Run) -> Results | None:
    """The results of a run; None while no epoch of it has been trained."""
    metrics = store.metrics(run.id)
    table = pruning.per_epoch(metrics)
    if not (table["epoch"] > 0).any():
        return None
    ended = pruning.ends(table, run.recipe["training"]["epochs"], run.recipe["seeds"], run.state == "done")
    finished = pruning.finished_seeds(ended, run.recipe["seeds"], run.recipe["arms"])
    counted = store.samples_in(run.id).set_index("split")["samples"]
    # Arms are compared over the same seeds: what has ended of a seed waits until all of it has.
    last = ended[ended["seed"].isin(finished)]
    return Results(run, table, finished, last, store.usage(run.id), int(counted.get("train", 0)))


def sentence(found: Results) -> None:
    """The finding first, then whether it is one."""
    ending, verdict = pruning.ending(found.last), pruning.verdict(found.last)
    if not ending:
        st.subheader(
            "No seed has come to its end with every arm yet; the curves below grow with each epoch.", anchor=False
        )
        return
    st.subheader(ending, anchor=False)
    if verdict:
        st.markdown(verdict)
    if early := pruning.stopped_early(found.last, found.epochs, found.run.state == "done"):
        least = found.run.recipe["pruning"]["min_samples"]
        st.markdown(
            f"In {formats.count(len(early), 'seed')} it stopped after epoch {' and '.join(map(str, sorted(set(early))))} "
            f"of {found.epochs}: fewer than {least:,} samples were above the bar."
        )


def badges(found: Results) -> None:
    """Settled or not, and how much of the run is behind it."""
    with st.container(horizontal=True, gap="small"):
        against = pruning.difference(found.last, "perplexity", "dynamic", "random")
        if against.seeds:
            if not against.settled:
                st.badge("not settled", icon=":material/balance:", color="gray")
            elif against.mean < 0:
                st.badge("better than random", icon=":material/balance:", color="green")
            else:
                st.badge("worse than random", icon=":material/balance:", color="red")
        if len(found.finished) < len(found.seeds):
            st.badge(f"{len(found.finished)} of {len(found.seeds)} seeds finished", icon=":material/timelapse:")
        elif len(found.seeds) == 1:
            st.badge("one seed", icon=":material/looks_one:", color="gray")


def difference(found: Results) -> None:
    """The picture of the finding: dynamic pruning against each other arm, seed by seed."""
    if not len(pruning.differences(found.last, "perplexity", "dynamic", "random")):
        return
    st.markdown("**Dynamic pruning against each other arm** :gray[final perplexity, seed by seed]")
    drawn = arm_charts.forest(found.last)
    charts.show(drawn, key="forest", alt=pruning.verdict(found.last))
    session.explain(
        "Each ring is one seed: the same start and the same data order for both arms, so only the choice of samples "
        "differs. The bar is the range the true difference lies in 95 times out of 100. Where it crosses the dotted "
        "line, chance alone could explain the difference."
    )


_CURVES = (
    ("perplexity", "lower is better", "How many words the model hesitates between, on samples it never read."),
    ("loss", "lower is better", "How surprised the model is by the right answer, on samples it never read."),
    ("accuracy", "higher is better", "How often the model's first guess for the next token is the right one."),
    (
        "gap",
        "far below zero: memorised",
        "Far below zero the model knows what it trained on better than what it did not. An arm that trains on hard "
        "samples alone stands higher, because its training loss is that of hard samples.",
    ),
)


def curves(found: Results, against: str) -> None:
    """What the arms learned, what the bar did, how often samples were used: six small charts."""
    grid = st.grid(3, min_column_width=320, gap=("medium", "medium"))
    for column, hint, plain in _CURVES:
        with grid.cell():
            _panel(arm_charts.TITLES[column], hint, arm_charts.curves(found.table, column, against), plain)
    with grid.cell():
        _panel(
            "Kept in each epoch", "and the bar τ below", arm_charts.kept(found.table, found.samples),
            "How many samples cleared the bar in each epoch, and below them the bar itself. The hatched part was not "
            "read in that epoch; it is scored again before the next.",
        )  # fmt: skip
    with grid.cell():
        _panel(
            "How often a sample was used", "mean over seeds", arm_charts.usage(found.usage),
            "How many samples were trained on in no epoch, in one, and so on. Training on everything uses every sample "
            "every time.",
        )  # fmt: skip


def _panel(title: str, hint: str, drawn: go.Figure, plain: str) -> None:
    st.markdown(f"**{title}** :gray[{hint}]")
    charts.show(drawn, alt=f"{title}, {hint}", key=f"panel_{title}")
    session.explain(plain)


def cost(found: Results) -> None:
    """What each arm spent up to its end, in tokens, steps and seconds with scoring counted."""
    table = pruning.cost(found.last if len(found.last) else pruning.reached(found.table))
    table = table.reindex([arm for arm in arm_charts.LOOKS if arm in table.index])
    columns = {
        "arm": [arm_charts.LOOKS[arm].label for arm in table.index],
        "tokens read": table["tokens_read"],
        "of everything": 100 * table["share"],
        "steps": table["steps_taken"],
        "seconds scoring": table["seconds_scoring"],
        "seconds training": table["seconds_training"],
        "seconds": table["seconds"],
        "seeds": table["seeds"],
    }
    formats = {
        "tokens read": "%,d", "of everything": "%.0f %%", "steps": "%,d", "seconds scoring": "%.1f",
        "seconds training": "%.1f", "seconds": "%.1f",
    }  # fmt: skip
    st.dataframe(
        pd.DataFrame(columns), hide_index=True, width="stretch", alt="Tokens, steps and seconds of every arm",
        column_config={name: st.column_config.NumberColumn(format=form) for name, form in formats.items()},
    )  # fmt: skip
    st.caption("Mean over the finished seeds." if len(found.last) else "So far; no seed is finished.")


def to_come(run: Run) -> None:
    """What will stand on the page, while there is nothing to show yet."""
    if run_labels.active(run):
        st.subheader("The first epoch is still ahead.", anchor=False)
    elif run.state == "failed":
        st.subheader("This run failed before its first epoch ended.", anchor=False)
    else:
        st.subheader(f"This run was {run.state} before its first epoch ended.", anchor=False)
    training, arms = run.recipe["training"], run.recipe["arms"]
    st.markdown(
        f"It will train {formats.count(len(arms), 'arm')} for {formats.count(training['epochs'], 'epoch')} with "
        f"{formats.count(len(run.recipe['seeds']), 'seed')}. The curves of all arms, the bar and what it kept, and the "
        "samples that crossed it will stand here, epoch by epoch.",
        width=760,
    )
