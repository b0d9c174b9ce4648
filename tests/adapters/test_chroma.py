"""A Chroma collection with E5: each side has its prompt, and a reopened collection finds its model again."""

from __future__ import annotations

import numpy as np
import pytest

chromadb = pytest.importorskip("chromadb")

from chromadb.config import Settings  # noqa: E402

from e5studio.adapters.chroma import E5EmbeddingFunction  # noqa: E402
from e5studio.errors import FingerprintMismatchError, ModelUnavailableError, TextError, UnsupportedError  # noqa: E402

DOCUMENTS = ["Forty-six grams a day.", "The top of a mountain.", "Bake it for an hour."]
QUERY = "summit define"


@pytest.fixture
def function(e5_folder):
    return E5EmbeddingFunction(e5_folder, prompt_kind="query_passage", device="cpu")


@pytest.fixture
def client(tmp_path):
    return chromadb.PersistentClient(str(tmp_path), Settings(anonymized_telemetry=False))


def test_documents_and_queries_have_their_prompts(client, function, core):
    collection = client.create_collection("papers", embedding_function=function)
    collection.add(ids=["a", "b", "c"], documents=DOCUMENTS)
    stored = np.array(collection.get(ids=["a", "b", "c"], include=["embeddings"])["embeddings"])
    assert np.allclose(stored, core.encode_document(DOCUMENTS), atol=1e-6)
    result = collection.query(query_texts=[QUERY], n_results=3)
    cosines = dict(zip("abc", core.encode_query([QUERY])[0] @ core.encode_document(DOCUMENTS).T, strict=True))
    assert result["ids"][0] == sorted(cosines, key=cosines.get, reverse=True)
    assert np.allclose(result["distances"][0], [1 - cosines[name] for name in result["ids"][0]], atol=1e-5)


def test_collection_finds_its_model_again(tmp_path, client, function, core):
    collection = client.create_collection("papers", embedding_function=function)
    collection.add(ids=["a", "b", "c"], documents=DOCUMENTS)
    reopened = client.get_collection("papers")  # with no embedding function
    stored = reopened.configuration["embedding_function"]
    assert isinstance(stored, E5EmbeddingFunction)
    assert np.allclose(stored.embed_query([QUERY]), core.encode_query([QUERY]), atol=1e-6)
    assert reopened.query(query_texts=[QUERY])["ids"] == collection.query(query_texts=[QUERY])["ids"]


def test_config_says_all_that_the_vectors_depend_on(e5_folder):
    function = E5EmbeddingFunction(
        e5_folder, prompt_kind="query_passage", device="cpu", symmetric=True, truncate_dim=8, max_tokens=20
    )
    again = E5EmbeddingFunction.build_from_config(function.get_config())
    assert again.get_config() == function.get_config()
    assert np.array_equal(again(DOCUMENTS), function(DOCUMENTS))
    assert np.array_equal(function(DOCUMENTS), function.embed_query(DOCUMENTS))


def test_other_vectors_are_refused(client, function, e5_folder):
    config = function.get_config()
    with pytest.raises(FingerprintMismatchError):
        E5EmbeddingFunction.build_from_config({**config, "max_tokens": 20})
    collection = client.create_collection("papers", embedding_function=function)
    shorter = E5EmbeddingFunction(e5_folder, prompt_kind="query_passage", device="cpu", max_tokens=20)
    with pytest.raises(FingerprintMismatchError, match="others"):
        collection.modify(configuration={"embedding_function": shorter})


def test_stored_config_downloads_and_writes_nothing_for_a_stranger(function, tmp_path):
    config = {**function.get_config(), "model_name": "someone/else", "revision": "main"}
    with pytest.raises(ModelUnavailableError, match=r"E5Encoder\('someone/else'"):
        E5EmbeddingFunction.build_from_config(config)
    for forged in ({"fingerprint": None}, {"cache_folder": str(tmp_path / "new")}):
        with pytest.raises(FingerprintMismatchError, match="not stored by E5 Studio"):
            E5EmbeddingFunction.build_from_config({**config, **forged})
    assert not (tmp_path / "new").exists()


def test_unusable_input_is_named(function, e5_folder):
    with pytest.raises(TextError) as caught:
        function(["good", " "])
    assert caught.value.indices == (1,)
    with pytest.raises(UnsupportedError, match="normalize_embeddings"):
        E5EmbeddingFunction(e5_folder, normalize_embeddings=True)
