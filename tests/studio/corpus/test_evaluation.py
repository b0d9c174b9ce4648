"""Own pairs: answers found or named, figures as `evaluate` gives them, differences, stops, settings that fail."""

from __future__ import annotations

import json
import sys
import weakref

import numpy as np
import pytest

from e5studio.analysis.significance import compare_means, mean_interval
from e5studio.batching import Limits
from e5studio.cache import VectorCache, vector_key
from e5studio.errors import MissingDependencyError, ModelUnavailableError, TextError, UnknownModelError
from e5studio.evaluation import Document, RetrievalTask, evaluate, read_beir
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting
from e5studio.studio.corpus.embedding import EmbeddedTexts, embed_corpus
from e5studio.studio.corpus.evaluation import METRICS, FailedSetting, SettingResult, _seconds_per_thousand, measure
from e5studio.studio.corpus.pairs import Pairs, read_pairs
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import ignore_progress
from e5studio.studio.errors import LimitError, StoppedError
from tests.evaluation.evaluation_sets import EVALUATIONS, needs_evaluations
from tests.fakes import FakeBackend, encoder_over
from tests.studio.conftest import ABSENT, ENGLISH, FAULTY, INSTRUCT, OFFLINE, StandInPool
from tests.studio.corpus.conftest import ignore

WORDS = [
    f"{word} of the mountain, number {n}" for n, word in enumerate("summit valley river stone protein".split() * 6)
]
CORPUS = Corpus(
    "notes.csv",
    tuple(WORDS),
    tuple(range(2, 62, 2)),
    titles=tuple(f"title {n}" if n % 3 else "" for n in range(30)),
)
PAIRS = read_pairs([f"which {text}" for text in WORDS[:12]], [WORDS[n] for n in range(5, 17)], CORPUS)
RETRIEVAL = CorpusSetting(ENGLISH, "retrieval")


def measured(engine, settings, store=None, *, corpus=CORPUS, pairs=PAIRS, on_stage=ignore_progress):
    return measure(engine, corpus, pairs, settings, store or VectorStore(), on_stage)


@pytest.fixture
def backend(checkpoints):
    return FakeBackend(checkpoints("e5").meta.embed_dim, limits=Limits(token_budget=40))


@pytest.fixture
def fake(backend, checkpoints):
    """Handlers over an encoder that remembers what it was given."""
    return Engine(StandInPool({ENGLISH: lambda: encoder_over(checkpoints("e5"), backend)}))


def n_texts_seen(backend):
    return sum(map(len, backend.seen))


def as_task(corpus=CORPUS, pairs=PAIRS, name="mine"):
    ids = tuple(f"d{row:03}" for row in range(len(corpus)))
    return RetrievalTask(
        name=name,
        split="test",
        query_ids=tuple(f"q{n}" for n in range(len(pairs))),
        queries=pairs.queries,
        document_ids=ids,
        documents=lambda: iter([Document(*each) for each in zip(corpus.titles, corpus.texts, strict=True)]),
        judgements={f"q{n}": {ids[row]: 1 for row in rows} for n, rows in enumerate(pairs.relevant)},
    )


class TestReadingPairs:
    corpus = Corpus("faq.csv", ("a cat", " a dog ", "a cat", "7"), (2, 3, 5, 7), titles=("Cats", "Dogs", "", "Seven"))

    @pytest.mark.parametrize(
        ("answer", "rows"),
        [
            ("a cat", (0, 2)),  # all rows with this text count
            ("a dog", (1,)),
            ("  a cat\n", (0, 2)),
            ("Dogs", (1,)),
            ("Cats a cat", (0,)),
            ("5", (2,)),
            (3, (1,)),
            ("7", (3,)),  # a text first, then a line; here they are the same row
            ("2", (0,)),
        ],
    )
    def test_an_answer_is_a_text_a_title_or_a_line(self, answer, rows):
        assert read_pairs(["a question"], [answer], self.corpus).relevant == (rows,)

    def test_ids_come_first_where_there_are_some(self):
        found = read_pairs(["q", "r"], ["5", "a cat"], self.corpus, ids=["5", "6", "7", "8"])
        assert found.relevant == ((0,), (0, 2))

    def test_a_query_that_comes_again_has_more_answers_and_is_read_as_it_stands(self):
        found = read_pairs([" what barks", "what barks ", "what purrs"], ["a dog", "7", "a cat"], self.corpus)
        assert found == Pairs((" what barks", "what purrs"), ((1, 3), (0, 2)))

    def test_pairs_without_an_answer_in_the_corpus_are_left_out_by_line(self):
        found = read_pairs(["q", " ", "r", "s"], ["a bird", "a cat", "a dog", ""], self.corpus, lines=[2, 4, 6, 8])
        assert found == Pairs(("r",), ((1,),), left_out=(2, 4, 8))

    def test_nothing_left_is_an_error(self):
        with pytest.raises(TextError, match=r"No pair has .* faq.csv \(lines 1, 2, 3, 4, 5 and 4 more\)") as caught:
            read_pairs(["q"] * 9, ["a bird"] * 9, self.corpus)
        assert caught.value.indices == tuple(range(9))
        with pytest.raises(TextError, match="no pairs"):
            read_pairs([], [], self.corpus)

    def test_more_queries_than_anyone_waits_for(self, monkeypatch):
        monkeypatch.setattr("e5studio.studio.corpus.pairs.MAX_QUERIES", 2)
        with pytest.raises(LimitError, match="3 queries"):
            read_pairs(["q", "r", "s"], ["a cat"] * 3, self.corpus)


