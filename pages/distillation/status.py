"""What stands in the place of a distillation while there is none, or nothing of it has been learned."""

from __future__ import annotations

from engine.common.formats import count
from engine.config.kinds import DISTILLATION
from engine.storage.ledger import Run
from pages.distillation import form
from pages.shared import empty


def nothing() -> None:
    """An empty workspace: what this page is about, and a button that fills it."""
    empty.nothing(
        "Nothing has been distilled in this workspace yet.",
        "Instead of choosing samples, a machine can make them. A few inputs per class are learned: numbers that are "
        "changed, step by step, until a model trained on nothing else answers real questions as well as possible. For "
        "pictures they can be looked at. For text every learned vector is read as the nearest word. This page shows "
        "what they look like, how they were learned, and how well they teach beside real samples.",
    )
    empty.demo(
        form.DEMOS, key="start_demo_distilled", opens=DISTILLATION.query,
        help="Short texts and handwritten digits, small models, nothing to download.",
    )  # fmt: skip


def to_come(run: Run) -> None:
    """What will stand on the page, while nothing is learned."""
    recipe = run.recipe_as(DISTILLATION)
    empty.ahead(
        run, "The first learned inputs are still ahead.", "its first inputs were learned",
        f"It learns {count(len(recipe.sets()), 'set')} of inputs, {recipe.outer.steps:,} outer steps each, keeps "
        f"{count(recipe.outer.snapshots, 'snapshot')} on the way, and then measures each set with "
        f"{count(recipe.evaluation.eval_seeds, 'fresh start')} beside real samples. The inputs, their learning "
        "trajectory and the evaluation will stand here, one after the other.",
    )  # fmt: skip
