"""What every part of a recipe is made of: strict settings, and the kinds of number and name they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,59}\z")]
"""Becomes part of file names: at most 60 letters, digits, dots, dashes and underscores, a letter or digit first."""


class Settings(BaseModel):
    """One table of a recipe. The docstring under a field is its meaning in docs/recipes.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OneOf:
    """Makes `Annotated[str, OneOf(names)]` accept these names alone, as a Literal would: for names that have labels."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(self.names)


def check_unique(lists: Mapping[str, Sequence[Any]]) -> None:
    """Raises ValueError naming the first of these lists that names something twice."""
    for name, values in lists.items():
        if len(set(values)) != len(values):
            raise ValueError(f"{name} names something twice")
