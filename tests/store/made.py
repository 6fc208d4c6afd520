"""Small scored runs written straight from a table of values, and a plain second opinion on every question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.ledger import Ledger
from engine.recipes import parse_recipe
from engine.store import Facet, SampleQuery
from engine.tables import Part, write_part
from engine.workspace import Workspace


@dataclass(frozen=True)
class Row:
    row: int
    value: float
    instruction: str = "ask"
    input: str = ""
    response: str = "answer"
    fields: dict[str, str] = field(default_factory=dict)
    length: int = 10
    content_id: str = ""


def let_through(fields: dict[str, str], facets: Sequence[Facet]) -> bool:
    """Not one of the values that are ruled out, and for every field with wanted values one of them."""
    wanted: dict[str, set[str]] = {}
    for facet in facets:
        if facet.negate and fields.get(facet.field) == facet.value:
            return False
        if not facet.negate:
            wanted.setdefault(facet.field, set()).add(facet.value)
    return all(fields.get(name) in values for name, values in wanted.items())


def submit(ledger: Ledger, name: str = "made") -> str:
    recipe = {"kind": "score", "name": name, "data": {"source": "made"}, "models": {"teacher": "t", "student": "s"}}
    return ledger.submit(parse_recipe(recipe))


def samples_part(workspace: Workspace, run: str, name: str, rows: Sequence[Row], dataset: str = "made") -> Part:
    columns: list[dict[str, Any]] = [
        {
            "dataset": dataset,
            "row": row.row,
            "content_id": row.content_id or f"id-{row.row}",
            "split": "train",
            "instruction": row.instruction,
            "input": row.input,
            "response": row.response,
            "fields": list(row.fields.items()),
            "length": row.length,
            "response_length": row.length // 2,
            "truncated": False,
        }
        for row in rows
    ]
    return write_part(workspace, run, "samples", name, columns)


def scores_part(
    workspace: Workspace,
    run: str,
    name: str,
    values: dict[int, float],
    *,
    metric: str = "kl",
    arm: str = "base",
    seed: int = -1,
    epoch: int = 1,
) -> Part:
    at = {"arm": arm, "seed": seed, "epoch": epoch, "metric": metric}
    return write_part(
        workspace, run, "scores", name, [at | {"row": row, "value": value} for row, value in values.items()]
    )


class SecondOpinion:
    """The same answers from Python lists, one loop each."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.values = {row.row: float(np.float32(row.value)) for row in rows}

    def has_number(self, row: Row) -> bool:
        return bool(np.isfinite(self.values[row.row]))

    def kept(self, row: Row, tau: float | None, overrides: dict[str, str]) -> bool:
        decision = overrides.get(row.content_id or f"id-{row.row}")
        if decision:
            return decision == "keep"
        return tau is None or (self.has_number(row) and self.values[row.row] > tau)

    def chosen(self, query: SampleQuery) -> list[Row]:
        """The rows of a query in its order."""
        overrides = dict(query.overrides)
        found = []
        for row in self.rows:
            value, decision = self.values[row.row], overrides.get(row.content_id or f"id-{row.row}", "")
            if (query.low is not None or query.high is not None) and not self.has_number(row):
                continue
            if (query.low is not None and value < query.low) or (query.high is not None and value > query.high):
                continue
            if query.show != "all" and self.kept(row, query.tau, overrides) != (query.show == "kept"):
                continue
            texts = [row.instruction, row.input, row.response]
            if query.search and not any(query.search.lower() in text.lower() for text in texts):
                continue
            if not let_through(row.fields, query.facets):
                continue
            if query.by_hand and decision not in (("keep", "prune") if query.by_hand == "any" else (query.by_hand,)):
                continue
            found.append(row)
        numbers = sorted((r for r in found if self.has_number(r)), key=lambda r: (-self.values[r.row], r.row))
        others = sorted((r for r in found if not self.has_number(r)), key=lambda r: r.row)
        return (numbers if query.descending else numbers[::-1]) + others
