from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from engine.common.hashing import digest, file_sha256
from engine.common.memory import is_out_of_memory


def test_equal_settings_have_one_digest() -> None:
    """The order of keys does not matter, everything else does; the value must stay, files lie under it."""
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert len({digest(value) for value in ({"a": 1}, {"a": 1.0}, {"a": "1"}, {"b": 1}, [1], [[1]])}) == 6
    assert digest({"é": 1}) == hashlib.sha256('{"é":1}'.encode()).hexdigest()[:16]


def test_a_file_has_the_hash_that_other_programs_compute(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("error", "out"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("anything"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, out: bool) -> None:
    assert is_out_of_memory(error) is out
