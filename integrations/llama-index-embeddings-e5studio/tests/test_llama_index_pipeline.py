"""E5Embedding in an IngestionPipeline: in one process, in spawned ones and in forked ones."""

from __future__ import annotations

import asyncio
import pickle
import threading
import warnings

import numpy as np
import pytest
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, MetadataMode, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from e5studio.errors import TextError, TruncationWarning, UnreadTextWarning
from tests.corpus import PROTEIN_PASSAGE, SUMMIT_PASSAGE, TRAINING_TEXT

LINES = [line.strip() for line in TRAINING_TEXT.splitlines() if line.strip()]

pytestmark = [
    pytest.mark.timeout(120),
    # Python 3.12 and 3.13 say so of every fork beside threads, which the framework's process pool makes.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    """The pipeline starts no more processes than the machine has cores, and warns."""
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 2)


def nodes():
    return [TextNode(text=line, metadata={"line": number}) for number, line in enumerate(LINES)]


def assert_right(embedded, encoder, atol=1e-6):
    assert [node.get_content() for node in embedded] == LINES
    contents = [node.get_content(MetadataMode.EMBED) for node in embedded]
    np.testing.assert_allclose([node.embedding for node in embedded], encoder.encode_document(contents), atol=atol)


async def test_in_this_process(embedding, core, e5):
    pipeline = IngestionPipeline(transformations=[embedding(e5)], disable_cache=True)
    assert_right(pipeline.run(nodes=nodes()), core(e5), atol=0)
    assert_right(await pipeline.arun(nodes=nodes()), core(e5), atol=0)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Specified num_workers exceed number of CPUs:UserWarning")
def test_in_a_spawned_process(embedding, core, e5, computed, monkeypatch):
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 1)  # the imports of each process take seconds
    pipeline = IngestionPipeline(transformations=[embedding(e5)])
    embedded = pipeline.run(nodes=nodes(), num_workers=2)
    assert_right(embedded, core(e5))
    again = pipeline.run(nodes=nodes())  # what the other process put into the cache came back
    assert [node.embedding for node in again] == [node.embedding for node in embedded]
    assert computed == []


async def test_in_a_pool_of_processes(embedding, core, e5):
    pipeline = IngestionPipeline(transformations=[embedding(e5)])
    assert_right(await pipeline.arun(nodes=nodes(), num_workers=2), core(e5))


async def test_processes_share_a_folder_of_vectors(embedding, core, e5, tmp_path):
    model = embedding(e5, cache_folder=str(tmp_path))
    first = model.get_text_embedding(LINES[0])
    for _ in range(2):
        pipeline = IngestionPipeline(transformations=[model], disable_cache=True)
        assert_right(await pipeline.arun(nodes=nodes(), num_workers=2), core(e5))
    assert model.get_text_embedding(LINES[0]) == first


