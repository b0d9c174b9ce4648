"""Runs an encoder over a task: embeds, searches or compares, and scores.

Texts go through a vector cache: runs that share a folder, and settings of one run whose vectors fit
into it (two instructions, whose documents are the same), compute them once. Memory is bounded:
neither the texts nor the vectors of a corpus are ever held whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.correlation import pearson, scipy_stats, spearman
from e5studio.analysis.retrieval_metrics import (
    K_VALUES,
    QueryScores,
    check_cut_offs,
    cut_off,
    import_pytrec_eval,
    query_scores,
)
from e5studio.cache import CachedEncoder, VectorCache
from e5studio.encoder import E5Encoder, Progress
from e5studio.errors import FileFormatError, UnsupportedError
from e5studio.evaluation.protocols import AUTHORS_MAX_TOKENS, Protocol, TaskPrompts, task_prompts
from e5studio.evaluation.tasks import Document, RetrievalTask, StsTask
from e5studio.evaluation.work import Work
from e5studio.models import PromptKind
from e5studio.prompts import Prompt, join_title
from e5studio.quantization import RESCORED, Precision, QuantizedSearch
from e5studio.similarity import FloatArray, TopK, pairwise_cos_sim
from e5studio.spec import EncoderSpec

RETRIEVAL_METRIC, STS_METRIC = "ndcg_at_10", "cosine_spearman"

MIN_DEPTH = 1000
"""Rankings are at least so deep: trec_eval breaks ties by id, our rankings are cut by position."""

_BLOCK_TEXTS = 8192
_SEARCHED_BYTES = 1 << 27  # vectors searched at a time: rescoring the best of many small blocks would take longer
_BLOCK_QUERIES = 256  # rankings turned into dictionaries at once, for pytrec_eval


@dataclass(frozen=True)
class StsSample:
    """The pairs behind a correlation.

    Attributes:
        cosines: Of each pair, float64 (n_pairs,).
        gold: People's scores of the same pairs.
    """

    cosines: NDArray[np.float64]
    gold: NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """One encoder on one task.

    Attributes:
        task: Its name.
        split: Its split.
        dataset_revision: Identifies the task's texts.
        spec: Identity of the encoder.
        prompts: The prompts in front of the texts.
        metric: Name of the main score.
        scores: All scores by mteb's names, 0 to 1 (correlations -1 to 1).
        sample: Data for intervals and tests; None if mteb gives only scores.
        work: Its cost.
        mteb_result: mteb's own result, if mteb ran it.
        precision: Of the documents' vectors.
    """

    task: str
    split: str
    dataset_revision: str
    spec: EncoderSpec
    prompts: TaskPrompts
    metric: str
    scores: dict[str, float]
    sample: QueryScores | StsSample | None
    work: Work
    mteb_result: dict[str, Any] | None = None
    precision: Precision = "float32"

    @property
    def main_score(self) -> float:
        """The main score of the task."""
        return self.scores[self.metric]

    @property
    def n_samples(self) -> int | None:
        """Number of queries or pairs; None if mteb gives only scores."""
        if self.sample is None:
            return None
        return len(self.sample.cosines if isinstance(self.sample, StsSample) else self.sample.query_ids)


def evaluate(
    encoder: E5Encoder,
    task: RetrievalTask | StsTask,
    *,
    protocol: Protocol = "authors",
    prompt_kind: PromptKind | None = None,
    instruction: str | None = None,
    cache: VectorCache | None = None,
    k_values: Sequence[int] = K_VALUES,
    precision: Precision = "float32",
    documents: Iterable[FloatArray] | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Evaluate an encoder on a task, with the prompts that a protocol gives it.

    Args:
        encoder: The encoder.
        task: From `read_beir`, `read_sts`, or built by the caller.
        protocol: "authors" or "mteb"; see `e5studio.evaluation.protocols`.
        prompt_kind: Use the prompts of this kind of model instead of the encoder's own; "none" for no prompts.
        instruction: The task in one sentence, for instruct models; the authors' own for the task if None.
        cache: The vector cache; None: one in memory for this call.
        k_values: Cut-offs of retrieval metrics; the main score is nDCG@10 if 10 is among them, else at the largest.
        precision: Of the documents' vectors in retrieval; see `retrieval_scores`.
        documents: Vectors of the documents in the task's order, block by block; they are embedded if None.
        on_progress: Called with the number of texts embedded and of all.

    Raises:
        PromptError: The prompt arguments contradict each other.
        UnsupportedError: A precision other than float32, and pairs, which have no documents.
    """
    if isinstance(task, StsTask) and precision != "float32":
        raise UnsupportedError(f"{task.name} has pairs and no documents, whose vectors could be {precision}.")
    prompts = prompts_of(task, prompt_kind or encoder.meta.prompt_kind, protocol, instruction)
    run = _Run(under_protocol(encoder, protocol), task, prompts, cache, on_progress)
    if isinstance(task, StsTask):
        return _evaluate_sts(run, task)
    return _evaluate_retrieval(run, task, k_values, precision, documents)


