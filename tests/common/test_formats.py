from __future__ import annotations

import math

import pytest

from engine.common import formats


def test_counts_have_their_noun() -> None:
    assert formats.count(1, "sample") == "1 sample"
    assert formats.count(1800, "sample") == "1,800 samples"
    assert formats.count(0, "entry", "entries") == "0 entries"


@pytest.mark.parametrize(
    ("number", "text"), [(0.4182, "0.418"), (12.34, "12.3"), (1240.4, "1,240"), (-2000, "-2,000"), (math.nan, "NaN")]
)
def test_values_have_few_digits(number: float, text: str) -> None:
    assert formats.value(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(41, 100, "41 %"), (4, 1000, "0.4 %"), (0, 10, "0 %"), (999, 1000, "99.9 %"), (10, 10, "100 %"), (0, 0, "0 %")],
)
def test_shares_say_more_near_both_ends(part: float, whole: float, text: str) -> None:
    assert formats.share(part, whole) == text


def test_sizes_and_parameters_are_scaled() -> None:
    assert [formats.parameters(n) for n in (840_000, 1_240_000, 361_000_000)] == [
        "840 k parameters",
        "1.2 M parameters",
        "361 M parameters",
    ]
    assert [formats.size(n) for n in (12, 840_000_000, 1_240_000_000)] == ["12 bytes", "840 MB", "1.2 GB"]
