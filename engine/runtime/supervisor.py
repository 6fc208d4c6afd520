"""The engine process: a supervisor of one worker per device and one query worker, with a heartbeat.

It imports no torch itself; its workers do. It outlives the app. If it is killed, its workers end within a second, and
the next engine resumes their runs.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from engine.common.paths import CHECKOUT
from engine.storage.ledger import BEAT_SECONDS, Ledger
from engine.storage.workspace import Workspace

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
RESTART_SECONDS = 2.0  # at least so long between two starts of a child


def start_detached(workspace: Workspace) -> None:
    """Start an engine that outlives this process. Raises ReadOnlyError if the workspace is read-only."""
    workspace.require_writable("start an engine")
    with (workspace.logs / "engine.log").open("ab") as output:
        subprocess.Popen(
            [sys.executable, "-m", "engine", "serve", "--workspace", str(workspace.root)],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def devices() -> list[str]:
    """`["cuda:0", …]`, or `["cpu"]`; counted in a child process, because it takes torch."""
    if sys.platform == "linux" and not any(Path("/dev").glob("nvidia*")) and not Path("/dev/kfd").exists():
        return ["cpu"]  # no driver of NVIDIA or AMD: this saves seconds at every start
    code = "import torch; print(torch.cuda.device_count())"
    counted = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    count = int(counted.stdout.strip() or 0) if counted.returncode == 0 else 0
    return [f"cuda:{index}" for index in range(count)] or ["cpu"]


def serve(workspace: Workspace) -> None:
    """Work on the queue until SIGTERM or Ctrl-C."""
    workspace.require_writable("run an engine")
    ledger = Ledger(workspace)
    started = time.time()
    stop = threading.Event()

    def on_signal(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    ledger.beat_engine(started)
    command = [sys.executable, "-m", "engine"]
    commands = [[*command, "query"]] + [[*command, "work", "--device", device] for device in devices()]
    common = ["--parent", str(os.getpid()), "--workspace", str(workspace.root)]
    children = [_Child([*arguments, *common]) for arguments in commands]
    log.info("engine %d supervises %d workers on %s", os.getpid(), len(children) - 1, workspace.root)
    beaten = 0.0
    try:
        while not stop.wait(POLL_SECONDS):
            for child in children:
                child.keep_alive()
            if time.time() - beaten > BEAT_SECONDS:
                ledger.beat_engine(started)
                beaten = time.time()
    finally:
        for child in children:
            child.end()
        ledger.forget_engine()
        log.info("engine %d stops", os.getpid())


class _Child:
    """A child process that is restarted when it ends."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.started = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.keep_alive()

    def keep_alive(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        if time.time() - self.started < RESTART_SECONDS:
            return
        if self.process is not None:
            log.warning("%s ended with status %d; restarting it", self.command[3], self.process.returncode)
        self.started = time.time()
        self.process = subprocess.Popen(self.command, cwd=CHECKOUT, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()


def end_with_parent(parent: int) -> None:
    """End this process when the engine with the process id `parent` ends; recorded parts are safe on disk, and the
    system releases its locks. The id is passed, not looked up: the engine may have ended before this is called.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
