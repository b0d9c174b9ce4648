"""A corpus gets the vectors that the encoder gives, no text twice, and stopped work goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from e5studio.batching import Limits
from e5studio.errors import NonFiniteError
from e5studio.studio.corpus.corpus import CorpusSetting
from e5studio.studio.corpus.embedding import embed_corpus
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.sides import with_prompts
from e5studio.studio.errors import StoppedError
from tests.fakes import FakeBackend, encoder_over
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE, StandInPool
from tests.studio.corpus.conftest import TEXTS, ignore, make_corpus


def stop_after(n_batches):
    reports = []

    def on_progress(progress):
        reports.append(progress)
        if sum(each.doing == "Embedding" for each in reports) == n_batches:
            raise StoppedError

    return on_progress


def n_texts_seen(backend):
    return sum(map(len, backend.seen))


@pytest.fixture
def backend(checkpoints):
    return FakeBackend(checkpoints("e5").meta.embed_dim, limits=Limits(token_budget=40))


@pytest.fixture
def fake(backend, checkpoints):
    """Handlers over an encoder that remembers what it was given."""
    return Engine(StandInPool({ENGLISH: lambda: encoder_over(checkpoints("e5"), backend)}))


MANY = tuple(f"text number {number} {'of some length ' * (number % 5)}" for number in range(40))


class TestVectors:
    def test_are_those_of_the_encoder_in_the_order_of_the_corpus(self, embed, encoders):
        embedded = embed()
        np.testing.assert_allclose(embedded.vectors, encoders("e5").encode_document(TEXTS), atol=2e-6)
        assert (embedded.prompt, embedded.n_embedded) == ("passage: ", 6)
        assert embedded.fingerprint == encoders("e5").spec.fingerprint
        np.testing.assert_array_equal(
            embedded.n_tokens, encoders("e5").prepare(TEXTS, prompt="passage: ").report.n_tokens
        )
        assert not embedded.vectors.flags.writeable

    @pytest.mark.parametrize(
        ("model", "prompt_mode", "prompt"),
        [
            (ENGLISH, "symmetric", "query: "),
            (ENGLISH, "none", ""),
            (INSTRUCT, "retrieval", ""),
            (INSTRUCT, "symmetric", "Instruct: Find it\nQuery: "),
            (OFFLINE, "retrieval", ""),
        ],
    )
    def test_stand_behind_the_prompt_of_passages(self, embed, model, prompt_mode, prompt):
        embedded = embed(under=CorpusSetting(model, prompt_mode, "Find it"))
        assert embedded.prompt == prompt
        assert embedded.setting.prompt_mode == ("none" if model == OFFLINE else prompt_mode)

    def test_have_the_title_in_front(self, embed, encoders):
        embedded = embed(make_corpus(TEXTS[:2], titles=("A title", "")))
        expected = encoders("e5").encode_document(["A title " + TEXTS[0], TEXTS[1]])
        np.testing.assert_allclose(embedded.vectors, expected, atol=2e-6)

    def test_cut_texts_are_counted(self, embed, encoders):
        embedded = embed(make_corpus(["summit " * 2_000, "short", "summit " * 2_000]))
        assert embedded.n_truncated == 2
        encoder = encoders("e5")
        assert embedded.n_tokens[0] == embedded.n_tokens[2] == encoder.spec.max_tokens
        report = encoder.prepare(["summit " * 2_000], prompt=embedded.prompt).report
        assert embedded.n_dropped.tolist() == [report.truncated[0].n_dropped, 0, report.truncated[0].n_dropped]

    def test_what_the_vocabulary_lacks_is_stored_with_the_vectors(self, embed, encoders):
        store = VectorStore()
        texts = ["a summit", "\U0001f9ff \U00012031", "a summit"]
        expected = encoders("e5").prepare(texts, prompt="passage: ").report.unknown_share
        assert expected[1] > 0
        for _ in range(2):  # embedded, and then known
            np.testing.assert_array_equal(embed(make_corpus(texts), store=store).unknown_share, expected)
            texts = [*texts, "another"]
            expected = encoders("e5").prepare(texts, prompt="passage: ").report.unknown_share

    def test_a_vector_that_is_not_finite_names_its_line(self, checkpoints):
        def spoil(vectors, batch):
            vectors[batch.lengths == batch.lengths.max()] = np.nan
            return vectors

        backend = FakeBackend(checkpoints("e5").meta.embed_dim, spoil=spoil)
        engine = Engine(StandInPool({ENGLISH: lambda: encoder_over(checkpoints("e5"), backend)}))
        corpus = make_corpus(["one", "two words and more", "three"], (2, 7, 8))
        with pytest.raises(NonFiniteError, match="on line 7") as caught:
            embed_corpus(engine, corpus, CorpusSetting(ENGLISH, "retrieval"), VectorStore(), ignore)
        assert caught.value.indices == (1,)


class TestNothingTwice:
    def test_duplicates_are_embedded_once(self, fake, backend, setting):
        embedded = embed_corpus(fake, make_corpus(MANY * 2), setting, VectorStore(), ignore)
        assert n_texts_seen(backend) == len(MANY)
        np.testing.assert_array_equal(embedded.vectors[: len(MANY)], embedded.vectors[len(MANY) :])
        assert embedded.n_embedded == 80

    def test_after_a_stop_only_the_rest(self, fake, backend, setting):
        whole = embed_corpus(fake, make_corpus(MANY), setting, VectorStore(), ignore)
        backend.seen.clear()
        stores = VisitorStores()
        token, store = stores.open_or_create()
        with pytest.raises(StoppedError):
            embed_corpus(fake, make_corpus(MANY), setting, store.vectors, stop_after(3))
        done = n_texts_seen(backend)
        assert 0 < done < len(MANY)
        # As after the page was loaded again, and the file read once more.
        same, store = stores.open_or_create(token)
        assert same == token
        embedded = embed_corpus(fake, make_corpus(MANY), setting, store.vectors, ignore)
        assert n_texts_seen(backend) == len(MANY)
        assert embedded.n_embedded == len(MANY) - done
        np.testing.assert_array_equal(embedded.vectors, whole.vectors)
        np.testing.assert_array_equal(embedded.n_tokens, whole.n_tokens)

    def test_an_edited_corpus_shares_what_it_can(self, fake, backend, setting):
        store = VectorStore()
        embed_corpus(fake, make_corpus(MANY), setting, store, ignore)
        embedded = embed_corpus(fake, make_corpus((*MANY[5:], "a new text")), setting, store, ignore)
        assert embedded.n_embedded == 1
        assert n_texts_seen(backend) == len(MANY) + 1

    def test_another_prompt_shares_nothing(self, fake, backend, setting):
        store = VectorStore()
        embed_corpus(fake, make_corpus(MANY), setting, store, ignore)
        embed_corpus(fake, make_corpus(MANY), replace(setting, prompt_mode="symmetric"), store, ignore)
        assert n_texts_seen(backend) == 2 * len(MANY)

    def test_nothing_is_missing(self, fake, backend, setting):
        store = VectorStore()
        first = embed_corpus(fake, make_corpus(MANY), setting, store, ignore)
        again = embed_corpus(fake, make_corpus(MANY), setting, store, ignore)
        assert again.n_embedded == 0
        assert again.vectors.base is first.vectors.base


class TestProgress:
    def test_share_and_texts_grow_to_all(self, fake, setting):
        reports = []
        embed_corpus(fake, make_corpus(MANY * 2), setting, VectorStore(), reports.append)
        assert reports[0].doing.endswith("e5-small-v2")
        batches = [report for report in reports if report.doing == "Embedding"]
        assert [report.share for report in batches] == sorted(report.share for report in batches)
        assert batches[-1].share == 1
        assert (batches[-1].n_done, batches[-1].n_texts) == (80, 80)

    def test_speed_and_time_left_are_reported_after_a_second(self, fake, setting, monkeypatch):
        from e5studio.studio.corpus import embedding

        monkeypatch.setattr(embedding, "_SECONDS_UNTIL_SPEED", 0)
        reports = []
        embed_corpus(fake, make_corpus(MANY), setting, VectorStore(), reports.append)
        batches = [report for report in reports if report.doing == "Embedding"]
        assert all(report.texts_per_second > 0 for report in batches)
        assert batches[-1].seconds_left == 0
        assert batches[0].seconds_left > 0

    def test_work_can_be_stopped_before_the_first_batch(self, fake, backend, setting):
        def on_progress(progress):
            if progress.doing.startswith("Cutting"):
                raise StoppedError

        with pytest.raises(StoppedError):
            embed_corpus(fake, make_corpus(MANY), setting, VectorStore(), on_progress)
        assert not backend.seen
        assert fake.pool.n_leased == fake.pool.n_released

    def test_texts_are_cut_into_tokens_some_at_a_time(self, fake, setting, monkeypatch):
        from e5studio.studio.corpus import embedding

        whole = embed_corpus(fake, make_corpus(MANY), setting, VectorStore(), ignore)
        monkeypatch.setattr(embedding, "_TOKENIZED_AT_ONCE", 7)
        reports = []
        embedded = embed_corpus(fake, make_corpus(MANY), setting, VectorStore(), reports.append)
        assert sum(report.doing.startswith("Cutting") for report in reports) == 6
        np.testing.assert_array_equal(embedded.vectors, whole.vectors)


def test_others_are_served_between_batches(fake, setting):
    """What another visitor asks for while a batch is told of is computed then, not after the whole."""
    answers = []

    def on_progress(progress):
        if progress.doing == "Embedding" and not answers:
            lists = {"queries": ["a query"]}
            answers.append(fake.embed(ENGLISH, lists, with_prompts(lists, [{"prompt_name": "query"}])))

    embed_corpus(fake, make_corpus(MANY), setting, VectorStore(), on_progress)
    assert len(answers) == 1
