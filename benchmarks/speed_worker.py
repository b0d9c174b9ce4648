"""The process that `speed.py` starts for one system: loads it, embeds with it and times it.

Runs in the environments of the peers too, so it needs numpy alone and what the system itself needs.
Requests and answers are lines of JSON on stdin and stdout; what fails is answered with its sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from workers import serve

PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "openvino",
    "onnxruntime",
    "optimum-intel",
    "optimum-onnx",
    "fastembed",
    "infinity-emb",
    "optimum",
    "langchain-huggingface",
    "llama-index-embeddings-huggingface",
)


@dataclass(frozen=True)
class System:
    """A loaded system.

    Attributes:
        many: Texts and a batch size (None for the system's own) to vectors.
        one: One text to its vector, as the system does it for a query.
        runs_in: What it computes in, where it can say so.
    """

    many: Callable[[list[str], int | None], Any]
    one: Callable[[str], Any]
    runs_in: str = ""


def load_ours(model: dict[str, Any], *, backend: Any, dtype: Any) -> System:
    """E5Encoder."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from e5studio import E5Encoder

    encoder = E5Encoder(model["name"], path=model["folder"], backend=backend, device="cpu", dtype=dtype)

    def many(texts: list[str], _: int | None) -> Any:
        is_query = model["role"] == "query"
        return encoder.encode_query(texts) if is_query else encoder.encode_document(texts)

    return System(many, encoder.encode_query, encoder.spec.dtype)


def load_card(model: dict[str, Any]) -> System:
    """The script of the model card: batches of 32 in the order of the texts."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model["folder"])
    network = AutoModel.from_pretrained(model["folder"], dtype=torch.float32)

    def average_pool(hidden: Any, mask: Any) -> Any:
        hidden = hidden.masked_fill(~mask[..., None].bool(), 0.0)
        return hidden.sum(dim=1) / mask.sum(dim=1)[..., None]

    @torch.inference_mode()
    def many(texts: list[str], batch_size: int | None) -> Any:
        rows = []
        for start in range(0, len(texts), batch_size or 32):
            part = texts[start : start + (batch_size or 32)]
            batch = tokenizer(part, max_length=model["max_tokens"], padding=True, truncation=True, return_tensors="pt")
            pooled = average_pool(network(**batch).last_hidden_state, batch["attention_mask"])
            rows.append(torch.nn.functional.normalize(pooled, p=2, dim=1))
        return torch.cat(rows).numpy()

    return System(many, lambda text: many([text], None)[0], str(network.dtype).removeprefix("torch."))


def load_sentence_transformers(
    model: dict[str, Any],
    *,
    backend: Any = "torch",
    dtype: str | None = None,
    file_name: str | None = None,
    precision_hint: str | None = None,
) -> System:
    """SentenceTransformer, as it comes or with another precision, engine or file."""
    from sentence_transformers import SentenceTransformer

    options: dict[str, Any] = {}
    if dtype is not None:
        options["dtype"] = dtype
    if file_name is not None:
        options["file_name"] = file_name
    if precision_hint is not None:
        options["ov_config"] = {"INFERENCE_PRECISION_HINT": precision_hint}
    folder = model["folder" if backend == "torch" else "exported"]
    made = SentenceTransformer(folder, device="cpu", backend=backend, model_kwargs=options)

    def many(texts: list[str], batch_size: int | None) -> Any:
        return made.encode(texts, batch_size=batch_size or 32, normalize_embeddings=True)

    runs_in = dtype or "float32"
    if backend == "openvino":
        made.encode("compiles it")
        runs_in = str(made[0].auto_model.request.get_property("INFERENCE_PRECISION_HINT")).split("'")[1]
    return System(many, lambda text: made.encode(text, normalize_embeddings=True), runs_in)


def load_fastembed(model: dict[str, Any]) -> System:
    """TextEmbedding with the exported ONNX file; its length is that of tokenizer_config.json."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="benchmark/model",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="benchmark/model"),
        dim=model["embed_dim"],
        model_file="onnx/model.onnx",
    )
    made = TextEmbedding("benchmark/model", specific_model_path=model["folder"])

    def many(texts: list[str], batch_size: int | None) -> Any:
        return list(made.embed(texts, batch_size=batch_size or 256))

    return System(many, lambda text: next(iter(made.query_embed(text))))


