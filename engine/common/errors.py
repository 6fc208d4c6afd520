"""What goes wrong, as one sentence for a person."""

from __future__ import annotations


class WinnowError(Exception):
    """One sentence for a person: what is wrong, where, and what to do."""


class ReadOnlyError(WinnowError):
    """Something tried to change a workspace that is being presented."""
