"""What is compared for speed: our backends and precisions, and the peers, each with its environment."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal

BATCH_SIZES = (4, 8, 16, 32, 64)
BASELINE = "sentence-transformers"
Precision = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True)
class System:
    """One way of embedding.

    Attributes:
        name: As chosen on the command line, and in the tables.
        environment: Which interpreter runs it, a key of `--python`.
        kind: Which loader of the worker.
        options: For the loader.
        precision: What it computes in. OpenVINO as it comes takes bfloat16 where the chip has it: the
            tables show what the worker says of it.
        best_batch: Whether it runs at the fastest of BATCH_SIZES in place of its own default.
        sorts: Whether it sorts texts by length. Only others may be measured on a part of a corpus,
            because sorting fewer texts pads more.
        is_main: Whether it is measured on every model and corpus, or on the first alone.
    """

    name: str
    environment: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    precision: Precision = "float32"
    best_batch: bool = False
    sorts: bool = True
    is_main: bool = True

    @property
    def process(self) -> str:
        """Equal for systems that one process serves, at different batch sizes."""
        return json.dumps([self.environment, self.kind, self.options], sort_keys=True)

    @property
    def alone(self) -> str:
        """Its name where texts come one at a time, and batches have no size."""
        return self.name.removesuffix(", best batch")

    @property
    def is_ours(self) -> bool:
        """Whether it is E5 Studio's."""
        return self.kind == "ours"


def _ours(backend: str, dtype: Precision) -> System:
    return System(f"e5studio {backend} {dtype}", "ours", "ours", {"backend": backend, "dtype": dtype}, dtype)


def _exported(name: str, precision: Precision, **options: str) -> System:
    return System(
        f"sentence-transformers {name}, best batch",
        "optimum",
        "sentence-transformers",
        options,
        precision,
        best_batch=True,
    )


_ONNX, _OPENVINO = "onnx/model.onnx", "openvino/openvino_model.xml"
SYSTEMS: tuple[System, ...] = (
    System(BASELINE, BASELINE, BASELINE),
    _ours("openvino", "float32"),
    _ours("openvino", "bfloat16"),
    _ours("openvino", "int8"),
    _ours("onnx", "float32"),
    _ours("onnx", "int8"),
    _ours("torch", "float32"),
    _ours("torch", "bfloat16"),
    System("sentence-transformers, best batch", BASELINE, BASELINE, best_batch=True),
    System(
        "sentence-transformers bfloat16, best batch",
        BASELINE,
        BASELINE,
        {"dtype": "bfloat16"},
        "bfloat16",
        best_batch=True,
    ),
    _exported("openvino float32", "float32", backend="openvino", file_name=_OPENVINO, precision_hint="f32"),
    _exported("openvino", "bfloat16", backend="openvino", file_name=_OPENVINO),
    _exported("openvino int8", "int8", backend="openvino", file_name="openvino/openvino_model_qint8_quantized.xml"),
    _exported("onnx", "float32", backend="onnx", file_name=_ONNX),
    _exported("onnx int8", "int8", backend="onnx", file_name="onnx/model_qint8_avx512_vnni.onnx"),
    System("model card's script", "ours", "card", sorts=False),
    System("fastembed", "fastembed", "fastembed", sorts=False),
    System("fastembed, best batch", "fastembed", "fastembed", best_batch=True, sorts=False, is_main=False),
    System("infinity", "infinity", "infinity", is_main=False),
    System("infinity with BetterTransformer", "infinity-bettertransformer", "infinity", is_main=False),
    System("langchain-huggingface", "langchain", "langchain", is_main=False),
    System("llama-index-embeddings-huggingface", "llama-index", "llama-index", sorts=False, is_main=False),
)
ENVIRONMENTS = tuple(dict.fromkeys(system.environment for system in SYSTEMS))


def choose(patterns: list[str]) -> tuple[System, ...]:
    """The systems whose names match one of the patterns ("e5studio*"); all where there are none."""
    return tuple(
        system for system in SYSTEMS if not patterns or any(fnmatch(system.name, pattern) for pattern in patterns)
    )
