"""Who may know whom, read from the imports of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "peft", "datasets", "tokenizers", "safetensors"}
LIGHT_ROOMS = [
    "workspace",
    "settings",
    "recipes",
    "grids",
    "synthetic",
    "theory",
    "intervals",
    "tables",
    "ledger",
    "store",
    "export",
    "export_distilled",
]
MATHEMATICS = ["scoring", "pruning", "training", "distillation"]


def imported(path: Path) -> set[str]:
    """Every module a file imports anywhere, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(*places: str) -> list[Path]:
    found: list[Path] = []
    for place in places:
        path = CHECKOUT / place
        found += [path] if path.suffix else sorted(path.rglob("*.py"))
    return found


def tops(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imported(path)}


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_light_rooms_know_neither_models_nor_pages(room: str) -> None:
    """The app imports these rooms, so they must start fast and know nothing of it."""
    place = f"engine/{room}" if (CHECKOUT / "engine" / room).is_dir() else f"engine/{room}.py"
    for path in files(place):
        assert not tops(path) & (HEAVY | {"streamlit", "pages"}), path


def test_pages_know_only_the_light_rooms() -> None:
    """Pages ask the store and the ledger; anything heavier is the engine's work."""
    allowed = {f"engine.{room}" for room in LIGHT_ROOMS}
    for path in files("pages"):
        modules = imported(path)
        assert not {module.split(".")[0] for module in modules} & (HEAVY | {"duckdb", "sqlite3"}), path
        for module in modules:
            if module.startswith("engine."):
                assert ".".join(module.split(".")[:2]) in allowed, f"{path} imports {module}"


def test_the_frame_knows_the_service_and_the_light_rooms() -> None:
    """app.py may start an engine, and nothing else of the engine's inside."""
    allowed = {f"engine.{room}" for room in [*LIGHT_ROOMS, "service"]}
    for module in imported(CHECKOUT / "app.py"):
        if module.startswith("engine."):
            assert ".".join(module.split(".")[:2]) in allowed, module


@pytest.mark.parametrize("room", MATHEMATICS)
def test_mathematics_know_no_runs_no_ledger_and_no_app(room: str) -> None:
    """Tensors in, tensors out: a score can be lifted into another project as it is."""
    forbidden = {"engine.runs", "engine.ledger", "engine.store", "engine.data", "engine.models", "engine.tables"}
    for path in files(f"engine/{room}"):
        modules = imported(path)
        assert not {".".join(module.split(".")[:2]) for module in modules} & forbidden, path
        assert not tops(path) & {"streamlit", "duckdb", "sqlite3"}, path


def test_only_the_store_knows_duckdb() -> None:
    """One process may open the DuckDB file; one room does."""
    for path in files("engine", "pages", "app.py"):
        if "store" not in path.relative_to(CHECKOUT).parts:
            assert "duckdb" not in tops(path), path


def test_only_the_cluster_knows_ray() -> None:
    """Ray is an extra: whoever does not ask for a cluster need not have it."""
    for path in files("engine", "pages", "app.py"):
        if path.parent.name != "cluster":
            assert not tops(path) & {"ray", "fsspec"}, path


def test_importing_what_the_app_imports_loads_no_torch() -> None:
    """An import can be hidden behind another one; the interpreter itself is asked."""
    modules = ", ".join(f"engine.{room}" for room in [*LIGHT_ROOMS, "service"])
    code = f"import {modules}, sys; print([m for m in {sorted(HEAVY)!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_nothing_unsafe_is_loaded() -> None:
    """No pickle and no code from the Hub, anywhere."""
    for path in files("engine", "pages", "app.py"):
        text = path.read_text(encoding="utf-8")
        assert not tops(path) & {"pickle", "dill", "joblib"}, path
        assert "torch.load" not in text, path
        assert "trust_remote_code=True" not in text, path