def load_infinity(model: dict[str, Any]) -> System:
    """The engine of infinity in this process, without its HTTP server."""
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    loop = asyncio.new_event_loop()
    engines: dict[int, Any] = {}

    def engine(batch_size: int) -> Any:
        if batch_size not in engines:
            arguments = EngineArgs(
                model_name_or_path=model["folder"],
                engine="torch",
                device="cpu",
                dtype="float32",
                batch_size=batch_size,
                model_warmup=False,
            )
            for other in engines.values():
                loop.run_until_complete(other.astop())
            engines.clear()
            engines[batch_size] = AsyncEmbeddingEngine.from_args(arguments)
            loop.run_until_complete(engines[batch_size].astart())
        return engines[batch_size]

    def many(texts: list[str], batch_size: int | None) -> Any:
        vectors, _ = loop.run_until_complete(engine(batch_size or 32).embed(sentences=texts))
        return vectors

    engine(32)
    return System(many, lambda text: many([text], None)[0], "float32")


def load_langchain(model: dict[str, Any]) -> System:
    """HuggingFaceEmbeddings."""
    from langchain_huggingface import HuggingFaceEmbeddings

    made = HuggingFaceEmbeddings(model_name=model["folder"], model_kwargs={"device": "cpu"})
    return System(lambda texts, _: made.embed_documents(texts), made.embed_query)


def load_llama_index(model: dict[str, Any]) -> System:
    """HuggingFaceEmbedding."""
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    made = HuggingFaceEmbedding(model_name=model["folder"], device="cpu")
    return System(lambda texts, _: made.get_text_embedding_batch(texts), made.get_query_embedding)


KINDS: dict[str, Callable[..., System]] = {
    "ours": load_ours,
    "card": load_card,
    "sentence-transformers": load_sentence_transformers,
    "fastembed": load_fastembed,
    "infinity": load_infinity,
    "langchain": load_langchain,
    "llama-index": load_llama_index,
}


class Server:
    """Answers requests for one system."""

    def load(self, kind: str, model: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        """Load the system; `model` tells folders, name, size and length."""
        self._model, self._takes_prompt = model, kind != "ours"
        started = time.perf_counter()
        self._system = KINDS[kind](model, **options)
        return {
            "seconds": time.perf_counter() - started,
            "runs_in": self._system.runs_in,
            "versions": _versions(),
        }

    def corpus(self, role: str, prompt: str, texts: list[str]) -> None:
        """Take the texts of the requests that follow; peers get the prompt in front of each."""
        self._model["role"] = role
        self._texts = [prompt + text for text in texts] if self._takes_prompt else texts

    def time(self, rows: list[int] | None = None, batch_size: int | None = None) -> dict[str, float]:
        """Seconds to embed the texts, or some of them, and the processor time that this process took for it."""
        texts = self._texts if rows is None else [self._texts[row] for row in rows]
        cpu, started = time.process_time(), time.perf_counter()
        vectors = self._system.many(texts, batch_size)
        seconds = time.perf_counter() - started
        assert len(vectors) == len(texts)
        return {"seconds": seconds, "cpu": time.process_time() - cpu}

    def one_by_one(self, rows: list[int]) -> dict[str, Any]:
        """Seconds of each text, embedded alone, one after the other."""
        cpu, taken = time.process_time(), []
        for row in rows:
            started = time.perf_counter()
            self._system.one(self._texts[row])
            taken.append(time.perf_counter() - started)
        return {"each": taken, "seconds": sum(taken), "cpu": time.process_time() - cpu}

    def vectors(self, rows: list[int] | None) -> list[list[float]]:
        """The vectors of all texts, or of some."""
        vectors = self._system.many(self._texts if rows is None else [self._texts[row] for row in rows], None)
        return [np.asarray(vector, np.float64).tolist() for vector in vectors]


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def main() -> None:
    """Serve until stdin ends."""
    warnings.simplefilter("ignore")
    for name in ("HF_HUB_OFFLINE", "DO_NOT_TRACK"):
        os.environ[name] = "1"
    os.environ["INFINITY_ANONYMOUS_USAGE_STATS"] = "0"
    serve(Server())


if __name__ == "__main__":
    main()
