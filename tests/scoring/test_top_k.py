"""The leading tokens kept tile by tile are those of the whole row."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scoring.top_k import TopK


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 5),
    widths=st.lists(st.integers(1, 130), min_size=1, max_size=4),
    k=st.integers(1, 6),
    seed=st.integers(0, 999),
)
def test_same_as_sorting_the_whole_row(rows: int, widths: list[int], k: int, seed: int) -> None:
    """Values, ids and row maxima, for tiles of any width."""
    random = torch.Generator().manual_seed(seed)
    tiles = [torch.randn(rows, width, generator=random) for width in widths]
    k = min(k, sum(widths))
    leaders = TopK(rows, k, torch.device("cpu"))
    first = 0
    for tile in tiles:
        assert torch.equal(leaders.update(tile, first), tile.amax(1))
        first += tile.shape[1]
    values, ids = torch.cat(tiles, 1).topk(k)
    assert torch.equal(leaders.values, values)
    assert torch.equal(leaders.ids, ids)
