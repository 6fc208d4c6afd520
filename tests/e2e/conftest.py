"""A served app and a real browser, for what only a browser can show."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine.common.paths import CHECKOUT
from engine.storage.workspace import Workspace

START_SECONDS = 60
expect.set_options(timeout=20_000)  # a busy machine may take its time; nothing here measures time


def chromium() -> str | None:
    """The system's Chromium; playwright's own browsers are not downloaded."""
    named = os.environ.get("WINNOW_CHROMIUM")
    return named or next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine; install it or name it in WINNOW_CHROMIUM")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh window of a laptop's size; a test that needs a phone makes its own."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def served_app(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`served_app(workspace)` starts a fresh server on that workspace and returns its address."""
    servers: list[subprocess.Popen[bytes]] = []

    def serve(workspace: Workspace, *, read_only: bool = False) -> str:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        log = tmp_path / f"app-{port}.log"
        command = [sys.executable, "-m", "streamlit", "run", str(CHECKOUT / "app.py")]
        command += ["--server.port", str(port), "--server.headless", "true"]
        environment = {**os.environ, "WINNOW_WORKSPACE": str(workspace.root), "WINNOW_READ_ONLY": str(int(read_only))}
        with log.open("wb") as output:
            server = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=output, stderr=output)
        servers.append(server)
        address = f"http://localhost:{port}"
        wait_for(address, server, log)
        return address

    yield serve
    for server in servers:
        server.terminate()
        server.wait(timeout=20)


def settled(page: Page) -> None:
    """Wait until the server has answered everything it was asked.

    A person presses a key when the button is there. A test that presses it while the page still arrives
    presses nothing, and only on a busy machine.
    """
    expect(page.locator("[data-testid=stApp]")).to_have_attribute("data-test-script-state", "notRunning")


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the app did not start:\n{log.read_text(errors='replace')}")
