"""Search of a folder of shards in place: 5,000,000 vectors of 384 dimensions in int8, as `e5studio search` does it.

The vectors are synthetic and as much alike as E5's (clusters, cosines near 0.8). Recall is that of the exact search
over the float32 vectors before they were stored. Run it by hand; it writes 10 GB to a temporary folder, and deletes it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import describe_machine
from numpy.typing import NDArray

from e5studio.jobs.corpus import Corpus, InputFile
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.plan import Plan
from e5studio.jobs.records import ShardRecord
from e5studio.jobs.search_index import SearchIndex
from e5studio.jobs.shard import parquet_options, stored
from e5studio.jobs.vectors import ShardVectors
from e5studio.prompts import Prompt
from e5studio.similarity import TopKSearch
from e5studio.spec import EncoderSpec

DIM = 384
TOP_K = 10
RESULT = Path(__file__).with_name("results") / "search_folder.json"

Floats = NDArray[np.float32]


def unit(rows: Floats) -> Floats:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


class Maker:
    """Draws vectors around 1,000 centres that are all near one mean."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        mean = unit(self._rng.standard_normal((1, DIM), dtype=np.float32))
        centres = unit(self._rng.standard_normal((1000, DIM), dtype=np.float32))
        self._centres = unit(mean + 0.4 * centres)
        # Each vector is a centre and one of these; drawn anew they would take most of the time.
        self._spread = 0.35 * unit(self._rng.standard_normal((200_000, DIM), dtype=np.float32))

    def draw(self, n: int) -> Floats:
        """As many vectors."""
        around = self._centres[self._rng.integers(1000, size=n)]
        return unit(around + self._spread[self._rng.integers(len(self._spread), size=n)])


def make_job(folder: JobFolder, n_vectors: int, precision: Any, queries: Floats, maker: Maker) -> NDArray[np.int64]:
    """Write a job as `encode` would, and return the rows that an exact search in float32 finds."""
    spec = EncoderSpec(
        model="synthetic",
        revision="sha256:0",
        prompt_kind="none",
        pooling="mean",
        max_tokens=512,
        backend="torch",
        dtype="float32",
        embed_dim=DIM,
    )
    corpus = Corpus((InputFile("/texts.txt", 1, "0" * 64, n_vectors),), {}, (), "text", {})
    plan = Plan(corpus, spec, Prompt("", None, None), precision=precision)
    folder.begin(plan)
    exact = TopKSearch(queries, top_k=TOP_K)
    for shard in range(plan.n_shards):
        rows = plan.rows_of(shard)
        vectors = maker.draw(len(rows))
        exact.add(vectors)
        codes = stored(vectors, precision)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(codes.reshape(-1)), codes.shape[1])
        table = pa.table({"row": pa.array(np.arange(rows.start, rows.stop)), "vector": lists})
        with folder.writing(plan, shard) as file:
            pq.write_table(table, file, row_group_size=4096, **parquet_options(table.column_names))
        path = folder.shard_path(plan, shard)
        size, digest = path.stat().st_size, hashlib.sha256(str(shard).encode()).hexdigest()
        record = ShardRecord(plan.digest, shard, size, len(rows), len(rows), {}, 0, digest, None, 0.0)
        folder.commit(plan, record, [])
    return exact.best.ids


def memory_kb(kind: str) -> int:
    """A line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


def measure(folder: Path, n_vectors: int, precision: Any, n_queries: int) -> dict[str, Any]:
    maker = Maker()
    queries = maker.draw(n_queries)
    expected = make_job(JobFolder(folder), n_vectors, precision, queries, maker)
    shards = ShardVectors(folder)
    started = time.perf_counter()
    index = SearchIndex(shards)
    building = time.perf_counter() - started
    index.search(queries[:1], TOP_K)
    before = memory_kb("RssAnon:"), memory_kb("VmRSS:")
    milliseconds, hits = [], 0
    for row, query in enumerate(queries):
        started = time.perf_counter()
        best = index.search(query[None], TOP_K)
        milliseconds.append((time.perf_counter() - started) * 1000)
        hits += len(set(best.ids[0].tolist()) & set(expected[row].tolist()))
    return {
        "vectors": n_vectors,
        "dimensions": DIM,
        "precision": precision,
        "index_bytes": index.path.stat().st_size,
        "index_written_in_seconds": round(building, 1),
        "queries_one_by_one": n_queries,
        "milliseconds_median": round(statistics.median(milliseconds), 1),
        "milliseconds_p95": round(sorted(milliseconds)[int(0.95 * len(milliseconds))], 1),
        "milliseconds_max": round(max(milliseconds), 1),
        "recall_at_10_against_float32": round(hits / (TOP_K * n_queries), 4),
        "anonymous_memory_growth_mb": round((memory_kb("RssAnon:") - before[0]) / 1024, 1),
        "resident_memory_mb": round(memory_kb("VmRSS:") / 1024, 1),
        "resident_memory_growth_mb": round((memory_kb("VmRSS:") - before[1]) / 1024, 1),
    }


def main() -> None:
    """Measure one precision and add it to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=5_000_000)
    parser.add_argument("--precision", default="int8", choices=["int8", "ubinary", "float16"])
    parser.add_argument("--queries", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="e5studio-search-") as name:
        result = measure(Path(name) / "job", options.vectors, options.precision, options.queries)
    print(json.dumps(result, indent=1))
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    results |= {"machine": describe_machine("numpy", "torch", "pyarrow"), options.precision: result}
    RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
