"""E5Embedding gives the core's vectors, whole batches, and errors that name the text."""

from __future__ import annotations

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding, SimilarityMode
from llama_index.core.callbacks import CallbackManager
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.e5studio import E5Embedding
from pydantic import ValidationError

from e5studio import E5Encoder, E5StudioError, TextError, get_model_pool
from e5studio.errors import TextTypeError, TruncationWarning
from e5studio.long_documents import split_to_fit
from tests.corpus import PROTEIN_PASSAGE, PROTEIN_QUERY, SUMMIT_PASSAGE, SUMMIT_QUERY

QUERIES = [PROTEIN_QUERY, SUMMIT_QUERY]
PASSAGES = [PROTEIN_PASSAGE, SUMMIT_PASSAGE]
LONG = " ".join(PASSAGES * 12)


def many(number):
    """Different texts of mixed lengths."""
    words = PROTEIN_PASSAGE.split()
    return [f"{number - i} " + " ".join(words[: 1 + i * 7 % 23]) for i in range(number)]


def test_class():
    assert BaseEmbedding.__name__ in [base.__name__ for base in E5Embedding.__mro__]
    assert E5Embedding.class_name() == "E5Embedding"


async def test_roles(embedding, core, e5, call, texts):
    model, encoder = embedding(e5), core(e5)
    for text in texts:
        assert await call(model, "get_query_embedding", text) == encoder.encode_query(text).tolist()
        assert await call(model, "get_text_embedding", text) == encoder.encode_document(text).tolist()
    assert await call(model, "get_text_embedding_batch", texts) == encoder.encode_document(texts).tolist()


async def test_instruction(embedding, core, instruct, call, texts):
    encoder = core(instruct)
    for task in ("Given a claim, find documents that refute it", "Given a title, find the abstract"):
        model = embedding(instruct, instruction=task)
        expected = encoder.encode_query(PROTEIN_QUERY, instruction=task).tolist()
        assert await call(model, "get_query_embedding", PROTEIN_QUERY) == expected
        assert await call(model, "get_text_embedding_batch", texts) == encoder.encode(texts, prompt="").tolist()


async def test_symmetric(embedding, core, e5, instruct, call, texts):
    expected = core(e5).encode(texts, prompt_name="symmetric").tolist()
    assert await call(embedding(e5, symmetric=True), "get_text_embedding_batch", texts) == expected
    task = "Retrieve semantically similar text"
    expected = core(instruct).encode_query(texts, instruction=task).tolist()
    model = embedding(instruct, symmetric=True, instruction=task)
    assert await call(model, "get_text_embedding_batch", texts) == expected
    assert await call(model, "get_text_embedding", texts[0]) == (
        core(instruct).encode_query(texts[0], instruction=task).tolist()
    )


@pytest.mark.filterwarnings("ignore::e5studio.errors.TruncationWarning")
@pytest.mark.parametrize(
    "options",
    [{"truncate_dim": 16}, {"max_tokens": 24}, {"dtype": "bfloat16"}, {"token_budget": 64}],
    ids=lambda options: next(iter(options)),
)
async def test_options(embedding, core, e5, call, texts, options):
    model = embedding(e5, **options)
    if "dtype" in options:
        encoder = E5Encoder(e5.folder, prompt_kind="query_passage", device="cpu", **options)
    else:
        encoder = core(e5).with_options(**options)
    assert await call(model, "get_text_embedding_batch", texts) == encoder.encode_document(texts).tolist()
    assert await call(model, "get_query_embedding", LONG) == encoder.encode_query(LONG).tolist()
    assert await call(model, "get_text_embedding", LONG) == encoder.encode_document(LONG).tolist()


async def test_offline_copy(offline_encoder, call, texts):
    texts = [text[:100] for text in texts[::2]]
    model = E5Embedding(model_name="all-MiniLM-L6-v2", device="cpu")
    assert await call(model, "get_text_embedding_batch", texts) == offline_encoder.encode(texts, prompt="").tolist()
    expected = offline_encoder.encode(PROTEIN_QUERY, prompt="").tolist()
    assert await call(model, "get_query_embedding", PROTEIN_QUERY) == expected


async def test_aggregation_is_the_mean(embedding, core, e5, call):
    rows = [core(e5).encode_query(query) for query in QUERIES]
    expected = np.array([row.tolist() for row in rows]).mean(axis=0).tolist()
    assert await call(embedding(e5), "get_agg_embedding_from_queries", QUERIES) == expected
    assert await call(embedding(e5), "get_agg_embedding_from_queries", QUERIES, agg_fn=max) == max(
        row.tolist() for row in rows
    )


async def test_plain_floats(embedding, e5, call):
    model = embedding(e5)
    rows = await call(model, "get_text_embedding_batch", PASSAGES)
    rows += [await call(model, "get_query_embedding", "x"), await call(model, "get_text_embedding", "x")]
    assert {type(row) for row in rows} == {list}
    assert {type(value) for row in rows for value in row} == {float}


