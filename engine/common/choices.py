"""Choices that recipes offer and the mathematics take: each list of words stands here once."""

from __future__ import annotations

from typing import Literal

Similarity = Literal["cosine", "l2", "dot"]
