"""Clusters of vectors, and the words that name them.

k-means on the unit sphere (Dhillon and Modha, 2001), the number of groups chosen by silhouette
(Rousseeuw, 1987) by cosine; names by c-TF-IDF (Grootendorst, 2022): the words that are frequent in a group and not
elsewhere. No language model is involved.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.analysis.projection import import_sklearn
from e5studio.errors import VectorError
from e5studio.similarity import as_rows, ignoring_underflow, unit_rows

MIN_POINTS = 4
"""Fewer texts are one group."""

_MAX_CLUSTERS = 10
_MAX_COMPARED = 2_000  # silhouettes compare all pairs
_WORD = re.compile(r"[^\W_]{2,}")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{2,}")
# Not scikit-learn's list, which takes "interest", "fire" and "system" for function words.
_FUNCTION_WORDS = frozenset(
    """
    a about also am an and any are as at be been being but by can could did do does for from had has have he her here
    him his how i if in into is it its just may me might more most must my no not of on once only or other our out over
    own same she should so some such than that the their them then there these they this those through to too under up
    us very was we were what when where which while who whom why will with would you your
    """.split()
)


@dataclass(frozen=True)
class Clusters:
    """Groups of vectors.

    Attributes:
        labels: The group of each vector, (n,), numbered from the largest.
        silhouette: How well they are separated, -1 to 1; 0 for one group.
    """

    labels: NDArray[np.int64]
    silhouette: float

    @property
    def n_clusters(self) -> int:
        """How many groups there are."""
        return int(self.labels.max(initial=-1)) + 1


@ignoring_underflow
def find_clusters(
    embeddings: ArrayLike, *, n_clusters: int | None = None, seed: int = 0, max_fitted: int | None = None
) -> Clusters:
    """Group vectors by cosine.

    Args:
        embeddings: Shape (n, dim); need not be normalised.
        n_clusters: Number of groups; None: the best separated of 2 to 10, and one for fewer than four vectors or
            equal ones.
        seed: The same seed gives the same groups.
        max_fitted: Fit the groups to a random sample of so many vectors and assign every other vector to the group with
            the nearest mean, which bounds the time for large n; None: fit to all.

    Raises:
        VectorError: n_clusters exceeds the number of different vectors.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
        MissingDependencyError: scikit-learn is not installed.
    """
    rows = unit_rows(as_rows(embeddings))
    if max_fitted is not None and len(rows) > max_fitted:
        sample = np.random.default_rng(seed).choice(len(rows), max_fitted, replace=False)
        return _spread(rows, rows[sample], find_clusters(rows[sample], n_clusters=n_clusters, seed=seed))
    n_different = len(np.unique(rows, axis=0)) if len(rows) else 0
    if n_clusters is not None and not 1 <= n_clusters <= max(n_different, 1):
        raise VectorError(f"n_clusters is {n_clusters}, but there are {n_different} different vectors.")
    if n_clusters == 1 or len(rows) < MIN_POINTS or n_different < 2:
        return Clusters(np.zeros(len(rows), np.int64), 0.0)
    choices = [n_clusters] if n_clusters else range(2, min(_MAX_CLUSTERS, n_different - 1, len(rows) // 2) + 1)
    candidates = [_k_means(rows, k, seed) for k in choices]
    return max(candidates or [Clusters(np.zeros(len(rows), np.int64), 0.0)], key=lambda each: each.silhouette)


def cluster_names(texts: Sequence[str], labels: ArrayLike, *, n_words: int = 3) -> list[str]:
    """The most characteristic words of each group, joined by commas; "" if a group has none.

    c-TF-IDF: how many texts of a group hold a word, times log(1 + words of a mean group / how many of all texts do).
    English function words are ignored.

    Args:
        texts: One for each label.
        labels: The group of each text.
        n_words: Words in a name.
    """
    groups = np.asarray(labels, np.int64)
    counts = [Counter[str]() for _ in range(int(groups.max(initial=-1)) + 1)]
    for text, label in zip(texts, groups.tolist(), strict=True):
        counts[label].update(set(_words(text)) - _FUNCTION_WORDS)
    everywhere = sum(counts, Counter[str]())
    mean = sum(everywhere.values()) / max(len(counts), 1)
    names = []
    for group in counts:
        weight = {word: count * np.log1p(mean / everywhere[word]) for word, count in group.items()}
        names.append(", ".join(sorted(weight, key=lambda word: (-weight[word], word))[:n_words]))
    return names


def _words(text: str) -> list[str]:
    """Words, and pairs of characters where a script has no spaces."""
    lowered = text.casefold()
    pairs = [run[start : start + 2] for run in _UNSPACED.findall(lowered) for start in range(len(run) - 1)]
    return pairs + _WORD.findall(_UNSPACED.sub(" ", lowered))


def _k_means(rows: NDArray[np.float32], n_clusters: int, seed: int) -> Clusters:
    model = import_sklearn("cluster").KMeans(n_clusters, n_init=4, random_state=seed).fit(rows)
    labels = _by_size(model.labels_)
    if labels.max() < 1:
        return Clusters(labels, 0.0)
    score = import_sklearn("metrics").silhouette_score(
        rows,
        labels,
        metric="cosine",
        sample_size=_MAX_COMPARED if len(rows) > _MAX_COMPARED else None,
        random_state=seed,
    )
    return Clusters(labels, float(score))


def _spread(rows: NDArray[np.float32], fitted: NDArray[np.float32], clusters: Clusters) -> Clusters:
    """Assign all vectors to the groups of some: each to the nearest mean, as k-means does."""
    if clusters.n_clusters < 2:
        return Clusters(np.zeros(len(rows), np.int64), clusters.silhouette)
    means = np.stack([fitted[clusters.labels == label].mean(axis=0) for label in range(clusters.n_clusters)])
    nearness = rows @ means.T - np.square(means).sum(axis=1) / 2
    return Clusters(_by_size(nearness.argmax(axis=1)), clusters.silhouette)


def _by_size(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    order = np.argsort(-np.bincount(labels), kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    renumbered: NDArray[np.int64] = rank[labels]
    return renumbered