def test_an_id_that_is_not_there_is_no_line():
    corpus = Corpus("faq.csv", ("one", "two", "three"), (2, 3, 4))
    found = read_pairs(["q", "r"], ["2", "3"], corpus, ids=["0", "1", "2"])
    assert (found.queries, found.relevant, found.left_out) == (("q",), ((2,),), (2,))


def test_a_number_is_a_line_whatever_the_ids_say_and_all_rows_of_its_text_count():
    corpus = Corpus("faq.csv", ("same", "other", "same"), (2, 3, 4))
    found = read_pairs(["q", "r"], [2, 3], corpus, ids=["3", "4", "2"])
    assert found.relevant == ((0, 2), (1,))


class TestFigures:
    @pytest.mark.parametrize(("model", "name"), [(ENGLISH, "e5"), (INSTRUCT, "multilingual-e5-instruct")])
    def test_they_are_those_of_an_evaluation(self, engine, encoders, model, name):
        words = "Find the place" if model == INSTRUCT else None
        expected = evaluate(encoders(name), as_task(), instruction=words)
        found = measured(engine, [CorpusSetting(model, "retrieval", words or "")])
        [row] = found.rows
        for metric in METRICS:
            assert row.means[metric].value == pytest.approx(expected.scores[metric], abs=5e-6)
            assert row.means[metric].interval == mean_interval(row.per_query.values[metric])
        assert row.prompts == (expected.prompts.query.text, expected.prompts.document.text)
        assert row.difference is None
        assert (found.baseline, found.of) == (0, CORPUS.key)

    def test_a_use_puts_its_prompts_in_front_and_an_unknown_one_is_the_usual(self, engine):
        settings = [CorpusSetting(ENGLISH, "symmetric"), CorpusSetting(ENGLISH, "none"), CorpusSetting(OFFLINE, "none")]
        rows = measured(engine, [*settings, CorpusSetting(OFFLINE, "retrieval")]).rows
        assert [row.prompts for row in rows] == [("query: ", "query: "), ("", ""), ("", ""), ("", "")]
        assert [row.prompt_mode for row in rows] == ["symmetric", "none", "none", "none"]
        assert rows[3].n_embedded == 0  # the same as the one before

    def test_each_is_compared_with_the_first(self, engine):
        settings = [CorpusSetting(ENGLISH, "none"), RETRIEVAL, CorpusSetting(OFFLINE, "none")]
        evaluation = measured(engine, settings)
        scores = [row.per_query.values["ndcg_at_10"] for row in evaluation.rows]
        assert evaluation.rows[0].difference is None
        assert [row.difference for row in evaluation.rows[1:]] == [
            compare_means(scores[0], each) for each in scores[1:]
        ]

    def test_few_queries_have_no_interval(self, engine):
        few = read_pairs(["which summit", "which river"], [WORDS[0], WORDS[2]], CORPUS)
        [row] = measured(engine, [RETRIEVAL], pairs=few).rows
        assert row.means["ndcg_at_10"].interval is None

    def test_all_rows_with_the_text_of_an_answer_count(self, engine):
        corpus = Corpus("twins.csv", ("the summit", "the summit", "a river"), (1, 2, 3))
        pairs = read_pairs(["the summit"], ["the summit"], corpus)
        [row] = measured(engine, [RETRIEVAL], corpus=corpus, pairs=pairs).rows
        assert row.means["recall_at_1"].value == 0.5
        assert row.means["ndcg_at_10"].value == 1


