"""Systems loaded side by side, each in its process, and timed in turn: never two at the same time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from corpora import Corpus
from machine import is_quiet, load_of_others, wait_for_quiet
from numpy.typing import NDArray
from systems import BATCH_SIZES, System
from workers import Worker, WorkerError

N_CHECKED = 64
N_WARM_UP = 20
_RESERVE = 0.3  # of the machine's memory, kept free when processes are loaded side by side
_LEAST = 32  # texts, the batch that most take by themselves
_LONG = 4.0  # seconds
_TRIES = 3  # of a call that other programs disturbed


@dataclass(frozen=True)
class Work:
    """A corpus as the rounds need it.

    Attributes:
        corpus: The texts.
        prompt: What stands in front of each.
        lengths: Tokens of each as the model reads it, prompt and special tokens counted, (n,).
        reference: Vectors of the model card's script of the texts at `checked`.
        checked: Rows of the texts that vectors are compared on.
    """

    corpus: Corpus
    prompt: str
    lengths: NDArray[np.int32]
    reference: NDArray[np.float64]
    checked: list[int]


@dataclass
class Entry:
    """A system in its process, with what was found out about it on one corpus."""

    system: System
    worker: Worker
    loaded: dict[str, Any]
    batch_size: int | None = None
    sweep: dict[int, float] = field(default_factory=dict)
    rows: list[int] | None = None
    seconds: list[float] = field(default_factory=list)
    n_disturbed: int = 0
    lowest_cosine: float = 0.0


@dataclass(frozen=True)
class Conduct:
    """How to measure.

    Attributes:
        rounds: How many.
        longest: Seconds that a system which doesn't sort may take a round; a slower one gets fewer texts.
        is_calm: Wait for a quiet machine, and repeat what other programs disturbed.
        log: Told what happens.
    """

    rounds: int
    longest: float
    is_calm: bool
    log: Callable[[str], None] = print


def spread_rows(lengths: NDArray[np.int32], count: int) -> list[int]:
    """`count` rows whose lengths are spread as those of all are, in the order of the texts."""
    order = np.argsort(lengths, kind="stable")
    places = ((np.arange(count) + 0.5) * len(order) / count).astype(int)
    return sorted(order[places].tolist())


def load_side_by_side(
    waiting: list[System], start: Callable[[System], Worker], load: Callable[[Worker, System], dict[str, Any]]
) -> tuple[list[Entry], dict[str, str]]:
    """Load the first of the waiting systems, taking them from the list, until memory runs low.

    Returns:
        What was loaded, and for each system that could not be, why.
    """
    entries: list[Entry] = []
    failed: dict[str, str] = {}
    while waiting and (len(entries) < 2 or _free_share() > _RESERVE):
        system = waiting.pop(0)
        beside = next((entry for entry in entries if entry.system.process == system.process), None)
        if beside is not None:
            entries.append(Entry(system, beside.worker, beside.loaded))
            continue
        worker = start(system)
        try:
            entries.append(Entry(system, worker, load(worker, system)))
        except WorkerError as error:
            worker.close()
            failed[system.name] = str(error)
    return entries, failed


def measure(entries: list[Entry], work: Work, conduct: Conduct) -> dict[str, str]:
    """Time every entry on a corpus; fills their fields.

    Returns:
        For each system that failed, why; it is no longer among the entries.
    """
    failed: dict[str, str] = {}
    for entry in list(entries):
        entry.sweep, entry.seconds, entry.n_disturbed, entry.rows, entry.batch_size = {}, [], 0, None, None
        try:
            _get_ready(entry, work, conduct)
        except WorkerError as error:
            failed[entry.system.name] = str(error)
            entries.remove(entry)
    for number in range(conduct.rounds):
        if conduct.is_calm:
            wait_for_quiet()
        for entry in list(entries):
            try:
                entry.seconds.append(_timed(entry, conduct))
            except WorkerError as error:
                failed[entry.system.name] = str(error)
                entries.remove(entry)
        conduct.log(f"  round {number + 1} of {conduct.rounds}")
    return failed


def measure_one_by_one(entries: list[Entry], work: Work, conduct: Conduct) -> dict[str, list[float]]:
    """Seconds of each text alone, in blocks of which the processes take turns; the first texts only warm up.

    A process that fails is left out: whatever else it was to measure said why.
    """
    alone = {entry.system.process: entry for entry in reversed(entries)}
    taken: dict[str, list[float]] = {entry.system.alone: [] for entry in alone.values()}
    rows = list(range(len(work.lengths)))
    blocks = [rows[:N_WARM_UP], *(block.tolist() for block in np.array_split(rows[N_WARM_UP:], 4))]
    for number, block in enumerate(blocks):
        for process, entry in list(alone.items()):
            try:
                _give_corpus(entry, work)
                ask = functools.partial(entry.worker.call, "one_by_one", rows=block)
                each = _undisturbed(entry, conduct, ask)["each"]
            except WorkerError:
                del taken[entry.system.alone], alone[process]
                continue
            taken[entry.system.alone] += each if number else []
    return taken


def _get_ready(entry: Entry, work: Work, conduct: Conduct) -> None:
    """Warm up, choose texts and batch size, compare vectors."""
    system = entry.system
    _give_corpus(entry, work)
    is_whole = system.sorts and not system.best_batch  # then comparing warms up too
    found = np.array(entry.worker.call("vectors", rows=None if is_whole else work.checked))
    found = found[work.checked] if is_whole else found
    cosines = (found * work.reference).sum(axis=1) / np.linalg.norm(found, axis=1)
    entry.lowest_cosine = float(cosines.min())
    if not system.sorts:
        entry.rows = _fewer_rows(entry, work, conduct)
    if system.best_batch:
        entry.batch_size = _best_batch(entry, conduct)
    elif not is_whole:
        entry.worker.call("time", rows=entry.rows)
    sweep = ", ".join(f"{size}: {seconds:.2f} s" for size, seconds in entry.sweep.items())
    conduct.log(f"  {system.name}: lowest cosine {entry.lowest_cosine:.6f} {sweep}")


def _give_corpus(entry: Entry, work: Work) -> None:
    entry.worker.call("corpus", role=work.corpus.role, prompt=work.prompt, texts=work.corpus.texts)


def _fewer_rows(entry: Entry, work: Work, conduct: Conduct) -> list[int] | None:
    """Rows that the system embeds in about the time it may take, or None for all."""
    n_texts = len(work.lengths)
    sample = spread_rows(work.lengths, min(_LEAST, n_texts))
    seconds = entry.worker.call("time", rows=sample)["seconds"] * n_texts / len(sample)
    if seconds <= conduct.longest:
        return None
    return spread_rows(work.lengths, max(len(sample), round(n_texts * conduct.longest / seconds)))


def _best_batch(entry: Entry, conduct: Conduct) -> int:
    """Batch size of the least time: from the smallest on until it gets slower, so that not all need be run."""

    def seconds(size: int) -> float:
        if size not in entry.sweep:
            ask = functools.partial(entry.worker.call, "time", rows=entry.rows, batch_size=size)
            first = _undisturbed(entry, conduct, ask)["seconds"]
            # The first call also makes ready what is kept for each shape; a long one hardly notices.
            entry.sweep[size] = first if first > _LONG else min(first, _undisturbed(entry, conduct, ask)["seconds"])
        return entry.sweep[size]

    best = BATCH_SIZES[0]
    for size in BATCH_SIZES[1:]:
        if seconds(best) <= seconds(size):
            break
        best = size
    return best


def _timed(entry: Entry, conduct: Conduct) -> float:
    ask = functools.partial(entry.worker.call, "time", rows=entry.rows, batch_size=entry.batch_size)
    return float(_undisturbed(entry, conduct, ask)["seconds"])


def _undisturbed(entry: Entry, conduct: Conduct, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer to a request during which other programs took less than a tenth of a core."""
    for attempt in range(_TRIES):
        before = load_of_others()
        answer = ask()
        clock, others = load_of_others()
        if not conduct.is_calm or is_quiet(before, (clock, others - answer["cpu"])):
            return answer
        if attempt == _TRIES - 1:
            entry.n_disturbed += 1
    return answer


