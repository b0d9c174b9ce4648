"""A model that would not fit is refused with numbers and a way out."""

from __future__ import annotations

import mmap
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


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="this system does not list what is mapped")
def test_mapped_files_below_a_folder_leave_memory_and_can_be_read_again(tmp_path: Path) -> None:
    contents = {"inside/weights": b"a" * 4_000_000, "outside": b"b" * 4_000_000}
    mapped = {}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        with (tmp_path / name).open("rb") as file:
            mapped[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert mapped[name][:] == content
    memory.unload_mapped(tmp_path / "inside")
    assert _resident_bytes(tmp_path / "inside/weights") == 0
    assert _resident_bytes(tmp_path / "outside") >= 4_000_000
    assert mapped["inside/weights"][:] == contents["inside/weights"]


def _resident_bytes(path: Path) -> int:
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    next(line for line in lines if line.endswith(str(path)))
    return int(next(line for line in lines if line.startswith("Rss:")).split()[1]) * 1024


def test_a_container_without_a_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container_memory(tmp_path) is None


def test_a_limited_address_space_counts_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_address_space", lambda: 1_500_000_000)
    assert 0 <= memory._free_address_space() < 1_500_000_000  # type: ignore[operator]
    with pytest.raises(OutOfMemoryError, match=r"are free \(the address space is limited to 1\.5 GB: ulimit -v\)"):
        memory.check_fits("m", 7_111_000_000, "float32", 2_000_000_000)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (ImportError("libopenvino.so: failed to map segment from shared object"), True),
        (RuntimeError("std::bad_alloc"), True),
        (ImportError("libgomp.so.1: cannot allocate memory in static TLS block"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_want_of_memory_is_known_by_its_words(error: Exception, is_memory: bool) -> None:
    if not is_memory:
        with pytest.raises(type(error)), memory.as_out_of_memory("m"):
            raise error
        return
    with pytest.raises(OutOfMemoryError, match="m does not fit into memory"), memory.as_out_of_memory("m"):
        raise error