async def test_batches_reach_the_core_whole(embedding, core, e5, call, computed):
    model, given = embedding(e5), [text[:16] for text in many(2048)]
    rows = await call(model, "get_text_embedding_batch", given)
    assert computed == [(given, "document")]
    assert rows == core(e5).encode_document(given).tolist()
    assert await call(model, "get_text_embedding_batch", []) == []
    assert len(computed) == 1


async def test_smaller_groups_are_llama_index_s(embedding, e5, call, computed):
    given = many(25)
    whole = await call(embedding(e5), "get_text_embedding_batch", given)
    computed.clear()
    rows = await call(embedding(e5, embed_batch_size=10), "get_text_embedding_batch", given)
    assert sorted(computed) == sorted((given[start : start + 10], "document") for start in (0, 10, 20))
    np.testing.assert_allclose(rows, whole, atol=1e-6)


async def test_workers_and_progress_change_nothing(embedding, e5, call, capsys):
    given = many(25)
    expected = await call(embedding(e5, embed_batch_size=10), "get_text_embedding_batch", given)
    model = embedding(e5, embed_batch_size=10, num_workers=2)
    assert await call(model, "get_text_embedding_batch", given, show_progress=True) == expected
    assert "Generating embeddings" in capsys.readouterr().err


async def test_nodes(embedding, core, e5):
    nodes = [TextNode(text=text, metadata={"source": "card"}) for text in PASSAGES]
    model = embedding(e5)
    contents = [node.get_content(MetadataMode.EMBED) for node in nodes]
    assert contents[0].startswith("source: card")
    expected = core(e5).encode_document(contents).tolist()
    assert [node.embedding for node in model([node.model_copy() for node in nodes])] == expected
    assert [node.embedding for node in await model.acall(nodes)] == expected


def test_similarity(embedding, core, e5):
    model = embedding(e5)
    query, passage = model.get_query_embedding(PROTEIN_QUERY), model.get_text_embedding(PROTEIN_PASSAGE)
    cosine = core(e5).scores([PROTEIN_QUERY], [PROTEIN_PASSAGE])[0, 0] / 100
    assert model.similarity(query, passage) == pytest.approx(cosine, abs=1e-6)
    assert model.similarity(query, passage, mode=SimilarityMode.DOT_PRODUCT) == pytest.approx(cosine, abs=1e-6)
    distance = -np.sqrt(2 - 2 * cosine)
    assert model.similarity(query, passage, mode=SimilarityMode.EUCLIDEAN) == pytest.approx(distance, abs=1e-5)


def test_one_loaded_model(embedding, e5):
    first, second = embedding(e5), embedding(e5, max_tokens=64, symmetric=True)
    before = len(get_model_pool().loaded())
    embedding(e5, truncate_dim=8)
    assert len(get_model_pool().loaded()) == before
    assert first.max_text_tokens() == second.max_text_tokens() + 512 - 64


@pytest.mark.parametrize(
    ("bad", "kind"), [("", TextError), (" \n", TextError), (None, TextTypeError), (7, TextTypeError)]
)
async def test_bad_texts_are_named(embedding, e5, call, computed, bad, kind):
    model = embedding(e5)
    given = many(2200)
    given[3] = given[2100] = bad
    with pytest.raises(kind) as raised:
        await call(model, "get_text_embedding_batch", given)
    assert list(raised.value.indices) == [3, 2100]
    assert "3, 2100" in str(raised.value)
    given[3] = "good"
    with pytest.raises(kind) as raised:
        await call(model, "get_text_embedding_batch", given)
    assert list(raised.value.indices) == [2100]
    for method in ("get_query_embedding", "get_text_embedding"):
        with pytest.raises(kind) as raised:
            await call(model, method, bad)
        assert list(raised.value.indices) == [0]
    assert computed == []


async def test_a_single_text_is_no_batch(embedding, e5, call):
    with pytest.raises(TextTypeError, match="Wrap a single text in a list"):
        await call(embedding(e5), "get_text_embedding_batch", "a text")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model_name": "nobody/nothing"}, "Unknown model 'nobody/nothing'"),
        ({"model_name": "intfloat/e5-small-v2"}, "intfloat/e5-small-v2 is not on this machine"),
        ({"model_name": "models/my-e5", "prompt_kind": "query_passage"}, "models/my-e5"),
        ({"model_name": "/nowhere/my-e5"}, "There is no folder /nowhere/my-e5"),
    ],
)
def test_a_missing_model_is_a_sentence(options, words):
    with pytest.raises(E5StudioError, match=words) as raised:
        E5Embedding(**options, local_files_only=True)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")