def summary(entry: Entry, baseline: Entry, work: Work) -> dict[str, Any]:
    """A system's row of the results."""
    rate, base = _rates(entry, work), _rates(baseline, work)
    row: dict[str, Any] = {
        "precision": _precision(entry),
        "tokens_per_second": _spread(rate, 0),
        "ratio": _spread([own / other for own, other in zip(rate, base, strict=True)], 3),
        "texts": len(work.lengths) if entry.rows is None else len(entry.rows),
        "rounds": len(rate),
        "disturbed_rounds": entry.n_disturbed,
        "lowest_cosine": round(entry.lowest_cosine, 7),
        "versions": entry.loaded["versions"],
    }
    if entry.sweep:
        row["batch_size"] = entry.batch_size
        row["seconds_by_batch_size"] = {str(size): round(entry.sweep[size], 3) for size in sorted(entry.sweep)}
    return row


def _precision(entry: Entry) -> str:
    declared = entry.system.precision
    return declared if declared == "int8" else entry.loaded["runs_in"] or declared


def _rates(entry: Entry, work: Work) -> list[float]:
    n_tokens = int(work.lengths.sum() if entry.rows is None else work.lengths[entry.rows].sum())
    return [n_tokens / seconds for seconds in entry.seconds]


def _spread(values: Sequence[float], digits: int) -> dict[str, float]:
    return {name: round(of(values), digits) or 0 for name, of in (("median", median), ("min", min), ("max", max))}


def _free_share() -> float:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available, total = (float(fields[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    return available / total
