"""All of a long text reaches its vector, in parts that fit, and short texts are embedded as ever."""

from __future__ import annotations

import re
import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from e5studio.encoder import E5Encoder
from e5studio.errors import NonFiniteError, TextError
from e5studio.long_documents import encode_long_documents, split_to_fit
from tests.corpus import MULTILINGUAL_TEXTS, ORDINARY_TEXTS, PROTEIN_PASSAGE, PUMPKIN_PASSAGE, SUMMIT_PASSAGE
from tests.fakes import FakeBackend, encoder_over, token_rows

LONG_ENGLISH = " ".join(f"{PROTEIN_PASSAGE} {SUMMIT_PASSAGE}".split() * 12)
LONG_CHINESE = PUMPKIN_PASSAGE.replace(" ", "") * 12
LONG_MIXED = "\n".join(MULTILINGUAL_TEXTS) * 25
LONG_WORD = "abcdefghijklmnopqrstuvwxyz0123456789" * 200
LONG_TEXTS = {"English": LONG_ENGLISH, "Chinese": LONG_CHINESE, "mixed": LONG_MIXED, "one word": LONG_WORD}


def letters(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.fixture
def small(encoder: E5Encoder) -> E5Encoder:
    """Reads 64 tokens, so that a page is long."""
    return encoder.with_options(max_tokens=64)


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_parts_fit_and_nothing_is_lost(small, name):
    prompt = small.resolve_prompt("document")
    parts = split_to_fit(small, LONG_TEXTS[name], prompt=prompt)
    assert len(parts) > 1 or not small.prepare([LONG_TEXTS[name]], prompt=prompt).report.truncated
    assert letters("".join(parts)) == letters(LONG_TEXTS[name])
    assert not small.prepare(parts, prompt=prompt).report.truncated


def test_words_stay_whole(small):
    parts = split_to_fit(small, LONG_ENGLISH, prompt=small.resolve_prompt("document"))
    assert " ".join(parts).split() == LONG_ENGLISH.split()


def test_no_room_is_wasted(small):
    prompt = small.resolve_prompt("document")
    parts = split_to_fit(small, LONG_ENGLISH, prompt=prompt)
    fewest = small.count_tokens([LONG_ENGLISH])[0] / small.max_text_tokens()
    assert fewest <= len(parts) <= 1.1 * fewest
    counts = small.count_tokens(parts)
    assert counts.min() >= 0.5 * counts.max()


def test_a_text_that_fits_is_one_part(encoder):
    prompt = encoder.resolve_prompt("document")
    assert [split_to_fit(encoder, text, prompt=prompt) for text in ORDINARY_TEXTS] == [
        [text] for text in ORDINARY_TEXTS
    ]


@hypothesis.given(
    strategies.text(strategies.sampled_from("ab é水😀\u0301\u200b\n "), min_size=1, max_size=80).filter(
        lambda text: any(character.isalnum() for character in text)
    ),
    strategies.integers(0, 4),
)
@hypothesis.settings(max_examples=60)
def test_any_text_is_cut_into_parts_that_fit(encoders, text, extra):
    encoder = encoders("e5-mistral-instruct").with_options(max_tokens=8 + extra)  # 😀 alone takes five tokens
    parts = split_to_fit(encoder, text, prompt="")
    assert parts
    assert not encoder.prepare(parts, prompt="").report.truncated
    visible = re.sub(r"[\s\u200b]", "", text)
    assert re.sub(r"[\s\u200b]", "", "".join(parts)) == visible


def test_short_texts_are_embedded_as_ever(encoder):
    prompt = encoder.resolve_prompt("document")
    expected = encoder.encode_document(ORDINARY_TEXTS)
    assert np.array_equal(encode_long_documents(encoder, list(ORDINARY_TEXTS), prompt=prompt), expected)


def test_a_long_text_is_the_mean_of_its_parts_weighted_by_tokens(small):
    prompt = small.resolve_prompt("document")
    texts = ["summit define", LONG_ENGLISH, "a short one", LONG_CHINESE]
    vectors = encode_long_documents(small, texts, prompt=prompt)
    for text, vector in zip(texts, vectors, strict=True):
        parts = split_to_fit(small, text, prompt=prompt)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rows = small.encode_document(parts)
        expected = np.average(rows.astype(np.float64), axis=0, weights=np.maximum(small.count_tokens(parts), 1))
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=2e-6)


def test_it_can_be_stopped_while_it_cuts(small, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert (done, total) == (0, 50)
        raise Stopped

    monkeypatch.setattr(small, "embed_prepared", None)
    with pytest.raises(Stopped):
        encode_long_documents(small, [PROTEIN_PASSAGE * 20] * 50, prompt="passage: ", on_progress=stop)


def test_the_end_of_a_long_text_counts(small):
    prompt = small.resolve_prompt("document")
    one, other = encode_long_documents(
        small, [LONG_ENGLISH + " summit of the mountain", LONG_ENGLISH + " 46 grams a day"], prompt=prompt
    )
    assert not np.allclose(one, other, atol=1e-4)


def test_nothing_gives_nothing(encoder):
    assert encode_long_documents(encoder, [], prompt="").shape == (0, encoder.spec.embed_dim)


def test_an_empty_text_is_refused_by_its_index(encoder):
    with pytest.raises(TextError) as caught:
        encode_long_documents(encoder, ["a", " "], prompt="")
    assert caught.value.indices == (1,)


def test_a_faulty_part_names_its_text(checkpoints):
    checkpoint = checkpoints("e5")
    summit = int(checkpoint.raw_tokenizer().encode("summit", add_special_tokens=False).ids[0])

    def spoil(vectors, batch):
        vectors += 1
        vectors[[summit in ids for ids in token_rows(batch)]] = np.nan
        return vectors

    encoder = encoder_over(checkpoint, FakeBackend(checkpoint.meta.embed_dim, spoil=spoil)).with_options(max_tokens=32)
    with pytest.raises(NonFiniteError) as caught:
        encode_long_documents(encoder, ["a", "a female eat " * 30, "define " * 60 + "summit"], prompt="")
    assert caught.value.indices == (2,)


def test_parts_that_cancel_out_are_refused(checkpoints):
    signs = iter([1.0, -1.0])

    def spoil(vectors, batch):
        vectors[:] = 0
        vectors[:, 0] = [next(signs) for _ in vectors]
        return vectors

    checkpoint = checkpoints("e5")
    encoder = encoder_over(checkpoint, FakeBackend(checkpoint.meta.embed_dim, spoil=spoil))
    text = "summit define define summit"  # two halves of the same length
    n_tokens = int(encoder.count_tokens([text])[0])
    encoder = encoder.with_options(max_tokens=n_tokens // 2 + 3)
    assert len(split_to_fit(encoder, text, prompt="")) == 2
    with pytest.raises(NonFiniteError) as caught:
        encode_long_documents(encoder, [text], prompt="")
    assert caught.value.indices == (0,)
