"""Embedded texts -> the figures of a diagnosis, for up to 50,000 texts in seconds. Knows no Gradio and no encoder.

The neighbours of all texts are searched as long as that takes some ten seconds; with more texts, those of a random
sample, still among all texts. Copies of a text count once, but for the figures about copies: they are each other's
nearest, and would turn one text into hubs, near copies and groups.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.duplicates import NearTexts, equal_groups, first_of_each, folded, near_texts, near_threshold
from e5studio.analysis.geometry import PairCosines, effective_rank, pair_cosines
from e5studio.analysis.group_separation import Separation, separation
from e5studio.analysis.hubness import k_occurrences, skewness
from e5studio.analysis.languages import LanguageFinder, language_finder, main_script
from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.errors import MissingDependencyError
from e5studio.similarity import FloatArray, TopK, top_k_search
from e5studio.studio.corpus.map import random_rows
from e5studio.studio.diagnose.subject import Subject, TextSide
from e5studio.studio.engine.progress import OnStage, ignore_progress

RowArray = NDArray[np.int64]
GroupKind = Literal["language", "script"]

N_NEIGHBOURS = 10
"""As in Radovanović et al. (2010), and as on a first page of results."""

MIN_JUDGED = 20
"""Fewer different texts have fewer than 190 pairs: too few to show what is usual."""

MIN_FOR_HUBS = 50
"""With fewer texts the counted neighbours are a large part of all, and everything is near everything."""

MIN_QUERIES = 20
"""With fewer queries, chance alone puts a passage before most of them."""

MIN_GROUP = 20
"""A smaller group has too few neighbours of its own to show that they are its own."""

_MAX_WORK = 6e11  # multiplications of a search: 39,500 texts of 384 dimensions, some 10 s on two cores
_TEXTS_AT_ONCE = 500


@dataclass(frozen=True)
class Repeats:
    """Texts that occur more than once on one side.

    Attributes:
        groups: Rows of texts that are equal but for case, white space or Unicode form, the largest group first.
        n_copies: Texts that equal an earlier one letter by letter.
        n_rewritten: Further texts that equal an earlier one but for case, white space or Unicode form.
    """

    groups: tuple[tuple[int, ...], ...]
    n_copies: int
    n_rewritten: int


@dataclass(frozen=True)
class Hubs:
    """How often each text is among the nearest of others.

    Attributes:
        counts: Of each different text, (n_distinct,).
        k: Length of each list of neighbours.
        n_lists: Texts (or queries) whose neighbours were searched.
    """

    counts: RowArray
    k: int
    n_lists: int

    @property
    def expected(self) -> float:
        """The mean count."""
        return self.k * self.n_lists / len(self.counts)

    @property
    def skewness(self) -> float:
        """Of the counts; 0 for an even distribution."""
        return skewness(self.counts)


@dataclass(frozen=True)
class Group:
    """Texts of one language or script, and how far apart they lie."""

    kind: GroupKind
    name: str
    apart: Separation


@dataclass(frozen=True)
class Diagnosis:
    """The figures of a set of texts.

    Attributes:
        subject: The texts.
        repeats: For each of `subject.sides`.
        distinct: Rows of the searched side, one of each different text; all figures below are about these texts, and
            their indices point into `distinct`.
        pairs: Cosines of pairs.
        nearest: Cosine of each sampled text with its nearest other, (n_sampled,); empty for a single text.
        threshold: The cosine from which two texts are near copies; None where the texts are too few.
        near: Near copies; None where the texts are too few.
        effective_rank: Of the vectors without their mean.
        hubs: Among the texts; None where they are too few.
        query_hubs: Passages that are nearest to many queries; None without two sides, or with too few texts.
        groups: Languages and scripts that are large enough; None where the texts are too few for two.
        has_languages: Whether languages were detected, not scripts alone.
    """

    subject: Subject
    repeats: tuple[Repeats, ...]
    distinct: RowArray
    pairs: PairCosines
    nearest: FloatArray
    threshold: float | None
    near: NearTexts | None
    effective_rank: float
    hubs: Hubs | None
    query_hubs: Hubs | None
    groups: tuple[Group, ...] | None
    has_languages: bool

    @property
    def n_sampled(self) -> int:
        """Number of texts whose neighbours were searched: all, or a random sample."""
        return len(self.nearest)

    @property
    def is_sampled(self) -> bool:
        """Whether only a sample's neighbours were searched."""
        return 0 < self.n_sampled < len(self.distinct)


