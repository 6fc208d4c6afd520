"""What the nodes of a cluster did for the run that is open: a sentence, each node, all attempts over time, repeats."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine.analysis import cluster, run_labels
from engine.common import formats
from engine.common.formats import count
from engine.common.text import escape_text, one_line
from engine.storage.ledger import Attempt, Run
from pages.runs import nodes_chart
from pages.shared import charts, run_list, session
from pages.shared.escape import escape_markdown

SHOWN = 3  # work units named of a node that has more in progress
LISTED = 1000  # work units tried more than once


def offered(run: Run) -> bool:
    """Whether the run has used a cluster, or is to."""
    return run_labels.on_cluster(run) or bool(session.ledger().attempts(run.id))


def draw(run: Run) -> None:
    """The whole view; while the run is active, refreshed by itself."""
    run_id = run.id

    @st.fragment(run_every=run_list.EVERY if run_labels.active(run) else None)
    def show() -> None:
        with session.show_errors():
            ledger = session.ledger()
            _draw(ledger.run(run_id), ledger.attempts(run_id))

    show()


def _draw(run: Run, attempts: Sequence[Attempt]) -> None:
    live = run.state == "running" and not run.interrupted
    until = time.time() if live else run.finished or run.heartbeat or run.created
    noted = run.provenance.get("cluster", {})
    known = {str(node["name"]): node for node in noted.get("nodes", [])}
    did, tried = cluster.nodes(attempts, until, live, known), cluster.units(attempts)
    st.markdown(f"**{cluster.sentence(did, tried, run_labels.active(run))}**")
    if noted:
        workers = noted.get("workers")
        at_once = f", {count(workers, 'worker')} at once" if workers else ""
        st.caption(f"On the Ray cluster at {escape_markdown(str(noted.get('address', '')))}{at_once}.")
    if did:
        _table(did, known, live)
    if attempts:
        _timeline(attempts[-nodes_chart.MOST :], len(attempts), did, until, live)
    _repeated([unit for unit in tried if unit.repeated])


def _table(did: Sequence[cluster.Node], known: Mapping[str, Mapping[str, Any]], live: bool) -> None:
    columns: dict[str, list[object]] = {"node": [escape_text(node.name) for node in did]}
    columns["work units done"] = [node.done for node in did]
    columns["busy seconds"] = [node.seconds for node in did]
    if live:
        columns["in progress"] = [_in_progress(node.now) for node in did]
    columns["lost"] = [_lost(node) for node in did]
    if known:
        columns["machine"] = [cluster.machine(known.get(node.name, {})) for node in did]
    st.dataframe(
        pd.DataFrame(columns), hide_index=True, width="stretch", alt="What each node did",
        column_config={
            "busy seconds": st.column_config.NumberColumn(
                format="%,.1f", help="With at least one work unit in progress, however many there were."
            ),
        },
    )  # fmt: skip


def _in_progress(units: Sequence[str]) -> str:
    more = f" and {len(units) - SHOWN:,} more" if len(units) > SHOWN else ""
    return ", ".join(one_line(unit, 60) for unit in units[:SHOWN]) + more


def _lost(node: cluster.Node) -> str:
    units = count(node.lost, "work unit") if node.lost else ""
    return f"the node, with {units}" if node.gone else units


def _timeline(
    attempts: Sequence[Attempt], all_of_them: int, did: Sequence[cluster.Node], until: float, live: bool
) -> None:
    st.markdown("**Which node worked on what**")
    charts.show(
        nodes_chart.timeline(attempts, [node.name for node in did], until, live), key="nodes_timeline",
        alt="When each node tried which work unit, and how it ended",
    )  # fmt: skip
    if pauses := cluster.pauses(attempts, until):
        longest = formats.duration(max(ended - began for began, ended in pauses))
        st.caption(
            f"At the dotted line no node was working for {longest}; that time is left out."
            if len(pauses) == 1
            else f"At each of the {len(pauses)} dotted lines no node was working, for up to {longest}; those times are "
            "left out."
        )
    if len(attempts) < all_of_them:
        st.caption(f"The last {len(attempts):,} of {all_of_them:,} attempts are drawn; the numbers above count all.")
    session.explain(
        "A work unit is one piece of the run, and every bar is one attempt at a work unit. Bars under each other were "
        "done at the same time. A crossed bar was lost, and its work unit is begun again, there or on another node; a "
        "dotted one is still in progress."
    )


def _repeated(repeated: Sequence[cluster.UnitHistory]) -> None:
    if not repeated:
        return
    st.markdown("**Tried more than once**")
    shown = repeated[-LISTED:]
    st.dataframe(
        pd.DataFrame(
            {
                "work unit": [one_line(unit.name) for unit in shown],
                "tried": [len(unit.attempts) for unit in shown],
                "what happened": [one_line(_history(unit), 500) for unit in shown],
            }
        ),
        hide_index=True, width="stretch", alt="The work units that were tried more than once, and why",
        column_config={
            "tried": st.column_config.NumberColumn(format="%d ×", width="small"),
            "what happened": st.column_config.Column(width="large"),
        },
    )  # fmt: skip
    if len(shown) < len(repeated):
        st.caption(f"The last {len(shown):,} of {len(repeated):,} are listed.")


def _history(unit: cluster.UnitHistory) -> str:
    """`node-2: lost, the node was lost → node-1: done`."""
    return " → ".join(
        f"{one_line(attempt.node, 40)}: {nodes_chart.STYLES[attempt.outcome].name}"
        + (f", {attempt.why}" if attempt.why else "")
        for attempt in unit.attempts
    )
