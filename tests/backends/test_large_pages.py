"""Memory that is worked on moves to large pages, holds what it held, and takes no more room."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np
import pytest

from e5studio.backends import large_pages
from e5studio.backends.large_pages import WorkClock, use_large_pages

LARGE = 2 << 20


@pytest.fixture
def region(monkeypatch):
    """Four large pages' worth of memory, which is all that is looked at: its bytes and its address."""
    large_pages._library.cache_clear()
    if large_pages._library() is None:
        pytest.skip("this system has no large pages")
    mapped = mmap.mmap(-1, 5 * LARGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    array = np.frombuffer(mapped, np.uint8)
    start = -(-array.ctypes.data // LARGE) * LARGE
    monkeypatch.setattr(large_pages, "_writable_ranges", lambda: iter([(start, start + 4 * LARGE)]))
    first = start - array.ctypes.data
    return array[first : first + 4 * LARGE], start


def n_resident(start):
    pages = np.zeros(4 * LARGE // mmap.PAGESIZE, np.uint8)
    libc = ctypes.CDLL(None)
    assert libc.mincore(ctypes.c_size_t(start), ctypes.c_size_t(4 * LARGE), ctypes.c_void_p(pages.ctypes.data)) == 0
    return int((pages & 1).sum())


def n_in_large_pages(start):
    """Bytes of the mapping around an address that lie in large pages, as the system counts them."""
    is_inside = False
    with open("/proc/self/smaps") as file:
        for line in file:
            head = line.split()
            if "-" in head[0] and not head[0].endswith(":"):
                first, last = (int(each, 16) for each in head[0].split("-"))
                is_inside = first <= start < last
            elif is_inside and head[0] == "AnonHugePages:":
                return int(head[1]) * 1024
    raise AssertionError("there is no such mapping")


def test_what_is_in_memory_moves_and_keeps_its_numbers(region):
    array, start = region
    array[:] = np.arange(len(array), dtype=np.uint64).astype(np.uint8)
    before = array.copy()
    if not (moved := use_large_pages()):
        pytest.skip("this system moves no memory when it is asked to")
    assert n_in_large_pages(start) >= moved
    assert moved % LARGE == 0
    np.testing.assert_array_equal(array, before)


def test_memory_that_nobody_touched_stays_unmade(region):
    array, start = region
    array[:: LARGE // 2] = 1
    before = n_resident(start)
    assert use_large_pages() == 0
    assert n_resident(start) == before < 100


def test_nothing_moves_where_the_system_is_told_so(region, monkeypatch, tmp_path):
    array, _ = region
    array[:] = 1
    setting = tmp_path / "enabled"
    setting.write_text("always madvise [never]\n")
    monkeypatch.setattr(large_pages, "_SETTING", setting)
    large_pages._library.cache_clear()
    assert use_large_pages() == 0
    large_pages._library.cache_clear()


def test_the_writable_ranges_of_this_process_are_whole_large_pages():
    if not large_pages._MAPPINGS.exists():
        pytest.skip("this system does not list them")
    ranges = list(large_pages._writable_ranges())
    assert ranges
    assert all(start % LARGE == end % LARGE == 0 and start < end for start, end in ranges)


def test_it_happens_seldom_and_not_in_a_forked_process(monkeypatch):
    moments = []
    monkeypatch.setattr(large_pages, "use_large_pages", lambda: moments.append(clock.seconds))
    clock = WorkClock()
    for _ in range(200):
        clock.add(0.25)
    assert moments == [0.5, 2.0, 8.0, 32.0]
    clock = WorkClock()
    clock.add(40)
    clock.add(40)
    assert moments == [0.5, 2.0, 8.0, 32.0, 40.0]
    monkeypatch.setattr(large_pages, "clock", clock := WorkClock())
    child = os.fork()
    if not child:
        clock.add(40)
        os._exit(len(moments) - 5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnx"])
def test_the_work_of_each_backend_counts(backend, load, checkpoints, monkeypatch):
    pytest.importorskip(backend)
    monkeypatch.setattr(large_pages, "clock", clock := WorkClock())
    load(checkpoints("e5"), backend).encode_query("summit define")
    assert clock.seconds > 0
