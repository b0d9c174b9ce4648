"""A query finds the passages that the encoder puts nearest, and its words add up to the score."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from e5studio.errors import FingerprintMismatchError, TextError, VectorError
from e5studio.studio.corpus.corpus import CorpusSetting
from e5studio.studio.corpus.map import place_corpus
from e5studio.studio.corpus.map_figure import colour_corpus, draw_corpus_map
from e5studio.studio.corpus.search import carrying_words, search_corpus, search_like, with_hits
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
        result = search_corpus(engine, embedded, "summit define", top_k=3)
        scores = encoders("e5").scores(["summit define"], TEXTS)[0]
        order = np.argsort(-scores, kind="stable")[:3]
        assert [hit.row for hit in result.hits] == order.tolist()
        assert [hit.label for hit in result.hits] == [f"#{LINES[row]}" for row in order]
        assert [hit.text for hit in result.hits] == [TEXTS[row] for row in order]
        np.testing.assert_allclose([hit.score for hit in result.hits], scores[order], atol=1e-3)
        assert (result.prompt.text, result.of) == ("query: ", embedded.key)

    def test_every_text_has_a_score_to_be_coloured_by(self, engine, embed, encoders):
        embedded = embed()
        result = search_corpus(engine, embedded, "summit define", top_k=2)
        np.testing.assert_allclose(result.scores, encoders("e5").scores(["summit define"], TEXTS)[0], atol=1e-3)
        assert result.scores[result.hits[0].row] == pytest.approx(result.hits[0].score, abs=1e-3)
        placed = place_corpus(embedded, MapSettings())
        figure = draw_corpus_map(embedded, placed, colour_corpus(embedded, "score", scores=result.scores))
        json.dumps(figure, allow_nan=False)

    def test_a_filter_and_a_longer_list_keep_the_scores(self, engine, embed):
        embedded = embed()
        result = search_corpus(engine, embedded, "summit define", top_k=2)
        assert result.n_matching == len(TEXTS)
        longer = with_hits(embedded, result, 4)
        assert longer.hits[:2] == result.hits
        assert len(longer.hits) == 4
        among = np.array([row in (1, 2) for row in range(len(TEXTS))])
        some = with_hits(embedded, result, 4, among)
        assert {hit.row for hit in some.hits} == {1, 2}
        assert some.n_matching == 2

    def test_more_like_a_text_leaves_it_out(self, embed):
        embedded = embed()
        result = search_like(embedded, 0, top_k=2)
        assert (result.query, result.like) == (f"#{LINES[0]}", 0)
        assert result.hits[0].row == 3  # its copy
        assert result.hits[0].score == pytest.approx(100, abs=1e-3)
        assert 0 not in {hit.row for hit in result.hits}

    def test_all_where_there_are_fewer(self, engine, embed):
        assert len(search_corpus(engine, embed(), "summit", top_k=100).hits) == len(TEXTS)

    def test_the_instruction_given_with_it_comes_first(self, engine, embed):
        embedded = embed(under=CorpusSetting(INSTRUCT, "retrieval", "Of the corpus"))
        prompts = [search_corpus(engine, embedded, "summit", task).prompt for task in (None, " ", "Another")]
        assert [prompt.instruction for prompt in prompts] == ["Of the corpus", "Of the corpus", "Another"]

    def test_a_model_without_prompts_takes_none(self, engine, embed):
        embedded = embed(under=CorpusSetting(OFFLINE, "retrieval", "left over"))
        result = search_corpus(engine, embedded, "what is the top of a mountain called?", "left over")
        assert result.prompt.text == ""
        assert result.hits[0].text == TEXTS[0]

    def test_titles_come_with_the_hits(self, engine, embed):
        embedded = embed(make_corpus(TEXTS[:2], titles=("Mountains", "")))
        assert {hit.title for hit in search_corpus(engine, embedded, "summit").hits} == {"Mountains", ""}

    def test_a_query_longer_than_the_model_reads_is_told(self, engine, embed):
        assert search_corpus(engine, embed(), LONG).is_truncated
        assert not search_corpus(engine, embed(), "summit").is_truncated

    @pytest.mark.parametrize("query", ["", " \n", "\u200b"])
    def test_no_query(self, engine, embed, query):
        embedded = embed()
        for search in (search_corpus, lambda *arguments: carrying_words(*arguments, [0])):
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
        for hit, carrying in zip(
            hits, carrying_words(engine, embedded, "summit define", [each.row for each in hits]), strict=True
        ):
            assert carrying.row == hit.row
            assert len(carrying.shares) == len(carrying.beyond_common) == len(carrying.passage.words.names)
            assert carrying.shares.sum() == pytest.approx(hit.score, abs=1e-3)

    def test_of_a_long_text_say_where_it_was_cut(self, engine, embedded):
        [carrying] = carrying_words(engine, embedded, "summit", [len(TEXTS)])
        assert 0 < carrying.passage.read_to < len(LONG)

    def test_with_what_all_have_in_common_taken_out_they_pull_both_ways(self, engine, embed):
        embedded = embed(under=CorpusSetting(OFFLINE, "none"))
        [carrying] = carrying_words(engine, embedded, "top of a mountain", [0])
        named = dict(zip(carrying.passage.words.names, carrying.beyond_common, strict=True))
        assert named["mountain."] > named["The"]

    def test_the_title_counts_as_part_of_the_passage(self, engine, embed):
        embedded = embed(make_corpus(TEXTS[:1], titles=("Mountains",)))
        [carrying] = carrying_words(engine, embedded, "summit", [0])
        assert "Mountains" in carrying.passage.words.names
        assert carrying.shares.sum() == pytest.approx(search_corpus(engine, embedded, "summit").hits[0].score, abs=1e-3)

    def test_a_model_that_pools_the_last_token_has_none(self, engine, embed):
        embedded = embed()
        last = replace(embedded, meta=replace(embedded.meta, pooling="last_token"))
        [carrying] = carrying_words(engine, last, "summit", [0])
        assert (carrying.shares, carrying.beyond_common, carrying.strengths) == (None, None, {})
        assert carrying.passage.read_to == len(TEXTS[0])

    @pytest.mark.parametrize("row", [-1, 6])
    def test_a_row_that_is_none(self, engine, embed, row):
        with pytest.raises(VectorError, match="6 texts and none at"):
            carrying_words(engine, embed(), "summit", [row])