async def test_options_reach_other_processes(embedding, core, instruct):
    task = "Identify the topic of the given article"
    model = embedding(instruct, instruction=task, symmetric=True, truncate_dim=16, max_tokens=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        here = IngestionPipeline(transformations=[model], disable_cache=True).run(nodes=nodes())
        there = await IngestionPipeline(transformations=[model]).arun(nodes=nodes(), num_workers=2)
    np.testing.assert_allclose([node.embedding for node in there], [node.embedding for node in here], atol=1e-6)
    assert len(there[0].embedding) == 16


async def test_forked_while_another_thread_embeds(embedding, core, e5):
    model = embedding(e5)
    expected = core(e5).encode_document(LINES)
    is_over, rows = threading.Event(), []

    def embed_all_the_time():
        while not is_over.is_set():
            rows.append(model.get_text_embedding_batch(LINES))

    thread = threading.Thread(target=embed_all_the_time)
    thread.start()
    try:
        for _ in range(3):
            pipeline = IngestionPipeline(transformations=[model], disable_cache=True)
            assert_right(await pipeline.arun(nodes=nodes(), num_workers=2), core(e5))
    finally:
        is_over.set()
        await asyncio.to_thread(thread.join)
    for row in rows:
        np.testing.assert_array_equal(row, expected)


def test_this_process_goes_on_after_a_fork(embedding, core, e5):
    model = embedding(e5)
    pipeline = IngestionPipeline(transformations=[model])
    for _ in range(2):
        asyncio.run(pipeline.arun(nodes=nodes(), num_workers=2))
        assert model.get_text_embedding_batch(LINES) == core(e5).encode_document(LINES).tolist()
        assert asyncio.run(model.aget_text_embedding_batch(LINES)) == core(e5).encode_document(LINES).tolist()


@pytest.mark.parametrize(
    "change",
    [{"max_tokens": 300}, {"symmetric": True}, {"long_documents": "chunk-and-pool"}, {"dtype": "bfloat16"}],
    ids=lambda change: next(iter(change)),
)
def test_the_cache_hits_only_for_equal_settings(embedding, e5, computed, change):
    cache = IngestionCache(cache=SimpleKVStore())
    for n_expected, options in ((1, {}), (1, {}), (2, change), (2, change), (2, {})):
        pipeline = IngestionPipeline(transformations=[embedding(e5, **options)], cache=cache)
        [node] = pipeline.run(nodes=[TextNode(text="a text", id_="a")])
        assert len(node.embedding) == 48
        assert len(computed) == n_expected


def test_the_cache_tells_models_and_instructions_apart(embedding, e5, instruct, checkpoints):
    made = [
        embedding(e5),
        embedding(checkpoints("multilingual-e5")),
        embedding(instruct),
        embedding(instruct, instruction="Find the answer"),
    ]
    assert len({get_transformation_hash(nodes(), model) for model in made}) == 4
    assert get_transformation_hash(nodes(), embedding(e5)) == get_transformation_hash(nodes(), made[0])


async def test_split_here_and_embed_there(embedding, core, e5):
    model = embedding(e5, max_tokens=128)
    splitter = SentenceSplitter(chunk_size=model.max_text_tokens(), chunk_overlap=0, tokenizer=model.tokenize)
    documents = [Document(text=" ".join([PROTEIN_PASSAGE, SUMMIT_PASSAGE] * 5)) for _ in range(2)]
    # LlamaIndex's splitters lose their tokenizer on the way to another process, and count as GPT does there.
    assert pickle.loads(pickle.dumps(splitter))._tokenizer != splitter._tokenizer
    chunks = splitter.get_nodes_from_documents(documents)
    embedded = await IngestionPipeline(transformations=[model]).arun(nodes=chunks, num_workers=2)
    texts = [node.get_content() for node in embedded]
    assert texts == [node.get_content() for node in chunks]
    expected = core(e5).with_options(max_tokens=128).encode_document(texts)
    np.testing.assert_allclose([node.embedding for node in embedded], expected, atol=1e-6)


PAGES = ["page one", "", "page three", "\ufffd\ufffd", "page five"]


def pages():
    return [
        Document(text=text, metadata={"page": number}, excluded_embed_metadata_keys=["page"])
        for number, text in enumerate(PAGES)
    ]


async def run(pipeline, is_async):
    return await pipeline.arun(documents=pages()) if is_async else pipeline.run(documents=pages())


@pytest.mark.parametrize("is_async", [False, True])
class TestBlankPages:
    """A pipeline hands over blank pages, which LlamaIndex's own indices leave out."""

    async def test_are_named(self, embedding, e5, is_async):
        model = embedding(e5, embed_batch_size=2)
        with pytest.raises(TextError, match=r"1 of 5 nodes are empty: node \S+ \(page: 1\).*on_empty='skip'") as caught:
            await run(IngestionPipeline(transformations=[model]), is_async)
        assert caught.value.indices == (1,)

    async def test_without_a_token_are_named_among_all(self, embedding, core, e5, is_async):
        model = embedding(e5, embed_batch_size=2)
        texts = ["a", "b", "c", "\ufffd"]
        with pytest.raises(TextError) as caught:
            await model.aget_text_embedding_batch(texts) if is_async else model.get_text_embedding_batch(texts)
        assert caught.value.indices == (3,)

    async def test_are_left_out(self, embedding, core, e5, is_async):
        model = embedding(e5, on_empty="skip", embed_batch_size=2)
        with pytest.warns(UnreadTextWarning, match=r"2 of 5 nodes are empty and were left out: node \S+ \(page: 1\), "):
            nodes = await run(IngestionPipeline(transformations=[model]), is_async)
        assert [node.metadata["page"] for node in nodes] == [0, 2, 4]
        expected = core(e5).encode_document([PAGES[0], PAGES[2], PAGES[4]])
        np.testing.assert_allclose([node.embedding for node in nodes], expected, atol=1e-6)

    async def test_get_zeros(self, embedding, core, e5, is_async):
        model = embedding(e5, on_empty="zero", embeddings_cache=SimpleKVStore())
        with pytest.warns(UnreadTextWarning, match="documents are empty"):
            nodes = await run(IngestionPipeline(transformations=[model]), is_async)
        assert [bool(np.any(node.embedding)) for node in nodes] == [True, False, True, False, True]
        strict = embedding(e5, embeddings_cache=model.embeddings_cache)
        with pytest.raises(TextError):  # zeros are not kept
            strict.get_text_embedding_batch(["\ufffd\ufffd"])
