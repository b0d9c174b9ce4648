"""The Studio's work: scores as the encoder gives them, the right prompts, nothing lost, stopping."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from e5studio.analysis.ranking import ranks, softmax
from e5studio.errors import ModelUnavailableError, PromptError, TextError, UnknownModelError
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.result import ScoreRequest, best_passages
from e5studio.studio.engine.sides import with_prompts
from e5studio.studio.errors import FullError, LimitError, StoppedError
from e5studio.studio.form.examples import EXAMPLES
from e5studio.studio.serving.waiting_queue import WaitingQueue
from tests.studio.conftest import ABSENT, ENGLISH, INSTRUCT, OFFLINE

QUERIES = "how much protein\nsummit define"
PASSAGES = "about protein\nthe top of a mountain\na third passage"


def ask(model=ENGLISH, prompt_mode="retrieval", queries=QUERIES, passages=PASSAGES, **more):
    return ScoreRequest(model, prompt_mode, queries, passages, **more)


def test_scores_are_those_of_the_encoder(engine, encoders):
    result = engine.score(ask())
    expected = encoders("e5").scores(QUERIES.split("\n"), PASSAGES.split("\n"))
    np.testing.assert_allclose(result.scores, expected, atol=1e-4)
    assert result.best == tuple(expected.argmax(axis=1).tolist())
    assert result.vectors.shape == (5, 48)


def test_the_reports_say_which_prompt_was_put_in_front(engine):
    assert [r.prompt.text for r in engine.score(ask()).reports] == ["query: ", "passage: "]
    assert [r.prompt.text for r in engine.score(ask(prompt_mode="symmetric")).reports] == ["query: ", "query: "]
    assert [r.prompt.text for r in engine.score(ask(prompt_mode="none")).reports] == ["", ""]
    instruct = engine.score(ask(INSTRUCT, instruction="Find the passage"))
    assert [r.prompt.text for r in instruct.reports] == ["Instruct: Find the passage\nQuery: ", ""]
    assert engine.score(ask(INSTRUCT, instruction=" ")).reports[0].prompt.is_default_instruction


def test_a_use_that_the_model_does_not_know_is_not_forced_on_it(engine):
    result = engine.score(ask(OFFLINE, "retrieval", instruction="left over from another model"))
    assert result.prompt_mode == "none"
    assert [r.prompt.text for r in result.reports] == ["", ""]


def test_texts_alone_are_compared_with_each_other_and_never_with_themselves(engine):
    result = engine.score(ask(prompt_mode="symmetric", queries="a cat\na dog\na cat", passages=" \n"))
    assert result.is_self
    assert result.scores.shape == (3, 3)
    assert result.best[0] == 2
    assert result.best[2] == 0
    assert len(result.vectors) == 3
    assert result.points == (("A1", "A2", "A3"), ("a cat", "a dog", "a cat"))


def test_an_empty_line_is_left_out_and_its_neighbours_are_unharmed(engine):
    whole = engine.score(ask())
    holed = engine.score(ask(queries="how much protein\n\u200b\nsummit define"))
    assert (holed.queries.labels, holed.queries.empty) == (("Q1", "Q3"), (2,))
    np.testing.assert_array_equal(holed.scores, whole.scores)


def test_a_text_without_a_token_is_left_out_as_an_empty_line_is(engine):
    whole = engine.score(ask())
    holed = engine.score(ask(queries="how much protein\n\ufffd\ufffd\nsummit define"))
    assert (holed.queries.labels, holed.queries.unread) == (("Q1", "Q3"), ("Q2",))
    np.testing.assert_array_equal(holed.scores, whole.scores)
    with pytest.raises(TextError, match="Queries"):
        engine.score(ask(queries="\ufffd"))


def test_a_lone_surrogate_is_read_as_replacement_and_told(engine):
    result = engine.score(ask(queries="broken \ud800 text\nsound text"))
    assert result.reports[0].replaced_surrogates == (0,)
    assert np.isfinite(result.scores).all()


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (ask(queries=" \n\n"), TextError, "Queries"),
        (ask(passages=""), TextError, "Passages"),
        (ask(prompt_mode="symmetric", queries="only one", passages=""), TextError, "second line"),
        (ask(model="no/such-model"), UnknownModelError, "Unknown model"),
        (ask(model="/etc/passwd"), UnknownModelError, "Unknown model"),
        (ask(model=ABSENT), ModelUnavailableError, "does not answer"),
        (ask(queries="\n".join(["text"] * 65)), LimitError, "65 queries"),
        (ask(passages="x" * 20_001), LimitError, "20,001 characters"),
    ],
)
def test_what_cannot_be_scored_is_a_sentence(engine, request_, error, words):
    with pytest.raises(error, match=words):
        engine.score(request_)


def test_models_are_given_back_whatever_happens(engine, stand_in_pool):
    engine.score(ask())
    with pytest.raises(StoppedError):
        engine.score(ask(), stop_at("Reading the texts"))
    assert stand_in_pool.n_leased == stand_in_pool.n_released


def stop_at(stage):
    def tell(share, words):
        if words == stage:
            raise StoppedError

    return tell


def test_progress_goes_from_the_model_to_the_last_text(engine):
    reports = []
    engine.score(ask(), lambda share, words: reports.append((share, words)))
    assert reports[0] == (None, "Downloading e5-small-v2")
    assert (0.5, "Downloading e5-small-v2") in reports
    shares = [share for share, words in reports if words == "Reading the texts"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_embedding_for_programs_is_strict_about_prompts_and_empty_texts(engine, encoders):
    def embed(texts, **prompt):
        return engine.embed(ENGLISH, {"texts": texts}, with_prompts({"texts": texts}, [prompt])).vectors[0]

    rows = embed(["one", "two"], prompt_name="passage")
    np.testing.assert_array_equal(rows, encoders("e5").encode_document(["one", "two"]))
    with pytest.raises(PromptError, match="none was chosen"):
        embed(["one"])
    with pytest.raises(TextError) as caught:
        embed(["one", " "], prompt_name="query")
    assert caught.value.indices == (1,)


def test_ranks_and_best_take_the_first_of_equal_scores():
    scores = np.array([[1, 3, 3], [2, 1, 0]], np.float32)
    assert ranks(scores).tolist() == [[3, 1, 2], [1, 2, 3]]
    assert best_passages(scores, is_self=False) == (1, 0)


def test_softmax_is_that_of_the_training():
    shares = softmax(np.array([[90.0, 89.0]], np.float32), 0.01)
    np.testing.assert_allclose(shares, [[100 / (1 + np.exp(-1)), 100 / (1 + np.exp(1))]], rtol=1e-5)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.title in ("English", "Eight questions")])
def test_each_english_query_of_the_examples_finds_its_passage_with_the_offline_model(engine, example):
    result = engine.score(ask(OFFLINE, "none", "\n".join(example.queries), "\n".join(example.passages)))
    assert result.best == tuple(range(len(example.queries)))


def test_similar_sentences_find_their_twins_with_the_offline_model(engine):
    [example] = [e for e in EXAMPLES if e.title == "Similar sentences"]
    result = engine.score(ask(OFFLINE, "symmetric", "\n".join(example.queries), ""))
    assert (result.prompt_mode, result.is_self) == ("none", True)
    assert result.best == (1, 0, 3, 2, 5, 4, 7, 6)


class TestAfterAnEdit:
    QUERIES, PASSAGES = "summit define\nwhere do rivers run", "The top of a mountain.\nRivers run through valleys."

    def score(self, engine, passages=PASSAGES, before=(), model=ENGLISH, prompt_mode="retrieval"):
        return engine.score(ScoreRequest(model, prompt_mode, self.QUERIES, passages), before=before)

    def test_only_what_changed_is_embedded(self, engine):
        before = self.score(engine)
        assert before.n_embedded == 4
        edited = self.PASSAGES.replace("mountain", "hill")
        after = self.score(engine, edited, [before])
        assert after.n_embedded == 1
        np.testing.assert_allclose(after.scores, self.score(engine, edited).scores, atol=1e-4)

    def test_nothing_changed(self, engine):
        before = self.score(engine)
        after = self.score(engine, before=[before])
        assert after.n_embedded == 0
        np.testing.assert_array_equal(after.scores, before.scores)
        assert after.key == before.key  # so that what the page shows of it stays
        assert self.score(engine, "Another hill.", before=[before]).key != before.key

    def test_another_prompt_is_another_vector(self, engine):
        before = self.score(engine)
        assert self.score(engine, before=[before], prompt_mode="none").n_embedded == 4
        # Symmetric use puts the query prompt on both sides: the queries are known, the passages are not.
        assert self.score(engine, before=[before], prompt_mode="symmetric").n_embedded == 2

    def test_another_model_is_another_vector(self, engine):
        before = self.score(engine)
        assert self.score(engine, before=[before], model=OFFLINE).n_embedded == 4

    def test_texts_that_change_sides_are_other_texts(self, engine):
        before = self.score(engine, self.QUERIES)
        assert self.score(engine, before=[before]).n_embedded == 2

    def test_progress_counts_what_is_embedded(self, engine):
        reports = []
        before = self.score(engine)
        request = ScoreRequest(ENGLISH, "retrieval", self.QUERIES, self.PASSAGES + "\nA third.")
        engine.score(request, lambda share, _: reports.append(share), before=[before])
        assert reports[-1] == 1


class TestWaiting:
    def test_a_lent_gpu_is_used_in_its_turn(self, stand_in_pool, monkeypatch, tmp_path):
        (tmp_path / "spaces.py").write_text("def GPU(duration):\n    return lambda function: function\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("SPACES_ZERO_GPU", "true")
        crammed = Engine(stand_in_pool, encode_queue=WaitingQueue(1, 0))

        def work(text):
            with pytest.raises(FullError), crammed.encode_queue.slot():
                pass
            return text

        assert crammed.on_gpu(work)("done", on_stage=print) == "done"
        monkeypatch.delitem(sys.modules, "spaces")

    def test_models_are_loaded_before_the_queue_and_given_back_where_it_is_full(self, stand_in_pool):
        crammed = Engine(stand_in_pool, encode_queue=WaitingQueue(1, 0))
        n_leased = stand_in_pool.n_leased
        with crammed.encode_queue.slot(), pytest.raises(FullError):
            crammed.score(ScoreRequest(ENGLISH, "retrieval", "a", "b"))
        assert stand_in_pool.n_leased == n_leased + 1
        assert stand_in_pool.n_released == stand_in_pool.n_leased
        assert crammed.score(ScoreRequest(ENGLISH, "retrieval", "a", "b")).scores.shape == (1, 1)

    def test_as_many_as_have_threads_may_wait_for_a_model_to_come(self, stand_in_pool):
        crammed = Engine(stand_in_pool, visitor_limit=WaitingQueue(1, 0))
        n_leased = stand_in_pool.n_leased
        with crammed.visitor_limit.slot(), pytest.raises(FullError):
            crammed.score(ScoreRequest(ENGLISH, "retrieval", "a", "b"))
        assert stand_in_pool.n_leased == n_leased

    def test_texts_of_one_request_are_never_read_beside_anothers(self, stand_in_pool):
        engine, overlaps, inside = Engine(stand_in_pool), [], []

        def stage(share, doing):
            if share is not None and doing.startswith("Reading"):
                inside.append(1)
                overlaps.append(len(inside) > 1)
                threading.Event().wait(0.01)
                inside.pop()

        def ask(number):
            texts = "\n".join(f"text {number} {place}" for place in range(8))
            return engine.score(ScoreRequest(ENGLISH, "retrieval", texts, texts), stage).scores.shape

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, range(8))) == [(8, 8)] * 8
        assert overlaps
        assert not any(overlaps)
