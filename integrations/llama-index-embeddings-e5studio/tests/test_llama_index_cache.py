"""An embeddings_cache gives a text's own vector: never another role's, model's or setting's."""

from __future__ import annotations

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.storage.kvstore import SimpleKVStore

from e5studio import E5Encoder
from tests.corpus import PROTEIN_PASSAGE, PROTEIN_QUERY, SUMMIT_PASSAGE

TEXTS = [PROTEIN_PASSAGE, PROTEIN_QUERY, SUMMIT_PASSAGE]
LONG = " ".join([PROTEIN_PASSAGE, SUMMIT_PASSAGE] * 12)
OTHERS = {
    "symmetric": {"symmetric": True},
    "max_tokens": {"max_tokens": 24},
    "truncate_dim": {"truncate_dim": 16},
    "dtype": {"dtype": "bfloat16"},
    "long_documents": {"long_documents": "chunk-and-pool"},
}


@pytest.fixture
def store():
    return SimpleKVStore()


def entries(store):
    return store.get_all(collection="embeddings")


async def test_roles_do_not_mix(embedding, core, e5, call, store):
    model, encoder = embedding(e5, embeddings_cache=store), core(e5)
    for _ in range(2):
        assert await call(model, "get_text_embedding", PROTEIN_QUERY) == encoder.encode_document(PROTEIN_QUERY).tolist()
        assert await call(model, "get_query_embedding", PROTEIN_QUERY) == encoder.encode_query(PROTEIN_QUERY).tolist()
    assert len(entries(store)) == 2


async def test_models_do_not_mix(embedding, core, e5, checkpoints, call, store):
    other = checkpoints("multilingual-e5")
    for _ in range(2):
        for checkpoint in (e5, other):
            row = await call(embedding(checkpoint, embeddings_cache=store), "get_text_embedding", "a text")
            assert row == core(checkpoint).encode_document("a text").tolist()


async def test_instructions_do_not_mix(embedding, core, instruct, call, store):
    for _ in range(2):
        for task in ("Find the answer", "Find a text that says the opposite"):
            model = embedding(instruct, instruction=task, embeddings_cache=store)
            expected = core(instruct).encode_query("a text", instruction=task).tolist()
            assert await call(model, "get_query_embedding", "a text") == expected
            passage = core(instruct).encode_document("a text").tolist()
            assert await call(model, "get_text_embedding", "a text") == passage
    assert len(entries(store)) == 3  # passages take no instruction


@pytest.mark.filterwarnings("ignore::e5studio.errors.TruncationWarning")
@pytest.mark.parametrize("name", OTHERS)
async def test_settings_do_not_mix(embedding, e5, call, store, name):
    plain, other = embedding(e5), embedding(e5, **OTHERS[name])
    expected = [await call(model, "get_text_embedding_batch", [LONG]) for model in (plain, other)]
    assert expected[0] != expected[1]
    plain.embeddings_cache = other.embeddings_cache = store
    for _ in range(2):
        assert [await call(model, "get_text_embedding_batch", [LONG]) for model in (plain, other)] == expected
    assert len(entries(store)) == 2


async def test_what_was_found_is_not_computed(embedding, core, e5, call, computed, store):
    model = embedding(e5, embeddings_cache=store)
    first = await call(model, "get_text_embedding_batch", TEXTS)
    assert first == core(e5).encode_document(TEXTS).tolist()
    assert computed == [(TEXTS, "document")]
    assert await call(model, "get_text_embedding_batch", TEXTS[::-1]) == first[::-1]
    assert await call(model, "get_text_embedding", TEXTS[0]) == first[0]
    assert len(computed) == 1
    rows = await call(model, "get_text_embedding_batch", ["new", TEXTS[1], "newer", TEXTS[0]])
    assert computed[1:] == [(["new", "newer"], "document")]
    assert [rows[1], rows[3]] == [first[1], first[0]]
    query = await call(model, "get_query_embedding", TEXTS[1])
    assert await call(model, "get_query_embedding", TEXTS[1]) == query
    assert computed[2:] == [([TEXTS[1]], "query")]


async def test_duplicates_are_computed_once(embedding, core, e5, call, computed, store):
    model = embedding(e5, embeddings_cache=store)
    rows = await call(model, "get_text_embedding_batch", ["a", "b", "a", "a"])
    assert computed == [(["a", "b"], "document")]
    assert rows == core(e5).encode_document(["a", "b", "a", "a"]).tolist()


async def test_sync_and_async_share_entries(embedding, e5, computed, store):
    model = embedding(e5, embeddings_cache=store)
    rows = model.get_text_embedding_batch(TEXTS)
    assert await model.aget_text_embedding_batch(TEXTS) == rows
    assert await model.aget_text_embedding(TEXTS[2]) == rows[2]
    query = await model.aget_query_embedding("a question")
    assert model.get_query_embedding("a question") == query
    assert len(computed) == 2


async def test_entries_live_in_files(embedding, e5, call, computed, store, tmp_path):
    rows = await call(embedding(e5, embeddings_cache=store), "get_text_embedding_batch", TEXTS)
    store.persist(str(tmp_path / "vectors.json"))
    computed.clear()
    model = embedding(e5, embeddings_cache=SimpleKVStore.from_persist_path(str(tmp_path / "vectors.json")))
    assert await call(model, "get_text_embedding_batch", TEXTS) == rows
    assert computed == []


async def test_llama_index_s_own_entries_are_not_read(embedding, core, e5, call, store):
    mock = MockEmbedding(embed_dim=48, embeddings_cache=store)
    mock.get_text_embedding_batch(TEXTS)
    theirs = dict(entries(store))
    assert set(theirs) == set(TEXTS)
    model = embedding(e5, embeddings_cache=store)
    assert await call(model, "get_text_embedding_batch", TEXTS) == core(e5).encode_document(TEXTS).tolist()
    assert await call(model, "get_query_embedding", TEXTS[0]) == core(e5).encode_query(TEXTS[0]).tolist()
    assert {key: entries(store)[key] for key in TEXTS} == theirs
    assert all(len(key) == 64 and not key.strip("0123456789abcdef") for key in set(entries(store)) - set(TEXTS))


def test_other_things_are_refused(embedding, e5):
    for other in ({}, "folder", object()):
        with pytest.raises(TypeError, match="BaseKVStore"):
            embedding(e5, embeddings_cache=other)


@pytest.fixture
def passes(monkeypatch):
    """Texts that went through the model."""
    texts = []
    embed = E5Encoder.embed_prepared

    def spy(self, prepared, **options):
        texts.append(len(prepared))
        return embed(self, prepared, **options)

    monkeypatch.setattr(E5Encoder, "embed_prepared", spy)
    return texts


async def test_a_folder_keeps_vectors_too(embedding, core, e5, call, passes, tmp_path):
    expected = core(e5).encode_document(TEXTS).tolist(), core(e5).encode_query(TEXTS[1]).tolist()
    passes.clear()
    for _ in range(2):
        model = embedding(e5, cache_folder=str(tmp_path))
        rows = await call(model, "get_text_embedding_batch", TEXTS), await call(model, "get_query_embedding", TEXTS[1])
        assert rows == expected
    assert passes == [3, 1]
