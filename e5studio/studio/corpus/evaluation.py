"""Own queries with known answers -> what each model, prompt or instruction is worth on them. Knows no Gradio.

Every setting ranks the whole corpus for every query, exactly, and is scored as trec_eval scores; the difference from
the setting that the others are held against comes with an interval and a p value, for few queries prove little.
Nothing is said of texts other than these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from e5studio.analysis.correlation import scipy_stats
from e5studio.analysis.retrieval_metrics import QueryScores, import_pytrec_eval
from e5studio.analysis.significance import Comparison, Interval, compare_means, mean_interval
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError, MissingDependencyError
from e5studio.evaluation.run import RETRIEVAL_METRIC, retrieval_scores
from e5studio.evaluation.tasks import Document, RetrievalTask
from e5studio.models import ModelMeta
from e5studio.prompts import Prompt
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting
from e5studio.studio.corpus.embedding import EmbeddedTexts, EmbeddingNews, OnNews, embed_documents, embed_texts
from e5studio.studio.corpus.pairs import Pairs
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.engine.catalog import offered
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import for_menus, message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.prompt_modes import PromptMode, prompts_in_front, valid_prompt_mode
from e5studio.studio.errors import FullError, StoppedError
from e5studio.studio.formatting import shown

K_VALUES = (1, 5, 10, 100)
MAIN_METRIC = RETRIEVAL_METRIC
METRICS = (MAIN_METRIC, "mrr_at_10", *(f"recall_at_{k}" for k in K_VALUES))


Against = Literal["first", "best"]

_SHOWN_CHARACTERS = 80
_SPEED_SHARE = 0.5


@dataclass(frozen=True)
class Mean:
    """A mean over the queries.

    Attributes:
        value: 0 to 1.
        interval: Where it would lie with other queries of the same kind; None of too few queries.
    """

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class SettingResult:
    """What one setting is worth.

    Attributes:
        setting: As asked for.
        meta: Its model.
        prompt_mode: How the texts were used: as asked where the model knows it, else as is usual with it.
        prompts: What stood in front of queries and of passages.
        means: By the names of `METRICS`.
        per_query: The same of each query, in the order of the pairs.
        difference: Of nDCG@10 from the setting that it is held against; None of that setting itself.
        n_truncated: Texts and queries longer than the model reads.
        n_embedded: Texts and queries that were embedded for it; the others' vectors were kept from before.
        seconds_per_thousand: What 1,000 texts of the corpus took to embed; None where the vectors of more than half
            were kept, since the rest would not tell.
        tokens_per_second: Of the same texts.
    """

    setting: CorpusSetting
    meta: ModelMeta
    prompt_mode: PromptMode
    prompts: tuple[str, str]
    means: dict[str, Mean]
    per_query: QueryScores
    difference: Comparison | None
    n_truncated: int
    n_embedded: int
    seconds_per_thousand: float | None
    tokens_per_second: float | None


@dataclass(frozen=True)
class FailedSetting:
    """A setting that could not be measured, and why."""

    setting: CorpusSetting
    reason: str


@dataclass(frozen=True)
class CorpusEvaluation:
    """All settings on the same pairs.

    Attributes:
        of: The key of the corpus.
        pairs: The queries and their answers.
        rows: A result or a failure of each setting, in the order asked for.
        against: Place in `rows` of the setting that the others are held against; None where all failed.
    """

    of: str
    pairs: Pairs
    rows: tuple[SettingResult | FailedSetting, ...]
    against: int | None


def measure(
    engine: Engine,
    corpus: Corpus,
    pairs: Pairs,
    settings: Sequence[CorpusSetting],
    kept: VectorStore,
    on_stage: OnStage | None = None,
    *,
    against: Against = "first",
) -> CorpusEvaluation:
    """Rank the corpus for every query under every setting.

    A setting that fails becomes a row that says why. Vectors are kept as they are made, so that while there is room
    for them nothing is embedded twice: what `embed_corpus` embedded, what settings share that differ in the
    instruction alone, what was done before a stop.

    Args:
        engine: Where encoders come from.
        corpus: What is searched.
        pairs: From `read_pairs`, of this corpus.
        settings: What is compared.
        kept: The visitor's vectors; each batch is added as soon as it is computed.
        on_stage: Told of every batch, and may stop the work there.
        against: Which setting the others are held against: the first that could be measured, or that of highest
            nDCG@10. The best was picked by these very queries, which flatters it a little.

    Raises:
        MissingDependencyError: What scores rankings is not installed.
        StoppedError: `on_stage` asked to stop.
    """
    import_pytrec_eval()  # what is missing should be missed before minutes of work
    scipy_stats()
    stage = on_stage or _no_stage
    rows: list[SettingResult | FailedSetting] = []
    for number, setting in enumerate(settings):
        try:
            tell = _share_of(stage, number, len(settings))
            rows.append(_measure_one(engine, corpus, pairs, setting, kept, tell))
        except (StoppedError, FullError):
            raise
        except (BackendError, MissingDependencyError) as error:
            rows.append(FailedSetting(setting, message_for_visitor(for_menus(error, setting.dtype))))
        except Exception as error:
            rows.append(FailedSetting(setting, message_for_visitor(error)))
    stage(None, "Comparing the settings")
    base = _base(rows, against)
    baseline = rows[base] if base is not None else None
    for place, row in enumerate(rows):
        if isinstance(row, SettingResult) and isinstance(baseline, SettingResult) and row is not baseline:
            rows[place] = _held_against(baseline, row)
    return CorpusEvaluation(corpus.key, pairs, tuple(rows), base)


def _measure_one(
    engine: Engine, corpus: Corpus, pairs: Pairs, setting: CorpusSetting, kept: VectorStore, stage: OnStage
) -> SettingResult:
    """The figures of one setting. They hold none of its vectors: those stay while `kept` has room for them."""
    meta = offered(setting.model)
    prompt_mode = valid_prompt_mode(meta.prompt_kind, setting.prompt_mode)
    of_query, of_document = prompts_in_front(meta.prompt_kind, prompt_mode, setting.instruction)
    with engine.corpus_encoder(meta, stage, setting.dtype, setting.backend) as encoder:
        documents, queries = _embed(encoder, corpus, pairs, (of_query, of_document), kept, stage)
    stage(1.0, "Ranking the texts for each query")
    sample = retrieval_scores(_task(corpus, pairs), queries.rows.whole(), [documents.rows.whole()], k_values=K_VALUES)
    means = sample.means()
    seconds_per_thousand, tokens_per_second = _speed(documents)
    return SettingResult(
        setting=setting,
        meta=meta,
        prompt_mode=prompt_mode,
        prompts=(of_query.text, of_document.text),
        means={name: Mean(means[name], mean_interval(sample.values[name])) for name in METRICS},
        per_query=sample,
        difference=None,
        n_truncated=documents.n_truncated + queries.n_truncated,
        n_embedded=documents.n_embedded + queries.n_embedded,
        seconds_per_thousand=seconds_per_thousand,
        tokens_per_second=tokens_per_second,
    )


def _embed(
    encoder: E5Encoder,
    corpus: Corpus,
    pairs: Pairs,
    prompts: tuple[Prompt, Prompt],
    kept: VectorStore,
    stage: OnStage,
) -> tuple[EmbeddedTexts, EmbeddedTexts]:
    of_query, of_document = prompts
    share = len(corpus) / (len(corpus) + len(pairs))
    documents = embed_documents(encoder, corpus, of_document, kept, _news_as_stage(stage, 0.0, share, "texts"))
    queries = embed_texts(
        encoder,
        pairs.queries,
        of_query,
        kept,
        _news_as_stage(stage, share, 1 - share, "queries"),
        lambda place: f"the query “{shown(pairs.queries[place], _SHOWN_CHARACTERS)}”",
    )
    return documents, queries


def _news_as_stage(stage: OnStage, before: float, part: float, what: str) -> OnNews:
    """News of a part of a setting's work, as stages of the whole, in words."""

    def tell(news: EmbeddingNews) -> None:
        words = news.doing
        if news.share is not None:
            words += f": {news.n_done:,} of {news.n_texts:,} {what}"
        if news.texts_per_second is not None:
            words += f", {news.texts_per_second:,.0f} a second"
        stage(before + part * (news.share or 0.0), words)

    return tell


