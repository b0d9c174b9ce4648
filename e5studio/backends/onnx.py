"""The ONNX Runtime back end: CPUs, in float32 and int8.

The graph is the repository's own where its folder holds one of the same weights, or else converted from the torch
module with its pooling and kept on disk; a start from there imports no torch. A repository's int8 graphs are left
alone: they are made with one scale for each matrix, at which all-MiniLM-L6-v2 falls to a cosine of 0.90.

An int8 graph chooses one scale for all activations of a batch, so neighbours and padding would move a text's vector,
by 1e-2 and more where lengths differ and still where they are equal. Batches of one text keep that out to the last
bit. They cost little on texts of mixed or large length; short ones are no faster in int8 than in float32.
"""

from __future__ import annotations

import functools
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from e5studio import cpu, memory
from e5studio.backends import Capabilities, DType, FloatArray, conversion_cache, onnx_files
from e5studio.backends.onnx_graph import VERSION, Graph
from e5studio.batching import Limits, TokenBatch
from e5studio.checkpoint import count_parameters
from e5studio.errors import BackendError, MissingDependencyError, ModelFilesError, OutOfMemoryError
from e5studio.hub import ModelFiles
from e5studio.models import ModelMeta

_FORMAT = 1  # raise when a conversion comes out differently
_DTYPES = ("float32", "int8")
_NAME = "model.onnx"
_TOKEN_BUDGET = 1_024
_OVERHEAD = 20
_alive: weakref.WeakSet[OnnxBackend] = weakref.WeakSet()


def load(files: ModelFiles, meta: ModelMeta, *, device: str, dtype: DType) -> OnnxBackend:
    """Load a model, converting it where that is due and was not done before; see `e5studio.backends.load_backend`."""
    device, dtype = resolve_choices(device, dtype)
    refuse_too_large(meta.name, count_parameters(files.folder), device, dtype)
    with cpu.load_lock():
        return OnnxBackend(functools.partial(_open, files, meta, dtype), dtype)


def refuse_too_large(model: str, n_parameters: int, device: str, dtype: DType) -> None:
    """Refuse weights that would not fit; errors as `e5studio.backends.refuse_too_large` says."""
    resolve_choices(device, dtype)
    try:
        memory.check_fits(model, n_parameters, "float32", memory.available_bytes())  # int8 is made from it
    except OutOfMemoryError as error:
        raise OutOfMemoryError(error.fact, "Take backend='torch' with dtype='bfloat16', or a smaller model.") from error


def resolve_choices(device: str, dtype: DType) -> tuple[str, DType]:
    """What "auto" stands for; see `e5studio.backends.resolve_choices`."""
    if device not in ("auto", "cpu"):
        raise BackendError(f"The onnx back end computes on the CPU, not on {device!r}. Take backend='torch' for it.")
    chosen: DType = "float32" if dtype == "auto" else dtype
    if chosen not in _DTYPES:
        advice = "Take backend='openvino' or 'torch' for it." if chosen == "bfloat16" else ""
        raise BackendError(f"The onnx back end computes in {', '.join(_DTYPES)}, not in {dtype!r}.", advice)
    return "cpu", chosen


def conversion_requirements(dtype: DType) -> tuple[str, ...]:
    """Packages without which a model that is not on disk yet can't be made."""
    return ("onnx",)


class OnnxBackend:
    """A graph and its turn; see `e5studio.backends.Backend`.

    Args:
        open_graph: Gives the graph; once more after a fork.
        dtype: Its precision.
    """

    name = "onnx"
    device = "cpu"
    capabilities = Capabilities(token_embeddings=True)

    def __init__(self, open_graph: Callable[[], Graph], dtype: DType) -> None:
        self.dtype: str = dtype
        self._open_graph = open_graph
        self.quantization = _quantization(dtype)
        self.limits = Limits(_TOKEN_BUDGET, max_rows=1 if dtype == "int8" else 4096, overhead=_OVERHEAD)
        self._is_closed = False
        self._graph: Graph | None = None
        self.n_bytes = self._open().n_bytes
        _alive.add(self)

    def embed(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        """Pooled vectors of each batch, (rows, embed_dim) float32."""
        return (self._run(batch, token_vectors=False) for batch in batches)

    def token_embeddings(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        """Token vectors of each batch, (sum of lengths, embed_dim) float32."""
        return (self._run(batch, token_vectors=True) for batch in batches)

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

    def _let_go(self) -> None:
        """Give up what holds threads; it is opened again when it is needed."""
        self._graph = None


def _end_threads() -> None:
    # A forked process would wait for ever for the threads of its parent, so there are none when it is made.
    for backend in _alive:
        backend._let_go()


cpu.before_fork(_end_threads)


def _open(files: ModelFiles, meta: ModelMeta, dtype: DType) -> Graph:
    """The model as a graph: the repository's, from disk, or converted now."""
    published = _published(files, meta) if dtype == "float32" else None
    return published or _converted(files, meta, dtype)


def _published(files: ModelFiles, meta: ModelMeta) -> Graph | None:
    """The repository's graph, where it has one that serves."""
    path = onnx_files.published(files.folder)
    if path is None or onnx_files.quantizes_activations(path):
        return None
    graph = Graph(path, files.folder, meta)
    return graph if graph.serves() and onnx_files.holds_weights_of(path, files.folder) else None


def _converted(files: ModelFiles, meta: ModelMeta, dtype: DType) -> Graph:
    identity = {
        "format": _FORMAT,
        "model": meta.name,
        "revision": files.revision,
        "pooling": meta.pooling,
        "quantization": _quantization(dtype),
        "onnxruntime": VERSION,
    }
    folder = conversion_cache.place("onnx", identity)
    path = folder / _NAME
    if path.is_file():
        try:
            return Graph(path, files.folder, meta, is_own=True)
        except ModelFilesError:
            conversion_cache.forget(folder)
    write = functools.partial(_write, files, meta, dtype)
    if conversion_cache.keep(folder, write):
        return Graph(path, files.folder, meta, is_own=True)
    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
        return Graph(Path(made) / _NAME, files.folder, meta, is_own=True)


def _quantization(dtype: str) -> str | None:
    """How int8 is made here; processors on which sums may overflow get smaller weights."""
    if dtype != "int8":
        return None
    return f"dynamic-{7 if onnx_files.may_overflow() else 8}-{_FORMAT}"


def _write(files: ModelFiles, meta: ModelMeta, dtype: DType, into: Path) -> None:
    try:  # torch and onnx are needed here alone
        from e5studio.backends.onnx_conversion import export
        from e5studio.backends.onnx_quantization import quantize
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{meta.name} is turned into a graph with the package {error.name!r}, once; what was made starts without "
            f"it. Install it with: pip install {error.name}"
        ) from error
    if dtype != "int8":
        export(files.folder, meta, into / _NAME)
        return
    with tempfile.TemporaryDirectory(dir=into.parent) as exported:
        export(files.folder, meta, Path(exported) / _NAME)
        quantize(Path(exported) / _NAME, into / _NAME, may_overflow=onnx_files.may_overflow())
