"""Retrieval through VectorStoreIndex ranks as the core's exact search does, in two stores, with titles and without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.embeddings.e5studio import E5Embedding
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from e5studio import semantic_search
from e5studio.similarity import cos_sim

TOP_K = 10
TITLED = {"metadata_template": "{value}", "text_template": "{metadata_str} {content}"}

pytestmark = [
    pytest.mark.filterwarnings("ignore::e5studio.errors.TruncationWarning"),  # some abstracts are long
    # The store asks for an index of its own fields whatever it stands on; the local one has no need of it.
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
]


@dataclass
class Case:
    """A model, what to search in and for, and the core's vectors of it."""

    model: E5Embedding
    passages: list[str]
    questions: list[str]
    query_vectors: np.ndarray
    passage_vectors: np.ndarray

    def assert_ranked(self, ids):
        """The ids found for each question are those of the core's search; those that tie may change places."""
        hits = semantic_search(self.query_vectors, self.passage_vectors, top_k=TOP_K)
        exact = cos_sim(self.query_vectors, self.passage_vectors)
        for row, expected, found in zip(exact, hits, ids, strict=True):
            assert len(set(found)) == TOP_K
            np.testing.assert_allclose(row[found], [hit.score for hit in expected], atol=1e-6)
            for place, hit in enumerate(expected):
                assert found[place] == hit.corpus_id or abs(row[found[place]] - hit.score) <= 1e-6


@pytest.fixture(scope="module", params=["e5", "instruct", "offline copy"])
def case(request, embedding, core, e5, instruct, retrieval_set):
    passages, questions = [text[:400] for text in retrieval_set.passages], retrieval_set.questions
    if request.param == "offline copy":
        encoder = request.getfixturevalue("offline_encoder")
        passages = [text[:120] for text in passages[:60]]
        model = E5Embedding(model_name="all-MiniLM-L6-v2", device="cpu")
        queries = encoder.encode(questions, prompt="")
    else:
        checkpoint = {"e5": e5, "instruct": instruct}[request.param]
        model, encoder = embedding(checkpoint), core(checkpoint)
        queries = encoder.encode_query(questions, instruction=model.instruction)
    return Case(model, passages, questions, queries, encoder.encode(passages, prompt_name="document"))


def qdrant_store():
    return QdrantVectorStore("passages", client=QdrantClient(":memory:"))


def nodes(passages):
    return [TextNode(id_=f"{number:08}-0000-0000-0000-000000000000", text=text) for number, text in enumerate(passages)]


def retriever_over(store, case):
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(nodes(case.passages), storage_context=context, embed_model=case.model)
    return index.as_retriever(similarity_top_k=TOP_K)


def ids(found):
    return [int(node.node_id[:8]) for node in found]


@pytest.mark.parametrize("store", [SimpleVectorStore, qdrant_store])
async def test_ranking(case, store):
    retriever = retriever_over(store(), case)
    found = [retriever.retrieve(question) for question in case.questions]
    case.assert_ranked([ids(row) for row in found])
    if store is SimpleVectorStore:  # Qdrant's async client is another one, see below
        case.assert_ranked([ids(await retriever.aretrieve(question)) for question in case.questions])
    scores = [[node.score for node in row] for row in found]
    hits = semantic_search(case.query_vectors, case.passage_vectors, top_k=TOP_K)
    np.testing.assert_allclose(scores, [[hit.score for hit in row] for row in hits], atol=1e-5)


async def test_async_ranking_with_qdrant(case):
    store = QdrantVectorStore("passages", aclient=AsyncQdrantClient(":memory:"))
    index = VectorStoreIndex.from_vector_store(store, embed_model=case.model)
    await index.ainsert_nodes(nodes(case.passages))
    retriever = index.as_retriever(similarity_top_k=TOP_K)
    case.assert_ranked([ids(await retriever.aretrieve(question)) for question in case.questions])


def titled(titles, passages):
    return [
        Document(text=text, metadata={"title": title, "file": "a.txt"}, excluded_embed_metadata_keys=["file"], **TITLED)
        for title, text in zip(titles, passages, strict=True)
    ]


def test_titles_through_templates(embedding, core, e5, retrieval_set):
    titles, passages = ["A title", "", *retrieval_set.titles[2:20]], retrieval_set.passages[:20]
    documents = titled(titles, passages)
    contents = [document.get_content(MetadataMode.EMBED) for document in documents]
    assert contents[:2] == [f"A title {passages[0]}", passages[1]]
    expected = core(e5).encode_document(passages, titles=titles)
    assert [document.embedding for document in embedding(e5)(documents)] == expected.tolist()


def test_titles_go_with_every_chunk(embedding, e5, retrieval_set):
    model = embedding(e5, max_tokens=128)
    splitter = SentenceSplitter(chunk_size=model.max_text_tokens(), chunk_overlap=0, tokenizer=model.tokenize)
    documents = titled([f"Title {number}" for number in range(10)], retrieval_set.passages[:10])
    index = VectorStoreIndex.from_documents(documents, embed_model=model, transformations=[splitter])
    chunks = list(index.docstore.docs.values())
    contents = [chunk.get_content(MetadataMode.EMBED) for chunk in chunks]
    assert len(chunks) > 10 or len(retrieval_set.passages[0]) < 500
    assert all(
        content == f"{chunk.metadata['title']} {chunk.text}" for chunk, content in zip(chunks, contents, strict=True)
    )
    assert model.report(contents).truncated == ()
