"""Behind mteb: the authors' rules text by text, mteb's own by one option, and what the results say of it."""

from __future__ import annotations

import copy
from dataclasses import replace

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.mocks import mock_tasks
from mteb.models.models_protocols import EncoderProtocol
from mteb.types import PromptType
from torch.utils.data import DataLoader

from e5studio.cache import VectorCache
from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioWarning, JudgementWarning, PromptError, UnknownTaskError
from e5studio.evaluation import (
    Document,
    MtebEncoder,
    RetrievalTask,
    StsTask,
    as_mteb_result,
    evaluate,
    evaluate_with_mteb,
    load_mteb_encoder,
    load_task,
    read_beir,
)
from e5studio.evaluation.task_names import skips_own_id
from tests.authors import Authors
from tests.evaluation.local_tasks import in_mteb
from tests.evaluation.test_evaluation_files import make_beir
from tests.fakes import FakeBackend, encoder_over, token_rows

pytestmark = [
    pytest.mark.filterwarnings("ignore:The task '.*' is superseded"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor"),  # mteb's own, in bitext mining
    pytest.mark.filterwarnings("ignore:.* is ill-defined:sklearn.exceptions.UndefinedMetricWarning"),  # tiny test sets
]

LONG = "a summit of the highest mountain " * 120
DOCUMENTS = [
    Document("Protein", "46 grams a day is the average requirement."),
    Document("", "  the top of a mountain  "),
    Document("A title alone", ""),
    Document("", ""),
    Document("Long", LONG),
    Document("南瓜", "清炒南瓜丝"),
]
QUERIES = ["how much protein should a female eat", "summit define", "query: summit define", "  南瓜的家常做法 ", LONG]
SYMMETRIC = {
    "Banking77Classification": mock_tasks.MockClassificationTask,
    "ArxivClusteringS2S": mock_tasks.LegacyMockClusteringFastTask,
    "SprintDuplicateQuestions": mock_tasks.MockPairClassificationTask,
    "AskUbuntuDupQuestions": mock_tasks.MockRerankingTask,
    "SummEval": mock_tasks.MockSummarizationTask,
    "Tatoeba": mock_tasks.MockBitextMiningTask,
}


def retrieval(name):
    ids = [f"d{place}" for place in range(len(DOCUMENTS))]
    queries = {f"q{place}": text for place, text in enumerate(QUERIES)}
    return RetrievalTask(
        name=name,
        split="test",
        query_ids=tuple(queries),
        queries=tuple(queries.values()),
        document_ids=tuple(ids),
        documents=lambda: iter(DOCUMENTS),
        judgements={query: {ids[place % 3]: 1} for place, query in enumerate(queries)},
    )


def sts():
    first, second = tuple(QUERIES), tuple(reversed(QUERIES))
    return StsTask("STSBenchmark", "test", first, second, np.arange(len(QUERIES), dtype=float))


@pytest.fixture
def backend():
    return FakeBackend(48)


@pytest.fixture
def model(checkpoint, backend):
    return encoder_over(checkpoint, backend)


@pytest.fixture
def authors(checkpoint, reference):
    kinds = {"query_passage": "query_or_passage", "instruct": "instruction"}
    pools = {"mean": "avg", "last_token": "last"}
    return Authors(reference, kinds[checkpoint.meta.prompt_kind], pools[checkpoint.meta.pooling])


def seen(backend):
    """Each different text that reached the model, as token ids."""
    return sorted(ids for batch in backend.seen for ids in token_rows(batch))


def different(rows):
    return sorted(map(list, {tuple(row) for row in rows}))


def run(encoder, task, **options):
    return evaluate_with_mteb(encoder, task, **options)


class TestAuthorsRules:
    """For one task of every kind and every architecture, what reaches the model, token by token."""

    @pytest.fixture(params=["our own path", "mteb"])
    def run_on(self, request):
        own = request.param == "our own path"
        return lambda encoder, task: evaluate(encoder, task) if own else run(encoder, in_mteb(task))

    @pytest.mark.parametrize("name", ["SciFact", "QuoraRetrieval"])
    def test_retrieval(self, name, model, backend, authors, run_on):
        run_on(model, retrieval(name))
        corpus = [{"title": document.title, "text": document.text} for document in DOCUMENTS]
        wanted = authors.token_ids(authors.queries(name, QUERIES)), authors.token_ids(authors.corpus(name, corpus))
        assert different(seen(backend)) == different([*wanted[0], *wanted[1]])
        assert max(map(len, seen(backend))) == 512

    def test_sts(self, model, backend, authors, run_on):
        run_on(model, sts())
        assert different(seen(backend)) == different(authors.token_ids(authors.queries("STSBenchmark", QUERIES)))

    # One model with prompts and both kinds with instructions; the other architectures differ in nothing of this.
    @pytest.mark.parametrize("checkpoint", ["e5", "multilingual-e5-instruct", "e5-mistral-instruct"], indirect=True)
    @pytest.mark.parametrize("name", SYMMETRIC)
    def test_symmetric_kinds_have_the_query_prompt_on_every_text(self, name, model, backend, authors, monkeypatch):
        task = SYMMETRIC[name]()
        task.metadata = task.metadata.model_copy(update={"name": name})
        given = texts_given(monkeypatch)
        mteb.evaluate(MtebEncoder(model), task, cache=None, co2_tracker=False, show_progress_bar=False)
        assert given
        assert different(seen(backend)) == different(authors.token_ids(authors.queries(name, given)))

    def test_classification_takes_vectors_as_they_are(self, model):
        task = mock_tasks.MockClassificationTask().metadata
        vectors = MtebEncoder(model).encode(
            loader(["summit", "a mountain"]), task_metadata=task, hf_split="test", hf_subset="default"
        )
        assert not np.allclose(np.linalg.norm(vectors, axis=1), 1)
        task = mock_tasks.MockSTSTask().metadata
        vectors = MtebEncoder(model).encode(
            loader(["summit", "a mountain"]), task_metadata=task, hf_split="test", hf_subset="default"
        )
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def texts_given(monkeypatch):
    """The texts that mteb hands to the adapter, as they come."""
    given = []
    plain = MtebEncoder.encode

    def encode(self, inputs, **options):
        given.extend(text for batch in inputs for text in batch["text"])
        return plain(self, inputs, **options)

    monkeypatch.setattr(MtebEncoder, "encode", encode)
    return given


def meta_name(encoders):
    return MtebEncoder(encoders("e5")).mteb_model_meta.name


def loader(texts):
    return DataLoader(Dataset.from_dict({"text": list(texts)}), batch_size=2)


class TestMtebsOwnRules:
    def prompts(self, encoder, task, prompt_type=None):
        return MtebEncoder(encoder, protocol="mteb").prompts_for(task.metadata, prompt_type)

    def test_symmetric_tasks_have_no_prompt(self, encoders):
        prompts = self.prompts(encoders("e5"), mock_tasks.MockSTSTask())
        assert prompts.query.text == prompts.document.text == ""

    def test_roles_have_theirs_in_reranking_and_quora_too(self, encoders):
        for task in (mock_tasks.MockRerankingTask(), mteb.get_task("QuoraRetrieval")):
            prompts = self.prompts(encoders("e5"), task, PromptType.query)
            assert (prompts.query.text, prompts.document.text) == ("query: ", "passage: ")

    def test_classification_is_normalised(self, encoders):
        assert self.prompts(encoders("e5"), mock_tasks.MockClassificationTask()).normalize

    def test_instruct_models_get_mtebs_words(self, encoders):
        task = mteb.get_task("SciDocsRR")
        words = "Given a title of a scientific paper, retrieve the titles of other relevant papers"
        prompts = self.prompts(encoders("multilingual-e5-instruct"), task, PromptType.query)
        assert prompts.query.text == f"Instruct: {words}\nQuery: "
        assert prompts.document.text == ""
        assert prompts.instruction_source == "mteb"

    def test_long_texts_are_read_as_far_as_the_model_reads(self, checkpoints):
        backend = FakeBackend(48)
        encoder = encoder_over(checkpoints("e5-mistral-instruct"), backend)
        run(encoder, in_mteb(retrieval("SciFact")), protocol="mteb")
        assert max(map(len, seen(backend))) > 512

    def test_what_the_authors_never_ran_gets_mtebs_words(self, encoders):
        model = MtebEncoder(encoders("multilingual-e5-instruct"))
        prompts = model.prompts_for(mteb.get_task("AILACasedocs").metadata, PromptType.query)
        assert prompts.instruction_source == "mteb"
        assert prompts.query.instruction


class TestHarness:
    def test_is_an_encoder_of_mteb(self, encoders):
        assert isinstance(MtebEncoder(encoders("e5")), EncoderProtocol)

    @pytest.mark.parametrize("task", [retrieval("SciFact"), sts()], ids=["retrieval", "pairs"])
    def test_figures_equal_those_of_our_own_path(self, task, encoder):
        own, theirs = evaluate(encoder, task), run(encoder, in_mteb(task))
        assert own.metric == theirs.metric
        shared = own.scores.keys() & theirs.scores.keys() - {"map_at_1000"}
        assert len(shared) >= 2
        for name in shared:
            assert own.scores[name] == pytest.approx(theirs.scores[name], abs=1.01e-5), name  # mteb rounds to 5
        assert own.n_samples == theirs.n_samples

    def test_dangling_judgements_count_as_in_mteb(self, encoder, tmp_path):
        """A relevant document that the corpus lacks is never found; a query that is not there is not evaluated."""
        whole = retrieval("SciFact")
        make_beir(
            tmp_path,
            [
                {"_id": name, "title": document.title, "text": document.text}
                for name, document in zip(whole.document_ids, DOCUMENTS, strict=True)
            ],
            [{"_id": name, "text": text} for name, text in zip(whole.query_ids, whole.queries, strict=True)],
            "q0\td0\t1\nq0\tmissing\t2\nq1\tmissing\t1\nq2\td1\t1\nq2\td2\t0\nq9\td1\t1\n",
        )
        with pytest.warns(JudgementWarning):
            task = read_beir(tmp_path, name="SciFact")
        theirs = in_mteb(task)
        theirs.dataset["default"]["test"]["relevant_docs"]["q9"] = {"d1": 1}
        own, other = evaluate(encoder, task), run(encoder, theirs)
        assert own.n_samples == 3
        shared = own.scores.keys() & other.scores.keys() - {"map_at_1000"}
        assert {name: own.scores[name] for name in shared} == pytest.approx(
            {name: other.scores[name] for name in shared}, abs=1.01e-5
        )
        assert own.scores["recall_at_10"] == pytest.approx((0.5 + 0 + 1) / 3, abs=1e-6)

    def test_mteb_reads_our_results(self, encoder):
        for task in (retrieval("SciFact"), sts()):
            found = evaluate(encoder, task)
            result = mteb.TaskResult.model_validate(as_mteb_result(found))
            assert result.get_score() == pytest.approx(found.main_score, abs=1e-6)
            assert result.task_name == task.name

    def test_results_of_two_settings_never_overwrite_each_other(self, encoders, tmp_path):
        cache = mteb.ResultCache(tmp_path)
        for options in ({}, {"protocol": "mteb"}, {"prompt_kind": "none"}):
            model = MtebEncoder(encoders("e5"), **options)
            mteb.evaluate(model, in_mteb(sts()), cache=cache, co2_tracker=False, show_progress_bar=False)
        assert len(list(tmp_path.rglob("STSBenchmark.json"))) == 3
        usual = cache.load_results(validate_and_filter=False, include_remote=False)
        assert [(each.model_name, len(each.task_results)) for each in usual.model_results] == [(meta_name(encoders), 1)]
        own = cache.load_results(models=[model.mteb_model_meta], validate_and_filter=False, include_remote=False)
        assert [each.experiment_name for each in own.model_results] == ["prompt_kind_none"]

    def test_only_unusual_settings_are_an_experiment(self, encoders, offline_encoder):
        """Of a model that mteb runs itself, the authors' rules are one: its results would stand for mteb's own."""
        e5 = encoders("e5")
        known = copy.copy(e5)
        known.meta = replace(e5.meta, name="intfloat/e5-small-v2", max_tokens=512)
        revision = mteb.get_model_meta("intfloat/e5-small-v2").revision
        known.files = replace(e5.files, revision=revision)
        assert MtebEncoder(e5).mteb_model_meta.experiment_kwargs is None
        assert MtebEncoder(known).mteb_model_meta.experiment_kwargs == {"protocol": "authors"}
        assert MtebEncoder(known, protocol="mteb").mteb_model_meta.experiment_kwargs is None
        assert MtebEncoder(encoders("e5-mistral-instruct")).mteb_model_meta.experiment_kwargs is None
        short = MtebEncoder(e5.with_options(max_tokens=64, truncate_dim=8), instruction=None).mteb_model_meta
        assert short.experiment_kwargs == {"max_tokens": 64, "truncate_dim": 8}

    def test_any_option_of_mteb_is_taken(self, encoders):
        options = {"task_metadata": mock_tasks.MockSTSTask().metadata, "hf_split": "test", "hf_subset": "default"}
        model = MtebEncoder(encoders("e5"))
        plain = model.encode(loader(["a"]), **options)
        with pytest.warns(E5StudioWarning, match="convert_to_tensor: no options of this encoder"):
            other = model.encode(loader(["a"]), **options, batch_size=3, convert_to_tensor=True)
        np.testing.assert_array_equal(plain, other)

    def test_meta_is_mtebs_own_where_mteb_knows_the_model(self, offline_encoder):
        meta = MtebEncoder(offline_encoder).mteb_model_meta
        assert meta.name == "sentence-transformers/all-MiniLM-L6-v2"
        assert meta.revision == "8b3219a92973c328a8e22fadcfa821b5dc75636a"
        assert meta.citation
        assert meta.loader_kwargs["protocol"] == "authors"
        assert meta.experiment_kwargs is None  # without prompts both rules are the same

    def test_meta_of_another_model_says_what_is_known(self, encoders):
        spec, meta = encoders("e5").spec, MtebEncoder(encoders("e5")).mteb_model_meta
        assert (meta.name, meta.revision, meta.embed_dim) == (spec.model, spec.revision, spec.embed_dim)
        assert meta.languages == ["eng-Latn"]

    def test_meta_loads_the_model_again(self, offline_encoder):
        loaded = MtebEncoder(offline_encoder, protocol="mteb").mteb_model_meta.load_model(device="cpu")
        with loaded.encoder:
            assert loaded.encoder.spec == offline_encoder.spec
            assert loaded.mteb_model_meta.loader_kwargs["protocol"] == "mteb"

    def test_loads_by_name(self):
        loaded = load_mteb_encoder("all-MiniLM-L6-v2", device="cpu", protocol="mteb")
        with loaded.encoder:
            assert isinstance(loaded, EncoderProtocol)

    def test_vectors_are_reused(self, checkpoints):
        backend, cache = FakeBackend(48), VectorCache()
        encoder = encoder_over(checkpoints("e5"), backend)
        first = run(encoder, in_mteb(sts()), cache=cache)
        n_batches = len(backend.seen)
        again = run(encoder, in_mteb(sts()), cache=cache)
        assert len(backend.seen) == n_batches
        assert again.scores == first.scores

    def test_quantised_vectors_are_refused(self, encoders):
        task = mock_tasks.MockSTSTask().metadata
        with pytest.raises(PromptError, match="dtype='int8'"):
            MtebEncoder(encoders("e5")).encode(
                loader(["a"]), task_metadata=task, hf_split="test", hf_subset="default", precision="binary"
            )

    def test_batches_of_mteb_do_not_matter(self, encoders):
        task, texts = mock_tasks.MockSTSTask().metadata, [*QUERIES[:4], ""]
        model = MtebEncoder(encoders("e5"))
        options = {"task_metadata": task, "hf_split": "test", "hf_subset": "default", "batch_size": 7}
        whole = model.encode(DataLoader(Dataset.from_dict({"text": texts}), batch_size=5), **options)
        assert whole.shape == (5, 48)
        np.testing.assert_array_equal(whole, model.encode(loader(texts), **options))

    def test_encoder_stays_the_callers(self, checkpoints):
        backend = FakeBackend(48)
        with E5Encoder.__enter__(encoder_over(checkpoints("e5"), backend)) as encoder:
            run(encoder, in_mteb(sts()))
            assert not backend.is_closed


class TestTasks:
    def test_documents_of_ones_own_id_are_passed_over_where_mteb_does_so(self):
        for task in mteb.get_tasks(task_types=["Retrieval"], exclude_superseded=False, exclude_aggregate=True):
            if task.metadata.modalities == ["text"]:
                assert skips_own_id(task.metadata.name) == task.ignore_identical_ids, task.metadata.name

    def test_aggregate_is_evaluated_part_by_part(self, encoders):
        task = mock_tasks.MockAggregatedTask()
        found = run(encoders("e5"), task)
        assert found.sample is None
        assert found.prompts.query.text == "query: "

    def test_unknown_split(self):
        with pytest.raises(UnknownTaskError, match="evaluates on test"):
            load_task("SciFact", split="dev")

    def test_misspelt_name_is_corrected(self):
        with pytest.raises(UnknownTaskError, match="Did you mean: 'SciFact'"):
            load_task("SciFakt")

    def test_data_that_cannot_be_had_say_so(self):
        with pytest.raises(UnknownTaskError, match="data of BIOSSES are not on this machine"):
            load_task("BIOSSES")
