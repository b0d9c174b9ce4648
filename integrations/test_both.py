"""What holds for the two plug-ins together: the same options, the same vectors, one loaded model."""

from __future__ import annotations

import ast
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
from langchain_e5studio import E5Embeddings
from llama_index.embeddings.e5studio import E5Embedding

from e5studio import EmbedderOptions, get_model_pool
from tests.corpus import ORDINARY_TEXTS

HERE = Path(__file__).parent
ALLOWED = {
    "langchain-e5studio/langchain_e5studio": {"e5studio", "langchain_core", "langchain_e5studio", "pydantic"},
    "llama-index-embeddings-e5studio/llama_index": {"e5studio", "llama_index"},
}


def test_both_offer_all_options_of_the_provider():
    options = {field.name for field in fields(EmbedderOptions)} - {"model"} | {"model_name"}
    assert E5Embeddings.model_fields.keys() == options
    framework = {"callback_manager", "embed_batch_size", "embeddings_cache", "num_workers", "rate_limiter"}
    assert E5Embedding.model_fields.keys() - framework == options | {"fingerprint"}
    defaults = {field.name: field.default for field in fields(EmbedderOptions) if field.name != "model"}
    for plugin in (E5Embeddings, E5Embedding):
        assert {name: plugin.model_fields[name].default for name in defaults} == defaults
        assert all(plugin.model_fields[name].description for name in options)


def test_both_give_the_same_vectors_with_one_loaded_model(e5):
    n_before = len(get_model_pool().loaded())
    options = {"prompt_kind": "query_passage", "device": "cpu", "max_tokens": 48}
    chain = E5Embeddings(model=str(e5.folder), **options)
    index = E5Embedding(model_name=str(e5.folder), **options)
    texts = list(ORDINARY_TEXTS)[:3]
    with pytest.warns(UserWarning, match="longer than the 48 tokens"):
        assert chain.embed_documents([*texts, "long " * 60]) == index.get_text_embedding_batch([*texts, "long " * 60])
    assert chain.embed_query(texts[0]) == index.get_query_embedding(texts[0])
    assert chain.fingerprint == index.fingerprint
    assert len(get_model_pool().loaded()) <= n_before + 1


def test_both_work_in_another_process(e5, instruct, monkeypatch):
    chain = E5Embeddings(model=str(e5.folder), prompt_kind="query_passage", device="cpu", truncate_dim=16)
    index = E5Embedding(
        model_name=str(instruct.folder), prompt_kind="instruct", instruction="Find it.", symmetric=True, device="cpu"
    )
    texts = list(ORDINARY_TEXTS)[:3]
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    # One process for both, because its imports take seconds.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        pickled = processes.submit(chain.embed_documents, texts)
        names = {"restore": E5Embedding.from_json, "text": index.to_json()}
        restored = processes.submit(eval, "restore(text).to_dict()", names)
        assert pickled.result() == chain.embed_documents(texts)
        assert str(restored.result()) == str(index.to_dict())


@pytest.mark.parametrize("package", ALLOWED)
def test_a_plugin_needs_e5studio_and_its_framework_alone(package):
    for path in (HERE / package).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        roots = {name.split(".")[0] for name in imported}
        assert roots <= ALLOWED[package] | sys.stdlib_module_names, path