def prompts_of(
    task: RetrievalTask | StsTask, kind: PromptKind, protocol: Protocol, instruction: str | None = None
) -> TaskPrompts:
    """The prompts of a task in `evaluate` with a model of this kind; errors as there."""
    task_type = "STS" if isinstance(task, StsTask) else "Retrieval"
    return task_prompts(kind, name=task.name, task_type=task_type, protocol=protocol, instruction=instruction)


def under_protocol(encoder: E5Encoder, protocol: Protocol) -> E5Encoder:
    """The encoder limited to the tokens of the protocol: the authors' evaluation reads 512.

    A max_tokens that the caller set on the encoder is kept.
    """
    is_given = encoder.spec.max_tokens != encoder.meta.max_tokens
    is_too_long = protocol == "authors" and not is_given and encoder.spec.max_tokens > AUTHORS_MAX_TOKENS
    return encoder.with_options(max_tokens=AUTHORS_MAX_TOKENS if is_too_long else None)


def _evaluate_retrieval(
    run: _Run,
    task: RetrievalTask,
    k_values: Sequence[int],
    precision: Precision,
    documents: Iterable[FloatArray] | None,
) -> Evaluation:
    """Rank a corpus for every query, exactly, and score the rankings as trec_eval does."""
    check_cut_offs(k_values)
    import_pytrec_eval()  # fail before hours of work if it is missing
    queries = run.embed(task.queries, run.prompts.query)
    documents = run.document_blocks(task) if documents is None else documents
    sample = retrieval_scores(task, queries, documents, k_values=k_values, precision=precision, work=run.work)
    return run.finished(f"ndcg_at_{_main_cut_off(k_values)}", sample.means(), sample, precision)


def _main_cut_off(k_values: Sequence[int]) -> int:
    usual = cut_off(RETRIEVAL_METRIC)
    return usual if usual in k_values else max(k_values)


def retrieval_scores(
    task: RetrievalTask,
    queries: FloatArray,
    documents: Iterable[FloatArray],
    *,
    k_values: Sequence[int] = K_VALUES,
    precision: Precision = "float32",
    work: Work | None = None,
) -> QueryScores:
    """The second half of `evaluate`: rank the documents for every query and score the rankings.

    Args:
        task: The task of these vectors.
        queries: A row for each query, in the task's order.
        documents: A row for each document, in the task's order, block by block.
        k_values: Cut-offs of the metrics.
        precision: To which the documents' vectors are quantised: int8 and uint8 by the ranges of the first 128 MB
            of vectors; of binary ones so many are scored anew as a search for 10 hits (the cut-off of the main score)
            would, and the others follow by their distance.
        work: Records the seconds.
    """
    spent = work if work is not None else Work()
    depth = min(max(*k_values, MIN_DEPTH) + task.skips_own_id, len(task.document_ids))
    n_rescored = RESCORED * _main_cut_off(k_values) + task.skips_own_id
    search = QuantizedSearch(queries, precision, top_k=depth, n_rescored=n_rescored)
    for vectors in _large_blocks(documents):
        with spent.timed("searching"):
            search.add(vectors)
    if search.n_seen != len(task.document_ids):
        raise FileFormatError(
            f"{task.source or task.name} held {len(task.document_ids):,} documents and now gives {search.n_seen:,}: it "
            "changed while it was read. Start again."
        )
    with spent.timed("scoring"):
        return _score(task, search.best, k_values)


