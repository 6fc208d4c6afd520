"""What samples of an instruction set can be ranked by. Each score is stored so that high = keep."""

from __future__ import annotations

from typing import Annotated

from engine.config.base import OneOf

METRICS = {
    "kl": "KL over all positions",
    "kl_response": "KL over the response",
    "reverse_kl": "reverse KL",
    "nll_teacher": "loss of the teacher on the response",
    "nll_student": "loss of the student on the response",
    "entropy_teacher": "entropy of the teacher",
    "disagreement": "share of positions where the top tokens differ",
    "excess_loss": "loss of the student beyond the teacher's",
    "trusted_kl": "KL where the teacher knows the response",
}
"""The metrics that one pass of both models gives every sample."""

SIGNED_METRICS = ("excess_loss", "ifd", "target_gain", "target_likeness")
"""Of the scores that a run stores, those that may be below zero."""

Metric = Annotated[str, OneOf(METRICS)]

MODEL_RANKINGS = {
    "ifd": "loss of the student with the prompt over its loss without",
    "target_gain": "how much tuning on the target lowers its loss",
    "gradient_norm": "norm of the LoRA gradient",
    "target_likeness": "likeness of the LoRA gradient to the target's",
}
"""Those that need passes of the student of their own."""

STATE_RANKINGS = {
    "cluster_far": "distance from the centres of the teacher's states",
    "cluster_near": "nearness to the centres of the teacher's states",
    "inliers": "how hard the teacher's state is to isolate",
    "herding": "herding: prototypes with the mean of the teacher's states",
    "k_center": "k-center: prototypes that cover the teacher's states",
}
"""Those that follow from the teacher's mean state over each response."""

OTHER_RANKINGS = {
    "student_band": "nearness of the student's loss to the median",
    "length": "tokens of the response",
    "random": "random",
}

RANKINGS = METRICS | MODEL_RANKINGS | STATE_RANKINGS | OTHER_RANKINGS
"""Everything an arm can rank samples by; `field:NAME`, the numbers of a column that no score reads, comes on top."""

FIELD = "field:"
TARGET_RANKINGS = ("target_gain", "target_likeness")
"""Those that look at validation samples: at the target, which is held back from every comparison."""
