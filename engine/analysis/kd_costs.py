"""Teachers of a grid, labels flipped in it, and what a point of accuracy costs: frames in, frames and sentences out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from engine.analysis.intervals import interval
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
            above = f", {above}" if (above := cells.measure.above(accuracies[name])) else ""
            parts.append(f"{cells.measure.right(accuracies[name])} by itself{above}")
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
    """What the teacher gains with flipped labels and with none, and whether they differ; "" without both."""
    points = [cells.with_teacher(score, fraction, teacher, share) for share in (0.0, noise)]
    gains = [cells.gains(point) for point in points if point is not None]
    if not noise or len(gains) < 2 or not all(map(len, gains)):
        return ""
    measure, more = cells.measure, interval((gains[1] - gains[0]).dropna())
    clean, noisy = (f"{measure.difference(over.mean)} ({measure.spread(over)})" for over in map(interval, gains))
    settled = "settled" if more.settled else "not settled"
    return (
        f"The teacher gains {noisy} with {percent(noise)} of the labels flipped, {clean} with none; "
        f"that they differ is {settled}."
    )


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


def needed(cells: Cells, facts: ArmFacts, point: Point) -> dict[str, float]:
    """Seconds of everything that one student needs: `teacher`, `scoring`, `student`; empty if one is not known.

    An online teacher learns with its student, so its time is part of the student's.
    """
    recipe, pruned = cells.recipe, point.fraction < 1
    names = {point.teacher} if point.kd_weight else set()
    if pruned and point.score == "kl" and recipe.kl_teacher:
        names.add(recipe.kl_teacher)
    names -= {name for name in names if recipe.teachers[name].online}
    found: dict[str, float | None] = {}
    if names:
        training = facts.teachers(names, point.noise, "seconds_training")
        found["teacher"] = sum(training.values()) if len(training) == len(names) else None
    if pruned and not point.score.startswith("random"):
        found["scoring"] = facts.of(noise_label(f"score {point.score}", point.noise), "seconds_scoring")
    done = cells.of(point)
    found["student"] = float(done["seconds"].mean()) if len(done) else None
    return {name: value for name, value in found.items() if value is not None} if None not in found.values() else {}


def all_told(cells: Cells, facts: ArmFacts, score: str, fraction: float, teacher: str, noise: float) -> str:
    """What the students of the headline cost, beside those of all the data without a teacher; "" if it is not known."""
    point = cells.with_teacher(score, fraction, teacher, noise)
    spent = needed(cells, facts, point) if point else {}
    if point is None or not spent:
        return ""
    samples = f"{formats.count(cells.of(point)['samples'].mean(), 'sample')}, {took(sum(spent.values()))} in all"
    parts = f" ({', '.join(f'{name} {took(value)}' for name, value in spent.items())})" if len(spent) > 1 else ""
    plain = Point("", 1.0, 0.0, "", noise)
    everything, reached = cells.of(plain), cells.accuracy(plain)
    if fraction == 1 or not reached.seeds:
        return f"{samples}{parts}"
    return (
        f"{samples}{parts} · all of the data without a teacher: {cells.measure.right(reached.mean)}, "
        f"{formats.count(everything['samples'].mean(), 'sample')}, {took(float(everything['seconds'].mean()))}"
    )


def cost_table(cells: Cells, facts: ArmFacts, score: str, teacher: str, noise: float) -> pd.DataFrame:
    """What a student at each fraction costs and reaches, and what a point of accuracy costs of the teacher.

    Accuracies and gains are in percent (as they are for R²); columns of which nothing is known are left out. A gain is
    settled by Holm's correction over the fractions, and only a settled one has a price.
    """
    scale = 1 if cells.measure.numbers else 100
    of_teacher = noise_label(f"teacher {teacher}", noise)
    seconds, cache = facts.of(of_teacher, "seconds_training"), facts.of(of_teacher, "cache_bytes")
    gains, rows = cells.all_gains(score, teacher, noise), []
    for fraction in reversed(cells.fractions):
        at, taught = str(fraction), cells.with_teacher(score, fraction, teacher, noise)
        without = Point(score, fraction, 0.0, "", noise)
        shown = taught or without
        done, gain = cells.of(shown), gains.over.get(at, interval([]))
        if not len(done):
            continue
        points = 100 * gain.mean if at in gains.better and not cells.measure.numbers else math.nan
        chance = cells.measure.chance.share if cells.measure.chance else math.nan
        rows.append(
            {
                "kept": percent(fraction),
                "samples": float(done["samples"].mean()),
                "steps": float(done["steps"].mean()),
                "seconds a student": float(done["seconds"].mean()),
                "seconds in all": sum(needed(cells, facts, shown).values()) or math.nan,
                "no teacher": scale * cells.accuracy(without).mean,
                "with teacher": scale * cells.accuracy(taught).mean if taught else math.nan,
                "above chance": scale * (cells.accuracy(shown).mean - chance),
                "gained": scale * gain.mean,
                "±": scale * gain.half,
                "settled": at in gains.settled if gain.seeds else None,
                "teacher seconds a point": (seconds or math.nan) / points,
                "teacher kB a point": (cache or math.nan) / 1000 / points,
            }
        )
    return pd.DataFrame(rows).dropna(axis="columns", how="all")
