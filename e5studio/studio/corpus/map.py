"""An embedded corpus -> points on a map, and groups; up to 50,000 texts. Knows no Gradio.

Projecting takes seconds, with UMAP up to a minute. The quality of a map is estimated on a random sample: comparing
all texts with all would take longer than the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.clusters import cluster_names, find_clusters
from e5studio.analysis.map_quality import kept_neighbours
from e5studio.analysis.neighbours import OnProgress, nearest_neighbours
from e5studio.analysis.projection import Projection, pca, tsne
from e5studio.analysis.umap_projection import umap
from e5studio.errors import VectorError
from e5studio.similarity import FloatArray, TopK
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.map.placing import N_NEIGHBOURS, MapSettings, Method, trust_of

CORPUS_METHODS: tuple[Method, ...] = ("pca", "umap", "tsne")

MAX_TSNE_TEXTS = 3_000
"""t-SNE of so many takes some 20 seconds, in which it cannot be stopped."""

_MANY_TEXTS = 20_000
_NEIGHBOURS_OF_MANY = 30  # UMAP's time grows with them: 50,000 texts with 15 take half a minute
_N_SAMPLED = 500
_MAX_GROUPED = 2_000
_MAX_NAMED, _MAX_NAMED_CHARACTERS = 5_000, 1_000


@dataclass(frozen=True)
class CorpusMap:
    """The texts of a corpus on a map.

    Attributes:
        of: The key of the embedded corpus.
        settings: As requested.
        projection: The points, and how they were computed.
        trust: Trustworthiness, 0 to 1; None with fewer than three texts.
        kept_share: Share of the nearest texts that are nearest on the map as well, 0 to 1.
        n_compared: How many nearest texts `kept_share` compares.
        n_sampled: How many texts `trust` and `kept_share` are estimated on.
    """

    of: str
    settings: MapSettings
    projection: Projection
    trust: float | None
    kept_share: float
    n_compared: int
    n_sampled: int


@dataclass(frozen=True)
class CorpusGroups:
    """Groups of the texts of a corpus.

    Attributes:
        of: The key of the embedded corpus.
        labels: The group of each text, (n,), numbered from the largest.
        names: Typical words of each group.
        silhouette: How well they are apart, -1 to 1.
        n_fitted: Texts that the groups were computed from; the others went to the nearest group.
    """

    of: str
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    silhouette: float
    n_fitted: int

    @property
    def n_topics(self) -> int:
        """How many there are; one for texts that form none."""
        return len(self.names)


def place_corpus(embedded: EmbeddedCorpus, settings: MapSettings, on_stage: OnStage = ignore_progress) -> CorpusMap:
    """Project the texts of a corpus onto a map.

    Args:
        embedded: The texts and their vectors.
        settings: How; "axis" has no meaning here. UMAP of more than 20,000 texts uses 30 neighbours at most.
        on_stage: Called for each step.

    Raises:
        VectorError: Too few texts for the method, or too many for t-SNE, or a setting out of its range.
        MissingDependencyError: The method's package is not installed.
        StoppedError: `on_stage` stopped it.
    """
    vectors, n = embedded.vectors, len(embedded.vectors)
    _check_method(settings.method, n)
    on_stage(None, "Placing the texts")
    neighbours = _umap_neighbours(vectors, settings, on_stage) if settings.method == "umap" else None
    projection = _project(vectors, settings, neighbours, on_stage)
    on_stage(None, "Judging the map")
    sample = random_rows(n, _N_SAMPLED)
    if neighbours is None:
        nearest = _nearest(vectors, sample)
    else:
        nearest = TopK(neighbours.scores[sample, :N_NEIGHBOURS], neighbours.ids[sample, :N_NEIGHBOURS])
    return CorpusMap(
        of=embedded.key,
        settings=settings,
        projection=projection,
        trust=trust_of(vectors, projection.coordinates, rows_of=sample),
        kept_share=float(kept_neighbours(nearest, projection.coordinates, rows_of=sample).mean()),
        n_compared=nearest.ids.shape[1],
        n_sampled=len(sample),
    )


def group_corpus(embedded: EmbeddedCorpus) -> CorpusGroups:
    """Group the texts of a corpus by k-means and name the groups by their words, in a few seconds for any number.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    clusters = find_clusters(embedded.vectors, max_fitted=_MAX_GROUPED)
    n, texts = len(clusters.labels), embedded.corpus.documents
    sample = random_rows(n, _MAX_NAMED)
    names = cluster_names([texts[row][:_MAX_NAMED_CHARACTERS] for row in sample.tolist()], clusters.labels[sample])
    names += [""] * (clusters.n_clusters - len(names))  # groups too small to have a text in the sample
    return CorpusGroups(embedded.key, clusters.labels, tuple(names), clusters.silhouette, min(n, _MAX_GROUPED))


