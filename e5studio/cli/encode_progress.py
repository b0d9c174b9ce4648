"""What `e5studio encode` says: how far it is, and what it did."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import typer

from e5studio.cli.terminal import described_bar, say
from e5studio.files import RowStatus
from e5studio.jobs.corpus import Corpus
from e5studio.jobs.plan import Plan, Share
from e5studio.jobs.run import OnRun, Run

ProgressForm = Literal["bar", "json", "none"]
_JSON_EVERY = 1.0  # seconds
_KINDS: dict[RowStatus, str] = {
    "empty": "empty",
    "missing": "without a value",
    "bad_type": "not text",
    "bad_row": "unreadable",
    "failed": "with a vector that is not finite",
}


@contextmanager
def shown(plan: Plan, share: Share, form: ProgressForm) -> Iterator[OnRun]:
    """How far a run is, as a bar or as lines of JSON."""
    n_rows = sum(len(plan.rows_of(shard)) for shard in share.of(plan.n_shards))
    if form == "json":
        yield _JsonLines(n_rows).show
    elif form == "none":
        yield lambda run: None
    else:
        with described_bar(n_rows) as show:
            yield lambda run: show(0 if run.is_checking else n_rows - run.n_rows + run.n_done, _in_words(run))


class _JsonLines:
    """Writes a line a second, and one at the end."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows, self._next = n_rows, 0.0

    def show(self, run: Run) -> None:
        if time.perf_counter() < self._next and not run.is_finished:
            return
        self._next = time.perf_counter() + _JSON_EVERY
        if run.is_checking:
            self._print({"checked_shards": run.n_checked, "of_shards": run.n_to_check})
            return
        left = run.seconds_left
        line = {
            "rows": int(self._n_rows - run.n_rows + run.n_done),
            "of": self._n_rows,
            "rejected": run.n_rejected,
            "tokens": run.n_tokens,
            "tokens_per_second": round(run.n_tokens / run.seconds),
            "seconds": round(run.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
        }
        self._print(line)

    def _print(self, line: Mapping[str, object]) -> None:
        typer.echo(json.dumps(line))
        sys.stdout.flush()


def _in_words(run: Run) -> str:
    if run.is_checking:
        return f"checks the shards of earlier runs: {run.n_checked:,} of {run.n_to_check:,}"
    rejected = f", {run.n_rejected:,} rows without a vector" if run.n_rejected else ""
    left = "" if run.seconds_left is None else f", {_as_time(run.seconds_left)} left"
    return f"{run.n_tokens / run.seconds:,.0f} tokens/s{left}{rejected}"


def _as_time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def say_files_without_rows(corpus: Corpus) -> None:
    """Name the files that hold nothing to embed."""
    if paths := corpus.files_without_rows:
        more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
        names = ", ".join(Path(path).name for path in paths[:3])
        say(f"{len(paths):,} of {len(corpus.files):,} files have no rows: {names}{more}.")


def say_result(run: Run, plan: Plan, output: Path) -> None:
    """Say what was written, how fast, and what is wrong with some texts."""
    spec, progress = plan.encoder, run.progress
    say(
        f"Wrote {progress.vectors:,} vectors of {spec.embed_dim} dimensions to {output} "
        f"({spec.model}, prompt {plan.prompt.text!r}, fingerprint {spec.fingerprint})."
    )
    if run.n_tokens:
        say(
            f"{run.n_tokens:,} tokens in {run.seconds:.1f} s ({run.n_tokens / run.seconds:,.0f} a second) by "
            f"{spec.backend} in {spec.dtype}; padding was "
            f"{run.n_padding / (run.n_tokens + run.n_padding):.1%} of what was computed."
        )
    n_earlier = progress.rows + progress.rejected.total() - run.n_rows
    if len(run.records) < plan.n_shards:
        say(f"These are {len(run.records):,} of {plan.n_shards:,} shards; `e5studio jobs status` says what others did.")
    if n_earlier:
        say(f"{n_earlier:,} of the rows were embedded by earlier runs.")
    for sentence in run.notes.sentences().values():
        say(f"Warning: {sentence}", style="yellow")
    if n_rejected := progress.rejected.total():
        counts = ", ".join(
            f"{progress.rejected[status]:,} {kind}" for status, kind in _KINDS.items() if progress.rejected[status]
        )
        more = "; ..." if n_rejected > len(run.reasons) else ""
        say(
            f"Warning: {n_rejected:,} of {progress.rows + n_rejected:,} rows have no vector ({counts}): "
            f"{'; '.join(run.reasons)}{more}.",
            style="yellow",
        )
