"""Evaluates models, prompts and instructions on the visitor's queries with known answers. Knows no Gradio.

Every setting ranks the whole corpus for every query, exactly, with trec_eval's metrics. The difference from the
baseline has an interval and a p value, because few queries prove little. It holds for these texts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from e5studio.analysis.correlation import scipy_stats
from e5studio.analysis.retrieval_metrics import QueryScores, import_pytrec_eval
from e5studio.analysis.significance import Comparison, Interval, compare_means, mean_interval
from e5studio.batching import IntArray
from e5studio.encoder import E5Encoder
from e5studio.evaluation.run import RETRIEVAL_METRIC, retrieval_scores
from e5studio.evaluation.tasks import Document, RetrievalTask
from e5studio.models import ModelMeta
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray
from e5studio.spec import EncoderSpec
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.embedding import (
    EmbeddedTexts,
    EmbeddingProgress,
    OnEmbeddingProgress,
    embed_documents,
    embed_texts,
)
from e5studio.studio.corpus.failures import AnswerRanks, answer_ranks
from e5studio.studio.corpus.pairs import Pairs
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.engine.prompt_modes import PromptMode, prompts_in_front, valid_prompt_mode
from e5studio.studio.errors import FullError, StoppedError
from e5studio.studio.formatting import shown

K_VALUES = (1, 5, 10, 100)
MAIN_METRIC = RETRIEVAL_METRIC
METRICS = (MAIN_METRIC, "mrr_at_10", *(f"recall_at_{k}" for k in K_VALUES))

_SHOWN_CHARACTERS = 80
_SPEED_SHARE = 0.5


@dataclass(frozen=True)
class Mean:
    """A mean over the queries.

    Attributes:
        value: 0 to 1.
        interval: Its confidence interval; None with too few queries.
    """

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class SettingResult:
    """The metrics of one setting.

    Attributes:
        setting: As requested.
        meta: Its model.
        prompt_mode: As requested, or the model's usual one where it lacks that.
        prompts: In front of queries and of passages.
        means: By the names of `METRICS`.
        per_query: The metrics of each query, in the order of the pairs.
        answers: Where the answer of each query stands.
        difference: Of nDCG@10 from the baseline; None for the baseline itself.
        n_dropped: Tokens of each text that the model does not read.
        unknown_shares: Of each query's tokens, the share that the vocabulary lacks, 0 to 1.
        n_truncated: Texts and queries longer than the model reads.
        n_embedded: Texts and queries that this run embedded; the others' vectors were known.
        seconds_per_thousand: What 1,000 texts of the corpus took to embed; None where most vectors were known, since
            the rest would not tell.
    """

    setting: CorpusSetting
    meta: ModelMeta
    prompt_mode: PromptMode
    prompts: tuple[str, str]
    means: dict[str, Mean]
    per_query: QueryScores
    answers: AnswerRanks
    difference: Comparison | None
    n_dropped: IntArray
    unknown_shares: FloatArray
    n_truncated: int
    n_embedded: int
    seconds_per_thousand: float | None


@dataclass(frozen=True)
class FailedSetting:
    """A setting that could not be evaluated, its model if that is known, and why."""

    setting: CorpusSetting
    meta: ModelMeta | None
    error: Exception


@dataclass(frozen=True)
class CorpusEvaluation:
    """All settings on the same pairs.

    Attributes:
        of: The key of the corpus.
        pairs: The queries and their answers.
        rows: A result or a failure of each setting, in the order of the request.
        baseline: Index of the first result, with which the others are compared; None where all failed.
    """

    of: str
    pairs: Pairs
    rows: tuple[SettingResult | FailedSetting, ...]
    baseline: int | None


def measure(
    engine: Engine,
    corpus: Corpus,
    pairs: Pairs,
    settings: Sequence[CorpusSetting],
    store: VectorStore,
    on_stage: OnStage = ignore_progress,
    embedded: EmbeddedCorpus | None = None,
) -> CorpusEvaluation:
    """Rank the corpus for every query under every setting.

    A setting that fails becomes a row with its error. While the store has room, nothing is embedded twice: neither
    what `embed_corpus` embedded, nor texts of settings that differ in the instruction alone, nor batches before a
    stop.

    Args:
        engine: Gives encoders.
        corpus: The texts to rank.
        pairs: From `read_pairs`, of this corpus.
        settings: To compare.
        store: The visitor's vectors; receives each batch once it is computed.
        on_stage: Called for every batch; may stop the run.
        embedded: Has vectors of the corpus that need not be computed again, if they are exact.

    Raises:
        MissingDependencyError: The package that computes the metrics is not installed.
        StoppedError: `on_stage` stopped the run.
    """
    import_pytrec_eval()  # fail before minutes of work, not after
    scipy_stats()
    rows: list[SettingResult | FailedSetting] = []
    for number, setting in enumerate(settings):
        meta = None
        try:
            meta = engine.catalog.offered(setting.model)
            on_part = _part_of(on_stage, number, len(settings))
            rows.append(_measure_one(engine, corpus, pairs, setting, meta, store, on_part, embedded))
        except (StoppedError, FullError):
            raise
        except Exception as error:
            rows.append(FailedSetting(setting, meta, error))
    on_stage(None, "Comparing the settings")
    index = next((index for index, row in enumerate(rows) if isinstance(row, SettingResult)), None)
    results = [row for row in rows if isinstance(row, SettingResult)]
    compared = [_compare(results[0], row) if isinstance(row, SettingResult) else row for row in rows]
    return CorpusEvaluation(corpus.key, pairs, tuple(compared), index)


def _measure_one(
    engine: Engine,
    corpus: Corpus,
    pairs: Pairs,
    setting: CorpusSetting,
    meta: ModelMeta,
    store: VectorStore,
    on_stage: OnStage,
    embedded: EmbeddedCorpus | None,
) -> SettingResult:
    """The metrics of one setting, without its vectors: those stay while the store has room."""
    prompt_mode = valid_prompt_mode(meta.prompt_kind, setting.prompt_mode)
    prompts = prompts_in_front(meta.prompt_kind, prompt_mode, setting.instruction)
    with engine.corpus_encoder(meta, on_stage, setting.dtype, setting.backend, corpus.texts) as encoder:
        known = _known_vectors(embedded, corpus, encoder.spec, prompts[1])
        documents, queries = _embed(encoder, corpus, pairs, prompts, store, on_stage, known)
    on_stage(1.0, "Ranking the texts for each query")
    vectors = queries.vectors.complete(), documents.vectors.complete()
    scores = retrieval_scores(_task(corpus, pairs), vectors[0], [vectors[1]], k_values=K_VALUES)
    means = scores.means()
    return SettingResult(
        setting=setting,
        meta=meta,
        prompt_mode=prompt_mode,
        prompts=(prompts[0].text, prompts[1].text),
        means={name: Mean(means[name], mean_interval(scores.values[name])) for name in METRICS},
        per_query=scores,
        answers=answer_ranks(*vectors, pairs.relevant),
        difference=None,
        n_dropped=documents.vectors.tokens.n_dropped,
        unknown_shares=queries.vectors.tokens.unknown_share,
        n_truncated=documents.n_truncated + queries.n_truncated,
        n_embedded=documents.n_embedded + queries.n_embedded,
        seconds_per_thousand=_seconds_per_thousand(documents),
    )


def _known_vectors(
    embedded: EmbeddedCorpus | None, corpus: Corpus, spec: EncoderSpec, prompt: Prompt
) -> FloatArray | None:
    """The vectors of a corpus, where this encoder would compute the same under this prompt."""
    if embedded is None or not embedded.is_exact or embedded.corpus is not corpus:
        return None
    is_same = (embedded.fingerprint, embedded.prompt) == (spec.fingerprint, prompt.text)
    return embedded.vectors if is_same else None


def _embed(
    encoder: E5Encoder,
    corpus: Corpus,
    pairs: Pairs,
    prompts: tuple[Prompt, Prompt],
    store: VectorStore,
    on_stage: OnStage,
    known: FloatArray | None,
) -> tuple[EmbeddedTexts, EmbeddedTexts]:
    query_prompt, document_prompt = prompts
    share = len(corpus) / (len(corpus) + len(pairs))
    on_documents = _as_stages(on_stage, 0.0, share, "texts")
    documents = embed_documents(encoder, corpus, document_prompt, store, on_documents, known)
    queries = embed_texts(
        encoder,
        pairs.queries,
        query_prompt,
        store,
        _as_stages(on_stage, share, 1 - share, "queries"),
        lambda row: f"the query “{shown(pairs.queries[row], _SHOWN_CHARACTERS)}”",
    )
    return documents, queries


def _as_stages(on_stage: OnStage, before: float, part: float, what: str) -> OnEmbeddingProgress:
    """Progress of a part of a setting as stages of the whole."""

    def on_progress(progress: EmbeddingProgress) -> None:
        doing = progress.doing
        if progress.share is not None:
            doing += f": {progress.n_done:,} of {progress.n_texts:,} {what}"
        if progress.texts_per_second is not None:
            doing += f", {progress.texts_per_second:,.0f} a second"
        on_stage(before + part * (progress.share or 0.0), doing)

    return on_progress


def _task(corpus: Corpus, pairs: Pairs) -> RetrievalTask:
    titles = corpus.titles or ("",) * len(corpus)
    return RetrievalTask(
        name=corpus.source,
        split="test",
        query_ids=tuple(map(str, range(len(pairs)))),
        queries=pairs.queries,
        document_ids=tuple(map(str, range(len(corpus)))),
        documents=lambda: map(Document, titles, corpus.texts),
        judgements=pairs.judgements,
    )


def _compare(baseline: SettingResult, row: SettingResult) -> SettingResult:
    if row is baseline:
        return row
    scores = (each.per_query.values[MAIN_METRIC] for each in (baseline, row))
    return replace(row, difference=compare_means(*scores))


def _seconds_per_thousand(documents: EmbeddedTexts) -> float | None:
    if documents.n_embedded < _SPEED_SHARE * len(documents.vectors) or documents.seconds <= 0:
        return None
    return 1000 * documents.seconds / len(documents.new_rows)


def _part_of(on_stage: OnStage, number: int, n_settings: int) -> OnStage:
    """Stages of one setting as stages of all."""
    if n_settings == 1:
        return on_stage
    return lambda share, doing: on_stage(
        (number + (share or 0.0)) / n_settings, f"Setting {number + 1} of {n_settings}: {doing}"
    )
