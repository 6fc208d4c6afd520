"""docs/papers.md names code that exists, and every score has its row."""

from __future__ import annotations

import ast
import re

import pytest

from engine.common.paths import CHECKOUT

ROWS = [line for line in (CHECKOUT / "docs" / "papers.md").read_text().splitlines() if line.startswith("| ")]
NAMES = sorted({name for row in ROWS for name in re.findall(r"`(engine\.[\w.]+)`", row)})


def defined(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_a_method_exists(name: str) -> None:
    parts = name.split(".")
    place = next(i for i in range(len(parts), 0, -1) if CHECKOUT.joinpath(*parts[:i]).with_suffix(".py").exists())
    body = ast.parse(CHECKOUT.joinpath(*parts[:place]).with_suffix(".py").read_text()).body
    for part in parts[place:]:
        node = defined(body).get(part)
        assert node is not None, f"{part} of {name} is not defined"
        body = node.body if isinstance(node, ast.ClassDef) else []


def test_every_method_names_its_code() -> None:
    for row in ROWS:
        method = row.split("|")[1].strip()
        assert method in ("method", "---") or "`engine." in row, f"{method} has no code"


@pytest.mark.parametrize("module", ["scores", "geometry", "instruction_scores"])
def test_every_score_has_a_row(module: str) -> None:
    body = ast.parse((CHECKOUT / "engine" / "pruning" / f"{module}.py").read_text()).body
    public = [name for name in defined(body) if not name.startswith("_")]
    assert [name for name in public if f"engine.pruning.{module}.{name}" not in NAMES] == []
