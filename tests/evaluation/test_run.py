"""Our own path: what is embedded, what is found, what is scored, and what a second run saves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from e5studio.cache import VectorCache
from e5studio.errors import FileFormatError, PromptError, UnsupportedError, VectorError
from e5studio.evaluation import Document, RetrievalTask, StsTask, evaluate, interval, paired_tests, run
from e5studio.quantization import Ranges, dequantize, quantize, quantized_search
from e5studio.similarity import cos_sim
from tests.fakes import FakeBackend, encoder_over, token_rows

WORDS = [
    f"{word} of the mountain, number {n}" for n, word in enumerate("summit valley river stone protein".split() * 8)
]
DOCUMENTS = [Document(f"title {n}" if n % 3 else "", text) for n, text in enumerate(WORDS[:30])]
QUERIES = [f"which {text}" for text in WORDS[:12]]


def retrieval(**changes):
    ids = tuple(f"d{n}" for n in range(len(DOCUMENTS)))
    task = RetrievalTask(
        name="mine",
        split="test",
        query_ids=tuple(f"q{n}" for n in range(len(QUERIES))),
        queries=tuple(QUERIES),
        document_ids=ids,
        documents=lambda: iter(DOCUMENTS),
        judgements={f"q{n}": {ids[n]: 1, ids[(n + 7) % 30]: 2} for n in range(len(QUERIES))},
    )
    return replace(task, **changes)


def sts():
    return StsTask("mine", "test", tuple(WORDS[:12]), tuple(WORDS[5:17]), np.arange(12, dtype=float))


@pytest.fixture
def backend():
    return FakeBackend(48)


@pytest.fixture
def paper(checkpoints, backend):
    return encoder_over(checkpoints("e5"), backend)


def ideal_ndcg(scores, judged, k=10):
    order = np.argsort(-scores, kind="stable")[:k]
    gains = np.array([judged.get(f"d{place}", 0) for place in order])
    best = np.sort(list(judged.values()))[::-1][:k]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return (gains * discounts[: len(gains)]).sum() / (best * discounts[: len(best)]).sum()


class TestRetrieval:
    def test_equals_a_search_by_hand(self, encoder):
        task = retrieval()
        found = evaluate(encoder, task)
        queries = encoder.encode(QUERIES, prompt=encoder.resolve_prompt("query").text)
        documents = encoder.encode([f"{d.title} {d.text}".strip() for d in DOCUMENTS], prompt_name="document")
        scores = cos_sim(queries, documents)
        wanted = [ideal_ndcg(row, task.judgements[f"q{n}"]) for n, row in enumerate(scores)]
        np.testing.assert_allclose(found.sample.values["ndcg_at_10"], wanted, atol=1e-6)
        assert found.main_score == pytest.approx(np.mean(wanted), abs=1e-6)

    def test_blocks_change_nothing(self, encoders, monkeypatch):
        whole = evaluate(encoders("e5"), retrieval())
        monkeypatch.setattr(run, "_BLOCK_TEXTS", 7)
        monkeypatch.setattr(run, "_BLOCK_QUERIES", 5)
        assert evaluate(encoders("e5"), retrieval()).scores == whole.scores

    @pytest.mark.parametrize("precision", ["int8", "binary"])
    def test_quantised_documents_are_what_is_ranked(self, encoders, precision):
        task, encoder = retrieval(), encoders("e5")
        queries = encoder.encode_query(QUERIES)
        documents = encoder.encode([f"{d.title} {d.text}".strip() for d in DOCUMENTS], prompt_name="document")
        ranges = Ranges.of(documents)
        codes = quantize(documents, precision, ranges)
        scores = cos_sim(queries, dequantize(codes, precision, embed_dim=documents.shape[1], ranges=ranges))
        wanted = [ideal_ndcg(row, task.judgements[f"q{n}"]) for n, row in enumerate(scores)]
        measured = evaluate(encoder, task, precision=precision)  # of 30 documents all are among the 40 scored anew
        np.testing.assert_allclose(measured.sample.values["ndcg_at_10"], wanted, atol=1e-6)
        assert measured.precision == precision

    def test_binary_scores_are_those_of_a_search_for_the_cut_off(self):
        """Of 80 documents 8 are scored anew, though rankings go on to the last."""
        rng = np.random.default_rng(0)
        queries, documents = rng.standard_normal((12, 64)), rng.standard_normal((80, 64))
        documents[:12] += 0.4 * queries
        task = retrieval(document_ids=tuple(f"d{n}" for n in range(80)))
        best = quantized_search(queries, quantize(documents, "binary"), "binary", top_k=2)
        measured = run.retrieval_scores(
            task, queries, [documents[:50], documents[50:]], k_values=[2], precision="binary"
        )
        gains = [[task.judgements[f"q{n}"].get(f"d{row}", 0) for row in rows] for n, rows in enumerate(best.ids)]
        ideal = 2 + 1 / np.log2(3)
        np.testing.assert_allclose(measured.values["ndcg_at_2"], np.dot(gains, [1, 1 / np.log2(3)]) / ideal, atol=1e-6)

    def test_own_document_is_passed_over_where_the_task_says_so(self, encoders):
        ids = tuple(f"q{n}" if n < len(QUERIES) else f"d{n}" for n in range(len(DOCUMENTS)))
        judgements = {f"q{n}": {ids[(n + 1) % 30]: 1} for n in range(len(QUERIES))}
        documents = [Document("", text) for text in QUERIES] + DOCUMENTS[len(QUERIES) :]
        task = retrieval(document_ids=ids, judgements=judgements, documents=lambda: iter(documents))
        kept = evaluate(encoders("multilingual-e5-instruct"), task, prompt_kind="none", k_values=[1, 2])
        skipping = replace(task, skips_own_id=True)
        skipped = evaluate(encoders("multilingual-e5-instruct"), skipping, prompt_kind="none", k_values=[1, 2])
        assert kept.scores["recall_at_1"] == 0  # every query finds itself first
        assert skipped.scores["recall_at_1"] == kept.scores["recall_at_2"]

    def test_documents_without_a_text_are_embedded_and_counted(self, paper, backend):
        documents = [Document("", ""), *DOCUMENTS[1:]]
        found = evaluate(paper, retrieval(documents=lambda: iter(documents)))
        assert found.work.n_empty == 1
        assert min(len(ids) for batch in backend.seen for ids in token_rows(batch)) == 4  # [CLS] passage : [SEP]

    def test_cut_offs_are_the_callers(self, paper):
        found = evaluate(paper, retrieval(), k_values=[2, 4])
        assert {name.rpartition("_")[2] for name in found.scores} == {"2", "4"}
        assert found.metric == "ndcg_at_4"

    def test_progress_ends_at_all_texts(self, paper):
        told = []
        evaluate(paper, retrieval(), on_progress=lambda done, total: told.append((done, total)))
        assert told[-1] == (42, 42)
        assert told == sorted(told)

    def test_second_run_computes_nothing(self, paper, backend, tmp_path):
        first = evaluate(paper, retrieval(), cache=VectorCache(tmp_path))
        n_batches = len(backend.seen)
        again = evaluate(paper, retrieval(), cache=VectorCache(tmp_path))
        assert len(backend.seen) == n_batches
        assert again.scores == first.scores

    def test_another_instruction_embeds_queries_alone(self, checkpoints):
        backend, cache = FakeBackend(48), VectorCache()
        encoder = encoder_over(checkpoints("multilingual-e5-instruct"), backend)
        evaluate(encoder, retrieval(), instruction="Find the mountain", cache=cache)
        n_seen = len(backend.seen)
        evaluate(encoder, retrieval(), instruction="Find the valley", cache=cache)
        assert sum(len(batch.lengths) for batch in backend.seen[n_seen:]) == len(QUERIES)

    def test_ties_at_the_cut_are_settled_by_id_whatever_the_cut_offs(self, paper):
        same = [Document("", "the same text")] * len(DOCUMENTS)
        task = retrieval(documents=lambda: iter(same), judgements={f"q{n}": {"d9": 1} for n in range(len(QUERIES))})
        found = [evaluate(paper, task, k_values=cuts).scores["ndcg_at_1"] for cuts in ([1], [1, 100])]
        assert found == [1, 1]  # "d9" is the last of the ids, and trec_eval takes the last first

    def test_corpus_that_changes_meanwhile(self, paper):
        for documents in (DOCUMENTS[:-1], [*DOCUMENTS, DOCUMENTS[0]]):
            with pytest.raises(FileFormatError, match="changed while it was read"):
                evaluate(paper, retrieval(documents=lambda documents=documents: iter(documents)))

    @pytest.mark.parametrize("k_values", [[], [0], [1, 0], [10**9]])
    def test_cut_offs_are_checked_before_anything_is_embedded(self, paper, backend, k_values):
        with pytest.raises(VectorError, match="whole numbers"):
            evaluate(paper, retrieval(), k_values=k_values)
        assert not backend.seen

    def test_what_was_computed_before_a_stop_is_kept(self, checkpoints, tmp_path, monkeypatch):
        monkeypatch.setattr("e5studio.cache._TEXTS_KEPT_AT_ONCE", 8)
        backend = FakeBackend(48)
        encoder = encoder_over(checkpoints("e5"), backend)

        def stop(done, total):
            if done > 30:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate(encoder, retrieval(), cache=VectorCache(tmp_path), on_progress=stop)
        n_before = sum(len(batch.lengths) for batch in backend.seen)
        evaluate(encoder, retrieval(), cache=VectorCache(tmp_path))
        assert sum(len(batch.lengths) for batch in backend.seen) <= n_before + 20


class TestPairs:
    def test_pairs_of_equal_texts_tie(self, encoders):
        first = tuple(WORDS[:12])
        task = StsTask("mine", "test", first, (*first[:6], *WORDS[20:26]), np.array([5.0] * 6 + [1.0] * 6))
        cosines = evaluate(encoders("e5"), task).sample.cosines
        assert set(cosines[:6].tolist()) == {1.0}

    def test_pairs_have_no_documents_to_quantise(self, paper):
        with pytest.raises(UnsupportedError, match="int8"):
            evaluate(paper, sts(), precision="int8")

    def test_query_prompt_on_both_sides(self, paper, backend):
        evaluate(paper, sts())
        query = paper.prepare(["x"], prompt_name="query").batch.ids[1:3].tolist()
        assert all(ids[1:3] == query for batch in backend.seen for ids in token_rows(batch))

    def test_same_order_correlates_fully(self, encoders):
        encoder, task = encoders("e5"), sts()
        first, second = (encoder.encode(texts, prompt_name="symmetric") for texts in (task.first, task.second))
        cosines = np.einsum("nd,nd->n", first, second)
        found = evaluate(encoder, replace(task, scores=cosines.astype(np.float64) ** 3))
        assert found.scores["cosine_spearman"] == pytest.approx(1)
        assert found.scores["cosine_pearson"] < 1


class TestPrompts:
    def test_of_another_kind_take_the_place_of_the_models_own(self, paper, backend):
        evaluate(paper, retrieval(), prompt_kind="none")
        bare = paper.prepare([QUERIES[0]], prompt="").batch.ids.tolist()
        assert bare in [ids for batch in backend.seen for ids in token_rows(batch)]

    def test_strange_task_gets_the_cards_instruction_and_says_so(self, encoders):
        found = evaluate(encoders("multilingual-e5-instruct"), retrieval())
        assert found.prompts.instruction_source == "card"

    def test_instruction_on_a_model_that_takes_none(self, paper):
        with pytest.raises(PromptError, match="not trained with instructions"):
            evaluate(paper, retrieval(), instruction="Find it")

    def test_mtebs_words_are_not_known_here(self, encoders):
        with pytest.raises(PromptError, match="Give one"):
            evaluate(encoders("multilingual-e5-instruct"), retrieval(), protocol="mteb")

    def test_unknown_protocol(self, paper):
        with pytest.raises(PromptError, match="'authors', 'mteb'"):
            evaluate(paper, retrieval(), protocol="mine")

    def test_authors_read_512_tokens_of_any_model(self, encoders):
        mistral = encoders("e5-mistral-instruct")
        assert evaluate(mistral, sts()).spec.max_tokens == 512
        assert evaluate(mistral, sts(), protocol="mteb", instruction="Find it").spec.max_tokens == 4096


class TestComparisons:
    def test_interval_holds_the_score(self, encoders):
        for task in (retrieval(), sts()):
            found = evaluate(encoders("e5"), task)
            assert interval(found).low <= found.main_score <= interval(found).high

    def test_first_against_each_other(self, encoders):
        settings = [evaluate(encoders("e5"), retrieval(), prompt_kind=kind) for kind in (None, "none", None)]
        tests = paired_tests(settings)
        assert [(test.first, test.second) for test in tests] == [(0, 1), (0, 2)]
        assert tests[0].comparison.difference == pytest.approx(settings[1].main_score - settings[0].main_score)
        assert tests[1].comparison.p_value == 1

    def test_different_tasks_are_not_compared(self, encoders):
        other = retrieval(digest="another", split="dev")
        assert not paired_tests([evaluate(encoders("e5"), retrieval()), evaluate(encoders("e5"), other)])