def diagnose(subject: Subject, on_stage: OnStage = ignore_progress) -> Diagnosis:
    """Measure what may be wrong with some texts.

    Args:
        subject: The texts; the array of their vectors is copied only where there are copies among the texts.
        on_stage: Called with the progress.

    Raises:
        StoppedError: `on_stage` asked to stop.
    """
    keys = [_folded_keys(side, on_stage) for side in subject.sides]
    distinct = first_of_each(keys[-1])
    searched = subject.searched
    vectors = searched.vectors if len(distinct) == len(searched) else searched.vectors[distinct]
    on_stage(None, "Comparing texts at random")
    pairs = pair_cosines(vectors)
    on_stage(None, "Counting directions")
    rank = effective_rank(vectors)
    sample = random_rows(len(vectors), int(_MAX_WORK / max(vectors.size, 1)))  # as many as there is time for
    near = nearest_neighbours(
        vectors,
        n_neighbors=N_NEIGHBOURS,
        rows_of=sample,
        on_progress=lambda done, of: on_stage(done / of, "Finding the neighbours of each text"),
    )
    threshold = near_threshold(pairs.mean) if len(distinct) >= MIN_JUDGED else None
    groups, has_languages = _groups(searched, distinct, vectors, near, sample, on_stage)
    return Diagnosis(
        subject=subject,
        repeats=tuple(map(_repeats, subject.sides, keys)),
        distinct=distinct,
        pairs=pairs,
        nearest=near.scores[:, 0] if near.scores.shape[1] else np.empty(0, np.float32),
        threshold=threshold,
        near=None if threshold is None else near_texts(near, sample, threshold),
        effective_rank=rank,
        hubs=_hubs(near, len(distinct)),
        query_hubs=_query_hubs(subject.queries, vectors),
        groups=groups,
        has_languages=has_languages,
    )


def _folded_keys(side: TextSide, on_stage: OnStage) -> list[str]:
    """A key for each text, the same for all its spellings; hashes, which take less memory than a second corpus."""
    keys = []
    for row, text in enumerate(side.texts):
        if row % _TEXTS_AT_ONCE == 0:
            on_stage(row / len(side), "Looking for copies")
        keys.append(hashlib.blake2b(folded(text).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest())
    return keys


def _repeats(side: TextSide, keys: Sequence[str]) -> Repeats:
    n_texts, n_keys = len(set(side.texts)), len(set(keys))
    return Repeats(tuple(map(tuple, equal_groups(keys))), len(side) - n_texts, n_texts - n_keys)


def _few_nearest(n: int) -> int:
    """Length of the lists of neighbours: ten, or a tenth of fewer than a hundred texts."""
    return min(N_NEIGHBOURS, n // 10)


def _hubs(near: TopK, n: int) -> Hubs | None:
    if n < MIN_FOR_HUBS:
        return None
    k = _few_nearest(n)
    return Hubs(k_occurrences(near.ids[:, :k], n), k, len(near.ids))


def _query_hubs(queries: TextSide | None, vectors: FloatArray) -> Hubs | None:
    if queries is None:
        return None
    rows = first_of_each(queries.texts)  # a repeated query counts once
    if len(rows) < MIN_QUERIES or len(vectors) < MIN_JUDGED:
        return None
    k = _few_nearest(len(vectors))
    hits = top_k_search(queries.vectors[rows], vectors, top_k=k)
    return Hubs(k_occurrences(hits.ids, len(vectors)), k, len(rows))


def _groups(
    side: TextSide, distinct: RowArray, vectors: FloatArray, near: TopK, sample: RowArray, on_stage: OnStage
) -> tuple[tuple[Group, ...] | None, bool]:
    """Languages and scripts of at least `MIN_GROUP` texts beside as many others; whether languages were detected."""
    try:
        find: LanguageFinder | None = language_finder()
    except MissingDependencyError:
        find = None
    if len(distinct) < 2 * MIN_GROUP:
        return None, find is not None
    names: dict[GroupKind, list[str | None]] = {"language": [], "script": []}
    for index, row in enumerate(distinct.tolist()):
        if index % _TEXTS_AT_ONCE == 0:
            on_stage(index / len(distinct), "Telling languages apart")
        text = side.texts[row]
        names["script"].append(main_script(text))
        names["language"].append(find(text) if find else None)
    groups = [group for kind in names for group in _groups_of(kind, names[kind], vectors, near, sample)]
    return tuple(groups), find is not None


def _groups_of(
    kind: GroupKind, names: Sequence[str | None], vectors: FloatArray, near: TopK, sample: RowArray
) -> list[Group]:
    name_of = np.array([name or "" for name in names])
    is_known = name_of != ""  # most single words of a language are recognised as none, and belong to no other
    groups = []
    for name in sorted(set(name_of.tolist()) - {""}):
        is_member = name_of == name
        is_other = is_known & ~is_member
        if is_member.sum() < MIN_GROUP or is_other.sum() < MIN_GROUP:
            continue
        apart = separation(vectors, near.ids, sample, is_member, is_other)
        if apart is not None:
            groups.append(Group(kind, name, apart))
    return sorted(groups, key=lambda group: -group.apart.n_texts)
