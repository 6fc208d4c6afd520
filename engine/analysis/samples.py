"""The sentences of the Samples page, computed from the numbers on the screen. Plain text, no Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from engine.analysis import wording
from engine.analysis.token_groups import Group, expected, token_groups
from engine.common import formats
from engine.common.formats import share
from engine.common.text import one_line, visible_text, visible_token
from engine.config.pruning import DynamicPruningRecipe
from engine.storage.store import Count, SampleQuery

NATS = {"kl", "kl_response", "reverse_kl", "nll_teacher", "nll_student", "entropy_teacher"}
NATS |= {"excess_loss", "trusted_kl", "target_gain"}
UNITS = {"ifd": "ratio of losses", "gradient_norm": "norm", "target_likeness": "cosine"}


def unit(metric: str) -> str:
    return "nats per token" if metric in NATS else UNITS.get(metric, "share of positions")


def kept(now: Count, all_: Count, by_hand: int = 0) -> str:
    """`Kept 731 of 1,800 samples (41 %), 63 % of the tokens.`"""
    sentence = f"Kept {now.samples:,} of {formats.count(all_.samples, 'sample')} ({share(now.samples, all_.samples)})"
    sentence += f", {share(now.tokens, all_.tokens)} of the tokens"
    return f"{sentence}; {by_hand:,} decided by hand." if by_hand else f"{sentence}."


def approximate(recipe: DynamicPruningRecipe | None, epoch: int) -> str:
    """What the scores of an epoch are if they were not all made by one student; "" if they were."""
    if recipe is None or recipe.scoring.refresh == "exact" or epoch == 1:
        return ""
    return (
        "These scores were made while training: of samples that the epoch before trained on by that very step, of a "
        "quarter of the others after it; the rest have older ones. There are none of single tokens."
    )


def threshold(tau: float, own: float, origin: str) -> str:
    """Where the threshold comes from; `own` is the one that is used unless another is set, `origin` its source."""
    if math.isclose(tau, own, rel_tol=1e-9):
        return f"The threshold is {origin}, τ = {formats.value(tau, 4)}."
    return f"The threshold is yours, τ = {formats.value(tau, 4)}; {origin} is {formats.value(own, 4)}."


def coming(counts: Sequence[Count], growth: float, least: int | None) -> str:
    """What the next epochs would keep, and when they would stop for too few samples."""
    if not counts:
        return ""
    numbers: list[str] = []
    stopped = False
    for count in counts:
        if least is not None and count.samples < least:
            stopped = True
            break
        numbers.append(f"{count.samples:,}")
    grows = f"With τ growing {growth:.3g} % an epoch" if growth else "With τ staying where it is"
    if not numbers:
        return (
            f"{grows}, the next epoch would keep {counts[0].samples:,}, fewer than the {least:,} needed: it would stop."
        )
    kept_ = " → ".join(numbers)
    end = f" and then stop: fewer than {least:,} would be left" if stopped else ""
    epochs = "epochs" if len(numbers) > 1 else "epoch"
    return f"{grows}, the next {epochs} would keep {kept_}{end}, if the scores stayed as they are."


def missing(count: int) -> str:
    """`1 sample has no score (the model gave NaN).`"""
    if not count:
        return ""
    have = "has" if count == 1 else "have"
    return f"{formats.count(count, 'sample')} {have} no score (the model gave NaN) and cannot be kept."


def listed(matching: Count, total: Count, query: SampleQuery, label: str) -> str:
    """What the list shows: `212 of 1,800 samples, highest KL first. Choose one to open it.`"""
    if not matching.samples:
        return "No sample matches. Clear a filter to see more."
    part = f"{matching.samples:,} of " if matching.samples < total.samples else ""
    order = "highest" if query.descending else "lowest"
    return f"{part}{formats.count(total.samples, 'sample')}, {order} {label} first. Choose one to open it."


def partial(scored: int, expected: int) -> str:
    """A remark while only a part of the samples has been scored; "" once all are."""
    if scored >= expected:
        return ""
    return (
        f"Only {scored:,} of {formats.count(expected, 'sample')} are scored so far; every number here is about those."
    )


def stands_out(
    rank: int | None,
    of: int,
    label: str,
    value: float,
    scores: dict[str, Any] | None,
    nll: tuple[float, float] | None,
) -> str:
    """Why a sample ranks where it does: its rank, the token with the largest part of its KL, and both models' losses.

    `nll` is (teacher's, student's) loss on the response in nats per token.
    """
    if math.isnan(value):
        return "The model gave NaN for this sample, so it has no rank."
    place = f"Rank {rank:,} of {of:,}" if rank is not None else "Not in the current list"
    above = f": higher than {share(of - rank, of)} of them" if rank is not None and of > 1 else ""
    sentences = [f"{place} by {label}{above}."]
    largest = _largest(scores)
    if largest is not None and scores is not None:
        group, part = largest
        read = "the end" if group.text is None else f"“{visible_text(group.text)}”"
        count = group.stop - group.first
        source = f"one token, {read}" if count == 1 else f"{read}, which is {count} tokens"
        sentences.append(f"{share(part, 1)} of its KL comes from {source}: {_expected(scores, group)}.")
    if nll is not None and not any(math.isnan(loss) for loss in nll):
        teacher_loss, student_loss = nll
        known = (
            f"The loss of the teacher on the response is {formats.value(teacher_loss)} nats per token, of the student "
        )
        gap = student_loss - teacher_loss
        verdict = (
            "both find it about equally hard."
            if abs(gap) < 0.1 * max(teacher_loss, student_loss)
            else "the teacher knows it better."
            if gap > 0
            else "the student already knows it better."
        )
        sentences.append(f"{known}{formats.value(student_loss)}: {verdict}")
    return " ".join(sentences)


def _largest(scores: dict[str, Any] | None) -> tuple[Group, float] | None:
    """The tokens of the character with the largest share of the KL, and that share."""
    groups = token_groups(scores) if scores else []
    known = [(group.kl * group.predicted, group) for group in groups if group.kl is not None]
    total = sum(kl for kl, _ in known)
    if not known or total <= 0:
        return None
    most, group = max(known, key=lambda pair: pair[0])
    return group, most / total


def _expected(scores: dict[str, Any], group: Group) -> str:
    """The next token that each model expects at the token of a group with the largest KL."""
    teacher, student = (expected(scores, group, model)[0] for model in ("teacher", "student"))
    probs = (scores[f"{model}_probs"][group.position][0] for model in ("teacher", "student"))
    sure, less = (share(float(prob), 1) for prob in probs)
    if teacher == student:
        return f"there both expect “{visible_token(teacher)}”, the teacher with {sure}, the student with {less}"
    teacher, student = visible_token(teacher), visible_token(student)
    return f"there the teacher expects “{teacher}” ({sure}), the student “{student}” ({less})"


def breakdown(field: str, by_field: pd.DataFrame, label: str) -> str:
    """What a threshold on this score keeps of the values of a field. `by_field` has columns value, samples, kept."""
    counted = by_field[by_field["samples"] > 0]
    if len(counted) < 2:
        return f"Every sample has the same {field}, so there is nothing to compare."
    rates = counted.assign(rate=counted["kept"] / counted["samples"]).sort_values("rate", ascending=False)
    described = [
        f"{share(row.kept, row.samples)} of the {formats.count(row.samples, 'sample')} with "
        f"{field} = {one_line(row.value, 40) or '(empty)'}"
        for row in (rates.iloc[0], rates.iloc[-1])
    ]
    if _chance(rates):
        return f"{label} keeps {described[0]} and {described[1]}: a difference that chance alone could make."
    return f"{label} keeps {described[0]}, but only {described[1]}."


def compared(field: str, by_field: pd.DataFrame) -> str:
    """Which values are kept more or less than the most common one, or no differently; "" without a common one.

    Two shares differ if they are more than 2.58 standard errors apart (99 %), because several are compared.
    """
    counted = by_field[by_field["samples"] > 0].sort_values("samples", ascending=False, kind="stable")
    values = [one_line(value, 40) or "(empty)" for value in counted["value"]]
    samples, kept = counted["samples"].tolist(), counted["kept"].tolist()
    if len(values) < 3 or 2 * samples[0] < sum(samples):
        return ""
    groups: dict[str, list[str]] = {"keeps clearly more of": [], "keeps clearly less of": [], "cannot distinguish": []}
    for value, size, part in zip(values[1:], samples[1:], kept[1:], strict=True):
        gap = part / size - kept[0] / samples[0]
        pooled = (part + kept[0]) / (size + samples[0])
        error = math.sqrt(pooled * (1 - pooled) * (1 / size + 1 / samples[0]))
        verb = "cannot distinguish" if abs(gap) <= 2.58 * error else f"keeps clearly {'more' if gap > 0 else 'less'} of"
        groups[verb].append(value)
    parts = [f"{verb} {wording.listed(names)}" for verb, names in groups.items() if names]
    if groups["cannot distinguish"]:
        parts[-1] += " from it"
    return f"Beside {field} = {values[0]} ({share(kept[0], samples[0])}), it {wording.listed(parts)}."


def _chance(rates: pd.DataFrame) -> bool:
    """Whether the rates differ no more than those of random subsets would, at about 95 %.

    Pearson's chi-squared against its mean plus two standard deviations, df + 2 * sqrt(2 * df).
    """
    pooled = rates["kept"].sum() / rates["samples"].sum()
    if pooled in (0.0, 1.0):
        return True
    squared = (rates["samples"] * (rates["rate"] - pooled) ** 2).sum() / (pooled * (1 - pooled))
    freedom = len(rates) - 1
    return bool(squared <= freedom + 2 * math.sqrt(2 * freedom))


def blocks(sample: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The text of a sample in titled blocks: its turns if it is a conversation, else prompt and response."""
    if sample["turns"]:
        return [(str(turn["speaker"]).capitalize(), str(turn["text"])) for turn in sample["turns"]]
    prompt = f"{sample['instruction']}\n{sample['input']}"
    titled = [("System", sample["system"]), ("Prompt", prompt), ("Response", sample["response"])]
    return [(title, str(text)) for title, text in titled if title == "Response" or str(text).strip()]
