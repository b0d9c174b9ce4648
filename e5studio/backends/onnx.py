"""The ONNX Runtime backend: CPUs, in float32 and int8.

The graph is the repository's own where its folder holds one that computes what the weights do, which torch shows once.
Otherwise it is converted from the torch module with its pooling and stored on disk. A start from either imports no
torch. A repository's int8 graphs are not used: they have one scale for each matrix, at which all-MiniLM-L6-v2 falls to
a cosine of 0.90.

An int8 graph chooses one scale for all activations of a batch, so neighbours and padding would move a text's vector,
by 1e-2 and more, even where lengths are equal. Batches of one text prevent that to the last bit. They cost little on
texts of mixed or large length; short texts are no faster in int8 than in float32.
"""

from __future__ import annotations

import functools
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from e5studio import cpu
from e5studio.backends import conversion_cache, onnx_files
from e5studio.backends.onnx_graph import VERSION, Graph
from e5studio.backends.protocol import BatchwiseBackend, DType
from e5studio.batching import Limits, TokenBatch
from e5studio.errors import BackendError, MissingDependencyError
from e5studio.hub import ModelFiles
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray

_FORMAT = 1  # raise when a conversion comes out differently
_DTYPES = ("float32", "int8")
_NAME = "model.onnx"
_VERDICT = "verdict.txt"
_TOKEN_BUDGET = 1_024
_OVERHEAD = 20
_alive: weakref.WeakSet[OnnxBackend] = weakref.WeakSet()


def load(files: ModelFiles, meta: ModelMeta, *, device: str, dtype: DType) -> OnnxBackend:
    """Load a model, converting it unless a converted one is stored; see `e5studio.backends.load_backend`."""
    with cpu.load_lock():
        return OnnxBackend(functools.partial(_open, files, meta, dtype), dtype)


def resolve_choices(device: str, dtype: DType) -> tuple[str, DType]:
    """What "auto" stands for; see `e5studio.backends.resolve_choices`."""
    if device not in ("auto", "cpu"):
        raise BackendError(f"The onnx backend computes on the CPU, not on {device!r}. Take backend='torch' for it.")
    chosen: DType = "float32" if dtype == "auto" else dtype
    if chosen not in _DTYPES:
        advice = "Take backend='openvino' or 'torch' for it." if chosen == "bfloat16" else ""
        raise BackendError(f"The onnx backend computes in {', '.join(_DTYPES)}, not in {dtype!r}.", advice)
    return "cpu", chosen


class OnnxBackend(BatchwiseBackend):
    """A graph that runs one batch at a time; see `e5studio.backends.Backend`.

    Args:
        open_graph: Opens the graph; called again after a fork.
        dtype: Its precision.
    """

    name = "onnx"
    device = "cpu"

    def __init__(self, open_graph: Callable[[], Graph], dtype: DType) -> None:
        self.dtype: str = dtype
        self._open_graph = open_graph
        self.quantization = _quantization(dtype)
        self.limits = Limits(_TOKEN_BUDGET, max_rows=1 if dtype == "int8" else 4096, overhead=_OVERHEAD)
        self._is_closed = False
        self._graph: Graph | None = None
        graph = self._open()
        self.n_bytes = graph.n_bytes
        self.graph = graph.digest
        _alive.add(self)

    def close(self) -> None:
        """Free the model."""
        with cpu.compute_lock():
            self._is_closed = True
            self._graph = None

    def _run(self, batch: TokenBatch, *, token_vectors: bool) -> FloatArray:
        while True:
            with cpu.compute_lock():
                if self._is_closed:
                    raise BackendError("This model was closed. Load it again to use it.")
                if self._graph is not None:
                    return self._graph.run(batch, token_vectors=token_vectors)
            self._open()

    def _open(self) -> Graph:
        with cpu.load_lock():
            self._graph = self._open_graph()
            return self._graph


def _end_threads() -> None:
    # A forked process would wait for ever for its parent's threads, so none may exist at the fork.
    for backend in _alive:
        backend._graph = None  # opened again when it is needed


cpu.before_fork(_end_threads)


def _open(files: ModelFiles, meta: ModelMeta, dtype: DType) -> Graph:
    """The model as a graph: the repository's where it is usable, stored, or converted now."""
    path = onnx_files.published(files.folder) if dtype == "float32" else None
    if path is not None and not onnx_files.quantizes_activations(path):
        graph = Graph(path, files.folder, meta)
        if graph.is_usable() and _agrees(graph, path, files, meta):
            return graph
    return _converted(files, meta, dtype)


def _agrees(graph: Graph, path: Path, files: ModelFiles, meta: ModelMeta) -> bool:
    """Whether the repository's graph computes what its weights do, which is tried once and remembered.

    A model that was trained further may still have the old graph beside it.
    """
    identity = {"format": _FORMAT, "graph": graph.digest, "revision": files.revision, "pooling": meta.pooling}
    folder = conversion_cache.folder_of("onnx-proofs", identity)
    if conversion_cache.is_whole(folder):
        return (folder / _VERDICT).read_text() == "agrees"
    verdict = "differs"
    if onnx_files.holds_words_of(path, files.folder):
        with _needing_packages(f"The graph {path} is compared with its weights once"):
            from e5studio.backends.onnx_proof import agrees

            verdict = "agrees" if agrees(graph, files.folder, meta) else "differs"
    conversion_cache.store(folder, lambda into: _write_verdict(into, verdict))
    return verdict == "agrees"


def _write_verdict(into: Path, verdict: str) -> None:
    (into / _VERDICT).write_text(verdict)


def _converted(files: ModelFiles, meta: ModelMeta, dtype: DType) -> Graph:
    identity = {
        "format": _FORMAT,
        "model": meta.name,
        "revision": files.revision,
        "pooling": meta.pooling,
        "quantization": _quantization(dtype),
        "onnxruntime": VERSION,
    }
    folder = conversion_cache.folder_of("onnx", identity)
    write = functools.partial(_write, files, meta, dtype)
    if conversion_cache.is_whole(folder) or conversion_cache.store(folder, write):
        return Graph(folder / _NAME, files.folder, meta, is_own=True)
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary))
        return Graph(Path(temporary) / _NAME, files.folder, meta, is_own=True)


def _quantization(dtype: str) -> str | None:
    """How this machine makes int8; processors on which sums may overflow get smaller weights."""
    if dtype != "int8":
        return None
    return f"dynamic-{7 if onnx_files.may_overflow() else 8}-{_FORMAT}"


def _write(files: ModelFiles, meta: ModelMeta, dtype: DType, into: Path) -> None:
    with _needing_packages(f"{meta.name} is converted once"):
        from e5studio.backends.onnx_conversion import export
        from e5studio.backends.onnx_quantization import quantize
    if dtype != "int8":
        export(files.folder, meta, into / _NAME)
        return
    with tempfile.TemporaryDirectory(dir=into.parent) as exported:
        export(files.folder, meta, Path(exported) / _NAME)
        quantize(Path(exported) / _NAME, into / _NAME, may_overflow=onnx_files.may_overflow())


@contextmanager
def _needing_packages(what: str) -> Iterator[None]:
    """Around the only imports of torch and onnx."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{what}, which needs the package {error.name!r}. Install it with: pip install {error.name}"
        ) from error
