"""The cache of hidden states: exact, bounded, and safe against damaged or foreign files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.scoring.hidden import HiddenCache

STATES = torch.arange(60, dtype=torch.float32).reshape(10, 6).sqrt()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip_is_exact(tmp_path: Path, dtype: torch.dtype) -> None:
    """What comes back is bit for bit what went in, in the model's dtype."""
    cache = HiddenCache(tmp_path / "new", 10_000)
    assert cache.put("a", STATES.to(dtype), "stamp")
    found = cache.get("a", "stamp")
    assert found is not None
    assert found.dtype == dtype
    assert torch.equal(found, STATES.to(dtype))


def test_estimate_and_bytes(tmp_path: Path) -> None:
    """The estimated bytes are those on disk but for the header."""
    cache = HiddenCache(tmp_path, 10_000)
    estimate = HiddenCache.estimate(10, 6, torch.bfloat16)
    assert cache.bytes == 0
    cache.put("a", STATES.bfloat16(), "stamp")
    assert estimate == 120
    assert estimate <= cache.bytes <= estimate + 1000


def test_limit_holds(tmp_path: Path) -> None:
    """What would exceed the limit is not stored; what replaces a file of its size is."""
    cache = HiddenCache(tmp_path, 600)
    assert cache.put("a", STATES, "one")
    assert not cache.put("b", STATES, "one")
    assert cache.has("a")
    assert not cache.has("b")
    assert cache.put("a", STATES, "two")
    assert cache.get("a", "two") is not None
    assert cache.bytes <= 600


def test_nothing_is_stored_without_room(tmp_path: Path) -> None:
    """A limit of zero switches the cache off."""
    cache = HiddenCache(tmp_path, 0)
    assert not cache.put("a", STATES, "stamp")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "other"])
def test_damaged_file_counts_as_absent(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """A torn, altered, empty or foreign file is logged, deleted and computed again, never used."""
    cache = HiddenCache(tmp_path, 10_000)
    cache.put("a", STATES, "stamp")
    path = next(tmp_path.iterdir())
    whole = path.read_bytes()
    flipped = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
    path.write_bytes({"torn": whole[:-7], "flipped": flipped, "empty": b"", "other": b"not a tensor" * 9}[damage])
    assert cache.get("a", "stamp") is None
    assert "computed again" in caplog.text
    assert not cache.has("a")
    assert cache.put("a", STATES, "stamp")
    assert cache.get("a", "stamp") is not None


def test_states_of_other_samples_are_not_used(tmp_path: Path) -> None:
    """The same key with another stamp is absent."""
    cache = HiddenCache(tmp_path, 10_000)
    cache.put("a", STATES, "these samples")
    assert cache.get("a", "those samples") is None


def test_an_interrupted_write_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the rename, the old file is still the one that is read."""
    cache = HiddenCache(tmp_path, 10_000)
    cache.put("a", STATES, "stamp")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.put("a", STATES + 1, "stamp")
    found = cache.get("a", "stamp")
    assert found is not None
    assert torch.equal(found, STATES)