def _task(corpus: Corpus, pairs: Pairs) -> RetrievalTask:
    return RetrievalTask(
        name=corpus.source,
        split="test",
        query_ids=tuple(map(str, range(len(pairs)))),
        queries=pairs.queries,
        document_ids=tuple(map(str, range(len(corpus)))),
        documents=lambda: _documents(corpus),
        judgements=pairs.judgements,
    )


def _documents(corpus: Corpus) -> Iterator[Document]:
    titles = corpus.titles or ("",) * len(corpus)
    return (Document(title, text) for title, text in zip(titles, corpus.texts, strict=True))


def _base(rows: Sequence[SettingResult | FailedSetting], against: Against) -> int | None:
    """Place of the setting that the others are held against."""
    scores = {place: row.means[MAIN_METRIC].value for place, row in enumerate(rows) if isinstance(row, SettingResult)}
    if not scores:
        return None
    return min(scores) if against == "first" else max(scores, key=lambda place: scores[place])


def _held_against(baseline: SettingResult, row: SettingResult) -> SettingResult:
    samples = baseline.per_query.values[MAIN_METRIC], row.per_query.values[MAIN_METRIC]
    return replace(row, difference=compare_means(*samples))


def _speed(documents: EmbeddedTexts) -> tuple[float, float] | tuple[None, None]:
    """Seconds for 1,000 texts, and tokens in a second."""
    fresh, seconds = documents.fresh, documents.seconds
    if documents.n_embedded < _SPEED_SHARE * len(documents.rows) or seconds <= 0:
        return None, None
    return 1000 * seconds / len(fresh), float(documents.rows.read.n_tokens[fresh].sum()) / seconds


def _share_of(stage: OnStage, number: int, n_settings: int) -> OnStage:
    """Stages of one setting, as stages of all."""
    if n_settings == 1:
        return stage
    return lambda share, words: stage(
        (number + (share or 0.0)) / n_settings, f"Setting {number + 1} of {n_settings}: {words}"
    )


def _no_stage(share: float | None, words: str) -> None:
    return None
