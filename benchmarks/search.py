"""Exact top 10 of 1,000 queries in 1,000,000 x 384 vectors, as a ratio to the matrix product alone.

Both run in turn in this process, on the same cores, over several rounds; a round gives one ratio. The vectors are
easy (random), usual (much alike, clusters) and hostile (copies, the best always last). Beside it: numpy's partial
sort, and torch's and faiss where installed. Not a test: run it by hand; it waits for a quiet machine.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import describe_machine, is_quiet, load_of_others, wait_for_quiet
from numpy.typing import NDArray

from e5studio.similarity import TopK, cos_sim, top_k_search

N_VECTORS = 1_000_000
N_QUERIES = 1_000
DIM = 384
TOP_K = 10
ROUNDS = 7
SLICE = 100_000

Floats = NDArray[np.float32]
Search = Callable[[Floats, Floats], TopK]


def unit(rows: Floats) -> Floats:
    """The rows, scaled in place to length 1."""
    for start in range(0, len(rows), SLICE):
        part = rows[start : start + SLICE]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def draw(rng: np.random.Generator, n: int, *, around: Floats | float = 0.0, spread: float = 1.0) -> Floats:
    """Unit vectors scattered around given ones."""
    rows = unit(rng.standard_normal((n, DIM), dtype=np.float32))
    rows *= spread
    rows += around
    return unit(rows)


def random_vectors(rng: np.random.Generator) -> tuple[Floats, Floats]:
    return draw(rng, N_QUERIES), draw(rng, N_VECTORS)


def alike_vectors(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """All cosines near 0.8, as E5's are."""
    mean = draw(rng, 1)
    return draw(rng, N_QUERIES, around=mean, spread=0.5), draw(rng, N_VECTORS, around=mean, spread=0.5)


