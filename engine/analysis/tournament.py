"""The arms of a run side by side: which of them stand out, and a table of them all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from engine.analysis.arms import called, described
from engine.analysis.multipliers import Bound, Multiplier, multiplier_text, short_text
from engine.analysis.pruning import decimals
from engine.analysis.pruning_results import COMPARED, Results
from engine.analysis.verdicts import finding
from engine.analysis.wording import listed

BETTER, WORSE, NOT_SETTLED = "better", "worse", "not settled"


class Leaders(NamedTuple):
    """The arms that a picture shows first; "" if there is none."""

    best: str  # of those that choose, as the headline names it
    rival: str  # the strongest other one that chooses


def leaders(found: Results) -> Leaders:
    """The best two arms that choose: furthest below random choice at the same tokens, settled before not settled.

    The lowest losses if nothing can be compared with random, the first arms of the recipe while no seed is finished.
    """
    choices = [arm.name for arm in found.facts if arm.kind == "choice"]
    losses = found.last.groupby("arm")[COMPARED].mean().reindex(choices)
    table = found.verdicts.set_index("arm").reindex(choices)
    won = (table["settled"] == True) & (table["difference"] < 0)  # noqa: E712 (missing is false)
    order = pd.DataFrame({"won": ~won, "difference": table["difference"], "loss": losses})
    names = [*order.sort_values(["won", "difference", "loss"], kind="stable").index, "", ""]
    return Leaders(names[0], names[1])


def tournament(found: Results) -> pd.DataFrame:
    """One row per arm that has trained: those that choose, the best on top, then oracle, random and everything.

    Columns: arm, called, kind, does (in plain words); loss (of COMPARED), perplexity; difference, low, high (of the
    loss to random choice at the same tokens, below 0 is better), p_holm, verdict (BETTER, WORSE, NOT_SETTLED, "" if it
    was not tested); multiplier, multiplier_low, multiplier_high, bound (of tokens), net, net_bound (of seconds),
    net_flops, net_flops_bound; place (0 random, 1 oracle); tokens, steps, seconds_scoring, seconds_training, flops
    (means over seeds), share (of the tokens that everything reads), seeds. NaN is what is not known.
    """
    reached = found.reached()
    names = {"tokens_read": "tokens", "steps_taken": "steps", COMPARED: "loss"}
    spent = [*names, "perplexity", "seconds_scoring", "seconds_training", "flops"]
    means = reached.groupby("arm")[spent].mean().rename(columns=names)
    means["seeds"] = reached.groupby("arm")["seed"].nunique()
    everything = next((arm.name for arm in found.facts if arm.kind == "everything"), "")
    means["share"] = means["tokens"] / means["tokens"].get(everything, math.nan)
    compared = found.verdicts.set_index("arm").rename(columns={"low": "multiplier_low", "high": "multiplier_high"})
    columns = ["difference", "p_holm", "settled", "multiplier", "multiplier_low", "multiplier_high", "bound"]
    columns += ["net", "net_bound", "net_flops", "net_flops_bound"]
    entries = {arm.name: arm for arm in found.recipe.entries}
    kinds = {arm.name: arm.kind for arm in found.facts if arm.name in means.index}
    table = means.reindex(list(kinds)).join(compared[columns])
    table.insert(0, "called", [called(arm) for arm in table.index])
    table.insert(1, "kind", list(kinds.values()))
    table.insert(2, "does", [described(entries[arm], found.recipe) for arm in table.index])
    table[["low", "high"]] = [_interval(found, arm, kind) for arm, kind in kinds.items()]
    table["verdict"] = [_verdict(row) for row in table[["kind", "difference", "settled"]].to_dict("records")]
    table["place"] = [_place(found, arm, kind) for arm, kind in kinds.items()]
    oracles = [arm for arm, kind in kinds.items() if kind == "oracle"]
    table.loc[oracles, "difference"] = [found.against_random(arm).mean for arm in oracles]
    first = table["kind"].map({"choice": 0, "oracle": 1, "random": 2, "everything": 3})
    table = table.assign(first=first).sort_values(["first", "difference"], kind="stable").drop(columns="first")
    return table.drop(columns="settled").reset_index(names="arm")


def brief(found: Results) -> str:
    """In a few words: `excess_loss is worth 1.4 times the compute of random choice, 0.9 net of choosing.`"""
    best = finding(found.verdicts)
    if best is None:
        return "No way of choosing has been compared with random choice."
    if not best.won:
        return f"{best.said}."
    if found.verdicts.set_index("arm")["multiplier"].isna()[best.arm]:
        return f"{best.arm} is better than choosing at random."
    times = best.multiplier.partition(" (")[0]
    return f"{best.arm} is worth {times} the compute of random choice, {best.net}."


def remarks(found: Results) -> list[str]:
    """What must be known beside the verdict: arms that ended early or diverged, or that nothing can be compared."""
    said = []
    if len(found.last) and finding(found.verdicts) is None:
        said.append(
            "No arm that chooses can be compared with random choice."
            if found.random
            else "No arm chooses at random, so nothing can be claimed for the others: add the arm random."
        )
    mean = found.last.groupby("arm")["perplexity"].mean()
    apart = [called(arm.name) for arm in found.facts if not math.isfinite(mean.get(arm.name, 0.0))]
    if apart:
        said.append(f"The training of {listed(apart)} diverged: it has no finite loss; try a lower learning rate.")
    return said + [found.early_stop()] * bool(found.early_stop())


def _interval(found: Results, arm: str, kind: str) -> tuple[float, float]:
    if kind not in ("choice", "oracle") or not found.random:
        return math.nan, math.nan
    over = found.against_random(arm)
    return over.low, over.high


def _verdict(row: Mapping[Any, Any]) -> str:
    difference = row["difference"]
    if row["kind"] != "choice" or not isinstance(difference, float) or not math.isfinite(difference):
        return ""
    if row["settled"] is not True:
        return NOT_SETTLED
    return BETTER if difference < 0 else WORSE


def _place(found: Results, arm: str, kind: str) -> float:
    """Between random (0) and the oracle (1); NaN for all if there is no place."""
    if kind == "choice":
        return float(found.place.get(arm, math.nan))
    if found.place.isna().all():
        return math.nan
    return {"random": 0.0 if arm == found.random else math.nan, "oracle": 1.0}.get(kind, math.nan)


def multiplier_cell(row: Mapping[Any, Any]) -> str:
    """The multiplier of a row of `tournament` with its interval; "" if the arm is not compared."""
    if row["kind"] != "choice":
        return ""
    bound: Bound = row["bound"]
    low, high = row["multiplier_low"], row["multiplier_high"]
    return multiplier_text(Multiplier(row["multiplier"], low, high, bound, int(row["seeds"])))


def net_text(value: float, bound: Bound, seeds: int) -> str:
    """A multiplier without its interval; "" if it is not known."""
    return short_text(Multiplier(value, math.nan, math.nan, bound, int(seeds))) if math.isfinite(value) else ""


def difference_text(row: Mapping[Any, Any]) -> str:
    """The difference to random of a row of `tournament`: `−0.375 (−0.389 to −0.361)`."""
    mean, low, high = row["difference"], row["low"], row["high"]
    if not math.isfinite(mean):
        return ""
    if not math.isfinite(low):
        return f"{mean:+.{decimals([mean])}f}".replace("-", "−")
    places = decimals([high - low])
    return f"{mean:+.{places}f} ({low:+.{places}f} to {high:+.{places}f})".replace("-", "−")
