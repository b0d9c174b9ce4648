"""Texts longer than the model reads: what is said about them, and what chunk-and-pool makes of them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from e5studio import split_to_fit
from e5studio.errors import TruncationWarning
from tests.corpus import MULTILINGUAL_TEXTS, ORDINARY_TEXTS, TRAINING_TEXT

LONG = TRAINING_TEXT.strip()
WITHOUT_SPACES = "夜里河水上涨早上桥不见了村里没有人感到惊讶" * 55
SHORT = [text[:150] for text in (*ORDINARY_TEXTS, *MULTILINGUAL_TEXTS)]
MODELS = pytest.mark.parametrize("name", ["e5", "instruct", "offline"])


def exactly(encoder, n_tokens: int) -> str:
    """A text of so many tokens."""
    text = " ".join(["the"] * n_tokens)
    assert encoder.count_tokens([text]) == [n_tokens]
    return text


@MODELS
async def test_truncation_is_said_once_a_call_with_where_to_look(name, make):
    embeddings = make(name)
    texts = ["short", LONG, "short", f"{LONG} again"]
    with pytest.warns(TruncationWarning) as caught:
        vectors = embeddings.embed_documents(texts)
    [warning] = [each for each in caught if each.category is TruncationWarning]
    assert warning.filename == __file__
    assert "2 of 4 texts are longer" in str(warning.message)
    assert "(the first:" in str(warning.message)
    assert "report(texts) lists them; long_documents='chunk-and-pool' reads all" in str(warning.message)
    with pytest.warns(TruncationWarning) as caught:
        assert await embeddings.aembed_documents(texts) == vectors
    assert [each.category for each in caught].count(TruncationWarning) == 1


async def test_a_query_that_is_too_long_is_said_to_be(make):
    embeddings = make("e5", long_documents="chunk-and-pool")  # which is for documents
    with pytest.warns(TruncationWarning, match="Shorten them") as caught:
        vector = embeddings.embed_query(LONG)
    assert len(caught) == 1
    with pytest.warns(TruncationWarning, match="Shorten them"):
        assert await embeddings.aembed_query(LONG) == vector


@MODELS
def test_the_report_has_the_details(name, make, cores):
    embeddings = make(name)
    room = embeddings.max_text_tokens()
    report = embeddings.report(["short", exactly(cores[name], room + 3)])
    [cut] = report.truncated
    assert (cut.index, cut.n_read, cut.n_dropped, cut.exact) == (1, cores[name].spec.max_tokens, 3, True)
    assert report.n_tokens[1] == cores[name].spec.max_tokens
    assert report.prompt.text == {"e5": "passage: ", "instruct": "", "offline": ""}[name]


@MODELS
@pytest.mark.parametrize("prompt_name", ["query", "document"])
def test_nothing_is_cut_of_a_text_that_just_fits(name, prompt_name, make, cores):
    embeddings = make(name)
    text = exactly(cores[name], embeddings.max_text_tokens(prompt_name))
    assert embeddings.count_tokens(text) == embeddings.max_text_tokens(prompt_name)
    assert embeddings.report([text], prompt_name).truncated == ()
    assert len(embeddings.report([f"{text} the"], prompt_name).truncated) == 1
    embed = embeddings.embed_query if prompt_name == "query" else lambda text: embeddings.embed_documents([text])
    embed(text)  # a warning would be an error
    with pytest.warns(TruncationWarning):
        embed(f"{text} the")


def test_a_symmetric_document_has_the_room_of_a_query(make, cores):
    embeddings = make("instruct", symmetric=True)
    assert embeddings.max_text_tokens() == embeddings.max_text_tokens("query")
    text = exactly(cores["instruct"], embeddings.max_text_tokens())
    assert embeddings.report([text]).truncated == ()
    assert len(embeddings.report([f"{text} the"]).truncated) == 1


@MODELS
def test_pooled_vectors_of_texts_that_fit_are_the_cores(name, make, cores):
    embeddings = make(name, long_documents="chunk-and-pool")
    assert embeddings.embed_documents(SHORT) == cores[name].encode_document(SHORT).tolist()
    assert embeddings.embed_query(SHORT[0]) == make(name).embed_query(SHORT[0])


@MODELS
async def test_pooled_vectors_of_long_texts(name, make, cores):
    embeddings, encoder = make(name, long_documents="chunk-and-pool"), cores[name]
    texts = [SHORT[0], LONG[: len(LONG) // 2], WITHOUT_SPACES, SHORT[1]]
    vectors = embeddings.embed_documents(texts)
    assert await embeddings.aembed_documents(texts) == vectors
    prompt = embeddings.report(["a"]).prompt.text
    parts = [split_to_fit(encoder, text, prompt=prompt) for text in texts]
    assert [len(of_text) > 1 for of_text in parts] == [False, True, True, False]
    rows = iter(encoder.encode_document([part for of_text in parts for part in of_text]))
    for text, of_text, vector in zip(texts, parts, vectors, strict=True):
        of_parts = np.array([next(rows) for _ in of_text])
        mean = encoder.count_tokens(of_text).astype(np.float64) @ of_parts.astype(np.float64)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), rtol=0, atol=1e-6)
        assert (len(of_text) > 1) == bool(embeddings.report([text]).truncated)
        if of_text == [text]:
            assert vector == of_parts[0].tolist()  # to the bit
    with warnings.catch_warnings(action="ignore", category=TruncationWarning):
        cut = make(name).embed_documents(texts)
    alike = [np.dot(one, other) for one, other in zip(vectors, cut, strict=True)]
    assert min(alike[0], alike[3]) == pytest.approx(1, abs=1e-6)
    assert alike[1] < 1 - 1e-3


def test_the_end_of_a_long_text_counts_only_where_it_is_read(make):
    ends = [f"{LONG} {ending}" for ending in ("The wizards brew quartz jam. " * 20, "Bees dance in the hive. " * 20)]
    one, other = make("e5", long_documents="chunk-and-pool").embed_documents(ends)
    assert one != other
    with pytest.warns(TruncationWarning):
        one, other = make("e5").embed_documents(ends)
    assert one == other


async def test_titles_come_before_the_first_part(make):
    embeddings = make("e5", long_documents="chunk-and-pool")
    titled = embeddings.embed_documents([LONG], titles=["A title"])
    assert titled == embeddings.embed_documents([f"A title {LONG}"])
    assert await embeddings.aembed_documents([LONG], titles=["A title"]) == titled