def clustered_vectors(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """1,000 clusters one after the other, each query inside one of them."""
    centres = draw(rng, 1000)
    corpus = draw(rng, N_VECTORS, around=np.repeat(centres, N_VECTORS // 1000, axis=0), spread=0.5)
    return draw(rng, N_QUERIES, around=centres[rng.integers(1000, size=N_QUERIES)], spread=0.5), corpus


def best_last_vectors(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Vectors much alike in ascending order for all queries: every block holds a better ten than all before it."""
    queries, corpus = alike_vectors(rng)
    queries = draw(rng, N_QUERIES, around=queries[:1], spread=1e-3)
    return queries, corpus[np.argsort(corpus @ queries[0])]


def copied_vectors(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """1,000 vectors, 1,000 times each, in random order."""
    queries, corpus = alike_vectors(rng)
    return queries, corpus[rng.integers(1000, size=N_VECTORS)]


def product_alone(queries: Floats, corpus: Floats) -> None:
    """Every cosine, in blocks of the size that was fastest here, thrown away."""
    buffer = np.empty((4096, len(queries)), np.float32)
    for start in range(0, len(corpus), 4096):
        rows = corpus[start : start + 4096]
        np.matmul(rows, queries.T, out=buffer[: len(rows)])


def e5studio_search(queries: Floats, corpus: Floats) -> TopK:
    return top_k_search(queries, corpus, top_k=TOP_K)


def numpy_argpartition(queries: Floats, corpus: Floats) -> TopK:
    found = []
    for start in range(0, len(queries), 100):
        cosines = queries[start : start + 100] @ corpus.T
        ids = np.argpartition(cosines, -TOP_K, axis=1)[:, -TOP_K:]
        found.append(np.take_along_axis(ids, np.argsort(-np.take_along_axis(cosines, ids, 1), axis=1), 1))
    return TopK(np.empty(0, np.float32), np.concatenate(found))


def torch_topk(queries: Floats, corpus: Floats) -> TopK:
    """Product and `torch.topk` of 100 queries at a time, as sentence-transformers' semantic_search does it."""
    import torch

    rows = torch.from_numpy(corpus)
    parts = torch.from_numpy(queries).split(100)
    return TopK(np.empty(0, np.float32), torch.cat([(part @ rows.T).topk(TOP_K).indices for part in parts]).numpy())


def ratios(search: Search, queries: Floats, corpus: Floats, rounds: int) -> dict[str, float]:
    """Time of a search / time of the product, in turn.

    The first round warms up and isn't counted. Nor are rounds that other processes disturbed: they are repeated.
    """
    products, searches, disturbed = [], [], -1
    while len(searches) < rounds:
        wait_for_quiet()
        before = load_of_others()
        started = time.perf_counter()
        product_alone(queries, corpus)
        between = time.perf_counter()
        search(queries, corpus)
        ended = time.perf_counter()
        if disturbed < 0 or not is_quiet(before, load_of_others()):
            disturbed += 1
            continue
        products.append(between - started)
        searches.append(ended - between)
    each = [ours / product for ours, product in zip(searches, products, strict=True)]
    return {
        "ratio_median": round(statistics.median(each), 3),
        "ratio_min": round(min(each), 3),
        "ratio_max": round(max(each), 3),
        "search_seconds_median": round(statistics.median(searches), 3),
        "product_seconds_median": round(statistics.median(products), 3),
        "rounds": len(each),
        "rounds_repeated": disturbed,
    }


def agreement(queries: Floats, corpus: Floats) -> float:
    """Share of 50 queries whose scores equal those of a full sort."""
    cosines = cos_sim(queries[:50], corpus)
    best = -np.sort(-cosines, axis=1)[:, :TOP_K]
    found = top_k_search(queries[:50], corpus, top_k=TOP_K)
    at_ids = np.take_along_axis(cosines, found.ids, axis=1)
    return float((np.abs(at_ids - best) < 2e-6).all(axis=1).mean())


def faiss_search(corpus: Floats) -> Search:
    import faiss

    index = faiss.IndexFlatIP(DIM)
    index.add(corpus)
    return lambda queries, _: TopK(*index.search(queries, TOP_K))


def main() -> None:
    """Measure, print a table and write results/search.json."""
    makers = [random_vectors, alike_vectors, clustered_vectors, copied_vectors, best_last_vectors]
    found: dict[str, dict[str, object]] = {}
    for number, make in enumerate(makers):
        name = make.__name__.removesuffix("_vectors").replace("_", " ")
        queries, corpus = make(np.random.default_rng(number))
        found[name] = {"e5studio": ratios(e5studio_search, queries, corpus, ROUNDS)}
        found[name]["e5studio equals full sort"] = agreement(queries, corpus)
        if make in (random_vectors, best_last_vectors):
            found[name].update(peers(queries, corpus))
        for system, row in found[name].items():
            print(f"{name:12} {system:32} {row}", flush=True)
    result = {
        "machine": describe_machine("numpy", "torch", "faiss-cpu"),
        "vectors": N_VECTORS,
        "dimensions": DIM,
        "queries": N_QUERIES,
        "top_k": TOP_K,
        "ratio": "time of the search / time of the matrix product alone, in turn in one process",
        "slice": f"numpy and torch: the first {SLICE} vectors, against the product of that slice",
        "results": found,
    }
    Path(__file__).with_name("results").joinpath("search.json").write_text(json.dumps(result, indent=2) + "\n")


def peers(queries: Floats, corpus: Floats) -> dict[str, object]:
    rows: dict[str, object] = {"numpy argpartition (slice)": ratios(numpy_argpartition, queries, corpus[:SLICE], 3)}
    if importlib.util.find_spec("torch"):
        rows["torch topk (slice)"] = ratios(torch_topk, queries, corpus[:SLICE], 3)
    if importlib.util.find_spec("faiss"):
        rows["faiss IndexFlatIP"] = ratios(faiss_search(corpus), queries, corpus, 3)
    else:
        print("faiss is not installed; its row is left out", file=sys.stderr)
    return rows


if __name__ == "__main__":
    main()
