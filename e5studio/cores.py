"""The processor's cores: how many this process may use, and whose turn it is to use them.

Two forward passes at once would share the same cores and each other's caches, so the back ends of a
process compute one batch at a time on the CPU, whichever models they hold. A query waits for a batch
of a long job, never for its end.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from pathlib import Path

_turn = threading.Lock()
_is_held_by_fork = False
_preparations: list[Callable[[], None]] = []


def turn() -> threading.Lock:
    """The lock that is held while a batch is computed on the CPU."""
    return _turn


def n_threads() -> int:
    """Threads that a forward pass may use: E5STUDIO_THREADS, or all cores that this process may run on.

    A container's share of the processor counts: of 64 cores with a quota of 2, 64 threads would
    spend most of their time stopped.
    """
    chosen = os.environ.get("E5STUDIO_THREADS", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(n_cores, _quota() or n_cores)


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Cores that a container's quota comes to, rounded up; None without one."""
    try:
        if (root / "cpu.max").is_file():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        return max(1, math.ceil(int(quota) / int(period))) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return None


def before_fork(prepare: Callable[[], None]) -> None:
    """Have something done before this process is forked, while nothing computes."""
    _preparations.append(prepare)


def _prepare_fork() -> None:
    global _is_held_by_fork
    # A copy of a library halfway through its work would wait for ever for threads that did not come along.
    _turn.acquire()
    _is_held_by_fork = True
    for prepare in _preparations:
        prepare()


def _go_on() -> None:
    global _is_held_by_fork
    if _is_held_by_fork:  # not, where another thread was forking while this module was imported
        _is_held_by_fork = False
        _turn.release()


def _take_over() -> None:
    global _turn, _is_held_by_fork
    _turn, _is_held_by_fork = threading.Lock(), False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare_fork, after_in_parent=_go_on, after_in_child=_take_over)
