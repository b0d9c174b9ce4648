"""Which texts are computed next: the texts of all waiting requests, as batches. No threads, no clock, no model.

Two lanes take turns, batch by batch. The short lane has requests of a few tokens, such as a single query; the bulk
lane all others. So a query waits for one batch of the bulk, and a stream of queries leaves every other batch to it.

A lane takes texts for several batches at once and sorts them by length, whichever requests they are of: a window.
Of a long request it takes a share, and puts the rest behind the others, so that no request holds up all that follow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import Limits, TokenBatch, plan_batches
from e5studio.similarity import FloatArray

_BATCHES_PER_WINDOW = 16
_SHORT_SHARE = 4  # a request of up to this part of a batch is short


@dataclass(eq=False)
class Job:
    """The texts of one request that have the same model and prompt.

    Attributes:
        model: Name of the model; jobs of different models share no batch.
        limits: Of the model's backend.
        batch: Token ids of its different texts.
        vectors: Their vectors, (n, embed_dim), as far as they are computed.
        n_left: Texts without a vector.
        is_dropped: Nobody waits for it any more: it failed, or its client went away.
    """

    model: str
    limits: Limits
    batch: TokenBatch
    vectors: FloatArray
    n_left: int = field(init=False)
    is_dropped: bool = False
    _order: NDArray[np.intp] = field(init=False)
    _n_taken: int = 0

    def __post_init__(self) -> None:
        self.n_left = len(self.batch)
        self._order = np.argsort(-self.batch.lengths, kind="stable")

    @property
    def n_tokens(self) -> int:
        """Tokens of all its texts."""
        return int(self.batch.lengths.sum())

    @property
    def is_short(self) -> bool:
        """Whether it goes ahead of bulk."""
        return self.n_tokens * _SHORT_SHARE <= self.limits.token_budget

    def take(self, n_tokens: int) -> NDArray[np.intp]:
        """The next rows, the longest first, of at least one and about so many tokens in all."""
        rest = self._order[self._n_taken :]
        sums = np.cumsum(self.batch.lengths[rest])
        rows = rest[: max(1, int(np.searchsorted(sums, n_tokens, side="right")))]
        self._n_taken += len(rows)
        return rows

    @property
    def has_more(self) -> bool:
        """Whether rows are left to take."""
        return self._n_taken < len(self._order)


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Step(Generic[J]):
    """Texts to compute together: one batch.

    Attributes:
        model: Name of the model.
        parts: Jobs, and the rows of each.
    """

    model: str
    parts: tuple[tuple[J, NDArray[np.intp]], ...]

    def batch(self) -> TokenBatch:
        """The token ids, part after part."""
        selected = [job.batch.select(rows) for job, rows in self.parts]
        if len(selected) == 1:
            return selected[0]
        return TokenBatch(
            np.concatenate([each.ids for each in selected]), np.concatenate([each.lengths for each in selected])
        )

    def needed(self) -> Step[J]:
        """The same without the jobs for which nobody waits."""
        return Step(self.model, tuple((job, rows) for job, rows in self.parts if not job.is_dropped))

    def alone(self) -> Iterator[Step[J]]:
        """A step for each job."""
        for part in self.parts:
            yield Step(self.model, (part,))


class BatchQueue(Generic[J]):
    """Jobs in, steps out; not safe to share between threads."""

    def __init__(self) -> None:
        self._lanes: tuple[_Lane[J], _Lane[J]] = (_Lane(), _Lane())
        self._turn = 0

    def __len__(self) -> int:
        """Jobs that have texts to compute."""
        return sum(map(len, self._lanes))

    @property
    def n_short(self) -> int:
        """Short jobs that wait."""
        return len(self._lanes[0])

    def put(self, job: J) -> None:
        """Add a job."""
        self._lanes[0 if job.is_short else 1].put(job)

    def next(self) -> Step[J] | None:
        """The next batch, or None if there is nothing to compute."""
        for turn in (self._turn, 1 - self._turn):
            step = self._lanes[turn].next()
            if step is not None:
                self._turn = 1 - turn
                return step
        return None


class _Lane(Generic[J]):
    """Jobs in the order in which they came, and the steps of the current window."""

    def __init__(self) -> None:
        self._jobs: deque[J] = deque()
        self._steps: deque[Step[J]] = deque()
        self._last_model: str | None = None

    def __len__(self) -> int:
        return len({id(job) for step in self._steps for job, _ in step.parts} | {id(job) for job in self._jobs})

    def put(self, job: J) -> None:
        self._jobs.append(job)

    def next(self) -> Step[J] | None:
        while True:
            while self._steps:
                step = self._steps.popleft().needed()
                if step.parts:
                    return step
            self._drop_dropped()
            if not self._jobs:
                return None
            self._steps.extend(self._window())

    def _drop_dropped(self) -> None:
        if any(job.is_dropped for job in self._jobs):
            self._jobs = deque(job for job in self._jobs if not job.is_dropped)

    def _window(self) -> list[Step[J]]:
        """The next texts of the model whose turn it is."""
        first = next((job for job in self._jobs if job.model != self._last_model), self._jobs[0])
        model, limits = first.model, first.limits
        self._last_model = model
        jobs = [job for job in self._jobs if job.model == model]
        room = limits.token_budget * _BATCHES_PER_WINDOW
        share = max(limits.token_budget, room // len(jobs))
        taken: list[tuple[J, NDArray[np.intp]]] = []
        for job in jobs:
            if room <= 0:
                break
            rows = job.take(min(share, room))
            room -= int(job.batch.lengths[rows].sum())
            taken.append((job, rows))
        finished = {id(job) for job, _ in taken if not job.has_more}
        begun = {id(job) for job, _ in taken} - finished
        waiting = [job for job in self._jobs if id(job) not in finished | begun]
        self._jobs = deque([*waiting, *(job for job, _ in taken if id(job) in begun)])
        return _steps(model, limits, taken)


def _steps(model: str, limits: Limits, taken: list[tuple[J, NDArray[np.intp]]]) -> list[Step[J]]:
    """Texts of several jobs as batches of like lengths."""
    if len(taken) == 1 and len(taken[0][1]) == 1:  # one query: nothing to plan, and no time for it
        return [Step(model, (taken[0],))]
    owners = np.repeat(np.arange(len(taken)), [len(rows) for _, rows in taken])
    rows = np.concatenate([rows for _, rows in taken])
    lengths = np.concatenate([job.batch.lengths[rows] for job, rows in taken])
    steps = []
    for indices in plan_batches(lengths, limits):
        indices = indices[np.argsort(owners[indices], kind="stable")]
        of_job, starts = np.unique(owners[indices], return_index=True)
        groups = np.split(rows[indices], starts[1:])
        steps.append(Step(model, tuple((taken[owner][0], group) for owner, group in zip(of_job, groups, strict=True))))
    return steps
