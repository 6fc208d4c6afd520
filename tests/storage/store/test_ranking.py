"""A ranking puts scores in order, however they lie."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.storage.store.ranking import Ranking

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf")]), st.floats(width=32)
)


@given(rows=st.lists(st.integers(0, 2**31 - 1), unique=True, max_size=40), data=st.data())
def test_the_order_of_any_scores(rows: list[int], data: st.DataObject) -> None:
    """Protects every rank: the highest first, equal ones (-0 and 0 too) by row, NaN last."""
    values = np.array(data.draw(st.lists(VALUES, min_size=len(rows), max_size=len(rows))), dtype=np.float32)
    lengths = np.array([row % 997 for row in rows], dtype=np.int32)
    ranking = Ranking.of(np.array(rows, dtype=np.int32), values, lengths)
    scores = list(zip(rows, values.tolist(), strict=True))
    known = sorted((pair for pair in scores if not math.isnan(pair[1])), key=lambda pair: (-pair[1], pair[0]))
    unknown = sorted(row for row, value in scores if math.isnan(value))
    assert ranking.rows.tolist() == [row for row, _ in known] + unknown
    assert ranking.values.tolist() == [value for _, value in known]
    assert ranking.lengths.tolist() == [row % 997 for row in ranking.rows.tolist()]
