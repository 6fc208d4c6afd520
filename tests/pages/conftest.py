"""What every test of a page needs."""

from __future__ import annotations

from functools import lru_cache

import pytest
from streamlit.components.v2 import manifest_scanner


@pytest.fixture(scope="session", autouse=True)
def one_scan_for_components() -> None:
    """Every AppTest reads the metadata of all installed packages, in search of components; once is enough."""
    manifest_scanner.scan_component_manifests = lru_cache(manifest_scanner.scan_component_manifests)
