"""Real vector stores over `E5Embeddings` rank as the core's exact search does."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import chromadb
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_e5studio import E5Embeddings
from langchain_qdrant import QdrantVectorStore

from e5studio import semantic_search

with warnings.catch_warnings():  # the package announces its retirement when it is imported
    warnings.filterwarnings("ignore", "`langchain-community` is being sunset", DeprecationWarning)
    from langchain_community.vectorstores import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy

TOP_K = 10
A_FEW = 10  # questions, where the way to the store is tested and not its ranking
ROUNDING = 1e-6  # scores closer than this may stand in either order
# How many passages, and how many characters of each: enough to find it by, and soon embedded on two cores.
CUTS = {"e5": (None, 400), "offline": (60, 120)}


def faiss(passages, embeddings) -> VectorStore:
    return FAISS.from_documents(passages, embeddings, distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT)


def faiss_by_default(passages, embeddings) -> VectorStore:
    """Euclidean distance, which ranks vectors of length 1 as their cosine does."""
    return FAISS.from_documents(passages, embeddings)


def chroma(passages, embeddings) -> VectorStore:
    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    # The graph is to be searched as widely as it is large: its approximations are not what is tested.
    graph = {"space": "cosine", "ef_construction": 400, "ef_search": 400}
    return Chroma.from_documents(
        passages, embeddings, client=client, collection_name="passages", collection_configuration={"hnsw": graph}
    )


def qdrant(passages, embeddings) -> VectorStore:
    return QdrantVectorStore.from_documents(passages, embeddings, location=":memory:", collection_name="passages")


def in_memory(passages, embeddings) -> VectorStore:
    return InMemoryVectorStore.from_documents(passages, embeddings)


STORES: dict[str, Callable[..., VectorStore]] = {
    store.__name__: store for store in (faiss, faiss_by_default, chroma, qdrant, in_memory)
}


@dataclass(frozen=True)
class Subject:
    """Embeddings, what is searched for and in, and for each question the core's scores by place, best first."""

    embeddings: E5Embeddings
    passages: list[Document]
    questions: list[str]
    scores: list[dict[int, float]]


@pytest.fixture(scope="module")
def subjects(make, cores, retrieval_set) -> dict[str, Subject]:
    made = {}
    for name, (n_passages, n_characters) in CUTS.items():
        texts = [text[:n_characters] for text in retrieval_set.passages[:n_passages]]
        queries = cores[name].encode_query(retrieval_set.questions)
        hits = semantic_search(queries, cores[name].encode_document(texts), top_k=len(texts))
        made[name] = Subject(
            make(name),
            [Document(text, metadata={"place": place}) for place, text in enumerate(texts)],
            retrieval_set.questions,
            [{hit.corpus_id: hit.score for hit in of_question} for of_question in hits],
        )
    return made


@pytest.fixture(scope="module", params=CUTS)
def subject(request, subjects) -> Subject:
    return subjects[request.param]


@pytest.fixture(scope="module", params=STORES)
def store(request, subject):
    made = STORES[request.param](subject.passages, subject.embeddings)
    yield made
    if isinstance(made, Chroma):
        made.delete_collection()
    if isinstance(made, QdrantVectorStore):
        made.client.close()


def assert_ranked(found: list[list[Document]], scores: list[dict[int, float]]) -> None:
    """Each place has the document that the core puts there, or one whose score is as good within rounding."""
    for documents, expected in zip(found, scores, strict=True):
        places = [document.metadata["place"] for document in documents]
        best = list(expected)[:TOP_K]
        assert len(places) == len(set(places)) == len(best)
        for place, right in zip(places, best, strict=True):
            assert place == right or abs(expected[place] - expected[right]) <= ROUNDING


def test_similarity_search(store, subject):
    found = [store.similarity_search(question, k=TOP_K) for question in subject.questions]
    assert_ranked(found, subject.scores)


async def test_asimilarity_search(store, subject):
    found = [await store.asimilarity_search(question, k=TOP_K) for question in subject.questions[:A_FEW]]
    assert_ranked(found, subject.scores[:A_FEW])


async def test_retriever(store, subject):
    retriever = store.as_retriever(search_kwargs={"k": TOP_K})
    questions, scores = subject.questions[:A_FEW], subject.scores[:A_FEW]
    assert_ranked([retriever.invoke(question) for question in questions], scores)
    assert_ranked(await retriever.abatch(questions), scores)


def test_the_ranking_that_is_compared_is_no_accident(subject):
    """Few of the first ten are tied, and questions differ in what they find: else the tests above would say little."""
    gaps = [
        one - other
        for scores in subject.scores
        for one, other in zip(list(scores.values())[:TOP_K], list(scores.values())[1:TOP_K], strict=False)
    ]
    assert sum(gap <= ROUNDING for gap in gaps) <= len(gaps) // 10
    assert len({next(iter(scores)) for scores in subject.scores}) > len(subject.scores) // 3
