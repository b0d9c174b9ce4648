"""What the page says of one score: exact parts, honest company, and what each word does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from e5studio.analysis.score_context import MIN_OTHERS, place_among
from e5studio.errors import VectorError
from e5studio.studio.charts.matrix import word_grid
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.why import text as why_text
from e5studio.studio.why.explanation import explain_pair, leave_words_out
from tests import corpus
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE
from tests.studio.node_text import text_of

QUERIES = f"{corpus.PROTEIN_QUERY}\n{corpus.SUMMIT_QUERY}\nwhere do rivers run"
PASSAGES = f"{corpus.PROTEIN_PASSAGE}\n{corpus.SUMMIT_PASSAGE}\nRivers run through valleys."


@pytest.fixture(params=[ENGLISH, INSTRUCT, OFFLINE])
def model(request):
    return request.param


@pytest.fixture
def scored(engine, model):
    return engine.score(ScoreRequest(model, "retrieval", QUERIES, PASSAGES, "Find the passage"))


@pytest.fixture
def encoder(engine, scored):
    with engine.encoder_with_tokens(scored.meta) as encoder:
        yield encoder


class TestShares:
    def test_add_up_to_the_score_on_the_screen(self, encoder, scored):
        for row, column in np.ndindex(scored.scores.shape):
            explanation = explain_pair(encoder, scored, row, column)
            assert 100 * explanation.shares.shares.sum() == pytest.approx(scored.scores[row, column], abs=1e-4)
            assert explanation.centred.shares.sum() + explanation.centred.remainder == pytest.approx(
                explanation.shares.cosine, abs=1e-9
            )
            assert abs(explanation.difference) < 1e-4

    def test_both_texts_with_their_prompts(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 1, 1)
        assert [side.label for side in explanation.sides] == ["Q2", "P2"]
        has_prompt = [report.prompt.text != "" for report in scored.reports]
        assert ["prompt" in side.words.parts for side in explanation.sides] == has_prompt

    def test_texts_among_themselves(self, engine):
        scored = engine.score(ScoreRequest(ENGLISH, "symmetric", QUERIES, ""))
        with engine.encoder_with_tokens(scored.meta) as encoder:
            explanation = explain_pair(encoder, scored, 0, 2)
            assert explanation.n_columns == 2
            assert 100 * explanation.shares.shares.sum() == pytest.approx(scored.scores[0, 2], abs=1e-4)

    def test_of_a_cut_text_say_where_it_was_cut(self, engine):
        scored = engine.score(ScoreRequest(OFFLINE, "none", "summit", "a summit of the mountain " * 300))
        with engine.encoder_with_tokens(scored.meta) as encoder:
            explanation = explain_pair(encoder, scored, 0, 0)
        assert 0 < explanation.sides[1].read_to < len(explanation.sides[1].text)
        text = json.dumps(why_text.what_was_read(explanation))
        assert "e5-unread" in text
        assert "never read" in text


class TestPlace:
    def test_among_others(self):
        explanation = place_among(5.0, [1, 2, 3, 4, 5, 6, np.nan, -np.inf])
        assert explanation.n_others == 6
        assert explanation.percentile == pytest.approx(4.5 / 6)
        assert explanation.z_score == pytest.approx((5 - 3.5) / np.std([1, 2, 3, 4, 5, 6], ddof=1))

    def test_too_few_say_nothing(self):
        assert place_among(1.0, [2.0] * (MIN_OTHERS - 1)) is None

    def test_all_alike_have_no_spread(self):
        assert place_among(1.0, [2.0] * 9).z_score is None

    def test_no_number(self):
        with pytest.raises(VectorError):
            place_among(float("nan"), [1.0] * 9)

    def test_is_that_of_the_page(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 0, 0)
        assert explanation.on_page.n_others == 8
        assert explanation.in_row is None  # two others only
        assert explanation.rank == 1 + int((scored.scores[0] > scored.scores[0, 0]).sum())


class TestLeavingOut:
    def test_every_word_of_both_texts_has_its_effect(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 1, 1)
        steps = list(leave_words_out(encoder, scored, explanation))
        assert len(steps) > 1, "it comes a few words at a time"
        last = steps[-1]
        assert [len([e for e in last if e.side == side]) for side in (0, 1)] == [
            sum(part == "word" for part in side.words.parts) for side in explanation.sides
        ]
        assert [len(step) for step in steps] == sorted(len(step) for step in steps)

    def test_effect_is_the_score_without_the_word(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 1, 1)
        effect = next(
            effect for effect in list(leave_words_out(encoder, scored, explanation))[-1] if effect.name == "define"
        )
        left = encoder.embed_prepared(encoder.prepare(["summit"], prompt=scored.reports[0].prompt))
        right = encoder.embed_prepared(encoder.prepare([corpus.SUMMIT_PASSAGE], prompt=scored.reports[1].prompt))
        assert effect.change == pytest.approx(100 * float(left[0] @ right[0]) - scored.scores[1, 1], abs=1e-3)

    def test_single_word_leaves_nothing_and_still_has_an_effect(self, engine):
        scored = engine.score(ScoreRequest(ENGLISH, "retrieval", "summit", "mountain"))
        with engine.encoder_with_tokens(scored.meta) as encoder:
            explanation = explain_pair(encoder, scored, 0, 0)
            [*_, last] = leave_words_out(encoder, scored, explanation)
        assert len(last) == 2
        assert all(np.isfinite(effect.change) for effect in last)


class TestWords:
    def test_say_what_the_picture_does_not_mean(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 0, 0)
        for is_centred in (False, True):
            text = text_of(why_text.made_of(explanation, is_centred=is_centred))
            assert "not why the model gives it" in text
        assert f"{100 * explanation.shares.cosine:.2f}" in text_of(why_text.made_of(explanation, is_centred=False))

    def test_say_which_score_is_explained_where_back_ends_differ(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 0, 0)
        moved = replace(explanation, score=explanation.score + 1)
        assert "This explains the score" in text_of(why_text.made_of(moved, is_centred=False))
        assert "This explains" not in text_of(why_text.made_of(explanation, is_centred=False))

    def test_last_token_models_have_no_sum(self, encoder, scored):
        explanation = replace(explain_pair(encoder, scored, 0, 0), shares=None, centred=None)
        assert "last token" in text_of(why_text.made_of(explanation, is_centred=False))

    def test_marks_stand_on_the_words_that_matter(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 0, 0)
        [*_, effects] = leave_words_out(encoder, scored, explanation)
        text = json.dumps(why_text.words_left_out(explanation, effects))
        assert "e5-holds-" in text
        assert "so far" not in text
        assert "so far" in json.dumps(why_text.words_left_out(explanation, effects[:3]))

    def test_texts_come_back_whole(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 0, 0)
        text = text_of(why_text.what_was_read(explanation)).replace(" ", "")
        assert corpus.PROTEIN_PASSAGE.replace(" ", "") in text


class TestGrid:
    def test_holds_every_share(self):
        figure = word_grid(np.array([[1.0, 2.0]], np.float32), ["a"], ["b", "<i>c</i>"], is_centred=False)
        assert figure["data"][0]["z"] == [[1.0, 2.0]]
        assert "<i>" not in "".join(figure["layout"]["xaxis"]["ticktext"])

    def test_centred_colours_meet_at_zero(self):
        [trace] = word_grid(np.array([[-1.0, 3.0]], np.float32), ["a"], ["b", "c"], is_centred=True)["data"]
        assert trace["zmin"] == -trace["zmax"]
