"""Parts: what is written is what was given, atomically."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.common.errors import WinnowError
from engine.common.hashing import file_sha256
from engine.common.paths import CHECKOUT
from engine.storage.parts import Part, part_path, read_column, read_seconds, read_table, write_part
from engine.storage.tables import SCHEMAS
from engine.storage.workspace import Workspace

SCORES = st.lists(
    st.fixed_dictionaries(
        {
            "arm": st.sampled_from(["base", "dynamic"]),
            "seed": st.integers(-1, 3),
            "epoch": st.integers(1, 9),
            "row": st.integers(0, 2**31 - 1),
            "metric": st.sampled_from(["kl", "nll_teacher"]),
            "value": st.floats(width=32),
        }
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(rows=SCORES, by_column=st.booleans())
def test_a_part_holds_what_was_written(rows: list[dict[str, Any]], by_column: bool) -> None:
    """Protects the truth itself: both ways of giving rows end in the same file, NaN and infinities included."""
    names = SCHEMAS["scores"].names[1:]
    columns = {name: [row[name] for row in rows] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        part = write_part(workspace, "run-1", "scores", "a", columns if by_column else rows, seconds=0.1)
        path = part.path(workspace)
        assert path == part_path(workspace, "run-1", "scores", "a")
        assert (part.rows, part.size, part.sha256) == (len(rows), path.stat().st_size, file_sha256(path))
        data = read_table(workspace, [part], "scores")
        assert data.schema.equals(SCHEMAS["scores"])
        assert data.column("run").to_pylist() == ["run-1"] * len(rows)
        for name in names:
            np.testing.assert_array_equal(data.column(name).to_pylist(), columns[name])
        np.testing.assert_array_equal(read_column(path, "row"), columns["row"])
        assert read_seconds(path) == 0.1


@pytest.mark.parametrize(
    "columns",
    [
        {"arm": ["base"], "seed": [-1], "epoch": [1], "row": ["seven"], "metric": ["kl"], "value": [1.0]},
        {"arm": ["base"], "seed": [-1], "epoch": [1], "row": [2**31], "metric": ["kl"], "value": [1.0]},
        {"arm": ["base"], "seed": [-1, 0], "epoch": [1], "row": [7], "metric": ["kl"], "value": [1.0]},
    ],
)
def test_values_that_do_not_fit(workspace: Workspace, columns: dict[str, list[Any]]) -> None:
    """Protects the tables from values of another kind: nothing is written at all."""
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        write_part(workspace, "run", "scores", "a", columns)
    assert not list(workspace.parts.rglob("*.parquet"))


def test_token_scores_can_be_looked_up_singly(workspace: Workspace) -> None:
    """Protects the drawer of a sample: token scores lie in small row groups, so one lookup reads few neighbours."""
    row = {
        "epoch": 1,
        "tokens": ["a"],
        "response": [True],
        "turns": None,
        "kl": [0.5],
        "teacher_tokens": [["b"]],
        "teacher_probs": [[0.5]],
        "student_tokens": [["c"]],
        "student_probs": [[0.5]],
    }
    part = write_part(workspace, "run", "token_scores", "a", [row | {"row": n} for n in range(200)])
    assert pq.ParquetFile(part.path(workspace)).metadata.num_row_groups == 4


def test_a_damaged_part_is_named(workspace: Workspace) -> None:
    """Protects `table` and every reader: a part cut short or gone is one sentence with its path."""
    at = {"arm": "base", "seed": -1, "epoch": 1, "metric": "kl"}
    part = write_part(workspace, "run", "scores", "a", [at | {"row": n, "value": 1.0} for n in range(100)])
    path = part.path(workspace)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(WinnowError, match=r"The part .*scores/a.parquet is missing or damaged; run `python -m engine"):
        read_table(workspace, [part], "scores")
    path.unlink()
    with pytest.raises(WinnowError, match="missing or damaged"):
        read_table(workspace, [part], "scores")
    assert read_table(workspace, [], "scores").num_rows == 0


FULL = """
import resource, sys
from pathlib import Path
from engine.storage.parts import write_part
from engine.common.errors import WinnowError
from engine.storage.workspace import Workspace
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
rows = list(range(50_000))
columns = {name: [value] * 50_000 for name, value in {"arm": "base", "seed": -1, "epoch": 1, "metric": "kl"}.items()}
columns["row"] = rows
try:
    write_part(Workspace(Path(sys.argv[1])), "run", "scores", "a", columns | {"value": [row * 0.1 for row in rows]})
except WinnowError as error:
    print(error)
"""


def test_a_full_disk(workspace: Workspace) -> None:
    """Protects a run on a full disk: one sentence that says what to do, and no partial file under the final name."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(workspace.root)], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert "scores/a.parquet could not be written (" in done.stdout
    assert "free some disk space" in done.stdout
    assert not [path for path in workspace.parts.rglob("*") if path.is_file()]


WRITE = """
import sys
from pathlib import Path
from engine.storage.parts import write_part
from engine.storage.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
rows = list(range(20_000))
columns = {name: [value] * 20_000 for name, value in {"arm": "base", "seed": -1, "epoch": 1, "metric": "kl"}.items()}
columns["row"] = rows
print("start", flush=True)
for number in range(10_000):
    part = write_part(workspace, "run", "scores", f"{number % 3}", columns | {"value": [float(number)] * 20_000})
"""


@pytest.mark.kill
def test_killed_while_writing(workspace: Workspace) -> None:
    """Protects resuming: whatever has a part's name after `kill -9` is a whole part."""
    chance = random.Random(1)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(workspace.root)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "start\n"
        time.sleep(chance.uniform(0.0, 0.3))
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        for path in (workspace.parts / "run" / "scores").glob("*.parquet"):
            part = Part("run", "scores", path.stem, 20_000, path.stat().st_size, file_sha256(path))
            values = read_table(workspace, [part], "scores").column("value").to_pylist()
            assert values == [values[0]] * 20_000
