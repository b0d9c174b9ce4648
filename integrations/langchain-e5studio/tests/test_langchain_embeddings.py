"""Vectors through `E5Embeddings` are the core's, to the bit, for each role, model and option, sync and async."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_e5studio import E5Embeddings

from e5studio import E5Encoder
from e5studio.errors import TextError, TextTypeError, UnreadTextWarning
from tests.corpus import AWKWARD_TEXTS, MULTILINGUAL_TEXTS, ORDINARY_TEXTS

# The last awkward one warns, the offline copy reads 256 tokens, and one text comes twice.
TEXTS = [text[:200] for text in (*ORDINARY_TEXTS, *MULTILINGUAL_TEXTS, *AWKWARD_TEXTS[:-1], ORDINARY_TEXTS[0])]
QUERIES = [text[:60] for text in (*ORDINARY_TEXTS[2:4], *MULTILINGUAL_TEXTS[::3], *AWKWARD_TEXTS[:-1:4])]  # one by one
TITLES = [None if index % 3 == 0 else "" if index % 3 == 1 else f"Title {index}" for index in range(len(TEXTS))]
MODELS = pytest.mark.parametrize("name", ["e5", "instruct", "offline"])


async def queries_of(embeddings: E5Embeddings) -> list[list[float]]:
    vectors = [embeddings.embed_query(text) for text in QUERIES]
    assert [await embeddings.aembed_query(text) for text in QUERIES] == vectors
    return vectors


async def documents_of(embeddings: E5Embeddings, **titles) -> list[list[float]]:
    vectors = embeddings.embed_documents(TEXTS, **titles)
    assert await embeddings.aembed_documents(TEXTS, **titles) == vectors
    return vectors


def core_queries(encoder: E5Encoder, instruction: str | None = None) -> list[list[float]]:
    return [encoder.encode_query(text, instruction=instruction).tolist() for text in QUERIES]


@MODELS
async def test_queries(name, make, cores):
    embeddings = make(name)
    assert await queries_of(embeddings) == core_queries(cores[name], embeddings.instruction)


@MODELS
async def test_documents(name, make, cores):
    assert await documents_of(make(name)) == cores[name].encode_document(TEXTS).tolist()


@MODELS
async def test_titles(name, make, cores):
    vectors = await documents_of(make(name), titles=TITLES)
    assert vectors == cores[name].encode_document(TEXTS, titles=TITLES).tolist()
    assert vectors != make(name).embed_documents(TEXTS)


@MODELS
async def test_symmetric(name, make, cores):
    embeddings = make(name, symmetric=True)
    expected = cores[name].encode(TEXTS, prompt_name="symmetric", instruction=embeddings.instruction).tolist()
    assert await documents_of(embeddings) == expected
    assert embeddings.embed_query(TEXTS[0]) == make(name).embed_query(TEXTS[0])
    assert embeddings.embed_documents([TEXTS[0]]) == [embeddings.embed_query(TEXTS[0])]


async def test_instruction(make, cores):
    task = "Retrieve semantically similar text."
    vectors = await queries_of(make("instruct", instruction=task))
    assert vectors == core_queries(cores["instruct"], task)
    assert vectors != await queries_of(make("instruct"))


@MODELS
async def test_options_of_an_encoder(name, make, cores):
    options = {"truncate_dim": 16, "token_budget": 64}
    embeddings, encoder = make(name, **options), cores[name].with_options(**options)
    assert await queries_of(embeddings) == core_queries(encoder, embeddings.instruction)
    assert await documents_of(embeddings) == encoder.encode_document(TEXTS).tolist()


@MODELS
@pytest.mark.filterwarnings("ignore::e5studio.errors.TruncationWarning")
async def test_max_tokens(name, make, cores):
    embeddings, encoder = make(name, max_tokens=40), cores[name].with_options(max_tokens=40)
    vectors = await documents_of(embeddings)
    assert vectors == encoder.encode_document(TEXTS).tolist()
    assert vectors != make(name).embed_documents(TEXTS)


@pytest.mark.parametrize("name", ["e5", "instruct"])
async def test_bfloat16(name, make, options):
    embeddings = make(name, dtype="bfloat16")
    loading = {key: value for key, value in options[name].items() if key != "instruction"}
    with E5Encoder(**loading, dtype="bfloat16") as encoder:
        assert await queries_of(embeddings) == core_queries(encoder, embeddings.instruction)
        assert await documents_of(embeddings) == encoder.encode_document(TEXTS).tolist()
    assert embeddings.embed_query(TEXTS[0]) != make(name).embed_query(TEXTS[0])


@MODELS
def test_a_revision_of_none_is_the_pinned_one(name, make, cores):
    embeddings = make(name, revision=None)
    assert embeddings.fingerprint == cores[name].spec.fingerprint
    assert embeddings.embed_documents(TEXTS) == cores[name].encode_document(TEXTS).tolist()


def test_the_path_of_a_known_model(checkpoints, core):
    small = checkpoints("e5")
    embeddings = E5Embeddings(model=str(small.folder), path=str(small.folder), prompt_kind="query_passage")
    assert embeddings.embed_query("a") == core(small).encode_query("a").tolist()


@MODELS
async def test_plain_floats_of_length_one_through_the_base_class(name, make):
    embeddings = make(name)
    assert isinstance(embeddings, Embeddings)
    query, [document] = await asyncio.gather(embeddings.aembed_query("a"), embeddings.aembed_documents(["a"]))
    for vector in (query, document, embeddings.embed_query("a"), *embeddings.embed_documents(["a"])):
        assert type(vector) is list
        assert {type(number) for number in vector} == {float}
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


async def test_roles_differ_where_the_model_has_prompts(make):
    for name, differ in (("e5", True), ("instruct", True), ("offline", False)):
        assert (make(name).embed_query("a text") != make(name).embed_documents(["a text"])[0]) is differ


@MODELS
async def test_an_empty_list_gives_an_empty_list(name, make):
    embeddings = make(name)
    assert embeddings.embed_documents([]) == []
    assert embeddings.embed_documents([], titles=[]) == []
    assert await embeddings.aembed_documents([]) == []
    assert make(name, long_documents="chunk-and-pool").embed_documents([]) == []


@pytest.mark.parametrize("long_documents", ["truncate", "chunk-and-pool"])
@pytest.mark.parametrize(
    ("texts", "error", "indices"),
    [
        (["fine", "", "fine", ""], TextError, (1, 3)),
        (["fine", " \n\t\u3000"], TextError, (1,)),
        (["fine", "fine", 7], TextTypeError, (2,)),
        ([None, "fine"], TextTypeError, (0,)),
        ([float("nan")], TextTypeError, (0,)),
        (["fine", b"bytes"], TextTypeError, (1,)),
    ],
)
async def test_documents_that_cannot_be_embedded_are_named(make, long_documents, texts, error, indices):
    embeddings = make("e5", long_documents=long_documents)
    with pytest.raises(error) as caught:
        embeddings.embed_documents(texts)
    assert caught.value.indices == indices
    assert str(indices[0]) in str(caught.value)
    with pytest.raises(error) as caught:
        await embeddings.aembed_documents(texts)
    assert caught.value.indices == indices


@pytest.mark.parametrize(("text", "error"), [("", TextError), (" \n", TextError), (None, TextTypeError)])
async def test_queries_that_cannot_be_embedded(make, text, error):
    embeddings = make("e5")
    with pytest.raises(error, match="at 0"):
        embeddings.embed_query(text)
    with pytest.raises(error, match="at 0"):
        await embeddings.aembed_query(text)


def test_a_single_text_is_no_list_of_documents(make):
    with pytest.raises(TextTypeError, match="Wrap a single text in a list"):
        make("e5").embed_documents("a text")


def test_titles_and_documents_must_be_as_many(make):
    with pytest.raises(TextError, match="2 titles for 1 texts"):
        make("e5").embed_documents(["a"], titles=["b", "c"])


async def test_newlines_reach_the_tokenizer(checkpoints, core):
    mistral = checkpoints("e5-mistral-instruct")  # its tokenizer knows newlines from spaces
    embeddings = E5Embeddings(model=str(mistral.folder), prompt_kind="instruct", instruction="Find it.", device="cpu")
    broken, spaced = "first line\nsecond line", "first line second line"
    assert embeddings.report([broken]).n_tokens != embeddings.report([spaced]).n_tokens
    assert embeddings.embed_documents([broken]) == core(mistral).encode_document([broken]).tolist()
    assert embeddings.embed_documents([broken]) != embeddings.embed_documents([spaced])
    assert await embeddings.aembed_query(broken) == core(mistral).encode_query(broken, instruction="Find it.").tolist()
    assert embeddings.embed_query(broken) != embeddings.embed_query(spaced)
    assert embeddings.report(["a"], "query").prompt.text == "Instruct: Find it.\nQuery: "


async def test_zeros_stand_for_empty_documents_where_that_was_chosen(make, tmp_path):
    texts = ["a", "", TEXTS[0], "\ufffd\ufffd", "a"]
    plain = make("e5").embed_documents([texts[0], texts[2]])
    for options in ({}, {"cache_folder": tmp_path}, {"long_documents": "chunk-and-pool"}):
        embeddings = make("e5", on_empty="zero", **options)
        for _ in range(2):
            with pytest.warns(UnreadTextWarning, match="2 of 5 documents are empty to .* zeros") as caught:
                vectors = embeddings.embed_documents(texts)
            assert {warning.filename for warning in caught} == {__file__}
            assert not np.any([vectors[1], vectors[3]])
            np.testing.assert_allclose([vectors[0], vectors[2], vectors[4]], [*plain, plain[0]], atol=1e-6)
        with pytest.raises(TextError):
            embeddings.embed_query("")
    with pytest.warns(UnreadTextWarning):
        assert not np.any(await make("e5", on_empty="zero").aembed_documents([""]))
    with pytest.raises(TextError) as caught:
        make("e5", cache_folder=tmp_path).embed_documents(["b", "\ufffd", "c"])
    assert caught.value.indices == (1,)
