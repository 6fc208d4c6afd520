"""Where the checkout is: recipes, and the folder the engine starts in."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
