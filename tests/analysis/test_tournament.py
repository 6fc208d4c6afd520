"""A run's results and the table of its arms: who stands out, what each is compared by, what must be said beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from engine.analysis import pruning
from engine.analysis.pruning_results import Results, random_curve
from engine.analysis.tournament import (
    brief,
    difference_text,
    leaders,
    multiplier_cell,
    net_text,
    remarks,
    tournament,
)
from engine.analysis.verdicts import ArmFacts
from engine.storage.ledger import Run
from tests.fixtures.pruning_workspace import synthetic_recipe

EPOCHS, TOKENS, SHARE = 4, 100.0, 0.5
NOISE = [0.004, -0.006, 0.002]
ORACLE = {"name": "oracle", "selection": {"rank_by": "field:difficulty"}}
RANKED = {name: {"name": name, "selection": {"rank_by": name}} for name in ("ifd", "length", "kl")}


def _loss(tokens: float, gain: float) -> float:
    return 4 - math.log(gain * tokens / TOKENS + 1)


def _results(
    gains: Mapping[str, float], seeds: Sequence[int] = (0, 1, 2), earlier: bool = False, noise: Sequence[float] = NOISE
) -> Results:
    """Half the tokens an epoch for all but everything; an arm of gain g learns as if it read g times its tokens."""
    arms: list[Any] = [RANKED.get(name, ORACLE if name == "oracle" else name) for name in gains]
    recipe = synthetic_recipe("r", 50, EPOCHS, list(seeds), arms, {"of": "tokens", "fraction": SHARE})
    rows: list[dict[str, Any]] = []
    for place, (arm, gain) in enumerate(gains.items()):
        for seed in seeds:
            tokens = TOKENS * (1 if arm == "full" else SHARE)
            for epoch in range(EPOCHS + 1):
                loss = _loss(epoch * tokens, gain) + place * noise[seed] * (epoch > 0)
                at = {"arm": arm, "seed": seed, "epoch": epoch, "step": epoch}
                parts = {"valid": loss} | ({} if earlier else {"pick": loss - 0.01, "report": loss + 0.01})
                rows += [at | {"split": part, "name": "loss", "value": value} for part, value in parts.items()]
                rows.append(at | {"split": "valid", "name": "perplexity", "value": math.exp(loss)})
                cost = {"tokens": tokens, "steps": 1, "samples": 9, "seconds_training": tokens, "seconds_scoring": 10}
                if not earlier:
                    cost |= {"flops_training": 6 * tokens, "flops_scoring": 20}
                if epoch:
                    rows += [at | {"split": "", "name": name, "value": float(value)} for name, value in cost.items()]
    table = pruning.per_epoch(pd.DataFrame(rows))
    facts = [ArmFacts(arm.name, arm.kind) for arm in recipe.entries]
    last = pruning.reached(table)
    run = cast(Run, SimpleNamespace(state="done"))
    return Results(run, recipe, facts, table, list(seeds), last, random_curve(table, facts), pd.DataFrame(), 40)


def _rows(found: Results) -> dict[str, dict[Any, Any]]:
    return {row["arm"]: row for row in tournament(found).to_dict("records")}


MANY = {"length": 0.7, "random": 1.0, "ifd": 1.5, "dynamic": 1.2, "full": 1.0, "oracle": 2.5}


def test_random_is_measured_at_every_budget() -> None:
    """Everything is random choice at twice the tokens: its epochs continue random's curve under random's name."""
    curve = _results(MANY).curve
    assert set(curve["arm"]) == {"random"}
    assert curve.loc[curve["seed"] == 1, "tokens_read"].tolist() == [50, 100, 100, 150, 200, 200, 300, 400]
    assert _results({"dynamic": 1.0, "full": 1.0}).curve.empty


def test_the_best_stands_first() -> None:
    """By what the headline says, not by the order of the recipe; the oracle and random are never the best."""
    assert leaders(_results(MANY)) == ("ifd", "dynamic")
    assert leaders(_results({"random": 1.0, "length": 0.7})) == ("length", "")
    assert leaders(_results({"random": 1.0, "full": 1.0})) == ("", "")


def test_the_table() -> None:
    """Selections from best to worst, then the others; each value is that of its arm, and what is not known is NaN."""
    table = tournament(_results(MANY)).set_index("arm")
    assert list(table.index) == ["ifd", "dynamic", "length", "oracle", "random", "full"]
    assert list(table["called"])[-1] == "everything"
    assert list(table["verdict"]) == ["better", "better", "worse", "", "", ""]
    ifd, full = table.loc["ifd"], table.loc["full"]
    assert ifd["multiplier"] == pytest.approx(1.5, rel=0.05)
    assert ifd["multiplier_low"] < ifd["multiplier"] < ifd["multiplier_high"]
    assert ifd["low"] < ifd["difference"] < ifd["high"] < 0
    assert (ifd["tokens"], ifd["share"], ifd["seconds_scoring"], ifd["seconds_training"]) == (200, 0.5, 40, 200)
    assert (ifd["flops"], ifd["seeds"]) == (4 * 320, 3)
    assert ifd["loss"] == pytest.approx(_loss(200, 1.5) + 0.01, abs=0.01)
    assert 0 < table.loc["dynamic", "place"] < ifd["place"] < table.loc["oracle", "place"] == 1
    assert table.loc["random", "place"] == 0 > table.loc["length", "place"]
    assert full[["difference", "multiplier", "place"]].isna().all()
    assert ifd["does"].startswith("ranks by loss of the student with the prompt")


def test_cells() -> None:
    """The texts of a row hold its interval; an arm that is not compared has none."""
    rows = _rows(_results(MANY))
    ifd, random = rows["ifd"], rows["random"]
    assert multiplier_cell(ifd).startswith("1.5 times (1.")
    assert difference_text(ifd).startswith("−0.2")
    assert " to −0." in difference_text(ifd)
    assert net_text(ifd["net"], ifd["net_bound"], 3) not in ("", "not measured")
    assert multiplier_cell(random) == difference_text(random) == net_text(random["net"], random["net_bound"], 3) == ""


def test_runs_of_earlier_versions() -> None:
    """Without halves the loss of all validation samples stands for each; operations that nobody counted are unknown."""
    found = _results(MANY, earlier=True)
    table = tournament(found).set_index("arm")
    assert table.loc["ifd", "loss"] == pytest.approx(_loss(200, 1.5), abs=0.01)
    assert table[["flops", "net_flops"]].isna().all(axis=None)
    assert table.loc["ifd", "verdict"] == "better"
    assert found.pick is not None
    assert found.pick.arm == "ifd"


def test_one_seed() -> None:
    """Differences without an interval, and nothing settled."""
    found = _results(MANY, seeds=[0])
    table = tournament(found)
    assert set(table["verdict"]) == {"not settled", ""}
    assert "(" not in difference_text(_rows(found)["ifd"])
    assert brief(found) == "One seed settles nothing."
    assert table["place"].isna().all()


def test_nothing_to_compare_with() -> None:
    """Without a random arm there is no verdict, no recommendation and no place, and a remark says why."""
    found = _results({"dynamic": 1.2, "ifd": 1.5, "full": 1.0})
    assert found.headline == ""
    assert found.pick is None
    assert "nothing can be claimed for the others" in remarks(found)[0]
    assert set(tournament(found)["verdict"]) == {""}
    assert leaders(found) == ("ifd", "dynamic")
    assert brief(found) == "No way of choosing has been compared with random choice."


def test_a_training_that_diverged_is_named() -> None:
    """An arm without a finite loss is in a sentence; the others keep their verdict."""
    found = _results(MANY)
    found.last.loc[found.last["arm"] == "length", ["perplexity", "loss", "loss_report", "loss_pick"]] = math.inf
    assert remarks(found) == [
        "The training of length diverged: it has no finite loss; try a lower learning rate.",
    ]
    assert tournament(found).set_index("arm").loc["ifd", "verdict"] == "better"


def test_no_seed_is_finished() -> None:
    """The table has what there is so far; nothing is compared, and the first arms of the recipe stand in front."""
    whole = _results(MANY)
    found = Results(
        whole.run, whole.recipe, whole.facts, whole.table, [], whole.last[:0], whole.curve, whole.usage, whole.samples
    )
    table = tournament(found)
    assert set(table["verdict"]) == {""}
    assert table["tokens"].notna().all()
    assert (found.headline, found.pick, remarks(found)) == ("", None, [])
    assert leaders(found) == ("length", "ifd")


def test_brief_says_the_multiplier() -> None:
    """One sentence with the multiplier if there is a win, that random is as good if not."""
    assert brief(_results(MANY)).startswith("ifd is worth 1.5 times the compute of random choice, 1.")
    worse = brief(_results({"random": 1.0, "full": 1.0, "length": 0.7}))
    assert worse == "As far as 3 paired seeds can tell, random is as good."
