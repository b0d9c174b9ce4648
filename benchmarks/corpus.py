"""What a visitor of the Studio waits for who brings 50,000 texts, and what that costs the others and the memory.

    PYTHONPATH=. python benchmarks/corpus.py

Texts are sentences out of docstrings, drawn with a fixed seed; the model is the offline all-MiniLM-L6-v2. Embedding
is timed on 3,000 of them, in turn with the encoder alone. The 50,000 vectors that are searched and mapped are random
ones in clusters, put onto a shelf as if they had been embedded: embedding them all would take minutes and show nothing
more. Nothing is repeated where others disturb it: what they took stands beside the figures. Not a test: run it by
hand, on a machine that does nothing else.
"""

from __future__ import annotations

import csv
import gc
import itertools
import json
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import tables
from corpora import docstrings
from machine import describe_machine, load_of_others
from memory import Watch, resident_mb
from numpy.typing import NDArray

from e5studio.analysis.umap_projection import warm_umap
from e5studio.model_pool import ModelPool
from e5studio.models import OFFLINE_MODEL
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.embedding import EmbeddingProgress, embed_corpus
from e5studio.studio.corpus.map import place_corpus
from e5studio.studio.corpus.map_figure import colour_corpus, draw_corpus_map
from e5studio.studio.corpus.search import search_corpus
from e5studio.studio.corpus.table_file import choose_columns, read_table
from e5studio.studio.corpus.vector_store import TokenStats, VectorStore
from e5studio.studio.corpus.visitor_store import VisitorStore, VisitorStores
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.map.placing import MapSettings
from e5studio.studio.serving.downloads import Downloads, as_payload

RESULT = Path(__file__).with_name("results") / "corpus.json"
N_TEXTS = 50_000
N_EMBEDDED = 3_000
N_QUERIES = 50
N_CLUSTERS = 50
ROUNDS = 3
SETTING = CorpusSetting(OFFLINE_MODEL, "none")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")

CorpusEvaluation = dict[str, Any]


def make_texts(count: int) -> list[str]:
    """Texts of 20 to 60 words, sentences out of docstrings; hardly two alike."""
    pieces = (" ".join(piece.split()) for text in docstrings() for piece in _SENTENCE_END.split(text))
    sentences = [piece for piece in pieces if 4 <= len(piece.split()) <= 40]
    rng = np.random.default_rng(0)
    texts = []
    for length in rng.integers(20, 61, count).tolist():
        words: list[str] = []
        while len(words) < length:
            words += sentences[int(rng.integers(len(sentences)))].split()
        texts.append(" ".join(words[:length]))
    return texts


def make_vectors(count: int, dim: int) -> NDArray[np.float32]:
    """Unit vectors in clusters, whose cosines within a cluster lie around 0.5."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((N_CLUSTERS, dim), np.float32)
    rows = centres[rng.integers(N_CLUSTERS, size=count)] + rng.standard_normal((count, dim), np.float32)
    found: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def seconds_of(action: Callable[[], object]) -> float:
    """What an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def spread(values: list[float], digits: int = 3) -> dict[str, float]:
    """Median, least and most."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def measure_reading(texts: list[str], store: VisitorStore) -> CorpusEvaluation:
    """A CSV of all texts -> a table and a corpus on the shelf."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("id", "text"), *enumerate(texts)])
        n_bytes = path.stat().st_size

        def read() -> None:
            store.set_table(read_table(path, name="texts.csv"))

        reading = seconds_of(read)
    assert store.table is not None
    table = store.table
    choosing = seconds_of(lambda: store.set_corpus(choose_columns(table, "text")))
    return {"megabytes": round(n_bytes / 1e6, 1), "reading": round(reading, 2), "choosing": round(choosing, 2)}


def measure_embedding(engine: Engine, texts: list[str]) -> CorpusEvaluation:
    """`embed_corpus` and the encoder alone, in turn, on the same texts."""
    corpus = Corpus("texts", tuple(texts), tuple(range(1, len(texts) + 1)))
    alone: list[float] = []
    ours: list[float] = []
    with engine.lease(engine.catalog.offered(OFFLINE_MODEL), lambda share, words: None) as encoder:
        encoder.encode_document(texts[:200])
        for _ in range(ROUNDS):
            alone.append(seconds_of(lambda: encoder.encode_document(texts)))
            ours.append(seconds_of(lambda: embed_corpus(engine, corpus, SETTING, VectorStore(), _ignore)))
        backend, dtype = encoder.spec.backend, encoder.spec.dtype
    return {
        "texts": len(texts),
        "rounds": ROUNDS,
        "backend": f"{backend} {dtype}",
        "encode_document, seconds": spread(alone, 2),
        "embed_corpus, seconds": spread(ours, 2),
        "ratio": spread([mine / other for mine, other in zip(ours, alone, strict=True)]),
    }


def measure_other_visitor(engine: Engine, texts: list[str]) -> CorpusEvaluation:
    """Seconds of a small Score, alone and while a corpus is being embedded."""
    corpus = Corpus("texts", tuple(texts), tuple(range(1, len(texts) + 1)))
    has_begun = threading.Event()

    def on_news(news: EmbeddingProgress) -> None:
        if news.doing == "Embedding":
            has_begun.set()

    def score(number: int) -> float:
        request = ScoreRequest(OFFLINE_MODEL, "none", f"what is number {number}", f"This is {number}.\nAnother one.")
        return seconds_of(lambda: engine.score(request))

    alone = [score(number) for number in range(N_QUERIES)]
    work = threading.Thread(target=lambda: embed_corpus(engine, corpus, SETTING, VectorStore(), on_news))
    work.start()
    has_begun.wait()
    beside: list[float] = []
    while work.is_alive():
        beside.append(score(1000 + len(beside)))
    work.join()
    return {"alone": spread(alone), "while a corpus is embedded": spread(beside[:-1]), "scores": len(beside) - 1}


