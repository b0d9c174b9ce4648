"""Embedded texts -> the figures of a diagnosis, for up to 50,000 texts in seconds. Knows no Gradio and no encoder.

Neighbours are exact as long as that takes some ten seconds; beyond, they are asked for by texts drawn at random, among
all. Texts that are copies of another count once in everything but the copies themselves: copies are each other's
nearest, and would make hubs, near copies and groups of what is one text.
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
from e5studio.studio.diagnose.subject import Subject, TextSide
from e5studio.studio.engine.progress import OnStage

RowArray = NDArray[np.int64]
GroupKind = Literal["language", "script"]

N_NEIGHBOURS = 10
"""As many as Radovanović et al. (2010) count, and as a first page of results holds."""

MIN_JUDGED = 20
"""Fewer different texts have fewer than 190 pairs: too few to say what is usual among them."""

MIN_FOR_HUBS = 50
"""With fewer texts the neighbours that are counted are a large part of all, and everything is near everything."""

MIN_QUERIES = 20
"""With fewer queries, chance alone puts a passage before most of them."""

MIN_GROUP = 20
"""A smaller group has too few neighbours of its own to show that they are its own."""

_MAX_WORK = 6e11  # multiplications of a search: 39,500 texts of 384 dimensions, some 10 s on two cores
_TEXTS_AT_ONCE = 500


@dataclass(frozen=True)
class Repeats:
    """Texts of one side that stand there more than once.

    Attributes:
        groups: Rows of texts that are the same but for how they are written, the largest group first.
        n_copies: Texts that equal an earlier one letter by letter.
        n_rewritten: Further texts that are the same as an earlier one but for case, white space or Unicode form.
    """

    groups: tuple[tuple[int, ...], ...]
    n_copies: int
    n_rewritten: int


@dataclass(frozen=True)
class Hubs:
    """How often each text is among the nearest of others.

    Attributes:
        counts: Of each different text, (n_kept,).
        k: Neighbours that count.
        n_asked: Texts (or queries) whose neighbours they are.
    """

    counts: RowArray
    k: int
    n_asked: int

    @property
    def expected(self) -> float:
        """The mean, which every text would have if all had the same."""
        return self.k * self.n_asked / len(self.counts)

    @property
    def skewness(self) -> float:
        """Of the counts: how unevenly they are shared out."""
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
        kept: Rows of the searched side, one of each different text; what follows speaks of these, by their place here.
        pairs: Cosines of pairs of them.
        nearest: Cosine of each text that was asked for with its nearest other, (n_asked,); empty for a single text.
        threshold: The cosine from which two count as nearly the same; None where there are too few to tell.
        near: Those that are; None likewise.
        effective_rank: Of their vectors without the mean.
        hubs: Of them; None where there are too few to tell.
        query_hubs: Passages that are nearest to many queries; None without two sides, or with too few.
        groups: Languages and scripts that are large enough; None where the texts are too few for two.
        has_languages: Languages were looked at, not scripts alone.
    """

    subject: Subject
    repeats: tuple[Repeats, ...]
    kept: RowArray
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
    def n_asked(self) -> int:
        """Texts whose neighbours were looked for; all, or some drawn at random."""
        return len(self.nearest)

    @property
    def is_sampled(self) -> bool:
        """Not all texts' neighbours were looked for."""
        return 0 < self.n_asked < len(self.kept)


def diagnose(subject: Subject, on_stage: OnStage | None = None) -> Diagnosis:
    """Measure what may be wrong with some texts.

    Args:
        subject: The texts; their vectors are not copied unless some are copies of others.
        on_stage: Told what is being done.

    Raises:
        StoppedError: `on_stage` asked to stop.
    """
    stage = on_stage or _no_stage
    writings = [_writings(side, stage) for side in subject.sides]
    repeats = tuple(_repeats(side, keys) for side, keys in zip(subject.sides, writings, strict=True))
    kept = first_of_each(writings[-1])
    searched = subject.searched
    vectors = searched.vectors if len(kept) == len(searched) else searched.vectors[kept]
    stage(None, "Comparing texts at random")
    pairs = pair_cosines(vectors)
    stage(None, "Counting directions")
    rank = effective_rank(vectors)
    asked = _asked(*vectors.shape)
    near = nearest_neighbours(
        vectors,
        n_neighbors=N_NEIGHBOURS,
        rows_of=asked,
        on_progress=lambda done, of: stage(done / of, "Finding the neighbours of each text"),
    )
    threshold = near_threshold(pairs.mean) if len(kept) >= MIN_JUDGED else None
    groups, has_languages = _groups(searched, kept, vectors, near, asked, stage)
    return Diagnosis(
        subject=subject,
        repeats=repeats,
        kept=kept,
        pairs=pairs,
        nearest=near.scores[:, 0] if near.scores.shape[1] else np.empty(0, np.float32),
        threshold=threshold,
        near=None if threshold is None else near_texts(near, asked, threshold),
        effective_rank=rank,
        hubs=_hubs(near, len(kept)),
        query_hubs=_query_hubs(subject.queries, vectors),
        groups=groups,
        has_languages=has_languages,
    )


