"""The processor's cores: how many this process may use, and the locks that keep models from competing for them.

Two forward passes at once would compete for cores and caches, so the backends of a process compute
one batch at a time on the CPU, whichever models they hold. A query waits for one batch of a long
job, never for the whole job.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from e5studio.errors import BackendError

# Reentrant: a signal handler may interrupt the holder and take them again.
_compute_lock = threading.RLock()
_load_lock = threading.RLock()
_is_held_by_fork = False
_is_forked = False
_preparations: list[Callable[[], None]] = []


def compute_lock() -> threading.RLock:
    """The lock around the computation of a batch on the CPU."""
    return _compute_lock


def load_lock() -> threading.RLock:
    """The lock around loading or converting a model, by libraries that change settings of the whole process.

    Other models compute meanwhile. Take it before `compute_lock`, never after.
    """
    return _load_lock


def n_threads() -> int:
    """Threads that a forward pass may use: E5STUDIO_THREADS, or the cores that this process may run on.

    Two threads of one core count as one, since they share its arithmetic units. A container's quota counts: of 64
    cores with a quota of 2, 64 threads would spend most of their time stopped. A forked process has one thread, since
    its siblings use the other cores.

    Raises:
        BackendError: E5STUDIO_THREADS is no number.
    """
    chosen = chosen_threads()
    if chosen is not None:
        return chosen
    if _is_forked:
        return 1
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    n_cores = _n_cores(cpus)
    return min(n_cores, _quota() or n_cores)


def chosen_threads() -> int | None:
    """The value of E5STUDIO_THREADS, if it is set.

    Raises:
        BackendError: It is no number.
    """
    value = os.environ.get("E5STUDIO_THREADS", "").strip()
    if not value:
        return None
    if not (value.isdecimal() and int(value) > 0):
        raise BackendError(f"E5STUDIO_THREADS={value!r} is no number of threads. Set it to 1 or more, or unset it.")
    return int(value)


def _n_cores(cpus: Collection[int], root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Cores of the logical processors; where the system does not list siblings, each counts as one."""
    try:
        siblings = {(root / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text() for cpu in cpus}
    except OSError:
        return len(cpus)
    return len(siblings)


def _quota(root: Path = Path("/sys/fs/cgroup"), cgroup_file: Path = Path("/proc/self/cgroup")) -> int | None:
    """The CPU quota of this process's control group in cores, rounded up; None without one."""
    shares = [share for folder in _groups(root, cgroup_file) if (share := _share(folder)) is not None]
    return max(1, math.ceil(min(shares))) if shares else None


def _groups(root: Path, cgroup_file: Path) -> Iterator[Path]:
    """Folders of the control group and of its parents, of which each may set a quota."""
    try:
        lines = cgroup_file.read_text().splitlines()
    except OSError:
        lines = []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = root / own
    yield from (each for each in (folder, *folder.parents) if each.is_relative_to(root))
    yield root / "cpu"


def _share(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return None


def before_fork(prepare: Callable[[], None]) -> None:
    """Register a function that runs before a fork, while nothing computes or loads."""
    _preparations.append(prepare)


def _prepare_fork() -> None:
    global _is_held_by_fork
    # A library forked in the middle of its work would wait for ever for threads that exist in the parent only.
    _load_lock.acquire()
    _compute_lock.acquire()
    _is_held_by_fork = True
    for prepare in _preparations:
        prepare()


def _go_on() -> None:
    global _is_held_by_fork
    if _is_held_by_fork:  # False where another thread forked during the import of this module
        _is_held_by_fork = False
        _compute_lock.release()
        _load_lock.release()


def _take_over() -> None:
    global _compute_lock, _load_lock, _is_held_by_fork, _is_forked
    _compute_lock, _load_lock, _is_held_by_fork, _is_forked = threading.RLock(), threading.RLock(), False, True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare_fork, after_in_parent=_go_on, after_in_child=_take_over)
