"""What the nodes of a cluster did for the run that is open: the answer, each node, all attempts over time, repeats."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine.analysis import cluster as run_nodes
from engine.analysis import run_labels
from engine.common import formats
from engine.common.formats import count
from engine.common.text import escape_text, one_line
from engine.storage.ledger import Attempt, Run
from pages.runs import nodes_chart
from pages.shared import charts, run_list, session
from pages.shared.escape import escape_markdown

SHOWN = 3  # shards named where a node has more in hand
LISTED = 1000  # shards tried more than once


def offered(run: Run) -> bool:
    """Whether the run has used a cluster, or is to."""
    return run_labels.on_cluster(run) or bool(session.ledger().attempts(run.id))


def draw(run: Run) -> None:
    """The whole view; while the run is active, looked at again by itself."""
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
    cluster = run.provenance.get("cluster", {})
    known = {str(node["name"]): node for node in cluster.get("nodes", [])}
    did, tried = run_nodes.nodes(attempts, until, live, known), run_nodes.shards(attempts)
    st.markdown(f"**{run_nodes.sentence(did, tried, run_labels.active(run))}**")
    if cluster:
        workers = cluster.get("workers")
        at_once = f", {count(workers, 'worker')} at once" if workers else ""
        st.caption(f"On the Ray cluster at {escape_markdown(str(cluster.get('address', '')))}{at_once}.")
    if did:
        _table(did, known, live)
    if attempts:
        _timeline(attempts[-nodes_chart.MOST :], len(attempts), did, until, live)
    _again([shard for shard in tried if shard.again])


def _table(did: Sequence[run_nodes.Node], known: Mapping[str, Mapping[str, Any]], live: bool) -> None:
    columns: dict[str, list[object]] = {"node": [escape_text(node.name) for node in did]}
    columns["shards done"] = [node.done for node in did]
    columns["seconds at work"] = [node.seconds for node in did]
    if live:
        columns["at work on now"] = [_hand(node.now) for node in did]
    columns["lost"] = [_lost(node) for node in did]
    if known:
        columns["machine"] = [run_nodes.machine(known.get(node.name, {})) for node in did]
    st.dataframe(
        pd.DataFrame(columns), hide_index=True, width="stretch", alt="What each node did",
        column_config={
            "seconds at work": st.column_config.NumberColumn(
                format="%,.1f", help="With at least one shard in hand, however many there were."
            ),
        },
    )  # fmt: skip


def _hand(shards: Sequence[str]) -> str:
    more = f" and {len(shards) - SHOWN:,} more" if len(shards) > SHOWN else ""
    return ", ".join(one_line(shard, 60) for shard in shards[:SHOWN]) + more


def _lost(node: run_nodes.Node) -> str:
    shards = count(node.lost, "shard") if node.lost else ""
    return f"the node, with {shards}" if node.gone else shards


def _timeline(
    attempts: Sequence[Attempt], all_of_them: int, did: Sequence[run_nodes.Node], until: float, live: bool
) -> None:
    st.markdown("**Who was at work on what**")
    charts.show(
        nodes_chart.timeline(attempts, [node.name for node in did], until, live), key="nodes_timeline",
        alt="When each node tried which shard, and how it came out",
    )  # fmt: skip
    if pauses := run_nodes.pauses(attempts, until):
        longest = formats.duration(max(ended - began for began, ended in pauses))
        st.caption(
            f"At the dotted line nobody was at work for {longest}; that time is left out."
            if len(pauses) == 1
            else f"At each of the {len(pauses)} dotted lines nobody was at work, for up to {longest}; those times are "
            "left out."
        )
    if len(attempts) < all_of_them:
        st.caption(f"The last {len(attempts):,} of {all_of_them:,} attempts are drawn; the numbers above count all.")
    session.explain(
        "A shard is one piece of the run's work, and every bar is one attempt at a shard. Bars under each other were "
        "done at the same time. A crossed bar was lost, and its shard is begun again, there or on another node; a "
        "dotted one is still at work."
    )


def _again(repeated: Sequence[run_nodes.Shard]) -> None:
    if not repeated:
        return
    st.markdown("**Tried more than once**")
    shown = repeated[-LISTED:]
    st.dataframe(
        pd.DataFrame(
            {
                "shard": [one_line(shard.name) for shard in shown],
                "tried": [len(shard.attempts) for shard in shown],
                "what happened": [one_line(_story(shard), 500) for shard in shown],
            }
        ),
        hide_index=True, width="stretch", alt="The shards that were tried more than once, and why",
        column_config={
            "tried": st.column_config.NumberColumn(format="%d ×", width="small"),
            "what happened": st.column_config.Column(width="large"),
        },
    )  # fmt: skip
    if len(shown) < len(repeated):
        st.caption(f"The last {len(shown):,} of {len(repeated):,} are listed.")


def _story(shard: run_nodes.Shard) -> str:
    """`node-2: lost, the node was lost → node-1: done`."""
    return " → ".join(
        f"{one_line(attempt.node, 40)}: {nodes_chart.STYLES[attempt.outcome].name}"
        + (f", {attempt.why}" if attempt.why else "")
        for attempt in shard.attempts
    )
