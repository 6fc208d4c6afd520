"""Which samples crossed tau between two epochs: four bands, and the samples in the one that is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from engine.common import formats
from engine.common.text import one_line
from pages.shared import arm_charts, charts, links, session
from pages.shared.escape import escape_markdown

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from engine.storage.store import Store

Band = tuple[str, str]  # where a sample was, and where it is: "kept" or "pruned"
BANDS: dict[Band, str] = {
    ("kept", "kept"): "stayed kept",
    ("kept", "pruned"): "fell below",
    ("pruned", "kept"): "came back",
    ("pruned", "pruned"): "stayed pruned",
}
"""What each band is called, from the top of the picture down."""
MOST = 500  # samples of a band that are listed here; the Samples page has them all
PER_PAGE = 8
LINE = 150  # characters of a prompt


def draw(store: Store, run: str, selections: pd.DataFrame) -> None:
    """Controls, the picture, and the samples of a band. `selections` has at least two epochs of the dynamic arm."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        seeds = sorted(int(seed) for seed in selections["seed"].unique())
        seed = st.selectbox("Seed", seeds, key="flow_seed", bind="query-params", on_change=_first_page, width=110)
        epochs = sorted(int(epoch) for epoch in selections.loc[selections["seed"] == seed, "epoch"])
        if len(epochs) < 2:
            st.caption("This seed has one epoch so far; nothing can have crossed yet.")
            return
        before = st.selectbox(
            "From epoch", epochs[:-1], key="flow_from", bind="query-params", on_change=_first_page, width=130
        )
        later = [epoch for epoch in epochs if epoch > before]
        after = st.selectbox("to epoch", later, key="flow_to", bind="query-params", on_change=_first_page, width=130)
    found = store.crossings(run, seed, before, after).set_index(["before", "after"])["samples"]
    counts = {band: int(found.get(band, 0)) for band in BANDS}
    st.markdown(sentence(counts, before, after))
    charts.show(flow(counts, before, after), alt=sentence(counts, before, after), key="flow")
    session.explain(
        "Each band is a group of samples. The threshold τ rises and the student learns, so most movement is downwards: "
        "a sample the student has come to agree with the teacher about falls below it and is not read again, "
        "unless it comes back."
    )
    band = st.pills(
        "Show the samples that", [name for band, name in BANDS.items() if counts[band]], key="flow_band",
        bind="query-params", on_change=_first_page,
    )  # fmt: skip
    if band:
        pair = next(each for each, name in BANDS.items() if name == band)
        _samples(store, run, seed, (before, after), pair)


def _first_page() -> None:
    st.session_state["flow_page"] = 1


def sentence(counts: dict[Band, int], before: int, after: int) -> str:
    """The four counts in one sentence."""
    everything = sum(counts.values())
    above, fell, back, below = (counts[band] for band in BANDS)
    return (
        f"Between epoch {before} and epoch {after}, {formats.count(fell, 'sample')} of {everything:,} fell below the "
        f"threshold and {formats.count(back, 'came', 'came') if back else 'none came'} back above it; "
        f"{above:,} stayed kept and {below:,} stayed pruned."
    )


def _samples(store: Store, run: str, seed: int, epochs: tuple[int, int], band: Band) -> None:
    rows = store.crossing_rows(run, seed, *epochs, *band, limit=MOST)
    pages = -(-len(rows) // PER_PAGE)
    place = st.container(gap="xxsmall")
    page = st.pagination(pages, key="flow_page", bind="query-params") if pages > 1 else 1
    with place:
        st.caption("Choose one to open it on Samples.")
        for row in rows[(min(page, pages) - 1) * PER_PAGE :][:PER_PAGE]:
            sample = store.sample(run, row)
            if sample is None:
                continue
            label = f"**{row}**   {escape_markdown(one_line(sample['instruction'], LINE))}"
            links.show("samples", label, run=run, epoch=str(epochs[1]), seed=str(seed), sample=str(row))
        if len(rows) == MOST:
            st.caption(f"The first {MOST} of this band; the Samples page has them all.")


def flow(counts: dict[Band, int], before: int, after: int) -> go.Figure:
    """Kept and pruned at the left, and a band for each way to the right, as wide as it has samples."""
    height = 260
    figure = charts.figure(height, margin={"l": 92, "r": 136, "t": 30, "b": 8})
    everything = sum(counts.values()) or 1
    gap = 0.12 * everything
    lowest = everything + gap
    sides = {
        name: [sum(n for band, n in counts.items() if band[at] == name) for at in (0, 1)] for name in ("kept", "pruned")
    }
    starts = {"kept": 0.0, "pruned": sides["kept"][0] + gap}  # measured from the top down
    ends = {"kept": 0.0, "pruned": sides["kept"][1] + gap}
    centres: list[tuple[float, str]] = []
    for (was, now), name in BANDS.items():
        if size := counts[was, now]:
            _band(figure, starts[was], ends[now], size, name, now == "kept", moved=was != now)
            centres.append((ends[now] + size / 2, f"{name} <b>{size:,}</b>"))
            starts[was] += size
            ends[now] += size
    for name, top in (("kept", 0.0), ("pruned", sides["kept"][0] + gap)):
        if size := sides[name][0]:
            _label(figure, 0, top + size / 2, "right", f"{name} <b>{size:,}</b>")
    centres.sort()
    places = arm_charts.spread([centre for centre, _ in centres], lowest * 18 / (height - 38), 0.0, lowest)
    for place, (_, label) in zip(places, centres, strict=True):
        _label(figure, 1, place, "left", label)
    for x, epoch, side in ((0, before, "left"), (1, after, "right")):
        figure.add_annotation(
            x=x, y=1, yref="paper", yshift=16, xanchor=side, showarrow=False, text=f"epoch {epoch}"
        )  # fmt: skip
    figure.update_xaxes(visible=False, range=[0, 1], fixedrange=True)
    figure.update_yaxes(visible=False, range=[lowest * 1.01, -lowest * 0.01], fixedrange=True)
    return figure


def _label(figure: go.Figure, x: int, y: float, anchor: str, text: str) -> None:
    """A label outside the left (0) or the right (1) border of the picture."""
    figure.add_annotation(
        x=x, xref="paper", xanchor=anchor, xshift=16 * x - 8, y=y, yanchor="middle", showarrow=False, text=text
    )


def _band(figure: go.Figure, start: float, end: float, size: int, name: str, kept: bool, moved: bool) -> None:
    """One band in the colour of where it ends, hatched if that is pruned; what moved stands out."""
    t = np.linspace(0, 1, 24)
    upper = start + (end - start) * t * t * (3 - 2 * t)
    colour = charts.KEPT if kept else charts.PRUNED
    hatch = {} if kept else {**charts.HATCH, "fgcolor": colour, "fillmode": "replace"}
    figure.add_scatter(
        x=[*t, *t[::-1]], y=[*upper, *(upper + size)[::-1]], fill="toself", mode="lines", line={"width": 0},
        fillcolor=colour, opacity=0.95 if moved else 0.5, hoveron="fills", name=f"{name}: {size:,}", hoverinfo="name",
        fillpattern=hatch,
    )  # fmt: skip
