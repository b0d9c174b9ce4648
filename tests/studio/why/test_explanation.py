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
from e5studio.studio.why import explanation as explanation_module
from e5studio.studio.why import text as why_text
from e5studio.studio.why.explanation import explain_pair, leave_out, strengths
from e5studio.studio.why.sentences import parts_at, sentences_of
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


LONG = "Boats lie in the harbour. " * 4 + "A baker sells bread and cakes near the gate. " + "It rains in autumn. " * 6


def parts_of(explanation):
    return [side.parts for side in explanation.sides]


class TestLeavingOut:
    def test_every_word_of_both_texts_has_its_effect(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 1, 1)
        steps = list(leave_out(encoder, scored, [side.words for side in explanation.sides], explanation))
        assert len(steps) > 1, "it comes a few words at a time"
        last = steps[-1]
        assert [len([e for e in last if e.side == side]) for side in (0, 1)] == [
            sum(part == "word" for part in side.words.parts) for side in explanation.sides
        ]
        assert [len(step) for step in steps] == sorted(len(step) for step in steps)

    def test_effect_is_the_score_without_the_word(self, encoder, scored):
        explanation = explain_pair(encoder, scored, 1, 1)
        effect = next(
            effect
            for effect in list(leave_out(encoder, scored, parts_of(explanation), explanation))[-1]
            if effect.name == "define"
        )
        left = encoder.embed_prepared(encoder.prepare(["summit"], prompt=scored.reports[0].prompt))
        right = encoder.embed_prepared(encoder.prepare([corpus.SUMMIT_PASSAGE], prompt=scored.reports[1].prompt))
        assert effect.change == pytest.approx(100 * float(left[0] @ right[0]) - scored.scores[1, 1], abs=1e-3)

    def test_single_word_leaves_nothing_and_still_has_an_effect(self, engine):
        scored = engine.score(ScoreRequest(ENGLISH, "retrieval", "summit", "mountain"))
        with engine.encoder_with_tokens(scored.meta) as encoder:
            explanation = explain_pair(encoder, scored, 0, 0)
            [*_, last] = leave_out(encoder, scored, parts_of(explanation), explanation)
        assert len(last) == 2
        assert all(np.isfinite(effect.change) for effect in last)

    def test_a_long_text_is_explained_by_sentences_and_each_of_them_by_words(self, engine):
        scored = engine.score(ScoreRequest(OFFLINE, "none", "where to buy bread", LONG))
        with engine.encoder_with_tokens(scored.meta) as encoder:
            explanation = explain_pair(encoder, scored, 0, 0)
            query, passage = explanation.sides
            assert [query.is_long, passage.is_long] == [False, True]
            assert passage.parts.names[4] == "A baker sells bread and cakes near the gate."
            of_passage = [effect for effect in explanation.effects if effect.side == 1]
            assert min(of_passage, key=lambda effect: effect.change).part == 4
            assert [effect.part for effect in of_passage] == list(range(11))
            words = passage.words_in(4)
            assert words.names == ("A", "baker", "sells", "bread", "and", "cakes", "near", "the", "gate.")
            [*_, effects] = leave_out(encoder, scored, [parts_at("", []), words], explanation)
            assert min(effects, key=lambda effect: effect.change).name == "bread"
        listed = why_text.strongest_sentences(explanation, explanation.effects)
        assert ["pick", "1:4", "Word by word"] in listed[-1][2]
        assert "bread" in text_of(why_text.words_left_out(explanation, [parts_at("", []), words], effects))

    def test_work_that_takes_long_waits_for_a_click(self, engine, monkeypatch):
        monkeypatch.setattr(explanation_module, "_QUICK", 0)
        scored = engine.score(ScoreRequest(OFFLINE, "none", "where to buy bread", LONG))
        with engine.encoder_with_tokens(scored.meta) as encoder:
            explanation = explain_pair(encoder, scored, 0, 0)
        assert explanation.effects is None
        points = explanation.carrying(1)
        assert int(points.argmax()) == 4  # the parts of a text tell enough to begin with
        assert points.sum() == pytest.approx(0, abs=1e-9)
        text = text_of(why_text.card(scored, 0, 0, explanation))
        assert "A baker sells bread" in text
        assert "Orange holds more of the score" in text

    def test_marks_are_measured_by_the_strongest(self):
        assert strengths(np.array([1.0, 0.1, -0.6, 0.0, 0.3])) == {0: 3, 2: -2, 4: 1}
        assert strengths(np.zeros(0)) == {}


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One two three four. And then? Yes!", ["One two three four.", "And then? Yes!"]),
        ("It costs 4.50 at Dr. Brown's shop today. Come!", ["It costs 4.50 at Dr. Brown's shop today.", "Come!"]),
        ('He said: "I am not at home." She left again.', ['He said: "I am not at home."', "She left again."]),
        (
            "先把南瓜削皮切成细丝放好。然后放油炒一分钟左右再出锅。",
            ["先把南瓜削皮切成细丝放好。", "然后放油炒一分钟左右再出锅。"],
        ),
        ("a heading of a text\n\nits body without an end", ["a heading of a text", "its body without an end"]),
        ("   ", []),
    ],
)
def test_sentences_end_where_a_reader_sees_an_end(text, sentences):
    parts = sentences_of(text)
    assert list(parts.names) == sentences
    assert [text[start:end] for start, end in parts.spans] == sentences


class TestVerdict:
    def test_the_best_is_told_with_the_next(self, score):
        result = score("protein", "one\ntwo\nthree\nfour")
        scores = np.array([[90.0, 71.5, 89.4, 70.0]], np.float32)
        result = replace(result, scores=scores, best=(0,))
        assert why_text.verdict(result, 0, 0) == (
            "The best for Q1: higher than all 3 others. The next, P3, has 89.4, hardly less."
        )
        assert why_text.verdict(result, 0, 1) == "3rd of 4 for Q1. The best is P1 with 90.0."

    def test_of_few_it_says_little(self, score):
        two = replace(score("protein", "one\ntwo"), scores=np.array([[90.0, 71.5]], np.float32))
        assert why_text.verdict(two, 0, 0) == "The better of two for Q1; the other, P2, has 71.5."
        assert "nothing to rank" in why_text.verdict(score("protein", "one"), 0, 0)
        among_themselves = score("a\nb\nc", "", prompt_mode="symmetric")
        assert "of 2 for A1" in why_text.verdict(among_themselves, 0, 1) + why_text.verdict(among_themselves, 0, 2)

    def test_the_card_shows_both_texts_at_once_and_what_was_cut(self, score):
        result = score("protein\nsummit", "one\n" + "word " * 700, OFFLINE, "none")
        text = text_of(why_text.card(result, 1, 1))
        assert f"{result.scores[1, 1]:.1f}" in text.replace("\N{MINUS SIGN}", "-")
        assert "summit" in text
        assert "word word" in text
        assert "P2 Cut off" in text

    def test_a_share_is_never_a_certainty(self):
        assert [why_text.shown_share(share) for share in (100.0, 99.4, 62.4, 0.2)] == [">99%", ">99%", "62%", "<1%"]


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
        [*_, effects] = leave_out(encoder, scored, parts_of(explanation), explanation)
        text = json.dumps(why_text.card(scored, 0, 0, explanation, effects=effects))
        assert "e5-holds-" in text
        assert "so far" not in text
        assert "so far" in json.dumps(why_text.card(scored, 0, 0, explanation, effects=effects[:3]))

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
