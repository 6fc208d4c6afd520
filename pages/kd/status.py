"""What stands in the place of a grid while there is none, or nothing of it is finished."""

from __future__ import annotations

from engine.analysis.kd_cells import students
from engine.common.formats import count
from engine.config.kinds import KD
from engine.storage.ledger import Run
from pages.kd import form
from pages.shared import empty


def nothing() -> None:
    """An empty workspace: what this page is about, and a button that fills it."""
    empty.nothing(
        "No student has been trained in this workspace yet.",
        "A teacher learns from all of the data. A score then decides which samples stay, and a student starts from "
        "scratch on those alone: once from their labels only, once listening to the teacher as well. This page shows "
        "how little data is enough, how much the student should listen, and whether it matters how the samples were "
        "chosen.",
    )
    empty.demo(
        form.DEMOS, key="start_demo_kd", opens=KD.query,
        help="Handwritten digits, a small network, nothing to download.",
    )  # fmt: skip


def to_come(run: Run) -> None:
    """What will stand on the page, while no student is finished."""
    recipe = run.recipe_as(KD)
    empty.ahead(
        run, "The first student is still ahead.", "its first student was done",
        f"It first trains {count(len(recipe.used_teachers()), 'teacher')} on everything and works out "
        f"{count(len(recipe.used_scores()), 'score')}, then trains {count(students(recipe), 'student')}. Accuracy "
        "against the share of data kept, the map of weights, and pictures of what stays and what goes will stand here, "
        "student by student.",
    )  # fmt: skip
