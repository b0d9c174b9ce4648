"""What programs and assistants are told: the encoder's own numbers, short, and with what the model did not read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from e5studio.errors import E5StudioError
from e5studio.models import get_model_meta
from e5studio.studio.api.answers import (
    MAX_CHARACTERS_READ,
    MAX_HITS_READ,
    MAX_SCORES_READ,
    Answers,
    check_hits_readable,
    check_scores_readable,
    checked_top_k,
    readable,
    shortened,
)
from e5studio.studio.engine.engine import Engine
from tests import corpus
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE, StandInPool

QUERIES = [corpus.PROTEIN_QUERY, corpus.SUMMIT_QUERY]
PASSAGES = ["Rivers run through valleys.", corpus.SUMMIT_PASSAGE, corpus.PROTEIN_PASSAGE]


@pytest.fixture
def answers(engine):
    return Answers(engine)


class TestSearch:
    def test_ranks_as_the_encoder_scores(self, answers, offline_encoder):
        answer = answers.search(OFFLINE, QUERIES, PASSAGES, None, 2)
        scores = offline_encoder.scores(QUERIES, PASSAGES)
        assert answer["model"] == OFFLINE
        assert [each["query"] for each in answer["results"]] == QUERIES
        assert [each["best"][0]["number"] for each in answer["results"]] == [3, 2]
        for result, row in zip(answer["results"], scores, strict=True):
            assert [hit["rank"] for hit in result["best"]] == [1, 2]
            order = np.argsort(-row)[:2]
            assert [hit["number"] - 1 for hit in result["best"]] == order.tolist()
            assert [hit["score"] for hit in result["best"]] == pytest.approx(row[order], abs=0.006)
            assert [PASSAGES[hit["number"] - 1] for hit in result["best"]] == [hit["text"] for hit in result["best"]]

    def test_takes_the_instruction_and_says_where_none_was_given(self, answers, encoders):
        answer = answers.search(INSTRUCT, QUERIES, PASSAGES, "Find the passage", 3)
        scores = encoders("multilingual-e5-instruct").scores(QUERIES, PASSAGES, instruction="Find the passage")
        assert answer["results"][1]["best"][0]["score"] == pytest.approx(scores[1].max(), abs=0.006)
        assert answer["notes"] == []
        [note] = answers.search(INSTRUCT, QUERIES, PASSAGES, None, 3)["notes"]
        assert "web search" in note

    def test_more_than_there_are_gives_all(self, answers):
        assert len(answers.search(OFFLINE, QUERIES, PASSAGES, None, 100)["results"][0]["best"]) == 3

    def test_says_what_was_not_read_and_cuts_what_it_repeats(self, answers):
        long = "a summit of the mountain " * 300
        answer = answers.search(OFFLINE, ["summit"], ["water", long], None, 1)
        [note] = answer["notes"]
        assert note.startswith("1 of 2 passages are longer than the 256 tokens")
        assert "(number 2: " in note
        assert answer["results"][0]["best"][0]["text"] == long[:400] + "…"

    def test_says_that_texts_bring_their_own_prompt_or_broken_characters(self, answers):
        notes = answers.search(ENGLISH, ["query: summit"], ["a summit \ud800 of a mountain"], None, 1)["notes"]
        assert "1 of 1 queries already begin with a prompt" in notes[0]
        assert "does not read at all" in notes[1]
        assert "U+FFFD" in notes[2]

    @pytest.mark.parametrize(("queries", "passages", "what"), [([], ["a"], "queries"), (["a"], [], "passages")])
    def test_an_empty_list_is_named(self, answers, queries, passages, what):
        with pytest.raises(E5StudioError, match=f"There are no {what}"):
            answers.search(OFFLINE, queries, passages, None, 1)


class TestExplain:
    @pytest.mark.parametrize(("model", "instruction"), [(ENGLISH, None), (INSTRUCT, "Find it"), (OFFLINE, None)])
    def test_parts_add_up_to_the_encoders_score(self, engine, answers, model, instruction):
        answer = answers.explain(model, corpus.SUMMIT_QUERY, corpus.SUMMIT_PASSAGE, instruction)
        with engine.encoder_with_tokens(get_model_meta(model)) as encoder:
            [[score]] = encoder.scores([corpus.SUMMIT_QUERY], [corpus.SUMMIT_PASSAGE], instruction=instruction)
        assert answer["score"] == pytest.approx(score, abs=0.006)
        pairs = answer["word_pairs"]
        parts = [pair["points"] for pair in pairs["strongest"]]
        assert sum(parts) + pairs["other_pairs"] + pairs["prompt_and_special_tokens"] == pytest.approx(score, abs=0.1)
        assert [abs(part) for part in parts] == sorted(map(abs, parts), reverse=True)

    def test_a_word_left_out_has_the_effect_of_a_text_without_it(self, answers, offline_encoder):
        answer = answers.explain(OFFLINE, corpus.SUMMIT_QUERY, corpus.SUMMIT_PASSAGE, None)
        assert [each["word"] for each in answer["query"]["without_word"]] == corpus.SUMMIT_QUERY.split()
        [[whole], [without]] = offline_encoder.scores([corpus.SUMMIT_QUERY, "summit"], [corpus.SUMMIT_PASSAGE])
        [change] = [each["change"] for each in answer["query"]["without_word"] if each["word"] == "define"]
        assert change == pytest.approx(without - whole, abs=0.006)

    def test_says_the_prompts_and_the_tokens(self, answers, encoders):
        answer = answers.explain(ENGLISH, "summit", "mountain", None)
        assert [answer["query"]["prompt"], answer["passage"]["prompt"]] == ["query: ", "passage: "]
        read = encoders("e5").prepare(["summit"], prompt_name="query").report
        assert answer["query"]["tokens_read"] == read.n_tokens[0]

    def test_a_text_too_long_is_short_in_the_answer(self, answers):
        long = " ".join(f"word{number}" for number in range(700))
        answer = answers.explain(ENGLISH, "summit 𓀀", long, None)
        assert answer["query"]["unknown"] == ["𓀀"]
        side = answer["passage"]
        assert side["not_read"].removesuffix("…") in long
        assert long.endswith(side["not_read"].removesuffix("…")) or len(side["not_read"]) == 401
        assert 0 < side["characters_not_read"] < len(long)
        assert len(side["without_word"]) == 48
        assert side["words_not_left_out"] > 0
        assert len(json.dumps(answer)) < 8_000

    def test_of_a_model_that_pools_the_last_token_there_is_no_sum(self, encoders):
        name = "intfloat/e5-mistral-7b-instruct"
        answers = Answers(Engine(StandInPool({name: lambda: encoders("e5-mistral-instruct")})))
        answer = answers.explain(name, "summit", "mountain top", "Find it")
        assert answer["word_pairs"] is None
        assert "last token" in answer["notes"][0]
        assert [each["word"] for each in answer["passage"]["without_word"]] == ["mountain", "top"]

    def test_broken_characters_can_be_sent_as_json(self, answers):
        answer = answers.explain(OFFLINE, "a \ud800 summit", "b", None)
        json.dumps(answer, ensure_ascii=False).encode()


@pytest.mark.parametrize("given", [0, 101, -1, 2.5, float("nan"), float("inf"), True, "5", None, [5]])
def test_a_number_that_is_none_is_refused(given):
    with pytest.raises(E5StudioError, match="Give a whole number from 1 to 100"):
        checked_top_k(given)


@pytest.mark.parametrize("given", [1, 100, 5.0])
def test_whole_numbers_are_taken_as_json_writes_them(given):
    assert checked_top_k(given) == given
    assert type(checked_top_k(given)) is int


def test_an_assistant_is_given_no_more_numbers_than_it_reads():
    check_scores_readable(MAX_SCORES_READ)
    with pytest.raises(E5StudioError, match="ask search"):
        check_scores_readable(MAX_SCORES_READ + 1)
    check_hits_readable(MAX_HITS_READ)
    with pytest.raises(E5StudioError, match="a smaller top_k"):
        check_hits_readable(MAX_HITS_READ + 1)


@pytest.mark.parametrize("rows", [1, 10, 250, MAX_SCORES_READ])
def test_every_matrix_that_is_let_through_can_be_read(rows):
    assert len(readable([[-12.345678] * (MAX_SCORES_READ // rows)] * rows)) <= MAX_CHARACTERS_READ


def search_answer(n_queries, n_hits, text="x" * 401):
    best = [{"rank": 100, "score": -12.34, "number": 256, "text": text}] * n_hits
    return {"model": "m" * 40, "results": [{"query": text, "best": best}] * n_queries, "notes": ["Cut off in it."]}


@pytest.mark.parametrize(("n_queries", "n_hits"), [(1, 100), (3, 100), (10, 30), (256, 1)])
def test_every_search_that_is_let_through_is_shortened_until_it_can_be_read(n_queries, n_hits):
    long = search_answer(n_queries, n_hits)
    answer = json.loads(readable(shortened(long)))
    note, first = answer["notes"]
    assert first == "Cut off in it."
    length = int(note.split(" characters")[0].rsplit(" ", 1)[1])
    for result in answer["results"]:
        assert {result["query"], *(hit["text"] for hit in result["best"])} == {"x" * length + "…"}
    assert long == search_answer(n_queries, n_hits)


def test_a_search_that_can_be_read_is_left_as_it_is():
    assert shortened(search_answer(1, 50)) == search_answer(1, 50)


def test_what_no_shortening_helps_is_refused():
    answer = search_answer(10, 30) | {"notes": ["an instruction " * 4_000]}
    with pytest.raises(E5StudioError, match=r"an assistant is given 40,000 at once\. Take fewer texts, .* instruction"):
        readable(shortened(answer))
