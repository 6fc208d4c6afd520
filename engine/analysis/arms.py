"""What the arms of a study of dynamic pruning do, in plain words."""

from __future__ import annotations

from engine.analysis.wording import listed, percent
from engine.config.arms import ArmSettings, BudgetSettings
from engine.config.pruning import DynamicPruningRecipe
from engine.config.rankings import FIELD, RANKINGS

_LEFT_OUT = {
    "near_duplicates": "near-duplicates",
    "similar_states": "samples that are alike to the teacher",
    "unknown_to_teacher": "what the teacher knows least",
    "outliers": "outliers",
}
_SPREADS = {
    "window": "skips the highest {skipped}",
    "strata": "takes equally many from each stratum",
    "clusters": "takes equally many from each cluster",
}


def called(arm: str) -> str:
    """What the page calls an arm."""
    return "everything" if arm == "full" else arm


def described(arm: ArmSettings, recipe: DynamicPruningRecipe) -> str:
    """`ranks by loss of the student beyond the teacher's, leaves out near-duplicates, 30 % of the tokens`"""
    if arm.kind == "everything":
        return "trains on everything"
    if arm.schedule == "threshold":
        return f"ranks by {_label(recipe.pruning.metric)} anew in every epoch, keeps what is above a rising threshold"
    selection = arm.selection
    anew = " anew in every epoch" if arm.schedule == "every_epoch" else ""
    order = "draws at random" if arm.is_random else f"ranks by {_ranking(selection.weights(recipe.pruning.metric))}"
    parts = [order + anew]
    if selection.leave_out.used:
        parts.append(f"leaves out {listed([_LEFT_OUT[name] for name in selection.leave_out.used])}")
    if selection.spread != "top":
        parts.append(_SPREADS[selection.spread].format(skipped=percent(selection.skip_top)))
    if selection.spread == "strata" and selection.skip_top:
        parts[-1] += f" but for the highest {percent(selection.skip_top)}"
    return ", ".join([*parts, _amount(arm, recipe.budget_of(arm))])


def _ranking(weights: dict[str, float]) -> str:
    if len(weights) == 1:
        (name,) = weights
        lowest = ", lowest first" * (weights[name] < 0)
        return f"{_label(name)}{lowest}"
    return f"the summed ranks of {listed([f'{_label(name)} (× {weight:g})' for name, weight in weights.items()])}"


def _label(name: str) -> str:
    return f"the column {name.removeprefix(FIELD)}" if name.startswith(FIELD) else RANKINGS[name]


def _amount(arm: ArmSettings, budget: BudgetSettings | None) -> str:
    if budget is not None:
        return f"{percent(budget.fraction)} of the {budget.of}"
    return "as many samples as dynamic keeps" + (" at first" if arm.schedule == "once" else "")
