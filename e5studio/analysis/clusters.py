"""Clusters of vectors, and the words that name them.

k-means on the unit sphere (Dhillon and Modha, 2001) around the mean of all vectors. Where groups lie clearly apart,
their number is the one of the best silhouette (Rousseeuw, 1987). Texts mostly shade into each other; then it is the
largest number that comes out alike from two halves of the texts (Ben-Hur et al., 2002), or one where none does. Names
by c-TF-IDF (Grootendorst, 2022): the words that are frequent in a group and not elsewhere. No language model is
involved.
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

_MAX_CLUSTERS = 12
_CLEAR_SILHOUETTE = 0.25  # from here on Rousseeuw speaks of a structure
_ALIKE = 0.2  # adjusted Rand index of the groups of two halves; of noise it is 0.03
_FEW_POINTS = 40  # halves of fewer tell nothing
_POINTS_PER_CLUSTER = 8
_OWN = 2.0  # a word that names a group is more than so many times as frequent there as elsewhere
_ROUNDING = 1e-6
_MANY_POINTS = 500
_MAX_COMPARED = 1_000  # silhouettes compare all pairs
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
        n_clusters: Number of groups; None: of 2 to 12 as the module says, and one for fewer than four vectors, equal
            ones, or ones without groups.
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
    rows = _around_mean(rows)
    if n_clusters:
        return _k_means(rows, n_clusters, seed)
    choices = range(2, min(_MAX_CLUSTERS, n_different - 1, len(rows) // 2) + 1)
    one = Clusters(np.zeros(len(rows), np.int64), 0.0)
    candidates = [_k_means(rows, k, seed) for k in choices]
    best = max(candidates, key=lambda each: each.silhouette, default=one)
    if len(rows) < _FEW_POINTS or best.silhouette >= _CLEAR_SILHOUETTE:
        return best
    most = len(rows) // _POINTS_PER_CLUSTER
    return next((each for each in reversed(candidates) if each.n_clusters <= most and _is_alike(rows, each, seed)), one)


def cluster_names(texts: Sequence[str], labels: ArrayLike, *, n_words: int = 3) -> list[str]:
    """The most characteristic words of each group, joined by commas; "" if a group has none.

    c-TF-IDF: how many texts of a group hold a word, times log(1 + words of a mean group / how many of all texts do).
    Words about as frequent elsewhere are no name, which leaves out the function words of any language; those of
    English are ignored in any case, since few texts tell too little.

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
    n_texts = np.bincount(groups, minlength=len(counts))
    names = []
    for group, n_own in zip(counts, n_texts.tolist(), strict=True):
        n_others = max(len(groups) - n_own, 1)
        weight = {
            word: count * np.log1p(mean / everywhere[word])
            for word, count in group.items()
            if count / n_own > _OWN * (everywhere[word] - count) / n_others
        }
        names.append(", ".join(sorted(weight, key=lambda word: (-weight[word], word))[:n_words]))
    return names


def _words(text: str) -> list[str]:
    """Words, and pairs of characters where a script has no spaces."""
    lowered = text.casefold()
    pairs = [run[start : start + 2] for run in _UNSPACED.findall(lowered) for start in range(len(run) - 1)]
    return pairs + _WORD.findall(_UNSPACED.sub(" ", lowered))


def _k_means(rows: NDArray[np.float32], n_clusters: int, seed: int) -> Clusters:
    n_starts = 4 if len(rows) <= _MANY_POINTS else 2
    model = import_sklearn("cluster").KMeans(n_clusters, n_init=n_starts, random_state=seed).fit(rows)
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


def _around_mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Directions from the mean: what all texts share, in E5 most of a vector, would make all groups look alike."""
    centred = rows - rows.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    around: NDArray[np.float32] = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > _ROUNDING)
    return around


def _is_alike(rows: NDArray[np.float32], clusters: Clusters, seed: int) -> bool:
    """Whether groups that are fitted to either half of the vectors are about the same."""
    order = np.random.default_rng(seed).permutation(len(rows))
    k_means = import_sklearn("cluster").KMeans
    first, second = (
        k_means(clusters.n_clusters, n_init=1, random_state=seed).fit(rows[half]).predict(rows)
        for half in np.array_split(order, 2)
    )
    return bool(import_sklearn("metrics").adjusted_rand_score(first, second) >= _ALIKE)


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