def _evaluate_sts(run: _Run, task: StsTask) -> Evaluation:
    """Correlate cosines of pairs with people's scores."""
    scipy_stats()  # fail before hours of work if it is missing
    first, second = run.embed(task.first, run.prompts.query), run.embed(task.second, run.prompts.document)
    with run.work.timed("scoring"):
        cosines = pairwise_cos_sim(first, second).astype(np.float64)
        scores = {STS_METRIC: spearman(cosines, task.scores), "cosine_pearson": pearson(cosines, task.scores)}
    return run.finished(STS_METRIC, scores, StsSample(cosines, task.scores))


class _Run:
    """Embeds the texts of one evaluation and counts the work."""

    def __init__(
        self,
        encoder: E5Encoder,
        task: RetrievalTask | StsTask,
        prompts: TaskPrompts,
        cache: VectorCache | None,
        on_progress: Progress | None,
    ) -> None:
        self._encoder = CachedEncoder(encoder.with_options(show_progress=False), cache or VectorCache())
        self.prompts = prompts
        self._task = task
        self._on_progress = on_progress
        self._start = time.perf_counter()
        self.work = Work()

    def embed(self, texts: Sequence[str], prompt: Prompt) -> FloatArray:
        """Vectors of some texts, which may be empty."""
        with self.work.timed("tokenising"):
            prepared = self._encoder.encoder.prepare(texts, prompt=prompt, allow_empty=True)
        with self.work.timed("embedding"):
            vectors = self._encoder.embed_prepared(prepared, texts, on_progress=self._tell)
        self.work.count(prepared, texts)
        self._tell(0, 0)
        return vectors

    def document_blocks(self, task: RetrievalTask) -> Iterator[FloatArray]:
        """Vectors of the documents, block by block."""
        documents = task.documents()
        while block := list(islice(documents, _BLOCK_TEXTS)):
            yield self.embed([self._text(document) for document in block], self.prompts.document)

    def _text(self, document: Document) -> str:
        return join_title(*document).strip() if self.prompts.reads_titles else document.text

    def finished(
        self,
        metric: str,
        scores: dict[str, float],
        sample: QueryScores | StsSample,
        precision: Precision = "float32",
    ) -> Evaluation:
        """The finished evaluation."""
        self.work.total_seconds = time.perf_counter() - self._start
        return Evaluation(
            task=self._task.name,
            split=self._task.split,
            dataset_revision=self._task.digest,
            spec=self._encoder.spec,
            prompts=self.prompts,
            metric=metric,
            scores=scores,
            sample=sample,
            work=self.work,
            precision=precision,
        )

    def _tell(self, n_done: int, _n_missing: int) -> None:
        if self._on_progress is not None:
            self._on_progress(self.work.n_texts + n_done, self._task.n_texts)


def _large_blocks(blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """The same rows in fewer blocks."""
    held: list[FloatArray] = []
    for block in blocks:
        held.append(block)
        if sum(each.nbytes for each in held) >= _SEARCHED_BYTES:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(blocks: list[FloatArray]) -> FloatArray:
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _score(task: RetrievalTask, hits: TopK, k_values: Sequence[int]) -> QueryScores:
    """Scores of all queries, a block at a time: rankings as dictionaries take many times the memory of arrays."""
    parts = [
        query_scores(
            {query: task.judgements[query] for query in task.query_ids[start : start + _BLOCK_QUERIES]},
            _rankings(task, hits, start),
            k_values=k_values,
        )
        for start in range(0, len(task.query_ids), _BLOCK_QUERIES)
    ]
    return QueryScores(
        tuple(query for part in parts for query in part.query_ids),
        {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
    )


def _rankings(task: RetrievalTask, hits: TopK, start: int) -> dict[str, dict[str, float]]:
    rows = slice(start, start + _BLOCK_QUERIES)
    rankings: dict[str, dict[str, float]] = {}
    for query, ids, scores in zip(
        task.query_ids[rows], hits.ids[rows].tolist(), hits.scores[rows].tolist(), strict=True
    ):
        ranked = {task.document_ids[row]: score for row, score in zip(ids, scores, strict=True)}
        if task.skips_own_id:
            ranked.pop(query, None)
        rankings[query] = ranked
    return rankings