def corpus_neighbours(embedded: EmbeddedCorpus, row: int) -> list[tuple[int, float]]:
    """(row, cosine x 100) of the texts nearest to one in all dimensions, best first."""
    nearest = _nearest(embedded.vectors, np.array([row]))
    return [(int(other), 100 * float(score)) for other, score in zip(nearest.ids[0], nearest.scores[0], strict=True)]


def check_same_corpus(embedded: EmbeddedCorpus, of: str) -> None:
    """Refuse a map or groups of another corpus.

    Raises:
        VectorError: The keys differ.
    """
    if of != embedded.key:
        raise VectorError("This map or these groups belong to another corpus, or to other vectors. Make them again.")


def _check_method(method: Method, n: int) -> None:
    if method not in CORPUS_METHODS:
        raise VectorError("An axis between two sides needs two sides, and a corpus is one. Take PCA or UMAP.")
    if method == "tsne" and n > MAX_TSNE_TEXTS:
        raise VectorError(
            f"t-SNE would take minutes for {n:,} texts; it is drawn here for up to {MAX_TSNE_TEXTS:,}. "
            "Take UMAP, which also keeps neighbours together, or PCA."
        )


def _umap_neighbours(vectors: FloatArray, settings: MapSettings, on_stage: OnStage) -> TopK:
    """As many neighbours as UMAP needs, and at least those that judge the map."""
    count = max(_umap_size(vectors, settings) - 1, N_NEIGHBOURS)
    on_progress = _progress(on_stage, 0.0, 0.5, "Finding the neighbours of each text")
    return nearest_neighbours(vectors, n_neighbors=count, on_progress=on_progress)


def _umap_size(vectors: FloatArray, settings: MapSettings) -> int:
    return min(settings.n_neighbors, _NEIGHBOURS_OF_MANY) if len(vectors) > _MANY_TEXTS else settings.n_neighbors


def _project(vectors: FloatArray, settings: MapSettings, neighbours: TopK | None, on_stage: OnStage) -> Projection:
    if settings.method == "umap":
        return umap(
            vectors,
            settings.n_dims,
            n_neighbors=_umap_size(vectors, settings),
            min_dist=settings.min_dist,
            seed=settings.seed,
            precomputed_knn=neighbours,
            on_epoch=_progress(on_stage, 0.5, 1.0, "Laying out the map"),
        )
    if settings.method == "tsne":
        return tsne(vectors, settings.n_dims, perplexity=settings.perplexity, seed=settings.seed)
    return pca(vectors, settings.n_dims)


def _progress(on_stage: OnStage, start: float, end: float, doing: str) -> OnProgress:
    return lambda done, of: on_stage(start + (end - start) * done / max(of, 1), doing)


def random_rows(n: int, count: int) -> NDArray[np.int64]:
    """At most `count` of n rows, ascending; the same each time, so that results can be compared."""
    if n <= count:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, count, replace=False))


def _nearest(vectors: FloatArray, rows: NDArray[np.int64]) -> TopK:
    return nearest_neighbours(vectors, n_neighbors=min(N_NEIGHBOURS, max(len(vectors) - 1, 1)), rows_of=rows)
