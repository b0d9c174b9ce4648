"""Seconds of a UMAP of 5,000 x 384 vectors: ours and plain `umap.UMAP(metric="cosine")`, first and later calls.

Each measurement is a process of its own, because the first call compiles; the kinds take turns. Beside the time,
the trustworthiness of each map, so that speed isn't bought with a worse one. Not a test: run it by hand; it
waits for a quiet machine.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from machine import describe_machine, is_quiet, load_of_others, wait_for_quiet
from numpy.typing import NDArray

from e5studio.analysis.map_quality import trustworthiness
from e5studio.analysis.umap_projection import umap, warm_umap

N_VECTORS = 5_000
DIM = 384
ROUNDS = 3
KINDS = ("e5studio", "e5studio, seed", "umap", "umap, seed")


def clusters() -> NDArray[np.float32]:
    """50 clusters of vectors whose cosines lie around 0.8, as E5's do."""
    rng = np.random.default_rng(0)
    centres = 1 + 0.5 * rng.standard_normal((50, DIM))
    rows = centres[rng.integers(50, size=N_VECTORS)] + 0.4 * rng.standard_normal((N_VECTORS, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def draw_map(kind: str, rows: NDArray[np.float32], n_components: int) -> NDArray[np.float32]:
    name, _, seeded = kind.partition(", ")
    seed = 0 if seeded else None
    if name == "e5studio":
        return umap(rows, n_components, seed=seed).coordinates
    from umap import UMAP

    return UMAP(n_components=n_components, metric="cosine", random_state=seed).fit_transform(rows)


def measure(kind: str) -> dict[str, float]:
    """Seconds of one kind in this process; the first call includes import and compilation."""
    warnings.simplefilter("ignore")
    rows = clusters()
    wait_for_quiet()
    seconds: dict[str, float] = {}
    before = load_of_others()
    for name, n_components in {"first": 2, "second": 2, "in 3D": 3}.items():
        started = time.perf_counter()
        points = draw_map(kind, rows, n_components)
        seconds[name] = time.perf_counter() - started
        if name == "second":
            seconds["trustworthiness"] = trustworthiness(rows, points, 15)
    seconds["quiet"] = float(is_quiet(before, load_of_others()))
    return seconds


def measure_warmed() -> dict[str, float]:
    """The same after `warm_umap` has ended."""
    wait_for_quiet()
    started = time.perf_counter()
    warm_umap().join()
    warming = time.perf_counter() - started
    return {"warming": warming, **measure("e5studio")}


def measure_alone(kind: str) -> dict[str, float]:
    """One kind in a process of its own, again where others disturbed it."""
    while True:
        done = subprocess.run([sys.executable, __file__, kind], capture_output=True, text=True, check=True)
        seconds: dict[str, float] = json.loads(done.stdout)
        if seconds.pop("quiet"):
            return seconds


def main() -> None:
    """Measure, print a table and write results/projection.json."""
    kinds = (*KINDS, "e5studio, warmed")
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            found[kind].append(measure_alone(kind))
    rows = {
        kind: {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
        for kind, runs in found.items()
    }
    for kind, row in rows.items():
        print(f"{kind:20} {row}")
    result = {
        "machine": describe_machine("numpy", "umap-learn", "numba", "pynndescent"),
        "vectors": N_VECTORS,
        "dimensions": DIM,
        "rounds": ROUNDS,
        "median seconds": rows,
    }
    Path(__file__).with_name("results").joinpath("projection.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(measure_warmed() if sys.argv[1].endswith("warmed") else measure(sys.argv[1])))
