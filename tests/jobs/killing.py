"""A program that kills the workers of a job at random moments, and compares the end with a whole run.

Usage: python -m tests.jobs.killing N_KILLS N_ROWS N_WORKERS SHARD_ROWS FOLDER MODEL. It prints counts, or fails.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from e5studio.cli.encode import encode_to_file, parts_folder
from e5studio.encoder import E5Encoder
from e5studio.files.parquet import open_parquet
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.plan import Layout, Plan, Share
from e5studio.jobs.run import read_corpus, run_job

BAD_EVERY = 97


def main(n_kills: int, n_rows: int, n_workers: int, shard_rows: int, folder: Path, model: str) -> None:
    """Kill the workers of a folder of shards, and then a run to a single file."""
    texts = folder / "texts.jsonl"
    with texts.open("w", encoding="utf-8") as file:
        for row in range(n_rows):
            text = " " if row % BAD_EVERY == 5 else f"text {row} " + "cat dog " * (row % 9)
            file.write(json.dumps({"id": row, "text": text}) + "\n")
    encoder = E5Encoder(model, prompt_kind="query_passage", backend="torch", device="cpu")
    prompt = encoder.resolve_prompt("document")

    def plan_of(layout: Layout) -> Plan:
        keep = () if layout == "parts" else None
        corpus = read_corpus([texts], {}, keep, "truncate", JobFolder(folder / "none"))
        return Plan(corpus, encoder.spec, prompt, shard_rows=shard_rows, layout=layout)

    plan = plan_of("parquet")
    whole, killed = JobFolder(folder / "whole"), JobFolder(folder / "killed")
    log = folder / "log"
    started = time.perf_counter()
    wait_for(start(lambda: work(plan, whole, encoder, Share(), folder / "log of whole")))
    seconds = time.perf_counter() - started

    shares = [Share(rank, n_workers) for rank in range(n_workers)]
    counts = kill_all(
        [lambda share=share: work(plan, killed, encoder, share, log) for share in shares],  # type: ignore[misc]
        n_kills,
        seconds / max(n_kills, 1) * 2 * n_workers,
    )
    expected = shards(whole, plan)
    assert shards(killed, plan) == expected, "the same bytes"
    check_rows(killed, plan)
    n_again = len(log.read_text().split()) - plan.n_shards
    assert n_again <= counts["kills"], "at most one shard a kill"

    parts = plan_of("parts")
    right, output = folder / "right.npy", folder / "v.npy"
    encode_to_file(parts, encoder, right)
    of_file = kill_all([lambda: encode_to_file(parts, encoder, output)], n_kills, seconds / max(n_kills, 1) * 2)
    assert output.read_bytes() == right.read_bytes()
    assert not parts_folder(output).exists()
    sys.stdout.write(
        json.dumps(
            {
                "rows": n_rows,
                "workers": n_workers,
                "seconds_of_a_whole_run": round(seconds, 2),
                **counts,
                "shards": plan.n_shards,
                "shards_begun_again": n_again,
                **{f"{name}_of_a_single_file": count for name, count in of_file.items()},
            }
        )
        + "\n"
    )


def work(plan: Plan, folder: JobFolder, encoder: E5Encoder, share: Share, log: Path) -> None:
    """What a worker does; each shard that it begins is a line of the log."""
    folder.begin(plan)
    run_job(plan, LoggedFolder(folder.path, log), encoder, share)


class LoggedFolder(JobFolder):
    """Notes each shard that is begun."""

    def __init__(self, path: Path, log: Path) -> None:
        super().__init__(path)
        self._log = log

    def writing(self, plan: Plan, shard: int) -> AbstractContextManager[BinaryIO]:
        with self._log.open("a") as file:
            file.write(f"{shard}\n")
        return super().writing(plan, shard)


def kill_all(works: list[Callable[[], object]], n_kills: int, mean_seconds: float) -> dict[str, int]:
    """Start all, kill one at a random moment and start it again, until there were enough kills; then let them end."""
    chance = random.Random(len(works))
    workers = [start(each) for each in works]
    kills = dict.fromkeys(("kills", "kills_after_the_end"), 0)
    while sum(kills.values()) < n_kills:
        time.sleep(chance.uniform(0, mean_seconds / len(works)))
        index = chance.randrange(len(works))
        os.kill(workers[index], signal.SIGKILL)
        _, status = os.waitpid(workers[index], 0)
        kills["kills" if os.WIFSIGNALED(status) else "kills_after_the_end"] += 1
        workers[index] = start(works[index])
    for worker in workers:
        wait_for(worker)
    return kills


def start(work: Callable[[], object]) -> int:
    """A process that does the work."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except FileExistsError:
            code = 0
        except OSError as error:  # a single file that was finished before
            code = 0 if "exists already" in str(error) else 1
            sys.stderr.write(f"{error}\n" if code else "")
        finally:
            os._exit(code)
    return child


def wait_for(worker: int) -> None:
    """Wait for a process that should end well."""
    _, status = os.waitpid(worker, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def shards(folder: JobFolder, plan: Plan) -> dict[str, bytes]:
    """What the shards and the rejects hold, by name."""
    paths = [folder.shard_path(plan, shard) for shard in range(plan.n_shards)]
    rejects = [folder.rejects_path(plan, shard) for shard in range(plan.n_shards)]
    return {path.name: path.read_bytes() for path in [*paths, *(path for path in rejects if path.exists())]}


def check_rows(folder: JobFolder, plan: Plan) -> None:
    """Every row is there once, with a vector or among the rejects."""
    rows = [reject.row for shard in range(plan.n_shards) for reject in folder.rejects(plan, shard)]
    assert all(row % BAD_EVERY == 5 for row in rows)
    for shard in range(plan.n_shards):
        with open_parquet(folder.shard_path(plan, shard)) as file:
            rows += file.read(columns=["row"]).column("row").to_pylist()
    assert np.array_equal(np.sort(rows), np.arange(plan.corpus.n_rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]), Path(sys.argv[5]), sys.argv[6])
