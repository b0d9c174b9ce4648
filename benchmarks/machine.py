"""What a figure was measured on; no names of hosts or folders."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
_OF_ALL_CHIPS = {"processor", "family", "model", "r", "tm"}


def describe_machine(*packages: str) -> dict[str, object]:
    """Processor, cores, and versions of Python and of those of the packages that are installed."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu(), "cores": cores, "versions": versions}


def chip_result(name: str) -> Path:
    """The file of a benchmark's figures of this chip: ratios differ between chips, so each has its own."""
    words = re.findall("[a-z0-9]+", _cpu().lower())
    return RESULTS / f"{name}-{'-'.join(word for word in words if word not in _OF_ALL_CHIPS)}.json"


def load_of_others() -> tuple[float, float]:
    """Seconds on the clock, and core-seconds that other processes have had; only differences mean anything.

    The second stays 0 where /proc/stat doesn't tell.
    """
    stat = Path("/proc/stat")
    if not stat.is_file():
        return time.perf_counter(), 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy - time.process_time()


def is_quiet(before: tuple[float, float], after: tuple[float, float]) -> bool:
    """Whether others took less than a tenth of a core between two calls of `load_of_others`."""
    return after[1] - before[1] <= 0.1 * (after[0] - before[0])


def wait_for_quiet() -> None:
    """Return after a second in which others did next to nothing."""
    while True:
        before = load_of_others()
        time.sleep(1)
        if is_quiet(before, load_of_others()):
            return


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    fields = dict.fromkeys(["model name", "cpu family", "model"], "")
    for line in info.read_text().splitlines() if info.is_file() else []:
        name, _, value = line.partition(":")
        if name.strip() in fields:
            fields[name.strip()] = value.strip()
    if not fields["model name"]:
        return platform.processor()
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
