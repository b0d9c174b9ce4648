"""A model that would not fit is refused with numbers and a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from e5studio import memory
from e5studio.errors import OutOfMemoryError


def test_a_machine_has_memory() -> None:
    available = memory.available_bytes()
    assert available is not None
    assert available > 50_000_000


def test_what_fits_is_let_through() -> None:
    memory.check_fits("m", 33_000_000, "float32", 1_000_000_000)


def test_refused_with_both_numbers_and_the_dtype_that_fits() -> None:
    with pytest.raises(OutOfMemoryError, match=r"needs 28\.7 GB of memory in float32, and 20\.0 GB.*bfloat16"):
        memory.check_fits("intfloat/e5-mistral-7b-instruct", 7_111_000_000, "float32", 20_000_000_000)


def test_where_nothing_fits_it_says_so() -> None:
    with pytest.raises(OutOfMemoryError, match="No precision fits"):
        memory.check_fits("m", 7_111_000_000, "float32", 2_000_000_000)


def test_unknown_memory_refuses_nothing() -> None:
    memory.check_fits("m", 7_111_000_000, "float32", None)


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": "8000", "memory.current": "7000", "memory.stat": "anon 2000\ninactive_file 5000\n"},
        {
            "memory/memory.limit_in_bytes": "8000",
            "memory/memory.usage_in_bytes": "7000",
            "memory/memory.stat": "cache 5000\ntotal_inactive_file 5000\n",
        },
    ],
    ids=["version 2", "version 1"],
)
def test_files_that_a_container_read_before_take_no_memory(files: dict[str, str], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory._container_memory(tmp_path) == 6000


def test_a_container_without_a_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container_memory(tmp_path) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_want_of_memory_is_one_error_that_names_the_limit(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_address_space_limit", lambda: 1_500_000_000)
    with pytest.raises(OutOfMemoryError, match=r"too little memory\. Address space is limited to 1\.5 GB.*ulimit -v"):
        with memory.memory_errors_as_one():
            raise error


def test_other_errors_stay_what_they_are() -> None:
    crowded = ImportError("libgomp.so: cannot allocate memory in static TLS block")  # whatever memory is free
    with pytest.raises(ImportError), memory.memory_errors_as_one():
        raise crowded


def test_free_address_space_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_address_space_limit", lambda: 10_000)
    assert (memory.available_bytes() or 0) <= 10_000
    with pytest.raises(OutOfMemoryError, match=r"0\.0 GB are free\. Address space is limited to 0\.0 GB"):
        memory.check_fits("m", 33_000_000, "float32", memory.available_bytes())
