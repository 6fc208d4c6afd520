"""The engine process: one worker per device, one desk that answers small questions, and a heartbeat.

The engine knows no torch itself; workers do. It outlives the app. Killed at any moment, its workers end within a
second and the runs they held are taken up again by the next engine.
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
RESTART_SECONDS = 2.0  # a worker that dies at once is not restarted faster than this


def start_detached(workspace: Workspace) -> None:
    """Start an engine that outlives this process. Raises ReadOnlyError where nothing may be started."""
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
    """`["cuda:0", …]`, or `["cpu"]`; asked of a child process, because counting devices imports torch."""
    if sys.platform == "linux" and not any(Path("/dev").glob("nvidia*")) and not Path("/dev/kfd").exists():
        return ["cpu"]  # no driver of either maker: seconds saved at every start
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
    commands = [[*command, "desk"]] + [[*command, "work", "--device", device] for device in devices()]
    common = ["--parent", str(os.getpid()), "--workspace", str(workspace.root)]
    children = [_Child([*arguments, *common]) for arguments in commands]
    log.info("engine %d works on %s", os.getpid(), workspace.root)
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
        log.info("engine %d ends", os.getpid())


class _Child:
    """A worker process that is started again when it dies."""

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
            log.warning("%s ended with %d; starting it again", self.command[3], self.process.returncode)
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
    """End this worker when the engine with this process id dies; what it was doing is safe on disk, and its locks are
    let go. The id is given, not looked up: the engine may have died before the worker got here.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def tail(path: Path, lines: int = 200, most: int = 200_000) -> str:
    """The last lines of a log; "" where there is none yet."""
    if not path.is_file():
        return ""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - most))
        text = handle.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
