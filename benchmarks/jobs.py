"""Jobs over a corpus: kills, speed against `encode_blocks`, memory over millions of rows. Run it by hand.

python benchmarks/jobs.py kills --workers 3
python benchmarks/jobs.py speed
python benchmarks/jobs.py memory --rows 2000000
python benchmarks/jobs.py ray
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpora import endless_short_texts
from machine import describe_machine
from memory import Watch, resident_mb

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).with_name("results") / "jobs.json"


def kills(folder: Path, n_kills: int, n_rows: int, n_workers: int) -> dict[str, Any]:
    """Kill a job over many small shards again and again; `tests/jobs/killing.py` compares the end."""
    from tests.checkpoints import make_checkpoint

    model = make_checkpoint("e5", folder).folder
    command = [sys.executable, "-m", "tests.jobs.killing", n_kills, n_rows, n_workers, 512, folder, model]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*map(str, command)], env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    counts: dict[str, Any] = json.loads(ended.stdout)
    return counts


def speed(folder: Path, n_rows: int, rounds: int, model: str, backend: Any) -> dict[str, Any]:
    """Seconds of `encode_blocks` and of a sharded job over the same texts, in turns."""
    from e5studio import E5Encoder
    from e5studio.jobs.folder import JobFolder
    from e5studio.jobs.plan import Plan
    from e5studio.jobs.run import read_corpus, run_job

    texts = list(itertools.islice(endless_short_texts(), n_rows))
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": row, "text": text}) + "\n" for row, text in enumerate(texts)))
    encoder = E5Encoder(model, backend=backend, device="cpu")
    prompt = encoder.resolve_prompt("document")
    seconds: dict[str, list[float]] = {"encode_blocks": [], "job": [], "job_with_planning": []}
    for round_ in range(rounds + 1):
        started = time.perf_counter()
        for _ in encoder.encode_blocks(texts, prompt=prompt):
            pass
        blocks = time.perf_counter() - started
        job = JobFolder(folder / f"out{round_}")
        started = time.perf_counter()
        corpus = read_corpus([path], {}, None, "truncate", job)
        plan = Plan(corpus, encoder.spec, prompt)
        job.begin(plan)
        planned = time.perf_counter()
        run_job(plan, job, encoder)
        ended = time.perf_counter()
        shutil.rmtree(job.path)
        if round_:  # the first warms up
            seconds["encode_blocks"].append(round(blocks, 2))
            seconds["job"].append(round(ended - planned, 2))
            seconds["job_with_planning"].append(round(ended - started, 2))
    ratios = [alone / ours for alone, ours in zip(seconds["encode_blocks"], seconds["job"], strict=True)]
    return {
        "rows": n_rows,
        "encoder": f"{model} {backend}",
        **seconds,
        "speed_of_the_job": [round(each, 3) for each in ratios],
    }


def ray(folder: Path, n_rows: int, n_kills: int, model: str, backend: Any) -> dict[str, Any]:
    """Rows a second of a local job and of two actors with a thread each; a job begun by a killed worker, ended by Ray.

    Each is counted from its second shard to its last, so that no start counts.
    """
    from e5studio import E5Encoder
    from e5studio.jobs.folder import JobFolder
    from e5studio.jobs.plan import Plan, Share
    from e5studio.jobs.ray import Actors, connected, run_on_ray
    from e5studio.jobs.run import Run, read_corpus, run_job
    from e5studio.options import ModelOptions
    from tests.jobs.killing import kill_all, shards, work

    path = folder / "texts.jsonl"
    texts = itertools.islice(endless_short_texts(), n_rows)
    path.write_text("".join(json.dumps({"id": row, "text": text}) + "\n" for row, text in enumerate(texts)))
    names = ("local", "ray", "one_thread", "killed", "local_again")
    jobs = {name: JobFolder(folder / name) for name in names}
    corpus = read_corpus([path], {}, None, "truncate", jobs["local"])
    rates: dict[str, float] = {}

    def rate_of(name: str, begin_after: int, run: Callable[[Callable[[Run], None]], Run]) -> None:
        ends: list[float] = []

        def note(run: Run) -> None:
            if len(run.records) > len(ends):
                ends.append(time.perf_counter())

        run(note)
        rates[name] = (len(ends) - begin_after) * plan.shard_rows / (ends[-1] - ends[begin_after - 1])

    encoder = E5Encoder(model, backend=backend, device="cpu")
    plan = Plan(corpus, encoder.spec, encoder.resolve_prompt("document"), shard_rows=n_rows // 16)
    for job in jobs.values():
        job.begin(plan)
    rate_of("local", 1, lambda note: run_job(plan, jobs["local"], encoder, on_run=note))
    encoder.close()
    os.environ["E5STUDIO_THREADS"] = "1"  # as of an actor
    encoder = E5Encoder(model, backend=backend, device="cpu")
    run_job(plan, jobs["one_thread"], encoder)
    half = Share(0, 2)
    kills = kill_all([lambda: work(plan, jobs["killed"], encoder, half, folder / "log")], n_kills, 20 / max(n_kills, 1))
    encoder.close()
    options = ModelOptions(model, backend=backend, device="cpu")
    with connected("local"):
        rate_of("ray", 2, lambda note: run_on_ray(plan, jobs["ray"], options, Actors(2), on_run=note))
        run_on_ray(plan, jobs["killed"], options, Actors(2))
    del os.environ["E5STUDIO_THREADS"]
    with E5Encoder(model, backend=backend, device="cpu") as again:  # others may have been at work beside one of them
        rate_of("local_again", 1, lambda note: run_job(plan, jobs["local_again"], again, on_run=note))
    expected = shards(jobs["one_thread"], plan)
    assert shards(jobs["ray"], plan) == expected, "the same bytes"
    assert shards(jobs["killed"], plan) == expected, "the same bytes"
    return {
        "rows": n_rows,
        "shards": plan.n_shards,
        "encoder": f"{model} {backend}",
        "rows_a_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ray_against_local": [round(rates["ray"] / rates[name], 3) for name in ("local", "local_again")],
        **kills,
        "bytes": "those of a local job with one thread: all by Ray; half by a killed worker and half by Ray",
    }


def memory(folder: Path, n_rows: int) -> dict[str, Any]:
    """The largest memory of a job over many short rows, after each tenth of them."""
    from e5studio import E5Encoder
    from e5studio.jobs.folder import JobFolder
    from e5studio.jobs.plan import Plan
    from e5studio.jobs.run import Run, read_corpus, run_job
    from tests.checkpoints import make_checkpoint

    path = folder / "texts.jsonl"
    with path.open("w") as file:
        for row in range(n_rows):
            file.write(f'{{"id": {row}, "text": "row {row % 1000} of many"}}\n')
    encoder = E5Encoder(make_checkpoint("e5", folder).folder, prompt_kind="query_passage", device="cpu")
    watch = Watch()
    loaded = resident_mb()
    job = JobFolder(folder / "out")
    plan = Plan(read_corpus([path], {}, None, "truncate", job), encoder.spec, encoder.resolve_prompt("document"))
    planned = watch.largest()
    job.begin(plan)
    largest: list[float] = []

    def note(run: Run) -> None:
        if run.n_done >= n_rows * (len(largest) + 1) / 10:
            largest.append(round(watch.largest(), 1))

    started = time.perf_counter()
    run_job(plan, job, encoder, on_run=note)
    return {
        "rows": n_rows,
        "seconds": round(time.perf_counter() - started, 1),
        "loaded_mb": round(loaded, 1),
        "planned_mb": round(planned, 1),
        "largest_mb_of_each_tenth": largest,
        "growth_mb": round(largest[-1] - largest[0], 1),
    }


def main() -> None:
    """Measure one of the four and add it to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["kills", "speed", "memory", "ray"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--backend", default="openvino")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, what = Path(name), options.what
        if what == "kills":
            what = f"kills, workers: {options.workers}"
            result = kills(folder, options.kills, options.rows or 20_000, options.workers)
        elif what == "speed":
            result = speed(folder, options.rows or 8192, options.rounds, options.model, options.backend)
        elif what == "ray":
            result = ray(folder, options.rows or 8192, min(options.kills, 10), options.model, options.backend)
        else:
            result = memory(folder, options.rows or 2_000_000)
    print(json.dumps(result))
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    results |= {"machine": describe_machine(), what: result}
    RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