class TestVectorsStay:
    def test_a_second_run_embeds_nothing(self, engine):
        store, settings = VectorStore(), [RETRIEVAL, CorpusSetting(OFFLINE, "none")]
        first = measured(engine, settings, store)
        assert [row.n_embedded for row in first.rows] == [42, 42]
        assert all(row.seconds_per_thousand > 0 for row in first.rows)
        second = measured(engine, settings, store)
        assert [row.n_embedded for row in second.rows] == [0, 0]
        assert all(row.seconds_per_thousand is None for row in second.rows)
        assert [row.means for row in second.rows] == [row.means for row in first.rows]

    def test_another_instruction_embeds_the_queries_alone_whose_speed_tells_nothing_of_texts(self, engine):
        settings = [CorpusSetting(INSTRUCT, "retrieval", words) for words in ("Find it", "Find the place")]
        rows = measured(engine, settings).rows
        assert [row.n_embedded for row in rows] == [42, 12]
        assert rows[1].seconds_per_thousand is None

    def test_what_was_embedded_to_be_searched_is_not_embedded_again(self, fake, backend):
        store = VectorStore()
        embed_corpus(fake, CORPUS, RETRIEVAL, store, ignore)
        assert n_texts_seen(backend) == 30
        [row] = measured(fake, [RETRIEVAL], store).rows
        assert (row.n_embedded, n_texts_seen(backend)) == (12, 42)
        assert row.seconds_per_thousand is None
        assert embed_corpus(fake, CORPUS, RETRIEVAL, store, ignore).n_embedded == 0  # and the other way round

    def test_a_stop_loses_no_batch_that_was_done(self, fake, backend):
        store, told = VectorStore(), []

        def stop(share, words):
            told.append(words)
            if sum(words.startswith("Embedding") for words in told) == 3:
                raise StoppedError

        with pytest.raises(StoppedError):
            measured(fake, [RETRIEVAL], store, on_stage=stop)
        done = n_texts_seen(backend)
        assert 0 < done < 30
        assert fake.pool.n_leased == fake.pool.n_released
        [row] = measured(fake, [RETRIEVAL], store).rows
        assert n_texts_seen(backend) == 42
        assert row.n_embedded == 42 - done

    def test_a_stop_in_the_second_setting_loses_none_of_the_first(self, engine):
        store, settings = VectorStore(), [RETRIEVAL, CorpusSetting(OFFLINE, "none")]

        def stop(share, words):
            if words.startswith("Setting 2 of 2: Embedding"):
                raise StoppedError

        with pytest.raises(StoppedError):
            measured(engine, settings, store, on_stage=stop)
        first, second = measured(engine, settings, store).rows
        assert first.n_embedded == 0
        assert second.n_embedded < 42

    def test_where_there_is_no_room_all_is_measured_all_the_same(self, engine):
        settings = [RETRIEVAL, CorpusSetting(OFFLINE, "none"), RETRIEVAL]
        rows = measured(engine, settings, VectorStore(max_bytes=1)).rows
        assert [row.n_embedded for row in rows] == [42, 42, 42]  # the first's vectors had to make way
        assert rows[2].means == rows[0].means == measured(engine, [RETRIEVAL]).rows[0].means

    def test_vectors_that_made_way_are_not_held_on_to(self, engine):
        opened = []

        class Watched(VectorStore):
            def open(self, *arguments):
                vectors = super().open(*arguments)
                opened.append(weakref.ref(vectors))
                return vectors

        store = Watched(max_bytes=1)
        evaluation = measured(engine, [RETRIEVAL, CorpusSetting(OFFLINE, "none"), RETRIEVAL], store)
        assert len(evaluation.rows) == 3
        assert sum(each() is not None for each in opened) == 1  # the latest, which the store always holds

    def test_the_speed_counts_the_texts_that_were_embedded(self):
        texts = [*CORPUS.texts[:15], *CORPUS.texts[:5]]
        vectors = VectorStore().open("encoder", "", texts, 4)
        assert _seconds_per_thousand(EmbeddedTexts(vectors, np.arange(15), 3.0)) == pytest.approx(200)
        assert _seconds_per_thousand(EmbeddedTexts(vectors, np.arange(5, 9), 3.0)) is None  # most were known


