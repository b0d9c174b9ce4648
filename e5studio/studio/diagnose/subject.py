"""The texts of a diagnosis: those that were scored, or those of an embedded corpus. Knows no Gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from e5studio.encode_report import EncodeReport
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.corpus.vector_store import TokenStats
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.engine.text_box import TextList

Source = Literal["scores", "corpus"]


@dataclass(frozen=True)
class TextSide:
    """Texts under one prompt.

    Attributes:
        name: Their name on the page, in the plural.
        labels: A short name for each.
        texts: As they were embedded, without the prompt.
        vectors: Unit length, float32 (n, embed_dim).
        read: What the model read of each; None for imported vectors.
        is_dropped_exact: Whether all of `read.n_dropped` are exact; else some are lower bounds.
    """

    name: str
    labels: Sequence[str]
    texts: Sequence[str]
    vectors: FloatArray
    read: TokenStats | None
    is_dropped_exact: bool

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)


@dataclass(frozen=True)
class Subject:
    """The texts of one diagnosis.

    Attributes:
        of: Key of the result or the embedded corpus.
        source: Where they come from.
        meta: The model that embedded them.
        searched: The texts that a search would find: the passages, or all texts where there is one side.
        queries: The texts to search with; None where there is one side.
        reads_end_spaces: Whether white space at the end of a text changes what the model reads.
    """

    of: str
    source: Source
    meta: ModelMeta
    searched: TextSide
    queries: TextSide | None = None
    reads_end_spaces: bool = False

    @property
    def sides(self) -> tuple[TextSide, ...]:
        """All texts, queries first."""
        return (self.searched,) if self.queries is None else (self.queries, self.searched)

    def text(self, label: str) -> str | None:
        """The text with this label, if there is one."""
        return next((side.texts[side.labels.index(label)] for side in self.sides if label in side.labels), None)


def subject_of(scored: ScoreResult | EmbeddedCorpus) -> Subject:
    """The texts of the form as they were scored, or those of a corpus."""
    return _of_corpus(scored) if isinstance(scored, EmbeddedCorpus) else _of_scores(scored)


def _of_scores(result: ScoreResult) -> Subject:
    names, n = side_labels(result.prompt_mode), len(result.queries)
    if result.is_self:
        searched = _side("texts", result.queries, result.vectors, result.reports[0])
        return Subject(result.key, "scores", result.meta, searched, None, result.reports[0].reads_end_spaces)
    queries = _side(names.left.lower(), result.queries, result.vectors[:n], result.reports[0])
    passages = _side(names.right.lower(), result.passages, result.vectors[n:], result.reports[1])
    return Subject(result.key, "scores", result.meta, passages, queries, result.reports[0].reads_end_spaces)


def _of_corpus(embedded: EmbeddedCorpus) -> Subject:
    corpus, read = embedded.corpus, None
    if embedded.n_tokens is not None and embedded.n_dropped is not None and embedded.unknown_share is not None:
        read = TokenStats(embedded.n_tokens, embedded.n_dropped, embedded.unknown_share)
    # A corpus does not store which counts are exact.
    side = TextSide("texts", corpus.labels, corpus.documents, embedded.vectors, read, is_dropped_exact=False)
    return Subject(embedded.key, "corpus", embedded.meta, side, None, embedded.reads_end_spaces)


def _side(name: str, box: TextList, vectors: FloatArray, report: EncodeReport) -> TextSide:
    is_exact = all(cut.exact for cut in report.truncated)
    return TextSide(name, box.labels, box.texts, vectors, TokenStats.of_report(report), is_exact)
