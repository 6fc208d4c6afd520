"""A run in words."""

from __future__ import annotations

from engine.analysis import run_labels


def test_times_in_words() -> None:
    """Ages are in the largest unit that fits."""
    now = run_labels.time.time()
    ages = [run_labels.ago(now - seconds) for seconds in (3, 125, 7300, 90_000, 200_000)]
    assert ages == ["just now", "2 min ago", "2 h ago", "1 day ago", "2 days ago"]