class TestStages:
    def test_progress_counts_settings(self, engine):
        told = []
        settings = [RETRIEVAL, CorpusSetting(OFFLINE, "none")]
        measured(engine, settings, on_stage=lambda *stage: told.append(stage))
        loading = ("Loading", "Downloading")  # which comes before anything is counted
        shares = [share for share, words in told[:-1] if not words.split(": ")[1].startswith(loading)]
        assert shares == sorted(shares)
        assert 0.5 in shares
        assert shares[-1] == 1
        assert told[-1] == (None, "Comparing the settings")

    def test_batches_are_told_with_counts_and_rate(self, fake, monkeypatch):
        from e5studio.studio.corpus import embedding

        monkeypatch.setattr(embedding, "_SECONDS_UNTIL_SPEED", 0)
        told = []
        measured(fake, [RETRIEVAL], on_stage=lambda *stage: told.append(stage))
        words = [words for _, words in told if words.startswith("Embedding")]
        assert all(each.endswith(" a second") for each in words)
        assert any(each.startswith("Embedding: 30 of 30 texts, ") for each in words)
        assert words[-1].startswith("Embedding: 12 of 12 queries, ")

    def test_a_query_without_a_usable_vector_is_named(self, checkpoints):
        is_broken = False

        def spoil(vectors, batch):
            vectors[is_broken & (batch.lengths == batch.lengths.max())] = np.nan
            return vectors

        backend = FakeBackend(checkpoints("e5").meta.embed_dim, spoil=spoil)
        fake = Engine(StandInPool({ENGLISH: lambda: encoder_over(checkpoints("e5"), backend)}))
        store = VectorStore()
        embed_corpus(fake, CORPUS, RETRIEVAL, store, ignore)
        is_broken = True
        pairs = read_pairs(["one", "two words and more"], [WORDS[0], WORDS[1]], CORPUS)
        [failed] = measured(fake, [RETRIEVAL], store, pairs=pairs).rows
        assert "no usable vector for the query “two words and more”" in str(failed.error)

    def test_a_setting_that_fails_leaves_the_others_standing(self, engine):
        settings = [CorpusSetting(ABSENT, "retrieval"), RETRIEVAL, CorpusSetting(FAULTY, "retrieval")]
        found = measured(engine, [*settings, CorpusSetting("no/such-model", "none"), RETRIEVAL])
        failed = [row.error for row in found.rows if isinstance(row, FailedSetting)]
        assert [type(error) for error in failed] == [ModelUnavailableError, RuntimeError, UnknownModelError]
        assert found.baseline == 1
        assert isinstance(found.rows[4], SettingResult)
        assert found.rows[4].difference.difference == 0
        assert found.rows[4].difference.p_value == 1

    def test_where_all_fail_there_is_no_baseline(self, engine):
        found = measured(engine, [CorpusSetting(ABSENT, "retrieval")])
        assert (found.baseline, len(found.rows)) == (None, 1)

    def test_what_is_not_installed_is_missed_before_anything_is_embedded(self, engine, stand_in_pool, monkeypatch):
        monkeypatch.setitem(sys.modules, "pytrec_eval", None)
        before = stand_in_pool.n_leased
        with pytest.raises(MissingDependencyError, match="pytrec_eval"):
            measured(engine, [RETRIEVAL])
        assert stand_in_pool.n_leased == before


def part_of_scifact(folder):
    """A few queries, and a few documents beside those that answer: both measure the same on any part."""
    whole = EVALUATIONS / "scifact"
    (folder / "qrels").mkdir()
    qrels = (whole / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines(keepends=True)[:26]
    (folder / "qrels" / "test.tsv").write_text("".join(qrels), encoding="utf-8")
    (folder / "queries.jsonl").write_bytes((whole / "queries.jsonl").read_bytes())
    answers = {line.split("\t")[1] for line in qrels[1:]}
    lines = (whole / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    part = [line for row, line in enumerate(lines) if row % 100 == 0 or json.loads(line)["_id"] in answers]
    (folder / "corpus.jsonl").write_text("".join(part), encoding="utf-8")
    return folder


@needs_evaluations
def test_scifact_comes_out_as_the_command_measures_it(engine, offline_encoder, tmp_path):
    task = read_beir(part_of_scifact(tmp_path))
    documents = list(task.documents())
    corpus = Corpus(
        "scifact",
        tuple(document.text for document in documents),
        tuple(range(1, len(documents) + 1)),
        titles=tuple(document.title for document in documents),
    )
    listed = [(query, document) for query in task.query_ids for document in task.judgements[query]]
    text_of = dict(zip(task.query_ids, task.queries, strict=True))
    pairs = read_pairs(
        [text_of[query] for query, _ in listed], [document for _, document in listed], corpus, ids=task.document_ids
    )
    assert len(corpus) > 50
    assert len(pairs) > 20
    store, cache = VectorStore(), VectorCache()
    [row] = measured(engine, [CorpusSetting(OFFLINE, "none", dtype="float32")], store, corpus=corpus, pairs=pairs).rows
    spec = offline_encoder.spec
    for texts in (corpus.documents, pairs.queries):  # the same vectors, so that they are not embedded twice here
        vectors = store.open(spec.fingerprint, "", texts, spec.embed_dim).complete()
        cache.put_many({vector_key(spec.fingerprint, "", text): vectors[n] for n, text in enumerate(texts)})
    expected = evaluate(offline_encoder, task, cache=cache)
    found = row.means["ndcg_at_10"]
    assert found.value == pytest.approx(expected.main_score, abs=1e-9)
    assert 0.6 < found.value < 1  # of all documents it is 0.645
    assert row.means["mrr_at_10"].value == pytest.approx(expected.scores["mrr_at_10"], abs=1e-9)
    assert found.interval.low < found.value < found.interval.high
