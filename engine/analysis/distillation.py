"""What a dataset distillation found, in sentences. Plain text, to be escaped."""

from __future__ import annotations

import math

from engine.analysis import wording
from engine.analysis.distilled_sets import Inputs
from engine.analysis.evaluations import MACHINE_MADE, Evaluations
from engine.analysis.intervals import Interval
from engine.analysis.wording import Verdict, percent, points, right, took
from engine.common.formats import count, share
from engine.config.distillation import MAIN, OTHER, SetKey

TASKS = {MAIN: "the first task", OTHER: "the other task"}


def headline(evaluations: Evaluations, key: SetKey, inputs: Inputs, classes: int) -> str:
    """How much of the accuracy on all real samples the distilled ones reach, with real figures; "" with nothing.

    A share of an accuracy flatters what is no better than guessing, so guessing is named instead.
    """
    learned, text = evaluations.accuracy(key, "embeddings"), evaluations.accuracy(key, "text")
    full, real = evaluations.accuracy(key, "full"), evaluations.mean(key, "full", "samples")
    chance, several = 1 / classes, inputs.number > 1
    if not full.seeds:
        if not learned.seeds:
            return ""
        verb = "reach" if several else "reaches"
        return f"{inputs.phrase()} {verb} {right(learned.mean)}; what all real samples reach is not known yet."
    if guessed(full, chance):
        return (
            f"Nothing was learned here: with all {real:,.0f} real samples the model is {right(full.mean)}, "
            f"and guessing gives {percent(chance)}."
        )
    parts = []
    if learned.seeds and guessed(learned, chance):
        parts.append(f"{inputs.phrase()} {'teach' if several else 'teaches'} no more than guessing")
    elif learned.seeds:
        verb = "reach" if several else "reaches"
        parts.append(
            f"{inputs.phrase()} {verb} {share(learned.mean, full.mean)} of the accuracy of {real:,.0f} real ones"
        )
    if text.seeds and inputs.text_counts:
        it = "they" if parts and several else "it" if parts else inputs.phrase()
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


def figures(evaluations: Evaluations, key: SetKey, inputs: Inputs, classes: int) -> str:
    """The accuracies behind the shares, and what guessing would give."""
    methods = ("full", "embeddings", "text") if inputs.text_counts else ("full", "embeddings")
    found = {evaluations.name(method): evaluations.accuracy(key, method) for method in methods}
    measured = [f"{name}: {spread(over)}" for name, over in found.items() if over.seeds]
    return f"{' · '.join(measured)} · guessing: {right(1 / classes)}" if measured else ""


def spread(found: Interval) -> str:
    """`81.2 % right ± 1.3`, the half of a 95 % interval in points; for one eval seed, or if all are equal, without."""
    if found.known:
        return f"{right(found.mean)} ± {100 * found.half:.1f}"
    return right(found.mean) + (" in every start" if found.seeds > 1 else "")


def verdict(evaluations: Evaluations, key: SetKey, inputs: Inputs) -> Verdict:
    """Whether distilled inputs beat as many random real samples, by more than chance."""
    if not inputs.pictures and not inputs.text_counts:
        return "the text is unchanged", "gray"
    some = inputs.some_unchanged()
    what = "learned pictures" if inputs.pictures else f"decoded text ({some})" if some else "decoded text"
    return wording.verdict(
        evaluations.difference(key, "embeddings" if inputs.pictures else "text", "random"),
        f"{what} {'beat' if inputs.pictures else 'beats'} random samples",
        f"random samples beat {what}",
        unsettled=f"{what} against random samples: not settled",
    )


def against_random(evaluations: Evaluations, key: SetKey, inputs: Inputs) -> str:
    """How far each machine-made set is from as many random real samples, in a sentence; "" if not measured."""
    differences = []
    for method in MACHINE_MADE if inputs.text_counts else ("embeddings",):
        found = evaluations.difference(key, method, "random")
        if found.seeds:
            settled = "" if found.settled else ", not settled"
            several = f"± {100 * found.half:.1f}{settled}" if found.known else "equal in every start, not settled"
            half = f" ({several if found.seeds > 1 else 'one start'})"
            differences.append(f"{evaluations.name(method)} {points(found.mean)}{half}")
    if not differences:
        return ""
    starts = count(len(evaluations.measured(key, "random")), "fresh start")
    return f"Against {count(inputs.number, 'random real sample')}, in points over {starts}: {', '.join(differences)}."


def unchanged(inputs: Inputs) -> str:
    """A warning about texts in which no token has changed; "" if there is none."""
    if not inputs.unchanged:
        return ""
    why = "the vectors moved, but not far enough to be read as other words than those they started as"
    if not inputs.text_counts:
        return f"No text has changed: {why}. This is no distilled text, and is not counted as such."
    one = inputs.unchanged == 1
    return (
        f"{inputs.unchanged:,} of {inputs.number:,} texts {'has' if one else 'have'} not changed: {why}. "
        f"{'It is' if one else 'They are'} no distilled text, but among what is measured as decoded text."
    )


def changed(changed: int, length: int, initialization: str = "samples") -> str:
    """How far a text is from its initialization, a real sentence or noise."""
    if not length:
        return ""
    began = f"the {'sentence' if initialization == 'samples' else 'noise'} it started from"
    if not changed:
        return f"unchanged: all {count(length, 'token')} are those of {began}"
    return f"{changed:,} of {count(length, 'token')} {'differs' if changed == 1 else 'differ'} from {began}"


def saved(evaluations: Evaluations, key: SetKey, method: str) -> str:
    """What a training on a distilled set takes beside one on everything; "" without both."""
    seconds, whole = evaluations.mean(key, method, "seconds"), evaluations.mean(key, "full", "seconds")
    steps, all_steps = evaluations.mean(key, method, "steps"), evaluations.mean(key, "full", "steps")
    if not math.isfinite(seconds) or not math.isfinite(whole):
        return ""
    return (
        f"Training on it takes {took(seconds)} instead of {took(whole)}, "
        f"and {count(steps, 'step')} instead of {all_steps:,.0f}."
    )


def paid(evaluations: Evaluations, key: SetKey, method: str, distilling: float) -> str:
    """When the time a distillation took has been won back, counted in trainings; "" if something is unknown."""
    gain = evaluations.mean(key, "full", "seconds") - evaluations.mean(key, method, "seconds")
    if not math.isfinite(gain) or not math.isfinite(distilling):
        return ""
    once = f"Learning the set took {took(distilling)} once"
    if gain <= 0:
        return f"{once}; a training on it is no faster than one on everything, so that is never won back."
    trainings = max(1, math.ceil(distilling / gain))
    when = "by the first training" if trainings == 1 else f"after {trainings:,} trainings"
    return f"{once}; that is won back {when}."
