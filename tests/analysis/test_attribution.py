"""Shares of a score: exact for every mean-pooled architecture, gathered into the words that a person sees."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.analysis.attribution import Words, gather_words, without_each_word, word_shares
from e5studio.errors import NonFiniteError, VectorError
from e5studio.similarity import cos_sim
from tests import corpus

TEXTS = [
    corpus.SUMMIT_QUERY,
    corpus.PUMPKIN_PASSAGE,
    "  don't   stop\tbelieving 👩‍🚀 ",
    "a" * 40 + " café",
    corpus.PROTEIN_PASSAGE * 20,
]


@pytest.fixture(scope="module")
def mean_encoder(encoder):
    if encoder.meta.pooling != "mean":
        pytest.skip("the decomposition is that of a mean")
    return encoder


def words_of(encoder, text, prompt_name="query"):
    tokens = encoder.token_embeddings(text, prompt=encoder.resolve_prompt(prompt_name))
    return tokens, gather_words(text, tokens.offsets, tokens.in_prompt, tokens.special)


def shares_of_tokens(left, right):
    """The shares where every token is a word."""
    sides = [
        Words(("",) * len(side), ("word",) * len(side), np.zeros((len(side), 2), int), np.arange(len(side)))
        for side in (left, right)
    ]
    return word_shares(left, right, *sides).shares


class TestExactness:
    @pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")
    @pytest.mark.parametrize("query", TEXTS)
    def test_shares_add_up_to_the_score(self, mean_encoder, query):
        passage = corpus.SUMMIT_PASSAGE
        vectors = mean_encoder.encode_query([query]), mean_encoder.encode_document([passage])
        left, left_words = words_of(mean_encoder, query)
        right, right_words = words_of(mean_encoder, passage, "document")
        score = cos_sim(*vectors)[0, 0]
        found = word_shares(left.vectors, right.vectors, left_words, right_words)
        assert found.shares.sum() == pytest.approx(score, abs=1e-6)
        assert found.cosine == pytest.approx(score, abs=1e-6)
        assert found.remainder == 0

    def test_centred_shares_and_their_remainder_add_up_too(self, mean_encoder):
        left, left_words = words_of(mean_encoder, corpus.SUMMIT_QUERY)
        right, right_words = words_of(mean_encoder, corpus.SUMMIT_PASSAGE, "document")
        centre = (left.vectors.mean(axis=0) + right.vectors.mean(axis=0)) / 2
        found = word_shares(left.vectors, right.vectors, left_words, right_words, centre=centre)
        assert found.shares.sum() + found.remainder == pytest.approx(found.cosine, abs=1e-9)
        assert found.remainder != 0

    def test_share_of_a_pair_is_its_tokens_product(self):
        left, right = np.array([[1.0, 0], [0, 1]]), np.array([[2.0, 0]])
        np.testing.assert_allclose(shares_of_tokens(left, right), [[2 / (np.sqrt(2) * 2)], [0]])

    def test_parts_outside_the_text_are_counted_once(self):
        left = gather_words("a b", np.array([[0, 0], [-3, -1], [0, 1], [2, 3]]), *flags("prompt special", 4))
        rng = np.random.default_rng(0)
        found = word_shares(rng.normal(size=(4, 5)), rng.normal(size=(4, 5)), left, left)
        outside = found.of("prompt", "special")
        inside = found.shares[2:, 2:].sum()
        assert outside + inside == pytest.approx(found.cosine)
        assert found.of("word", "prompt", "special") == pytest.approx(found.cosine)


def flags(_, n):
    in_prompt, special = np.zeros(n, bool), np.zeros(n, bool)
    special[0], in_prompt[1] = True, True
    return in_prompt, special


class TestWords:
    def test_prompt_and_special_tokens_stand_apart(self, encoders):
        _, words = words_of(encoders("e5"), "summit define")
        assert words.names == ("special tokens", "prompt", "summit", "define")
        assert words.parts == ("special", "prompt", "word", "word")

    @pytest.mark.parametrize("text", TEXTS[:4])
    def test_every_token_has_its_word(self, encoder, text):
        tokens, words = words_of(encoder, text)
        assert len(words.word_of_token) == len(tokens.tokens)
        assert set(words.word_of_token.tolist()) == set(range(len(words.names)))
        for name, (start, end), part in zip(words.names, words.spans.tolist(), words.parts, strict=True):
            assert part != "word" or text[start:end] == name

    def test_word_in_pieces_is_one_word(self, encoders):
        _, words = words_of(encoders("multilingual-e5"), "unbelievably good")
        assert [name for name, part in zip(words.names, words.parts, strict=True) if part == "word"] == [
            "unbelievably",
            "good",
        ]

    def test_script_without_spaces_is_cut_at_its_tokens(self, encoders):
        _, words = words_of(encoders("multilingual-e5"), corpus.PUMPKIN_QUERY)
        own = [name for name, part in zip(words.names, words.parts, strict=True) if part == "word"]
        assert len(own) > 1
        assert "".join(own) == corpus.PUMPKIN_QUERY


class TestLeavingOut:
    def test_one_text_a_word(self, encoders):
        text = "how  much protein"
        _, words = words_of(encoders("e5"), text)
        assert without_each_word(text, words) == ["much protein", "how protein", "how  much"]

    def test_nothing_left_of_a_single_word(self, encoders):
        _, words = words_of(encoders("e5"), "summit")
        assert without_each_word("summit", words) == [""]


class TestMistakes:
    @pytest.mark.parametrize(
        ("left", "right"), [(np.ones((2, 3)), np.ones((2, 4))), (np.empty((0, 3)), np.ones((1, 3))), ("a", "b")]
    )
    def test_no_vectors(self, left, right):
        with pytest.raises(VectorError):
            shares_of_tokens(left, right)

    def test_vectors_that_cancel_out(self):
        with pytest.raises(VectorError, match="add up to nothing"):
            shares_of_tokens([[1.0, 0], [-1, 0]], [[1.0, 0]])

    def test_nan(self):
        with pytest.raises(NonFiniteError):
            shares_of_tokens([[np.nan, 0]], [[1.0, 0]])

    def test_words_of_another_text(self, encoders):
        left, words = words_of(encoders("e5"), "summit")
        _, others = words_of(encoders("e5"), "summit define")
        with pytest.raises(VectorError, match="same texts"):
            word_shares(left.vectors, left.vectors, words, others)
