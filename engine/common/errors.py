"""Errors that a person reads, one sentence each."""

from __future__ import annotations


class WinnowError(Exception):
    """One sentence: what is wrong, where, and what to do."""


class ReadOnlyError(WinnowError):
    """Something would change a workspace that was opened read-only."""