def _writings(side: TextSide, stage: OnStage) -> list[str]:
    """For each text what stands for all its ways of writing; short, for a corpus need not be in memory twice."""
    keys = []
    for place, text in enumerate(side.texts):
        if place % _TEXTS_AT_ONCE == 0:
            stage(place / len(side), "Looking for copies")
        keys.append(hashlib.blake2b(folded(text).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest())
    return keys


def _repeats(side: TextSide, writings: Sequence[str]) -> Repeats:
    n_texts, n_writings = len(set(side.texts)), len(set(writings))
    return Repeats(tuple(map(tuple, equal_groups(writings))), len(side) - n_texts, n_texts - n_writings)


def _asked(n: int, dimensions: int) -> RowArray:
    """Texts whose neighbours are looked for: all, or as many as there is time for. The same each time."""
    count = int(_MAX_WORK / max(n * dimensions, 1))
    if count >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, count, replace=False))


def _few_nearest(n: int) -> int:
    """Neighbours that count: ten, or a tenth of the texts where those are fewer than a hundred."""
    return min(N_NEIGHBOURS, n // 10)


def _hubs(near: TopK, n: int) -> Hubs | None:
    if n < MIN_FOR_HUBS:
        return None
    k = _few_nearest(n)
    return Hubs(k_occurrences(near.ids[:, :k], n), k, len(near.ids))


def _query_hubs(queries: TextSide | None, vectors: FloatArray) -> Hubs | None:
    if queries is None:
        return None
    rows = first_of_each(queries.texts)  # a question that is asked twice is one
    if len(rows) < MIN_QUERIES or len(vectors) < MIN_JUDGED:
        return None
    k = _few_nearest(len(vectors))
    found = top_k_search(queries.vectors[rows], vectors, top_k=k)
    return Hubs(k_occurrences(found.ids, len(vectors)), k, len(rows))


def _groups(
    side: TextSide, kept: RowArray, vectors: FloatArray, near: TopK, asked: RowArray, stage: OnStage
) -> tuple[tuple[Group, ...] | None, bool]:
    """Languages and scripts of at least `MIN_GROUP` texts beside as many of others, and whether languages were told."""
    try:
        find: LanguageFinder | None = language_finder()
    except MissingDependencyError:
        find = None
    if len(kept) < 2 * MIN_GROUP:
        return None, find is not None
    named: dict[GroupKind, list[str | None]] = {"language": [], "script": []}
    for place, row in enumerate(kept.tolist()):
        if place % _TEXTS_AT_ONCE == 0:
            stage(place / len(kept), "Telling languages apart")
        text = side.texts[row]
        named["script"].append(main_script(text))
        named["language"].append(find(text) if find else None)
    found = [group for kind, names in named.items() for group in _groups_of(kind, names, vectors, near, asked)]
    return tuple(found), find is not None


def _groups_of(
    kind: GroupKind, names: Sequence[str | None], vectors: FloatArray, near: TopK, asked: RowArray
) -> list[Group]:
    named = np.array([name or "" for name in names])
    is_known = named != ""  # a single word of English mostly has no language, and is no text of another
    found = []
    for name in sorted(set(named.tolist()) - {""}):
        is_member = named == name
        is_other = is_known & ~is_member
        if is_member.sum() < MIN_GROUP or is_other.sum() < MIN_GROUP:
            continue
        apart = separation(vectors, near.ids, asked, is_member, is_other)
        if apart is not None:
            found.append(Group(kind, name, apart))
    return sorted(found, key=lambda group: -group.apart.n_texts)


def _no_stage(share: float | None, words: str) -> None:
    return None
