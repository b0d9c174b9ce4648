"""What it brings that models work in large pages of memory: two processes in turn, one of which moves nothing.

    PYTHONPATH=. python benchmarks/large_pages.py [--model MODEL] [--rounds 8]

Both have worked for some seconds before anything is timed. Ratios are of neighbouring rounds; others at work on the
machine slow both. How much it brings depends on how the machine keeps its tables of pages: most on virtual ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.corpora import make_corpus
from benchmarks.machine import chip_result, describe_machine
from e5studio import E5Encoder
from e5studio.backends import large_pages

CASES = [("openvino", "float32"), ("openvino", "int8"), ("torch", "float32")]
_N_TEXTS, _N_QUERIES, _SECONDS_BEFORE = 24, 20, 10.0


def work(model: str, backend: str, dtype: str, moves: str) -> None:
    """Be one of the two processes: for each line on stdin, milliseconds a query and seconds for the texts."""
    if moves == "no":
        large_pages.clock.stop()
    encoder = E5Encoder(model, backend=backend, dtype=dtype, device="cpu")  # type: ignore[arg-type]
    texts, queries = make_corpus("mixed", _N_TEXTS).texts, make_corpus("queries", _N_QUERIES).texts
    while large_pages.clock.seconds < _SECONDS_BEFORE:
        encoder.encode_document(texts)
        encoder.encode_query(queries[0])
    sys.stdout.write("ready\n")
    for _ in sys.stdin:
        sys.stdout.flush()
        times = [time.perf_counter()]
        for query in queries:
            encoder.encode_query(query)
            times.append(time.perf_counter())
        encoder.encode_document(texts)
        seconds = time.perf_counter() - times[-1]
        print(json.dumps([1000 * float(np.median(np.diff(times))), seconds]), flush=True)
    status = Path("/proc/self/smaps_rollup").read_text().split("\n")
    sizes = {
        name: int(line.split()[1]) // 1024
        for line in status
        for name in ("Rss", "AnonHugePages")
        if line.startswith(f"{name}:")
    }
    print(json.dumps(sizes), flush=True)


def measure(model: str, backend: str, dtype: str, n_rounds: int) -> dict[str, object]:
    """The ratios of one backend in one precision: above 1, large pages are faster."""
    command = [sys.executable, __file__, "--model", model, "--work", backend, dtype]
    both = [
        subprocess.Popen([*command, moves], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for moves in ("no", "yes")
    ]
    rounds = np.array([[_ask(process) for process in both] for _ in range(n_rounds)])  # rounds, processes, figures
    memory = [json.loads(process.communicate()[0].splitlines()[-1]) for process in both]
    ratios = rounds[:, 0] / rounds[:, 1]
    quartiles = np.percentile(ratios, [25, 50, 75], axis=0).round(2).T.tolist()
    query, texts = np.median(rounds, axis=0).round(3).T.tolist()
    return {
        "query_ms": query,
        "texts_seconds": texts,
        "query_ratio_quartiles": quartiles[0],
        "texts_ratio_quartiles": quartiles[1],
        "memory_mb": memory,
    }


def _ask(process: subprocess.Popen[str]) -> list[float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    while (line := process.stdout.readline()).strip() in ("ready",):
        pass
    figures: list[float] = json.loads(line)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="multilingual-e5-small@4bit")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.model, *options.work)
        return
    figures = {}
    for backend, dtype in CASES:
        figures[f"{backend} {dtype}"] = each = measure(options.model, backend, dtype, options.rounds)
        print(backend, dtype, json.dumps(each), flush=True)
    result = {"machine": describe_machine("openvino", "torch"), "model": options.model, "rounds": options.rounds}
    chip_result("large_pages").write_text(json.dumps({**result, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
