"""A job of 1,000,000,000 passages on paper: machines, hours, bytes and money, and what failures cost.

The rates of processors are measured ones of benchmarks/README.md; those of GPUs are published by others and named so.
Prices and times between failures are assumed. Seconds of a shard scatter as those of a job did that was measured
(`--folder` takes another's records). Seeded: it prints the same each time, in a second. docs/scale.md explains it.

python benchmarks/scale.py
python benchmarks/scale.py --folder VECTORS
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

N_PASSAGES = 1_000_000_000
N_TOKENS = 100
"""Of a passage."""
SHARD_ROWS = 16_384
DIM = 384
BYTES = {"float32": 4 * DIM, "float16": 2 * DIM, "int8": DIM, "binary": DIM // 8}
DOLLARS_PER_GB_MONTH = 0.023
RESULT = Path(__file__).with_name("results") / "scale.json"


@dataclass(frozen=True)
class Worker:
    """A machine, or a GPU of one.

    Attributes:
        name: What it is, and whose figure.
        tokens_per_second: Its rate.
        dollars_per_hour: Its price, assumed.
        hours_to_failure: Mean time until it is taken away or fails, assumed.
        seconds_to_start: Until its successor embeds, assumed.
    """

    name: str
    tokens_per_second: float
    dollars_per_hour: float
    hours_to_failure: float
    seconds_to_start: float


CPU_SMALL = Worker("2 Xeon cores (AMX), int8 by OpenVINO, shape of e5-small, measured", 11_210, 0.04, 24, 90)
CPU_REAL = Worker(
    "2 Xeon cores (AMX), int8 by OpenVINO, multilingual-e5-small on SciFact, measured", 8_446, 0.04, 24, 90
)
GPU_TOKENS = Worker("an A10G, Arctic Embed, 230,000 tokens/s, published by Snowflake", 230_000, 1.0, 12, 240)
ARTAIN = "8 A100, multilingual-e5-small, 357,893 short texts/s, published by Artain"
ARTAIN_TEXTS_PER_SECOND = 357_893
ARTAIN_DOLLARS = 6.75 * N_PASSAGES / 685_000_000


@dataclass(frozen=True)
class Outcome:
    """A simulated job.

    Attributes:
        workers: How many machines.
        hours: Until the last shard is done.
        machine_hours: Paid for.
        dollars: For these.
        failures: Machines that were lost.
        lost_share: Of the work, what failures made twice.
        waiting_share: Of the paid time, what workers waited for the last shard.
    """

    workers: int
    hours: float
    machine_hours: float
    dollars: float
    failures: int
    lost_share: float
    waiting_share: float


def simulate(worker: Worker, n_workers: int, scatter: list[float], *, is_static: bool, seed: int = 0) -> Outcome:
    """Let workers make all shards; a failure costs the shard at hand and the time to start again.

    Args:
        worker: The kind of machine.
        n_workers: How many.
        scatter: Seconds of shards over their mean.
        is_static: Whether each has its share from the beginning (--shard-of), or takes the next (--ray).
        seed: Of the random numbers.
    """
    chance = random.Random(seed)
    n_shards = math.ceil(N_PASSAGES / SHARD_ROWS)
    usual = SHARD_ROWS * N_TOKENS / worker.tokens_per_second
    left = [len(range(rank, n_shards, n_workers)) for rank in range(n_workers)]
    queue, ends = n_shards, [0.0] * n_workers
    failing = [chance.expovariate(1 / (3600 * worker.hours_to_failure)) for _ in range(n_workers)]
    ready = [(0.0, rank) for rank in range(n_workers)]
    failures, lost, worked = 0, 0.0, 0.0
    while ready:
        now, rank = heapq.heappop(ready)
        if (left[rank] if is_static else queue) == 0:
            ends[rank] = now
            continue
        seconds = usual * chance.choice(scatter)
        if now + seconds > failing[rank]:
            failures += 1
            lost += max(failing[rank] - now, 0)
            now = max(failing[rank], now) + worker.seconds_to_start
            failing[rank] = now + chance.expovariate(1 / (3600 * worker.hours_to_failure))
            heapq.heappush(ready, (now, rank))
            continue
        worked += seconds
        left[rank] -= 1
        queue -= 1
        heapq.heappush(ready, (now + seconds, rank))
    hours, paid = max(ends) / 3600, sum(ends) / 3600
    waiting = 1 - sum(ends) / (max(ends) * n_workers)
    dollars = paid * worker.dollars_per_hour
    return Outcome(
        n_workers,
        round(hours, 2),
        round(paid, 1),
        round(dollars, 2),
        failures,
        round(lost / worked, 4),
        round(waiting, 4),
    )


def scatter_of(folder: Path) -> list[float]:
    """The seconds a token of a job's shards over their mean, from its records, as 19 quantiles."""
    records = [json.loads(path.read_bytes()) for path in (folder / "manifest").glob("*.json")]
    seconds = [record["seconds"] / record["tokens"] for record in records if record["tokens"]]
    mean = statistics.fmean(seconds)
    return [round(each / mean, 3) for each in statistics.quantiles(seconds, n=20)]


def main() -> None:
    """Simulate, print and write results/scale.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="A finished job, whose shards' seconds are taken.")
    folder = parser.parse_args().folder
    scatter = json.loads(RESULT.read_text())["scatter"] if folder is None else scatter_of(folder)
    rows = {}
    for worker, counts in ((CPU_SMALL, (100, 1000)), (CPU_REAL, (100, 1000)), (GPU_TOKENS, (8, 64))):
        for n_workers in counts:
            for is_static in (True, False):
                name = f"{worker.name}; {'static shares' if is_static else 'a queue'}; {n_workers}"
                rows[name] = asdict(simulate(worker, n_workers, scatter, is_static=is_static))
                print(name, rows[name])
    storage = {
        precision: {
            "gigabytes": round(N_PASSAGES * n_bytes / 1e9),
            "dollars_a_month": round(N_PASSAGES * n_bytes / 1e9 * DOLLARS_PER_GB_MONTH, 2),
        }
        for precision, n_bytes in BYTES.items()
    }
    published = {
        "hours_on_8_A100": round(N_PASSAGES / ARTAIN_TEXTS_PER_SECOND / 3600, 2),
        "dollars": round(ARTAIN_DOLLARS, 2),
        "whose": ARTAIN,
    }
    result = {
        "passages": N_PASSAGES,
        "tokens_of_a_passage": N_TOKENS,
        "shards": math.ceil(N_PASSAGES / SHARD_ROWS),
        "scatter": scatter,
        "storage": storage,
        "published": published,
        "simulated": rows,
    }
    print(json.dumps({"storage": storage, "published": published}))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
