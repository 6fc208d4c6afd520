"""The validation samples of a study, in three parts that do not meet: what is looked at, picked by and reported on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from engine.common.choices import LossOn
from engine.common.random_streams import Stream, stream_rng
from engine.data.samples import EncodedSample
from engine.studies.pruning.scoring import tokens_of
from engine.training.finetune import Evaluation, Tick, evaluate


@dataclass(frozen=True)
class ValidationParts:
    """`report`: half of the samples; results are reported on it. `pick`: what an arm may be recommended by; the other
    half, or half of that if arms look at a `target`, which is the rest and else empty."""

    target: list[EncodedSample]
    pick: list[EncodedSample]
    report: list[EncodedSample]


@dataclass(frozen=True)
class Validation:
    """What a student does on all validation samples, and its loss (nats per token) on two parts of them."""

    loss: float
    accuracy: float
    tokens: int
    pick_loss: float | None  # None if that part is empty
    report_loss: float

    def rows(self, at: dict[str, Any]) -> list[dict[str, Any]]:
        """Its rows of the metrics table; `at` holds the other columns."""
        values = {"loss": self.loss, "perplexity": math.exp(min(self.loss, 700)), "accuracy": self.accuracy}
        rows = [at | {"split": "valid", "name": name, "value": value} for name, value in values.items()]
        for part, loss in (("pick", self.pick_loss), ("report", self.report_loss)):
            if loss is not None:
                rows.append(at | {"split": part, "name": "loss", "value": loss})
        return rows


def validation_parts(valid: Sequence[EncodedSample], split_seed: int, target: bool) -> ValidationParts:
    """Divide the validation samples at random; `split_seed` is that of the data."""
    order = [valid[i] for i in stream_rng(Stream.VALIDATION_PARTS, split_seed).permutation(len(valid))]
    half = (len(order) + 1) // 2
    quarter = half + (len(order) - half) // 2 if target else half
    return ValidationParts(order[half:quarter], order[quarter:], order[:half])


def validate(model: nn.Module, parts: ValidationParts, *, batch_size: int, loss_on: LossOn, tick: Tick) -> Validation:
    """Evaluate part by part; the whole is their mean over tokens. `tick` gets tokens done of all three parts."""
    named = {"target": parts.target, "pick": parts.pick, "report": parts.report}
    total = sum(tokens_of(part) for part in named.values())
    found: dict[str, Evaluation] = {}
    done = 0
    for name, part in named.items():
        if part:

            def part_tick(tokens: int, _total: int, before: int = done) -> None:
                tick(before + tokens, total)

            found[name] = evaluate(model, part, batch_size=batch_size, loss_on=loss_on, tick=part_tick)
            done += tokens_of(part)
    weights = np.array([each.tokens for each in found.values()], dtype=np.float64)
    loss, accuracy = (
        float(np.average([getattr(each, name) for each in found.values()], weights=weights))
        for name in ("loss", "accuracy")
    )
    pick = found["pick"].loss if "pick" in found else None
    return Validation(loss, accuracy, int(weights.sum()), pick, found["report"].loss)
