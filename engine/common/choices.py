"""Choices that recipes offer and the mathematics take: each list stands here once."""

from __future__ import annotations

from typing import Literal

Similarity = Literal["cosine", "l2", "dot"]
"""By which vectors are compared with the embeddings of tokens."""

LabelKind = Literal["hard", "soft", "unrestricted"]
"""Labels of synthetic inputs: one class each, learned probabilities, or learned numbers of any size and sign."""

InnerOptimizer = Literal["sgd", "momentum", "adam"]
"""What a student learns with from synthetic inputs."""

SelectionRule = Literal["top", "window", "strata", "quota"]
"""How a score becomes a selection."""

Spread = Literal["top", "window", "strata", "clusters"]
"""How a budget is spread over the samples that a score ranks."""

LossOn = Literal["response", "all"]
"""The positions of a text whose tokens are predicted under a loss."""

NumberFormat = Literal["auto", "float32", "bfloat16"]
"""What a device computes in; auto: bfloat16 on a GPU that has it, else float32."""