def test_an_instruction_the_model_does_not_take(embedding, e5):
    with pytest.raises(E5StudioError, match="not trained with instructions"):
        embedding(e5, instruction="Find it")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("normalize", "length 1"),
        ("query_instruction", "instruction="),
        ("max_length", "max_tokens="),
        ("pooling", "as it was trained"),
        ("model", "Did you mean model_name"),
    ],
)
def test_unknown_options_are_refused_with_what_takes_their_place(embedding, e5, name, advice):
    with pytest.raises(ValidationError, match=f"{name} is no option here.*{advice}"):
        embedding(e5, **{name: "x"})


def test_options_of_the_model_are_frozen(embedding, e5):
    model = embedding(e5)
    own = set(E5Embedding.model_fields) - set(BaseEmbedding.model_fields) | {"model_name"}
    assert {"max_tokens", "instruction", "dtype", "fingerprint"} < own
    for name in own:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, name, getattr(model, name))


async def test_framework_fields_are_assignable(embedding, core, e5, call):
    model = embedding(e5)
    model.callback_manager = CallbackManager([])
    model.embed_batch_size = 3
    model.num_workers = 2
    model.rate_limiter = TokenBucketRateLimiter(requests_per_minute=10_000)
    model.embeddings_cache = SimpleKVStore()
    expected = core(e5).encode_document(many(7))
    np.testing.assert_allclose(await call(model, "get_text_embedding_batch", many(7)), expected, atol=1e-6)


@pytest.mark.parametrize("size", [0, 4096])
def test_batch_sizes_are_llama_index_s(embedding, e5, size):
    with pytest.raises(ValidationError, match="embed_batch_size"):
        embedding(e5, embed_batch_size=size)


async def test_truncation_is_told_once_a_call(embedding, e5, call):
    model = embedding(e5)
    with pytest.warns(TruncationWarning) as caught:
        await call(model, "get_text_embedding_batch", ["short", LONG, LONG + " more"])
    assert len(caught) == 1
    assert "2 of 3 texts are longer than the 512 tokens" in str(caught[0].message)
    assert "report(texts) lists them" in str(caught[0].message)
    with pytest.warns(TruncationWarning, match="Shorten"):
        await call(model, "get_query_embedding", LONG)


def test_report(embedding, core, e5):
    report = embedding(e5).report(["short", LONG])
    expected = core(e5).prepare(["short", LONG], prompt_name="document").report
    assert report.prompt.text == "passage: "
    assert report.truncated == expected.truncated
    assert [cut.index for cut in report.truncated] == [1]
    assert report.n_tokens.tolist() == expected.n_tokens.tolist()
    assert embedding(e5).report(["short"], "query").prompt.text == "query: "


def test_what_a_splitter_needs(embedding, core, e5, instruct, texts):
    for checkpoint in (e5, instruct):
        model, encoder = embedding(checkpoint), core(checkpoint)
        for text in texts:
            assert model.count_tokens(text) == len(model.tokenize(text)) == encoder.count_tokens([text])[0]
        assert model.max_text_tokens() == encoder.max_text_tokens("document")
    assert embedding(instruct).max_text_tokens("query") < embedding(instruct).max_text_tokens("document")


def pooled(encoder, text, prompt):
    """A long text's vector, worked out from its parts' own vectors."""
    parts = split_to_fit(encoder, text, prompt=prompt)
    assert len(parts) > 1
    assert "".join("".join(parts).split()) == "".join(text.split())
    weights = encoder.count_tokens(parts)[:, None].astype(np.float64)
    rows = np.array([encoder.encode(part, prompt=prompt) for part in parts], np.float64)
    mean = (rows * weights).sum(axis=0) / weights.sum()
    return mean / np.linalg.norm(mean)


async def test_chunk_and_pool(embedding, core, e5, call):
    model, encoder = embedding(e5, long_documents="chunk-and-pool"), core(e5)
    rows = await call(model, "get_text_embedding_batch", [LONG, LONG + " And an end."])
    for row, text in zip(rows, (LONG, LONG + " And an end."), strict=True):
        np.testing.assert_allclose(row, pooled(encoder, text, "passage: "), atol=1e-6)
    np.testing.assert_allclose(await call(model, "get_text_embedding", LONG), rows[0], atol=1e-6)


async def test_chunk_and_pool_leaves_what_fits_alone(embedding, core, e5, call, texts):
    model, encoder = embedding(e5, long_documents="chunk-and-pool"), core(e5)
    assert await call(model, "get_text_embedding_batch", texts) == encoder.encode_document(texts).tolist()
    with pytest.warns(TruncationWarning):  # a query is one question
        row = await call(model, "get_query_embedding", LONG)
    with pytest.warns(TruncationWarning):
        assert row == encoder.encode_query(LONG).tolist()


async def test_chunk_and_pool_with_symmetric_prompts(embedding, core, instruct, call):
    model = embedding(instruct, symmetric=True, long_documents="chunk-and-pool")
    prompt = core(instruct).resolve_prompt("query", instruction=model.instruction).text
    row = await call(model, "get_text_embedding", LONG)
    np.testing.assert_allclose(row, pooled(core(instruct), LONG, prompt), atol=1e-6)
