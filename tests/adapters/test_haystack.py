"""Haystack pipelines with E5: each side has its prompt, titles go in front, and a pipeline's YAML round trip works."""

from __future__ import annotations

import os

import numpy as np
import pytest

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
pytest.importorskip("haystack")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from e5studio.adapters.haystack import E5DocumentEmbedder, E5TextEmbedder
from e5studio.errors import TextError, TextTypeError, UnsupportedError

TEXTS = ["Berlin has 3.7 million people.", "The top of a mountain.", "Bake it for an hour."]
QUERY = "summit define"


@pytest.fixture
def options(e5_folder):
    return {"model": e5_folder, "prompt_kind": "query_passage", "device": "cpu"}


def test_pipelines(options, core):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing = Pipeline()
    indexing.add_component("embedder", E5DocumentEmbedder(**options))
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder", "writer")
    indexing.run({"embedder": {"documents": [Document(content=text) for text in TEXTS]}})
    search = Pipeline()
    search.add_component("embedder", E5TextEmbedder(**options))
    search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    search.connect("embedder.embedding", "retriever.query_embedding")
    cosines = core.encode_query(QUERY) @ core.encode_document(TEXTS).T
    restored = Pipeline.loads(search.dumps(), allowed_modules=["e5studio.adapters.haystack"])
    for pipeline in (search, restored):
        [hit] = pipeline.run({"embedder": {"text": QUERY}})["retriever"]["documents"]
        assert hit.content == TEXTS[cosines.argmax()]
        assert hit.score == pytest.approx(cosines.max(), abs=1e-5)


async def test_async_gives_the_same(options):
    documents = [Document(content=text, meta={"page": 1}) for text in TEXTS]
    embedder = E5DocumentEmbedder(**options)
    assert await embedder.run_async(documents) == embedder.run(documents)
    assert documents[0].embedding is None, "theirs are not changed"
    assert await E5TextEmbedder(**options).run_async(QUERY) == E5TextEmbedder(**options).run(QUERY)


def test_titles_go_in_front(options, core):
    documents = [Document(content=TEXTS[0], meta={"title": "Capital"}), Document(content=TEXTS[1])]
    embedder = E5DocumentEmbedder(**options, meta_fields_to_embed=["title"])
    vectors = [document.embedding for document in embedder.run(documents)["documents"]]
    assert np.allclose(vectors, core.encode_document(TEXTS[:2], titles=["Capital", None]), atol=1e-6)
    assert E5DocumentEmbedder.from_dict(embedder.to_dict()).to_dict() == embedder.to_dict()


def test_unusable_input_is_named(options):
    blank = Document(content=None)
    with pytest.raises(TextError, match=blank.id):
        E5DocumentEmbedder(**options).run([Document(content="a text"), blank])
    with pytest.raises(TextTypeError, match="E5TextEmbedder"):
        E5DocumentEmbedder(**options).run("a text")
    with pytest.raises(TextTypeError, match="E5DocumentEmbedder"):
        E5TextEmbedder(**options).run([blank])
    with pytest.raises(UnsupportedError, match="prefix"):
        E5TextEmbedder(**options, prefix="query: ")
