"""What a dataset distillation found, in sentences. Plain text, to be escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.analysis import wording
from engine.analysis.contests import standing
from engine.analysis.distilled_sets import Axis, Inputs
from engine.analysis.evaluations import MACHINE_MADE, Evaluations, versus
from engine.analysis.intervals import Interval
from engine.analysis.wording import Chance, Measure, Verdict, percent, points, right, took
from engine.common.formats import count, share
from engine.config.distillation import MAIN, OTHER, SetKey

TASKS = {MAIN: "the first task", OTHER: "the other task"}


def headline(evaluations: Evaluations, key: SetKey, inputs: Inputs, chance: float) -> str:
    """How much of the accuracy on all real samples the distilled ones reach, and how much as many real ones do.

    Of as many real ones the strongest way to choose them is named. A share of an accuracy flatters what is no better
    than guessing, so guessing is named instead. "" with nothing.
    """
    learned, text = evaluations.accuracy(key, "embeddings"), evaluations.accuracy(key, "text")
    full, real = evaluations.accuracy(key, "full"), evaluations.mean(key, "full", "samples")
    several = inputs.number > 1
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
    if not parts:
        return ""
    rival = evaluations.strongest_real(key)
    if rival is not None:
        reached = evaluations.accuracy(key, rival)
        found = "no more than guessing" if guessed(reached, chance) else share(reached.mean, full.mean)
        parts.append(f"{evaluations.label(key, rival)} {'reach' if several else 'reaches'} {found}")
    return "; ".join(parts) + "."


def guessed(found: Interval, chance: float) -> bool:
    """Whether an accuracy cannot be told from guessing: its interval reaches down to it."""
    return (found.low if math.isfinite(found.low) else found.mean) <= chance


def figures(evaluations: Evaluations, key: SetKey, inputs: Inputs, chance: Chance) -> str:
    """The accuracies behind the shares, each with what it is above guessing, and what their intervals cover."""
    methods = ("full", "embeddings", "text") if inputs.text_counts else ("full", "embeddings")
    rival = evaluations.strongest_real(key)
    asked = [*methods, rival] if rival else methods
    found = {evaluations.name(method): evaluations.accuracy(key, method) for method in asked}
    measured = [
        f"{name}: {spread(over)} ({points(over.mean - chance.share)})" for name, over in found.items() if over.seeds
    ]
    if not measured:
        return ""
    measured[0] = measured[0].removesuffix(")") + " above guessing)"
    starts = count(max(over.seeds for over in found.values()), "fresh start")
    return f"{' · '.join(measured)} · guessing: {chance.phrase()} · ±: 95 % over {starts}"


def spent(evaluations: Evaluations, key: SetKey, distilling: float) -> str:
    """The time of everything a training on the set needs, beside one on everything; "" if some of it is not known."""
    method = "embeddings" if len(evaluations.measured(key, "embeddings")) else "text"
    seconds, whole = evaluations.mean(key, method, "seconds"), evaluations.mean(key, "full", "seconds")
    if not all(map(math.isfinite, (distilling, seconds, whole))):
        return ""
    return f"Learning the set took {took(distilling)}, training on it {took(seconds)}; on everything {took(whole)}."


def spread(found: Interval) -> str:
    """`81.2 % right ± 1.3`, the half of a 95 % interval in points; for one eval seed, or if all are equal, without."""
    if found.known:
        return f"{right(found.mean)} ± {100 * found.half:.1f}"
    return right(found.mean) + (" in every start" if found.seeds > 1 else "")


def compared(inputs: Inputs) -> Sequence[str]:
    """What of a set is held against real samples; a text that has not changed is not distilled."""
    return MACHINE_MADE if inputs.text_counts else ("embeddings",)


def verdict(evaluations: Evaluations, key: SetKey, inputs: Inputs) -> Verdict:
    """Whether distilled inputs beat the strongest of as many real samples, by more than chance."""
    if not inputs.pictures and not inputs.text_counts:
        return "the text is unchanged", "gray"
    some = inputs.some_unchanged()
    what = "learned pictures" if inputs.pictures else f"decoded text ({some})" if some else "decoded text"
    method, rival = "embeddings" if inputs.pictures else "text", evaluations.strongest_real(key)
    if rival is None:
        return "", "gray"
    named, found = evaluations.name(rival), evaluations.against_real(key, compared(inputs))
    return wording.verdict(
        evaluations.difference(key, method, rival),
        f"{what} {'beat' if inputs.pictures else 'beats'} {named}",
        f"{named} beat {what}",
        unsettled=f"{what} against {named}: not settled",
        settled=versus(method, rival) in found.settled,
    )


def against_real(evaluations: Evaluations, key: SetKey, inputs: Inputs, trained: str | None = None) -> str:
    """How far each machine-made set is from the strongest of as many real samples, and a count over all of these.

    `trained` is another model than that of the set. "" if nothing was measured.
    """
    rival = evaluations.strongest_real(key, trained)
    found = evaluations.against_real(key, compared(inputs), trained)
    differences = []
    for method in compared(inputs) if rival else ():
        over = found.over.get(versus(method, str(rival)))
        if over is not None:
            alone = "equal in every start" if over.seeds > 1 else "one start"
            half = f"± {100 * over.half:.1f}" if over.known else alone
            settled = "" if versus(method, str(rival)) in found.settled else ", not settled"
            differences.append(f"{evaluations.name(method)} {points(over.mean)} ({half}{settled})")
    if rival is None or not differences:
        return ""
    starts = count(len(evaluations.measured(key, rival, trained)), "fresh start")
    opening = f"Against {evaluations.label(key, rival, trained)}, in points over {starts}: {', '.join(differences)}."
    won, lost = len(found.better), len(found.worse)
    if len(found.over) == 1:
        return opening
    return (
        f"{opening} Of all {len(found.over)} comparisons with as many real samples, {won} {_are(won)} won, "
        f"{lost} lost, {len(found.over) - won - lost} not settled."
    )


def more(evaluations: Evaluations, keys: Sequence[SetKey], axis: Axis, label: str) -> str:
    """Whether sets with more of something teach better than the one with the least; "" with fewer than two measured.

    `keys` differ in `axis` alone, ascending; `label` is what it counts. Text stands for sets without vectors.
    """
    method = "embeddings" if any(len(evaluations.measured(key, "embeddings")) for key in keys) else "text"
    values = {f"{getattr(key, axis)}": evaluations.measured(key, method)["accuracy"] for key in keys}
    values = {name: found for name, found in values.items() if len(found)}
    if len(values) < 2:
        return ""
    called = {name: name for name in values}
    found = standing(values, next(iter(values)), Measure(unit="fresh start"), "larger number", called)
    return f"{evaluations.name(method).capitalize()}, {label}: {found}" if found else ""


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


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
    """What a training on a distilled set takes and reaches beside one on everything; "" without both."""
    seconds, whole = evaluations.mean(key, method, "seconds"), evaluations.mean(key, "full", "seconds")
    steps, all_steps = evaluations.mean(key, method, "steps"), evaluations.mean(key, "full", "steps")
    if not math.isfinite(seconds) or not math.isfinite(whole):
        return ""
    reached = [evaluations.mean(key, each, "accuracy") for each in (method, "full")]
    rival = evaluations.strongest_real(key)
    real = (
        f"; {evaluations.label(key, rival)}, which need no learning, give "
        f"{percent(evaluations.mean(key, rival, 'accuracy'))}"
        if rival
        else ""
    )
    return (
        f"Training on it takes {took(seconds)} instead of {took(whole)}, and {count(steps, 'step')} instead of "
        f"{all_steps:,.0f}, for {right(reached[0])} instead of {percent(reached[1])}{real}."
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
