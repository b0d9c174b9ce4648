"""Every queue of the Studio in one table: how many work at once, and how many more may wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from e5studio.studio.serving.waiting_queue import WaitingQueue


@dataclass(frozen=True)
class QueueSize:
    """The size of a queue; visitors beyond it are refused at once."""

    at_once: int
    max_waiting: int

    def open(self) -> WaitingQueue:
        """A new queue of this size."""
        return WaitingQueue(self.at_once, self.max_waiting)


VISITORS = QueueSize(at_once=96, max_waiting=0)  # load a model or wait for it, each in a thread of THREADS
LOADS = QueueSize(at_once=64, max_waiting=0)  # of these load one, so that the others have room if theirs is loaded
ENCODE = QueueSize(at_once=1, max_waiting=64)  # embed a few texts, for seconds
PROGRAMS = QueueSize(at_once=1, max_waiting=24)  # wait for each other first: a visitor waits for one of them at most
V1_REQUESTS = 32  # of programs at a time, each in a thread of its own: PROGRAMS, and some who load a model
CORPORA = QueueSize(at_once=2, max_waiting=8)  # embed thousands of texts, for minutes; ENCODE runs between batches
DIAGNOSES = QueueSize(at_once=1, max_waiting=16)  # compare texts with each other, for ten seconds on all cores

EVENTS_AT_ONCE: Mapping[str, int | None] = {
    # Begin at once and report how long they wait in one of the queues above.
    "encode": None,
    "embed": None,
    "diagnose": None,
    # Wait in Gradio's queue.
    "read": 2,
    "project": 1,
    "place": 1,
    "save": 1,
}
"""How many of Gradio's events run at once, by concurrency id."""

MAX_EVENTS_WAITING = 256
THREADS = 160
