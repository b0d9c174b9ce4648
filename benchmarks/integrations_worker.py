"""The process that `integrations.py` starts for one framework: embeds with our class and with its peer.

Requests and answers are lines of JSON on stdin and stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

TASK = "Given a news headline, retrieve the article"
TEMPLATE = f"Instruct: {TASK}\nQuery: "
QUERY, PASSAGE = "summit define", "Definition of summit: the highest point of a mountain."
LONG = "the highest point of a mountain is a summit " * 90
LINES = "summit\n\ndefine\nhighest"
BY_HAND_PROMPTS = {"query": "query: ", "document": "passage: "}

ASKED = {
    # what is asked of the model card's script: checkpoint, texts as they reach the tokenizer
    "prompts": ("e5", [f"query: {QUERY}", f"passage: {PASSAGE}"]),
    "template": ("instruct", [f"{TEMPLATE}{QUERY}", PASSAGE]),
    "end_token": ("mistral", [f"{TEMPLATE}{QUERY}", PASSAGE]),
    "length": ("e5", [f"passage: {LONG}"]),
}


@dataclass(frozen=True)
class System:
    """One embedding class, ready to be asked.

    Attributes:
        embed_query: One text to a vector.
        embed_documents: Texts to vectors.
    """

    embed_query: Callable[[str], list[float]]
    embed_documents: Callable[[list[str]], list[list[float]]]


class Store:
    """Where caches of vectors are, shared by all classes that are given it, as each framework has it."""

    def __init__(self, framework: str) -> None:
        self.folder = tempfile.mkdtemp()
        if framework == "langchain":
            from langchain_core.stores import InMemoryByteStore

            self.documents, self.queries = InMemoryByteStore(), InMemoryByteStore()
        else:
            from llama_index.core.storage.kvstore import SimpleKVStore

            self.vectors = SimpleKVStore()


def ours(
    framework: str, model: str, *, kind: str = "query_passage", store: Store | None = None, **options: Any
) -> System:
    """Our class, with what its README says to say."""
    given = {"prompt_kind": kind, "device": "cpu", **options}
    if kind == "instruct":
        given["instruction"] = TASK
    if framework == "langchain":
        from langchain_e5studio import E5Embeddings

        if store is not None:
            given["cache_folder"] = store.folder
        made = E5Embeddings(model=model, **given)
        return System(made.embed_query, made.embed_documents)
    from llama_index.embeddings.e5studio import E5Embedding

    if store is not None:
        given["embeddings_cache"] = store.vectors
    made = E5Embedding(model_name=model, **given)
    return System(made.get_query_embedding, made.get_text_embedding_batch)


def peer(framework: str, model: str, *, kind: str = "query_passage", by_hand: bool = False, **options: Any) -> System:
    """The framework's Hugging Face class, as it comes or with all that its arguments can set right."""
    prompts = {"query": TEMPLATE, "document": ""} if kind == "instruct" else BY_HAND_PROMPTS
    build = _langchain_peer if framework == "langchain" else _llama_index_peer
    return build(model, prompts if by_hand else None, **options)


def _langchain_peer(
    model: str, prompts: dict[str, str] | None, *, store: Store | None = None, dtype: str | None = None
) -> System:
    from langchain_huggingface import HuggingFaceEmbeddings

    given: dict[str, Any] = {"model_name": model, "model_kwargs": {"device": "cpu"}}
    if dtype is not None:
        given["model_kwargs"]["model_kwargs"] = {"dtype": dtype}
    if prompts is not None:
        given["encode_kwargs"] = {"prompt": prompts["document"], "normalize_embeddings": True}
        given["query_encode_kwargs"] = {"prompt": prompts["query"], "normalize_embeddings": True}
        given["model_kwargs"] |= {"model_kwargs": {"dtype": "float32"}, "tokenizer_kwargs": _both_ends(model)}
    made: Any = HuggingFaceEmbeddings(**given)
    if store is not None:
        from langchain_classic.embeddings import CacheBackedEmbeddings

        by_hand = prompts is not None
        made = CacheBackedEmbeddings.from_bytes_store(
            made,
            store.documents,
            namespace=model if by_hand else "",
            query_embedding_cache=store.queries if by_hand else False,
            key_encoder="sha256",
        )
    return System(made.embed_query, made.embed_documents)


def _llama_index_peer(
    model: str, prompts: dict[str, str] | None, *, store: Store | None = None, dtype: str | None = None
) -> System:
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    given: dict[str, Any] = {"model_name": model, "device": "cpu"}
    if dtype is not None:
        given["model_kwargs"] = {"dtype": dtype}
    if prompts is not None:
        given |= {"query_instruction": prompts["query"], "text_instruction": prompts["document"]}
        given |= {"model_kwargs": {"dtype": "float32"}, "tokenizer_kwargs": _both_ends(model)}
    made: Any = HuggingFaceEmbedding(**given)
    if store is not None:
        made.embeddings_cache = store.vectors
    return System(made.get_query_embedding, made.get_text_embedding_batch)


