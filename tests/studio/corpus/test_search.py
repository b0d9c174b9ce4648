"""A query finds the passages that the encoder puts nearest, and its words add up to the score."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from e5studio.errors import FingerprintMismatchError, TextError, VectorError
from e5studio.studio.corpus.corpus import CorpusSetting
from e5studio.studio.corpus.map import draw_corpus_map, place_corpus
from e5studio.studio.corpus.search import carrying_words, search_corpus
from e5studio.studio.map.placing import MapSettings
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE
from tests.studio.corpus.conftest import LINES, TEXTS, make_corpus

LONG = "the summit of a mountain is its highest point " * 300


@pytest.fixture(params=[ENGLISH, INSTRUCT, OFFLINE])
def embedded(embed, request):
    return embed(make_corpus((*TEXTS, LONG)), CorpusSetting(request.param, "retrieval", "Find the passage"))


class TestSearch:
    def test_finds_what_the_encoder_puts_nearest(self, engine, embed, encoders):
        embedded = embed()
        found = search_corpus(engine, embedded, "summit define", top_k=3)
        scores = encoders("e5").scores(["summit define"], TEXTS)[0]
        order = np.argsort(-scores, kind="stable")[:3]
        assert [hit.row for hit in found.hits] == order.tolist()
        assert [hit.label for hit in found.hits] == [str(LINES[row]) for row in order]
        assert [hit.text for hit in found.hits] == [TEXTS[row] for row in order]
        np.testing.assert_allclose([hit.score for hit in found.hits], scores[order], atol=1e-3)
        assert (found.prompt.text, found.of) == ("query: ", embedded.key)

    def test_every_text_has_a_score_to_be_coloured_by(self, engine, embed, encoders):
        embedded = embed()
        found = search_corpus(engine, embedded, "summit define", top_k=2)
        np.testing.assert_allclose(found.scores, encoders("e5").scores(["summit define"], TEXTS)[0], atol=1e-3)
        assert found.scores[found.hits[0].row] == pytest.approx(found.hits[0].score, abs=1e-3)
        placed = place_corpus(embedded, MapSettings())
        figure, _ = draw_corpus_map(embedded, placed, "score", scores=found.scores)
        json.dumps(figure, allow_nan=False)

    def test_all_where_there_are_fewer(self, engine, embed):
        assert len(search_corpus(engine, embed(), "summit", top_k=100).hits) == len(TEXTS)

    def test_the_instruction_given_with_it_comes_first(self, engine, embed):
        embedded = embed(under=CorpusSetting(INSTRUCT, "retrieval", "Of the corpus"))
        prompts = [search_corpus(engine, embedded, "summit", task).prompt for task in (None, " ", "Another")]
        assert [prompt.instruction for prompt in prompts] == ["Of the corpus", "Of the corpus", "Another"]

    def test_a_model_without_prompts_takes_none(self, engine, embed):
        embedded = embed(under=CorpusSetting(OFFLINE, "retrieval", "left over"))
        found = search_corpus(engine, embedded, "what is the top of a mountain called?", "left over")
        assert found.prompt.text == ""
        assert found.hits[0].text == TEXTS[0]

    def test_titles_come_with_the_hits(self, engine, embed):
        embedded = embed(make_corpus(TEXTS[:2], titles=("Mountains", "")))
        assert {hit.title for hit in search_corpus(engine, embedded, "summit").hits} == {"Mountains", ""}

    def test_a_query_longer_than_the_model_reads_is_told(self, engine, embed):
        assert search_corpus(engine, embed(), LONG).is_truncated
        assert not search_corpus(engine, embed(), "summit").is_truncated

    @pytest.mark.parametrize("query", ["", " \n", "\u200b"])
    def test_no_query(self, engine, embed, query):
        embedded = embed()
        for search in (search_corpus, lambda *asked: carrying_words(*asked, [0])):
            with pytest.raises(TextError, match="There is no query"):
                search(engine, embedded, query)

    def test_vectors_of_another_encoder_are_not_searched(self, engine, embed):
        embedded = embed()
        other = replace(embedded, spec=replace(embedded.spec, revision="another"))
        with pytest.raises(FingerprintMismatchError, match="Embed them again"):
            search_corpus(engine, other, "summit")


class TestCarryingWords:
    def test_add_up_to_the_score_of_each_hit(self, engine, embedded):
        hits = search_corpus(engine, embedded, "summit define", top_k=7).hits
        for hit, found in zip(
            hits, carrying_words(engine, embedded, "summit define", [h.row for h in hits]), strict=True
        ):
            assert found.row == hit.row
            assert len(found.shares) == len(found.beyond_common) == len(found.passage.words.names)
            assert found.shares.sum() == pytest.approx(hit.score, abs=1e-3)
            assert found.explained == pytest.approx(hit.score, abs=1e-3)

    def test_of_a_long_text_say_where_it_was_cut(self, engine, embedded):
        [found] = carrying_words(engine, embedded, "summit", [len(TEXTS)])
        assert 0 < found.passage.read_to < len(LONG)

    def test_with_what_all_have_in_common_taken_out_they_pull_both_ways(self, engine, embed):
        embedded = embed(under=CorpusSetting(OFFLINE, "none"))
        [found] = carrying_words(engine, embedded, "top of a mountain", [0])
        named = dict(zip(found.passage.words.names, found.beyond_common, strict=True))
        assert named["mountain."] > named["The"]

    def test_the_title_counts_as_part_of_the_passage(self, engine, embed):
        embedded = embed(make_corpus(TEXTS[:1], titles=("Mountains",)))
        [found] = carrying_words(engine, embedded, "summit", [0])
        assert "Mountains" in found.passage.words.names
        assert found.explained == pytest.approx(search_corpus(engine, embedded, "summit").hits[0].score, abs=1e-3)

    def test_a_model_that_pools_the_last_token_has_none(self, engine, embed):
        embedded = embed()
        last = replace(embedded, meta=replace(embedded.meta, pooling="last_token"))
        [found] = carrying_words(engine, last, "summit", [0])
        assert (found.shares, found.beyond_common, found.explained) == (None, None, None)
        assert found.passage.read_to == len(TEXTS[0])

    @pytest.mark.parametrize("row", [-1, 6])
    def test_a_row_that_is_none(self, engine, embed, row):
        with pytest.raises(VectorError, match="6 texts and none at"):
            carrying_words(engine, embed(), "summit", [row])
