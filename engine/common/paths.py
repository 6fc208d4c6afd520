"""Where the checkout is, with recipes and the folder the engine starts in, and whether a path is there."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def is_here(name: str) -> bool:
    """Whether there is a file or folder of that name; no system error if none can be called so."""
    try:
        return Path(name).exists()
    except OSError:
        return False