def _both_ends(model: str) -> dict[str, bool]:
    return {"add_bos_token": True, "add_eos_token": True} if "mistral" in model else {}


def cells(
    make: Callable[..., System], models: dict[str, str], expected: dict[str, list[list[float]]], framework: str
) -> dict[str, bool]:
    """Which cells of the table are right for one class."""
    e5, instruct = make(models["e5"]), make(models["instruct"], kind="instruct")
    mistral, plain = make(models["mistral"], kind="instruct"), make(models["without_modules"])
    lines, spaces = mistral.embed_documents([LINES, LINES.replace("\n", " ")])
    norms = np.linalg.norm(plain.embed_documents([QUERY, PASSAGE]), axis=1)
    return {
        "prompts": _same([e5.embed_query(QUERY), *e5.embed_documents([PASSAGE])], expected["prompts"], 1e-4),
        # Other cells' faults (half precision) are not counted here: a wrong template moves vectors by far more.
        "template": _same(
            [instruct.embed_query(QUERY), *instruct.embed_documents([PASSAGE])], expected["template"], 2e-2
        ),
        "newlines": not _same([lines], [spaces], 1e-3),
        "end_token": _same(mistral.embed_documents([PASSAGE]), expected["end_token"][1:], 2e-2),
        "normalized": bool(np.abs(norms - 1).max() <= 1e-5),
        "cache": _cache_is_right(make, models, Store(framework)),
        "length": _same(e5.embed_documents([LONG]), expected["length"], 1e-4)
        or _same(e5.embed_documents([f"passage: {LONG}"]), expected["length"], 1e-4),
        "float32": _same(instruct.embed_documents([PASSAGE]), expected["template"][1:], 1e-4),
    }


def _cache_is_right(make: Callable[..., System], models: dict[str, str], store: Store) -> bool:
    """Whether two models over one store give, for one text in both roles, what they give without a store."""
    is_right = True
    for model, kind in ((models["e5"], "query_passage"), (models["instruct"], "instruct")):
        plain, cached = make(model, kind=kind), make(model, kind=kind, store=store)
        rows = [[*system.embed_documents([PASSAGE]), system.embed_query(PASSAGE)] for system in (cached, plain)]
        is_right &= np.shape(rows[0]) == np.shape(rows[1]) and _same(*rows, 1e-4)
    return is_right


def _same(found: list[list[float]], wanted: list[list[float]], tolerance: float) -> bool:
    rows, expected = (np.array(given) / np.linalg.norm(given, axis=1, keepdims=True) for given in (found, wanted))
    return bool(np.abs(rows - expected).max() <= tolerance)


class Server:
    """Answers requests for one framework."""

    def __init__(self, framework: str) -> None:
        self._framework = framework
        self._loaded: dict[str, System] = {}

    def load(self, who: str, model: str, dtype: str) -> bool:
        """Load a class at its defaults, or in another precision."""
        chosen = {} if dtype == "float32" else {"dtype": dtype}
        self._loaded[who] = (ours if who == "ours" else peer)(self._framework, model, **chosen)
        return True

    def time(self, who: str, texts: list[str]) -> float:
        """Seconds to embed documents."""
        started = time.perf_counter()
        rows = self._loaded[who].embed_documents(texts)
        assert len(rows) == len(texts)
        return time.perf_counter() - started

    def cells(self, models: dict[str, str], expected: dict[str, Any]) -> dict[str, dict[str, bool]]:
        """All cells of our class, of the peer as it comes, and set by hand."""
        makers: dict[str, Callable[..., System]] = {
            "ours": lambda model, **given: ours(self._framework, model, **given),
            "peer": lambda model, **given: peer(self._framework, model, **given),
            "by_hand": lambda model, **given: peer(self._framework, model, by_hand=True, **given),
        }
        return {who: cells(make, models, expected, self._framework) for who, make in makers.items()}

    def versions(self) -> dict[str, str]:
        """What is installed."""
        names = {
            "langchain": ("langchain-core", "langchain-huggingface"),
            "llama-index": ("llama-index-core", "llama-index-embeddings-huggingface"),
        }[self._framework]
        return {
            "core": version(names[0]),
            "peer": version(names[1]),
            "sentence-transformers": version("sentence-transformers"),
        }


def main() -> None:
    """Serve until stdin ends."""
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.path.insert(0, str(Path(__file__).parent.parent))
    server = Server(sys.argv[1])
    answers = sys.stdout
    for line in sys.stdin:
        request = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):
            answer = getattr(server, request.pop("do"))(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
