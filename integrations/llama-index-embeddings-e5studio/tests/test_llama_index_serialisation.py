"""What is written down of an E5Embedding restores the same vectors, or is refused."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import shutil

import pytest
import safetensors.torch
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.embeddings.loading import RECOGNIZED_EMBEDDINGS, load_embed_model
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.e5studio import E5Embedding

from e5studio import get_model_pool
from e5studio.errors import E5StudioError, FingerprintMismatchError
from tests.corpus import PROTEIN_PASSAGE, PROTEIN_QUERY

NODES = [TextNode(text=PROTEIN_PASSAGE)]
OPTIONS = {
    "symmetric": True,
    "long_documents": "chunk-and-pool",
    "max_tokens": 128,
    "truncate_dim": 16,
    "dtype": "bfloat16",
    "prompt_kind": "none",
}


def vectors(model):
    return [model.get_query_embedding(PROTEIN_QUERY), *model.get_text_embedding_batch([PROTEIN_PASSAGE, PROTEIN_QUERY])]


def changed(e5, **options):
    return E5Embedding(**{"model_name": str(e5.folder), "prompt_kind": "query_passage", "device": "cpu", **options})


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_written_and_restored(e5, name):
    plain, model = changed(e5), changed(e5, **{name: OPTIONS[name]})
    written = model.to_dict()
    assert written[name] == OPTIONS[name]
    assert written == json.loads(json.dumps(written)) == json.loads(model.to_json())
    assert written != plain.to_dict()
    assert get_transformation_hash(NODES, model) != get_transformation_hash(NODES, plain)
    restored = E5Embedding.from_dict(written)
    assert restored.to_dict() == written
    assert vectors(restored) == vectors(model)
    assert get_transformation_hash(NODES, restored) == get_transformation_hash(NODES, model)


def test_instructions_and_models_are_written(embedding, e5, instruct):
    models = [embedding(instruct, instruction=task) for task in ("Find the answer", "Find the title")]
    models.append(embedding(e5))
    assert len({get_transformation_hash(NODES, model) for model in models}) == 3
    for model in models:
        assert vectors(load_embed_model(model.to_dict())) == vectors(model)


def test_llama_index_loads_it_by_name(embedding, e5):
    assert RECOGNIZED_EMBEDDINGS["E5Embedding"] is E5Embedding
    written = embedding(e5).to_dict()
    assert written["class_name"] == "E5Embedding"
    assert load_embed_model(written).to_dict() == written


def test_the_offline_copy_is_restored():
    model = E5Embedding(model_name="all-MiniLM-L6-v2", device="cpu")
    written = model.to_dict()
    assert len(written["revision"]) == 40
    assert written["max_tokens"] == 256
    assert written["dtype"] == "float32"
    assert vectors(E5Embedding.from_dict(written)) == vectors(model)


def test_a_copy_with_another_model_leaves_the_restored_revision_behind(e5):
    restored = E5Embedding.from_dict(E5Embedding(model_name="all-MiniLM-L6-v2", device="cpu").to_dict())
    other = restored.model_copy(update={"model_name": str(e5.folder), "prompt_kind": "query_passage"})
    assert other.revision is None
    assert other.max_tokens == 512  # the offline copy's 256 stays with it
    assert vectors(other) == vectors(E5Embedding(model_name=e5.folder, prompt_kind="query_passage", device="cpu"))


def test_a_copy_with_another_model_reads_none_of_the_old_files(e5, instruct):
    given = {"prompt_kind": "query_passage", "device": "cpu", "max_tokens": 64}
    named = E5Embedding(model_name="tiny", path=e5.folder, **given)
    other = named.model_copy(
        update={"model_name": instruct.folder, "prompt_kind": "instruct", "instruction": "Find the title"}
    )
    assert (other.path, other.max_tokens) == (None, 64)
    assert other.fingerprint != named.fingerprint
    with pytest.raises(E5StudioError, match="prompt_kind"):
        named.model_copy(update={"model_name": instruct.folder})


@pytest.fixture
def retrained(e5, tmp_path):
    """A folder of a model, and what puts other weights into it."""
    folder = tmp_path / "my-e5"
    shutil.copytree(e5.folder, folder)

    def train():
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        weights["encoder.layer.0.output.dense.bias"] += 0.5
        safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        gc.collect()
        get_model_pool().clear()  # as a new process would begin

    return folder, train


def test_other_weights_are_refused(retrained):
    folder, train = retrained
    model = E5Embedding(model_name=str(folder), prompt_kind="query_passage", device="cpu")
    written, pickled, before = model.to_dict(), pickle.dumps(model), vectors(model)
    del model
    train()
    with pytest.raises(FingerprintMismatchError, match=written["fingerprint"]):
        E5Embedding.from_dict(written)
    with pytest.raises(FingerprintMismatchError, match=written["fingerprint"]):
        pickle.loads(pickled).get_query_embedding("a question")
    anew = E5Embedding.from_dict(written, fingerprint=None)
    assert vectors(anew) != before
    assert anew.fingerprint != written["fingerprint"]


def test_pickles(embedding, e5, instruct):
    for model in (embedding(e5, truncate_dim=16), embedding(instruct, symmetric=True)):
        pickled = pickle.dumps(model)
        assert len(pickled) < 20_000
        again = pickle.loads(pickled)
        assert again.to_dict() == model.to_dict()
        assert vectors(again) == vectors(model)


def test_pickles_take_their_cache_along(embedding, e5, computed):
    model = embedding(e5, embeddings_cache=SimpleKVStore())
    before = vectors(model)
    computed.clear()
    assert vectors(pickle.loads(pickle.dumps(model))) == before
    assert computed == []


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: model.model_copy()])
def test_copies(embedding, instruct, copied):
    model = embedding(instruct, max_tokens=256, truncate_dim=16)
    twin = copied(model)
    assert twin.to_dict() == model.to_dict()
    assert vectors(twin) == vectors(model)


def test_copies_with_changes(embedding, core, instruct):
    given = embedding(instruct)
    for model in (given, E5Embedding.from_dict(given.to_dict()), pickle.loads(pickle.dumps(given))):
        other = model.model_copy(update={"instruction": "Find the title", "max_tokens": 128})
        assert other.max_tokens == 128
        expected = core(instruct).encode_query(PROTEIN_QUERY, instruction="Find the title").tolist()
        assert other.get_query_embedding(PROTEIN_QUERY) == expected
        assert model.max_tokens == 512


def test_copies_keep_the_framework_s_fields(embedding, e5):
    manager = CallbackManager([TokenCountingHandler(tokenizer=str.split)])
    model = embedding(e5, embed_batch_size=7, embeddings_cache=SimpleKVStore())
    model.callback_manager = manager
    twin = model.model_copy(update={"max_tokens": 64})
    assert twin.callback_manager is manager
    assert twin.embeddings_cache is model.embeddings_cache
    assert twin.embed_batch_size == 7


def test_payloads_name_the_model_only(e5):
    model = E5Embedding(model_name="tiny", path=str(e5.folder), prompt_kind="query_passage", device="cpu")
    payload = {"class_name": "E5Embedding", "model_name": "tiny", "embed_batch_size": 2048}
    assert model.to_payload() == payload


def test_what_is_no_setting_is_not_written(embedding, e5):
    model = embedding(e5, embeddings_cache=SimpleKVStore())
    assert {"embeddings_cache", "callback_manager", "rate_limiter"}.isdisjoint(model.to_dict())
