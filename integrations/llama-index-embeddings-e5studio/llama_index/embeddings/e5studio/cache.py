"""Vectors in a key-value store of LlamaIndex's, under keys that the caller makes; no store keeps nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.storage.kvstore.types import BaseKVStore

_COLLECTION = "embeddings"  # LlamaIndex's own name for it
_FIELD = "embedding"


def read(store: BaseKVStore | None, keys: Iterable[str]) -> dict[str, Embedding]:
    """The vectors that are there."""
    if store is None:
        return {}
    return _vectors({key: store.get(key, collection=_COLLECTION) for key in dict.fromkeys(keys)})


async def aread(store: BaseKVStore | None, keys: Iterable[str]) -> dict[str, Embedding]:
    """As `read`."""
    if store is None:
        return {}
    return _vectors({key: await store.aget(key, collection=_COLLECTION) for key in dict.fromkeys(keys)})


def write(store: BaseKVStore | None, vectors: Mapping[str, Embedding]) -> None:
    """Store vectors, but for the zeros that stand for empty texts."""
    if store is not None:
        for key, vector in _of_texts(vectors):
            store.put(key, {_FIELD: vector}, collection=_COLLECTION)


async def awrite(store: BaseKVStore | None, vectors: Mapping[str, Embedding]) -> None:
    """As `write`."""
    if store is not None:
        for key, vector in _of_texts(vectors):
            await store.aput(key, {_FIELD: vector}, collection=_COLLECTION)


def missing(texts: Sequence[str], keys: Sequence[str], vectors: Mapping[str, Embedding]) -> dict[str, str]:
    """The texts without a vector by their keys, each different one once."""
    return {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}


def _of_texts(vectors: Mapping[str, Embedding]) -> list[tuple[str, Embedding]]:
    return [(key, vector) for key, vector in vectors.items() if any(vector)]


def _vectors(entries: Mapping[str, dict[str, Embedding] | None]) -> dict[str, Embedding]:
    return {key: entry[_FIELD] for key, entry in entries.items() if entry}
