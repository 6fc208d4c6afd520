"""From the kind of a run to the module that does it, imported when it is needed, as each imports its own libraries."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from engine.config.kinds import KINDS, Recipe
from engine.studies.job import Job
from engine.studies.work_units import OpenRun


class Study(Protocol):
    """A module under `engine.studies`."""

    def run(self, job: Job, recipe: Any) -> None:
        """Do the whole run."""

    def open_run(self, job: Job, recipe: Any) -> OpenRun:
        """The run as a worker of a cluster opens it."""


def study_of(recipe: Recipe) -> Study:
    """The study that does runs of this recipe."""
    return cast(Study, import_module(KINDS[recipe.kind].study))
