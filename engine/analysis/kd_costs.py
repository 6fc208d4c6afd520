"""Teachers of a grid, labels flipped in it, and what a point of accuracy costs: frames in, frames and sentences out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from engine.analysis.kd_cells import Cells
from engine.analysis.wording import percent, took
from engine.common import formats
from engine.config.grid import Point, noise_label

FACTS = ["accuracy", "parameters", "cache_bytes", "seconds_training", "seconds_scoring"]


@dataclass(frozen=True)
class ArmFacts:
    """What is known of each arm of a grid, mean over its seeds: an index of arms, the columns FACTS."""

    table: pd.DataFrame

    def of(self, arm: str, name: str) -> float | None:
        value = self.table[name].get(arm, math.nan)
        return None if math.isnan(value) else float(value)

    def teachers(self, names: Iterable[str], noise: float, name: str) -> dict[str, float]:
        """Of each teacher for which it is known."""
        found = {teacher: self.of(noise_label(f"teacher {teacher}", noise), name) for teacher in names}
        return {teacher: value for teacher, value in found.items() if value is not None}


def arm_facts(metrics: pd.DataFrame) -> ArmFacts:
    """Of the metrics of a grid, as `Store.metrics` gives them."""
    table = metrics[metrics["split"].isin(["", "test"])]
    means = table.pivot_table(index="arm", columns="name", values="value", aggfunc="mean")
    return ArmFacts(means.reindex(columns=FACTS))


def teacher_words(cells: Cells, facts: ArmFacts, noise: float) -> Mapping[str, str]:
    """Size and accuracy of each teacher of which something is known: `1.3 k parameters, 0.27 times the student · …`."""
    sizes = facts.teachers(cells.teachers, noise, "parameters")
    accuracies = facts.teachers(cells.teachers, noise, "accuracy")
    student, found = facts.of("student", "parameters"), {}
    for name in cells.teachers:
        parts = []
        if name in sizes:
            parts.append(f"{formats.parameters(round(sizes[name]))}{relative(sizes[name], student)}")
        if name in accuracies:
            parts.append(f"{cells.measure.right(accuracies[name])} by itself")
        if parts:
            found[name] = " · ".join(parts)
    return found


def relative(size: float, student: float | None) -> str:
    """`, 3.7 times the student`, `, as large as the student`."""
    if not student:
        return ""
    ratio = size / student
    return ", as large as the student" if abs(ratio - 1) < 0.05 else f", {ratio:.2g} times the student"


def flipped_kept(cells: Cells, fraction: float, teacher: str, noise: float) -> dict[str, float]:
    """The share of flipped labels among what each score keeps at a fraction."""
    found = {}
    for score in cells.scores:
        tables = (cells.of(Point(score, fraction, weight, teacher, noise)) for weight in cells.weights)
        done = next((table for table in tables if len(table) and table["samples"].sum()), None)
        if done is not None:
            found[score] = float(done["flipped"].sum() / done["samples"].sum())
    return found


def gain_under_noise(cells: Cells, score: str, fraction: float, teacher: str, noise: float) -> str:
    """What the teacher gains with flipped labels and with none; "" without both."""
    points = [cells.with_teacher(score, fraction, teacher, share) for share in (0.0, noise)]
    gains = [cells.gain(point) for point in points if point is not None]
    if not noise or len(gains) < 2 or not all(gain.seeds for gain in gains):
        return ""
    measure = cells.measure
    clean, noisy = (f"{measure.difference(gain.mean)} ({measure.spread(gain)})" for gain in gains)
    return f"The teacher gains {noisy} with {percent(noise)} of the labels flipped, {clean} with none."


def shared_cost(facts: ArmFacts, score: str, teacher: str, noise: float) -> str:
    """What was spent once for all students; "" if nothing of it is known."""
    of_teacher = noise_label(f"teacher {teacher}", noise)
    seconds, cache = facts.of(of_teacher, "seconds_training"), facts.of(of_teacher, "cache_bytes")
    scoring = facts.of(noise_label(f"score {score}", noise), "seconds_scoring")
    spent = [
        f"the teacher took {took(seconds)} to train" if seconds else "",
        f"its kept outputs take {formats.size(round(cache))}" if cache else "",
        f"scoring took {took(scoring)}" if scoring else "",
    ]
    joined = "; ".join(part for part in spent if part)
    return f"Once for all students: {joined}." if joined else ""


def cost_table(cells: Cells, facts: ArmFacts, score: str, teacher: str, noise: float) -> pd.DataFrame:
    """What a student at each fraction costs and reaches, and what a point of accuracy costs of the teacher.

    Accuracies and gains are in percent (as they are for R²); columns of which nothing is known are left out.
    """
    scale = 1 if cells.measure.numbers else 100
    of_teacher = noise_label(f"teacher {teacher}", noise)
    seconds, cache = facts.of(of_teacher, "seconds_training"), facts.of(of_teacher, "cache_bytes")
    rows = []
    for fraction in reversed(cells.fractions):
        without = Point(score, fraction, 0.0, "", noise)
        taught = cells.with_teacher(score, fraction, teacher, noise)
        done = cells.of(taught or without)
        if not len(done):
            continue
        gain = cells.gain(taught).mean if taught else math.nan
        points = 100 * gain if gain > 0 and not cells.measure.numbers else math.nan
        rows.append(
            {
                "kept": percent(fraction),
                "samples": float(done["samples"].mean()),
                "steps": float(done["steps"].mean()),
                "seconds a student": float(done["seconds"].mean()),
                "no teacher": scale * cells.accuracy(without).mean,
                "with teacher": scale * cells.accuracy(taught).mean if taught else math.nan,
                "gained": scale * gain,
                "teacher seconds a point": (seconds or math.nan) / points,
                "teacher kB a point": (cache or math.nan) / 1000 / points,
            }
        )
    return pd.DataFrame(rows).dropna(axis="columns", how="all")
