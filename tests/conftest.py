"""What every test may need: a workspace of its own, and the folder of real data where there is one."""

from __future__ import annotations

import gc
import os
from pathlib import Path

# Before torch is imported: models as small as those of the tests only wait for each other on several threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace

# A property does not fail because a machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


CHECKOUT = Path(__file__).resolve().parent.parent


def pytest_collection_finish() -> None:
    """Streamlit collects garbage after every run of a page; what has been imported by now is none."""
    gc.freeze()


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is tested starts no engine behind it; tests that want one start it themselves."""
    monkeypatch.setenv("WINNOW_ENGINE", "off")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace").create()


@pytest.fixture
def ledger(workspace: Workspace) -> Ledger:
    return Ledger(workspace)


@pytest.fixture
def real_data() -> Path:
    """The folder of public datasets (WINNOW_TEST_DATA); a test that needs it skips where it is absent."""
    folder = Path(os.environ.get("WINNOW_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set WINNOW_TEST_DATA")
    return folder
