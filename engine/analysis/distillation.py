"""What a distillation found: the heads of every method, their means and intervals, and honest sentences.

Every method is measured with several fresh heads, and a head has the same number in each, so two methods are compared
head by head. Plain text, to be escaped where it is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from engine.analysis.intervals import Interval, interval
from engine.common.formats import count, duration, share
from engine.config.distillation import MAIN, METHODS, OTHER, SetKey

MACHINE_MADE = ("embeddings", "text_labels", "text")
COMPARED = ("random", "k_center", "herding")  # real samples, as many as there are distilled ones
PICTURE_METHODS = {"embeddings": "learned pictures"}
Colour = Literal["gray", "green", "red"]


class Evaluations:
    """`Store.worth`, asked by what a model was trained on."""

    def __init__(self, table: pd.DataFrame, pictures: bool = False) -> None:
        self.table, self.pictures = table, pictures

    def heads(self, key: SetKey, method: str, trained: str | None = None) -> pd.DataFrame:
        """One row for each head, by its number; `trained` is another model than the student of the set.

        Real samples depend on their number alone, so they are those of another set of the same size where this set
        has none of its own; all of them together depend on neither.
        """
        table, model = self.table, trained or key.student
        mine = table[(table["task"] == key.task) & (table["method"] == method) & (table["trained"] == model)]
        if method == "full":
            # Recorded for the student of a set, also where another model was trained.
            own = mine[mine["student"] == key.student]
            return _by_head(own if len(own) else mine)
        mine = mine[(mine["student"] == key.student) & (mine["per_class"] == key.per_class)]
        exact = mine[(mine["inner_steps"] == key.inner_steps) & (mine["seed"] == key.seed)]
        return _by_head(exact if len(exact) or method not in COMPARED else mine)

    def accuracy(self, key: SetKey, method: str, trained: str | None = None) -> Interval:
        return interval(self.heads(key, method, trained)["accuracy"])

    def mean(self, key: SetKey, method: str, column: str) -> float:
        """Over heads; NaN where nothing was measured."""
        return float(self.heads(key, method)[column].mean())

    def apart(self, key: SetKey, method: str, other: str, trained: str | None = None) -> Interval:
        """Accuracy of `method` minus that of `other`, head by head."""
        one, two = self.heads(key, method, trained)["accuracy"], self.heads(key, other, trained)["accuracy"]
        return interval((one - two).dropna())

    def methods(self, key: SetKey, trained: str | None = None) -> list[str]:
        """What was measured, in the order of METHODS."""
        return [method for method in METHODS if len(self.heads(key, method, trained))]

    def transfers(self, key: SetKey) -> list[str]:
        """Other models that were trained on what was distilled for this student, in the order recorded."""
        table = self.table
        found = table[(table["task"] == key.task) & (table["student"] == key.student)]
        found = found[found["method"].isin(METHODS) & (found["trained"] != key.student)]
        return [model for model in dict.fromkeys(found["trained"]) if self.distilled(key, model)]

    def distilled(self, key: SetKey, model: str | None = None) -> bool:
        """Whether anything machine-made of this very set was measured."""
        return any(len(self.heads(key, method, model)) for method in MACHINE_MADE)

    def among(self, methods: dict[str, str], task: str, key: SetKey) -> dict[str, pd.DataFrame]:
        """Heads of MERGED, REPLAYS or PROMPTS measured on a task, for those that were measured.

        They are measured for the first set of each seed; where the seed of `key` has none, those of another stand here.
        """
        table = self.table[(self.table["task"] == task) & (self.table["student"] == key.student)]
        found = {}
        for method in methods:
            rows = table[table["method"] == method]
            mine = rows[rows["seed"] == key.seed]
            if len(rows):
                found[method] = _by_head(mine if len(mine) else rows[rows["seed"] == rows["seed"].iloc[0]])
        return found

    def name(self, method: str) -> str:
        """What a method is called, for pictures or texts."""
        return (PICTURE_METHODS if self.pictures else {}).get(method, METHODS[method])


def _by_head(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates("head", keep="last").set_index("head").sort_index()


@dataclass(frozen=True)
class Inputs:
    """What a distilled set consists of: how many inputs, whether pictures, and how many still are what they were."""

    number: int
    pictures: bool
    unchanged: int = 0

    def said(self) -> str:
        """`2 synthetic sentences`, `10 learned pictures`."""
        return count(self.number, "learned picture") if self.pictures else count(self.number, "synthetic sentence")

    @property
    def text_counts(self) -> bool:
        """Whether any text differs from what it started from: one that does not was not distilled."""
        return not self.pictures and self.unchanged < self.number

    def some_unchanged(self) -> str:
        """`1 of 2 unchanged`; "" where all have changed, or none has."""
        return f"{self.unchanged:,} of {self.number:,} unchanged" if 0 < self.unchanged < self.number else ""


def inputs_of(table: pd.DataFrame) -> Inputs:
    """Of the inputs of one snapshot, as `Store.distilled` gives them."""
    pictures = bool(table["image"].notna().any())
    unchanged = 0 if pictures else int((table["changed"] == 0).sum())
    return Inputs(len(table), pictures, unchanged)


def headline(worth: Evaluations, key: SetKey, inputs: Inputs, classes: int) -> str:
    """How much of the accuracy on all real samples the distilled ones reach, with real figures; "" with nothing.

    A share of an accuracy flatters what is no better than guessing, so there it is said instead.
    """
    learned, text = worth.accuracy(key, "embeddings"), worth.accuracy(key, "text")
    full, real = worth.accuracy(key, "full"), worth.mean(key, "full", "samples")
    chance, several = 1 / classes, inputs.number > 1
    if not full.seeds:
        if not learned.seeds:
            return ""
        verb = "reach" if several else "reaches"
        return f"{inputs.said()} {verb} {right(learned.mean)}; what all real samples reach is not known yet."
    if guessed(full, chance):
        return (
            f"Nothing was learned here: with all {real:,.0f} real samples the model is {right(full.mean)}, "
            f"and guessing gives {percent(chance)}."
        )
    parts = []
    if learned.seeds and guessed(learned, chance):
        parts.append(f"{inputs.said()} {'teach' if several else 'teaches'} no more than guessing")
    elif learned.seeds:
        verb = "reach" if several else "reaches"
        parts.append(
            f"{inputs.said()} {verb} {share(learned.mean, full.mean)} of the accuracy of {real:,.0f} real ones"
        )
    if text.seeds and inputs.text_counts:
        it = "they" if parts and several else "it" if parts else inputs.said()
        some = f" ({some})" if (some := inputs.some_unchanged()) else ""
        if guessed(text, chance):
            kept = f"{'teach' if several else 'teaches'} no more than guessing{some}"
        else:
            kept = f"{'keep' if several else 'keeps'} {share(text.mean, full.mean)}{some}"
            kept += "" if parts else f" of the accuracy of {real:,.0f} real ones"
        parts.append(f"{'read' if parts else 'Read'} as plain words{' ' if parts else ', '}{it} {kept}")
    return "; ".join(parts) + "." if parts else ""


def guessed(found: Interval, chance: float) -> bool:
    """Whether an accuracy cannot be told from guessing: its interval reaches down to it."""
    return (found.low if math.isfinite(found.low) else found.mean) <= chance


def figures(worth: Evaluations, key: SetKey, inputs: Inputs, classes: int) -> str:
    """The accuracies behind the shares, and what guessing would give."""
    said = [
        f"{name}: {spread(found)}"
        for method in ("full", "embeddings", "text")
        if method != "text" or inputs.text_counts
        for name, found in [(worth.name(method), worth.accuracy(key, method))]
        if found.seeds
    ]
    if not said:
        return ""
    return f"{' · '.join(said)} · guessing: {percent(1 / classes)} right"


def right(accuracy: float) -> str:
    """`81.2 % right`"""
    return f"{percent(accuracy)} right"


def percent(value: float) -> str:
    """`81.2 %`, `50 %`."""
    shown = f"{100 * value:.1f}"
    return f"{shown.removesuffix('.0')} %"


def spread(found: Interval) -> str:
    """`81.2 % right ± 1.3`, the half of a 95 % interval in points; without it where one head is all there is."""
    if found.seeds < 2:
        return right(found.mean)
    return f"{right(found.mean)} ± {100 * (found.high - found.low) / 2:.1f}"


def verdict(worth: Evaluations, key: SetKey, inputs: Inputs) -> tuple[str, Colour]:
    """A word for a badge and its colour: do distilled inputs beat as many random real samples, by more than chance?"""
    if not inputs.pictures and not inputs.text_counts:
        return "the text is unchanged", "gray"
    found = worth.apart(key, "embeddings" if inputs.pictures else "text", "random")
    some = inputs.some_unchanged()
    what = "learned pictures" if inputs.pictures else f"decoded text ({some})" if some else "decoded text"
    if not found.seeds:
        return "", "gray"
    if not found.settled:
        return f"{what} against random samples: not settled", "gray"
    if found.mean < 0:
        return f"random samples beat {what}", "red"
    return f"{what} {'beat' if inputs.pictures else 'beats'} random samples", "green"


def against_random(worth: Evaluations, key: SetKey, inputs: Inputs) -> str:
    """How far each machine-made set is from as many random real samples, in a sentence; "" where not measured."""
    said = []
    for method in MACHINE_MADE:
        if method != "embeddings" and not inputs.text_counts:
            continue
        found = worth.apart(key, method, "random")
        if found.seeds:
            settled = "" if found.settled else ", not settled"
            half = f" (± {100 * (found.high - found.low) / 2:.1f}{settled})" if found.seeds > 1 else " (one head)"
            said.append(f"{worth.name(method)} {_points(found.mean)}{half}")
    if not said:
        return ""
    heads = len(worth.heads(key, "random"))
    real = count(inputs.number, "random real sample")
    return f"Against {real}, in points over {count(heads, 'head')}: {', '.join(said)}."


def _points(change: float) -> str:
    return f"{100 * change:+.1f}".replace("-", "−")


def changed(changed: int, length: int, start: str = "samples") -> str:
    """How far a text is from what it started from, a real sentence or noise."""
    if not length:
        return ""
    began = f"the {'sentence' if start == 'samples' else 'noise'} it started from"
    if not changed:
        return f"unchanged: all {count(length, 'token')} are those of {began}"
    return f"{changed:,} of {count(length, 'token')} {'differs' if changed == 1 else 'differ'} from {began}"


def saved(worth: Evaluations, key: SetKey, method: str) -> str:
    """What a training on a distilled set takes beside one on everything; "" without both."""
    seconds, whole = worth.mean(key, method, "seconds"), worth.mean(key, "full", "seconds")
    steps, all_steps = worth.mean(key, method, "steps"), worth.mean(key, "full", "steps")
    if not math.isfinite(seconds) or not math.isfinite(whole):
        return ""
    said = f"Training on it takes {took(seconds)} instead of {took(whole)}"
    return f"{said}, and {count(steps, 'step')} instead of {all_steps:,.0f}."


def paid(worth: Evaluations, key: SetKey, method: str, distilling: float) -> str:
    """When the time a distillation took has been won back, counted in trainings; "" where something is unknown."""
    gain = worth.mean(key, "full", "seconds") - worth.mean(key, method, "seconds")
    if not math.isfinite(gain) or not math.isfinite(distilling):
        return ""
    said = f"Learning the set took {took(distilling)} once"
    if gain <= 0:
        return f"{said}; a training on it is no faster than one on everything, so that is never won back."
    trainings = max(1, math.ceil(distilling / gain))
    when = "by the first training" if trainings == 1 else f"after {trainings:,} trainings"
    return f"{said}; that is won back {when}."


def took(seconds: float) -> str:
    """`0.5 s` where whole seconds would say nothing, else as everywhere."""
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def operations(number: float) -> str:
    """`3.1 TFLOP`: floating-point operations with the prefix people read; "" where they are not known."""
    if not math.isfinite(number) or number <= 0:
        return ""
    place = min(max(int(math.log10(number) // 3), 0), len(_PREFIXES) - 1)
    return f"{number / 1000**place:.3g} {_PREFIXES[place]}FLOP"


_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def sized(key: SetKey, inputs: str) -> str:
    """A set in words: `1 per class, 5 inner steps`."""
    return f"{key.per_class} {inputs} per class, {count(key.inner_steps, 'inner step')}"


TASKS = {MAIN: "the first task", OTHER: "the other task"}
