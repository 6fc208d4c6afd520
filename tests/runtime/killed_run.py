"""Does the oldest run of a workspace in one process after another, each killed at a chosen point, and then to its end.

    python -m tests.runtime.killed_run WORKSPACE POINTS

POINTS is a JSON list of [files, later]: a process is killed (SIGKILL) at the `later`-th audit event from the moment in
which it puts its `files`-th file in place. `later` 0 is just before the renaming; then follow flushing the folder and
recording the part in the ledger. Between such operations nothing changes on the disk, so these are the moments that
matter, and they are the same on a slow and on a fast machine.

All processes are forked from this one, which has imported torch and done nothing with it: only the first pays for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from engine.runtime.worker import execute
from engine.storage.ledger import Ledger
from engine.storage.workspace import open_workspace


def die_at(root: Path, files: int, later: int) -> None:
    """Kill this process at the point described above; files outside `root` do not count."""
    left = [files, later]

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if threading.current_thread() is not threading.main_thread():  # heartbeats come by the clock
            return
        if left[0] > 0:
            left[0] -= event == "os.rename" and str(arguments[1]).startswith(str(root))
        elif left[0] == 0 and event in ("open", "os.rename", "os.remove", "sqlite3.connect"):
            left[1] -= 1
        if not left[0] and left[1] <= 0:
            left[0] = -1  # killing is an event, too
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def do_run(root: Path) -> None:
    workspace = open_workspace(root, read_only=False)
    ledger = Ledger(workspace)
    claimed = ledger.claim()
    assert claimed is not None, "there is no run to do"
    execute(workspace, ledger, *claimed, device="cpu")


def main(root: Path, points: list[list[int]]) -> None:
    for number, point in enumerate([*points, None]):
        child = os.fork()
        if child == 0:
            if point:
                die_at(root, *point)
            do_run(root)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != (-signal.SIGKILL if point else 0):
            raise SystemExit(f"process {number} ended with {status}; if the run ended too early, give it more to do")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
