"""The notebook of the docs, run from its first cell to its last."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient

from engine.common.paths import CHECKOUT


def test_the_notebook_runs() -> None:
    """Protects the first thing people copy: every cell runs, and what it says it computes is there."""
    notebook = nbformat.read(CHECKOUT / "docs" / "winnow.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # outputs are made by whoever runs it
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(CHECKOUT)}}).execute()
    shown = [
        output["data"]["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "execute_result"
    ]
    assert "'done'" in shown[0]
    assert "among the highest quarter by KL" in shown[2]
    assert "nll_teacher" in shown[4]