def fill_store(engine: Engine, store: VisitorStore) -> EmbeddedCorpus:
    """The store's corpus with random vectors in place of embedded ones."""
    assert store.corpus is not None
    with engine.lease(engine.catalog.offered(OFFLINE_MODEL), lambda share, words: None) as encoder:
        spec = encoder.spec
    vectors = store.vectors.open(spec.fingerprint, "", store.corpus.documents, spec.embed_dim)
    missing = vectors.missing_rows()
    vectors.add(missing, make_vectors(len(missing), spec.embed_dim), TokenStats.nothing(len(missing)))
    embedded = embed_corpus(engine, store.corpus, SETTING, store.vectors, _ignore)
    assert embedded.n_embedded == 0
    store.set_embedded(embedded)
    return embedded


def measure_search(engine: Engine, embedded: EmbeddedCorpus, queries: list[str]) -> CorpusEvaluation:
    """Seconds of a search, the query's embedding and the scores of all texts among them."""

    def search(query: str) -> float:
        return seconds_of(lambda: search_corpus(engine, embedded, query))

    search("a first one")
    return spread([search(query) for query in queries])


def measure_pca(embedded: EmbeddedCorpus) -> CorpusEvaluation:
    """Seconds from vectors to points, to a figure, to what is sent."""
    placing = time.perf_counter()
    placed = place_corpus(embedded, MapSettings())
    drawing = time.perf_counter()
    figure = draw_corpus_map(embedded, placed, colour_corpus(embedded))
    posting = time.perf_counter()
    as_payload(figure, Downloads())
    ended = time.perf_counter()
    return {
        "placing": round(drawing - placing, 2),
        "figure": round(posting - drawing, 2),
        "posted": round(ended - posting, 2),
    }


def measure_umap(embedded: EmbeddedCorpus) -> CorpusEvaluation:
    """Seconds of a UMAP, and the longest time in which it tells nothing and cannot be stopped."""
    told = [(time.perf_counter(), "the beginning")]
    place_corpus(embedded, MapSettings("umap"), lambda _, words: told.append((time.perf_counter(), words)))
    told.append((time.perf_counter(), "the end"))
    silences = [(later - earlier, words) for (earlier, words), (later, _) in itertools.pairwise(told)]
    longest, after = max(silences)
    return {
        "seconds": round(told[-1][0] - told[0][0], 1),
        "longest silence": round(longest, 2),
        "after": after,
    }


def measure() -> CorpusEvaluation:
    """All of it, in this process."""
    load, others = [round(each, 2) for each in os.getloadavg()], load_of_others()
    texts = make_texts(N_TEXTS)
    engine = Engine(ModelPool())
    engine.load(OFFLINE_MODEL)
    warm_umap().join()  # as the page does before anybody asks
    found: CorpusEvaluation = {
        "machine": describe_machine("torch", "openvino", "numpy", "umap-learn", "numba"),
        "load average before": load,
        "texts": N_TEXTS,
        "different texts": len(set(texts)),
        "vectors": f"searched and mapped: random, in {N_CLUSTERS} clusters; embedding is timed on {N_EMBEDDED:,} texts",
        "embedding": measure_embedding(engine, texts[:N_EMBEDDED]),
        "another visitor's score, seconds": measure_other_visitor(engine, texts[:N_EMBEDDED]),
    }
    gc.collect()
    watch = Watch()
    memory = {"before the corpus": round(resident_mb(), 1)}
    stores = VisitorStores()
    token, store = stores.open_or_create()
    found["a CSV, seconds"] = measure_reading(texts, store)
    embedded = fill_store(engine, store)
    memory["with all on the store"] = round(resident_mb(), 1)
    queries = [" ".join(text.split()[:8]) for text in texts[:N_QUERIES]]
    found["a search, seconds"] = measure_search(engine, embedded, queries)
    found["PCA, seconds"] = measure_pca(embedded)
    memory["most until PCA"] = watch.largest()
    found["UMAP"] = measure_umap(embedded)
    memory["most in UMAP"] = watch.largest()
    n_bytes = stores.n_bytes
    stores.forget(token)
    del store, embedded
    gc.collect()
    memory["after the store is forgotten"] = round(resident_mb(), 1)
    found["memory, MB"] = memory
    found["the shelf counts, MB"] = round(n_bytes / 2**20, 1)
    seconds, busy = (after - before for before, after in zip(others, load_of_others(), strict=True))
    found["cores that others took"] = round(busy / seconds, 2)
    found["load average after"] = [round(each, 2) for each in os.getloadavg()]
    return found


def _ignore(news: EmbeddingProgress) -> None:
    return None


def main() -> None:
    """Measure, print, write results/corpus.json and the tables."""
    result = measure()
    for name, row in result.items():
        print(f"{name:40} {row}")
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    tables.write()


if __name__ == "__main__":
    main()
