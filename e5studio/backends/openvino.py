"""The OpenVINO backend: CPUs, in float32, bfloat16 and int8, pooling included.

The graph of a BERT or XLM-RoBERTa encoder is built from its weights, any other is traced from the torch module. It is
stored on disk, and a start from there does not import torch. Precision is always explicit: by default, OpenVINO lowers
it on chips that have bfloat16.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio import cpu, memory
from e5studio.backends import calibration, conversion_cache
from e5studio.backends.encoder_weights import EncoderWeights
from e5studio.backends.poison import check_written, poisoned
from e5studio.backends.protocol import BatchwiseBackend, DType
from e5studio.backends.word_table import WordTable
from e5studio.batching import Limits, TokenBatch, rounded
from e5studio.cache_folder import cache_folder
from e5studio.checkpoint import weight_files
from e5studio.errors import BackendError
from e5studio.hub import ModelFiles, check_blobs
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray

_REPORTER = "openvino_telemetry"


def _import_quietly() -> Any:
    """The openvino package without its telemetry: by default, it reports every import, from a forked process."""
    modules: dict[str, Any] = sys.modules
    # OpenVINO works without a module that can't be imported. An earlier import by other code stays as it is.
    is_blocked = modules.setdefault(_REPORTER, None) is None
    try:
        import openvino
    finally:
        if is_blocked:
            del modules[_REPORTER]
    return openvino


openvino: Any = _import_quietly()
_FORMAT = 2  # raise when a conversion comes out differently
_QUANTIZATION = 2  # the same of int8
_DTYPES = ("float32", "bfloat16", "int8")
_TOKEN_BUDGET = 1_024
# Of a batch, and of one whose shape is new and has its kernels compiled (7 ms in float32, 20 ms in int8); in tokens.
_OVERHEAD = 20
_SHAPE_COSTS = {"float32": 40, "bfloat16": 60, "int8": 250}
_SINGLE_STEP = 8  # lengths of single texts are rounded up to a multiple, for the same reason
_POOLED, _TOKENS = "pooled", "tokens"
_shared_core: Any = None
_alive: weakref.WeakSet[OpenVinoBackend] = weakref.WeakSet()


def load(files: ModelFiles, meta: ModelMeta, *, device: str, dtype: DType) -> OpenVinoBackend:
    """Load a model, converting it unless a converted one is stored; see `e5studio.backends.load_backend`."""
    with cpu.load_lock():
        model = _quantized(files, meta) if dtype == "int8" else _converted(files, meta)
        return OpenVinoBackend(model, dtype, meta.max_tokens, _quantization(meta) if dtype == "int8" else None)


def resolve_choices(device: str, dtype: DType) -> tuple[str, DType]:
    """What "auto" stands for; see `e5studio.backends.resolve_choices`."""
    if device not in ("auto", "cpu"):
        raise BackendError(f"The openvino backend computes on the CPU, not on {device!r}. Take backend='torch' for it.")
    chosen: DType = "float32" if dtype == "auto" else dtype
    if chosen not in _DTYPES:
        raise BackendError(f"The openvino backend computes in {', '.join(_DTYPES)}, not in {dtype!r}.")
    if chosen == "bfloat16" and not has_bfloat16():
        raise BackendError(
            "This processor has no bfloat16 of its own; float32 is faster here.", "Take dtype='float32'."
        )
    return "cpu", chosen


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 natively."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@dataclass(frozen=True)
class ConvertedModel:
    """A model before it is compiled.

    Attributes:
        graph: From ids, mask or word vectors, whichever it names, to pooled vectors and token vectors.
        words: Gives the word vectors; None where the graph looks them up itself.
    """

    graph: Any
    words: WordTable | None

    def inputs(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """What the graph takes of a batch."""
        inputs: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
        if self.words is not None:
            inputs["word_vectors"] = self.words.look_up(ids)
        return {each.any_name: inputs[each.any_name] for each in self.graph.inputs}


class OpenVinoBackend(BatchwiseBackend):
    """A compiled model; see `e5studio.backends.Backend`.

    Args:
        model: To compile.
        dtype: Precision to compute in.
        max_length: Tokens up to which texts may be padded.
        quantization: How the graph was made int8, if it was.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, model: ConvertedModel, dtype: DType, max_length: int, quantization: str | None) -> None:
        self.dtype: str = dtype
        self.quantization = quantization
        self.limits = Limits(_TOKEN_BUDGET, overhead=_OVERHEAD, shape_cost=_SHAPE_COSTS[dtype])
        constants = (op.data.nbytes for op in model.graph.get_ops() if op.get_type_name() == "Constant")
        self.n_bytes = sum(constants) + (model.words.n_bytes if model.words else 0)
        self._pad_id = int(model.graph.get_rt_info("pad_id").value)
        self._max_length = max_length
        self._embed_dim = model.graph.output(_POOLED).partial_shape[1].get_length()
        self._model: ConvertedModel | None = model
        self._requests: dict[str, Any] = {}
        _alive.add(self)
        with cpu.compute_lock():
            self._request(_POOLED)

    def close(self) -> None:
        """Free the model."""
        with cpu.compute_lock():
            self._model = None
            self._requests = {}

    def _run(self, batch: TokenBatch, *, token_vectors: bool) -> FloatArray:
        ids, mask = batch.padded(self._pad_id, self._padded_length(batch))
        with cpu.compute_lock():  # a request serves one caller at a time, too
            output = _TOKENS if token_vectors else _POOLED
            request, inputs = self._request(output), self._loaded_model().inputs(ids, mask)
            result = poisoned((*ids.shape, self._embed_dim) if token_vectors else (len(ids), self._embed_dim))
            try:
                request.set_output_tensor(0, openvino.Tensor(result, shared_memory=True))
                # `infer` says nothing of memory that it cannot get, and leaves the vectors of the batch before.
                request.start_async(inputs, share_inputs=True)
                request.wait()
                check_written(result, "OpenVINO")
            except (RuntimeError, BackendError):
                del self._requests[output]  # half of the model is left in this batch's shape; the next compiles it anew
                raise
            vectors: FloatArray = result[mask.astype(bool)] if token_vectors else result
            return vectors

    def _padded_length(self, batch: TokenBatch) -> int:
        longest = int(batch.lengths.max())
        length = -(-longest // _SINGLE_STEP) * _SINGLE_STEP if len(batch) == 1 else int(rounded(batch.lengths).max())
        return max(longest, min(length, self._max_length))  # the model has no more positions

    def _request(self, output: str) -> Any:
        graph = self._loaded_model().graph
        if output not in self._requests:
            self._requests[output] = _compile(graph, output, self.dtype).create_infer_request()
            memory.unload_mapped(cache_folder())  # it has copied the weights into a layout of its own
        return self._requests[output]

    def _loaded_model(self) -> ConvertedModel:
        if self._model is None:
            raise BackendError("This model was closed. Load it again to use it.")
        return self._model


def _compile(graph: Any, output: str, dtype: str) -> Any:
    """The graph with one of its outputs, so that the other is not computed."""
    part = openvino.Model([graph.output(output)], graph.get_parameters(), output)
    # One stream: all threads work on one batch.
    options = {"INFERENCE_PRECISION_HINT": _hint(dtype), "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": cpu.n_threads()}
    return _core().compile_model(part, "CPU", options)


def _core() -> Any:
    """The only Core: OpenVINO's threads end with it and everything made from it."""
    global _shared_core
    with cpu.compute_lock():
        if _shared_core is None:
            _shared_core = openvino.Core()
            _shared_core.set_property({"FORCE_TBB_TERMINATE": True})
        return _shared_core


def _end_threads() -> None:
    # A forked process would wait for ever for its parent's threads, so none may exist at the fork.
    global _shared_core
    for backend in _alive:
        backend._requests = {}  # made again when they are needed
    _shared_core = None


cpu.before_fork(_end_threads)


def _hint(dtype: str) -> str:
    """The precision of everything that is not int8 in a graph."""
    if dtype == "float32":
        return "f32"
    return "bf16" if has_bfloat16() else "f32"


def _converted(files: ModelFiles, meta: ModelMeta) -> ConvertedModel:
    identity = _identity(files, meta)
    encoder = EncoderWeights.from_folder(files.folder, meta)
    if encoder is None:
        return ConvertedModel(_stored_graph({**identity, "traced": True}, lambda: _trace(files.folder, meta)), None)
    graph = _stored_graph(identity, lambda: _build(files.folder, encoder))
    return ConvertedModel(graph, _stored_words(identity, files.folder, encoder.words))


def _quantized(files: ModelFiles, meta: ModelMeta) -> ConvertedModel:
    converted = _converted(files, meta)

    def make() -> Any:
        from e5studio.backends.openvino_quantization import quantize  # for conversions only

        batches = calibration.calibration_inputs(files.folder, meta)
        return quantize(converted.graph, [converted.inputs(*batch.padded(0)) for batch in batches])

    identity = {**_identity(files, meta), "quantization": _quantization(meta)}
    return replace(converted, graph=_stored_graph(identity, make))


def _quantization(meta: ModelMeta) -> str:
    """What decides the numbers of an int8 model: how and on what it is calibrated, and the precision of the rest."""
    return f"linear-layers-{_QUANTIZATION}-{calibration.digest(meta)}-{_hint('int8')}-{_FORMAT}"


def _identity(files: ModelFiles, meta: ModelMeta) -> dict[str, object]:
    """Everything that decides the result of a conversion."""
    return {
        "format": _FORMAT,
        "model": meta.name,
        "revision": files.revision,
        "pooling": meta.pooling,
        "openvino": openvino.__version__.split("-")[0],
    }


def _stored_graph(identity: dict[str, object], make: Callable[[], Any]) -> Any:
    """A graph from disk, or made now."""
    folder = conversion_cache.folder_of("openvino", identity)
    path = folder / "model.xml"
    if conversion_cache.is_whole(folder):
        return _core().read_model(path)
    graph = make()
    if conversion_cache.store(folder, lambda into: _save(graph, into / path.name)):
        return _core().read_model(path)  # maps the file instead of copying it
    return graph


def _stored_words(identity: dict[str, object], source: Path, words: WordTable) -> WordTable:
    """The embedding table from disk: the model's own file may be written to while it is in use."""
    folder = conversion_cache.folder_of("words", identity)
    path = folder / "words.npy"
    if conversion_cache.is_whole(folder):
        return WordTable.from_file(path)
    check_blobs(source, weight_files(source))
    is_stored = conversion_cache.store(folder, lambda into: words.save(into / path.name))
    return WordTable.from_file(path) if is_stored else words.copy()


def _save(graph: Any, path: Path) -> None:
    try:
        openvino.save_model(graph, path, compress_to_fp16=False)
    except RuntimeError as error:  # the only kind that OpenVINO raises
        raise OSError(str(error)) from error


def _build(folder: Path, encoder: EncoderWeights) -> Any:
    from e5studio.backends.openvino_encoder import build  # for conversions only

    check_blobs(folder, weight_files(folder))
    return build(encoder)


def _trace(folder: Path, meta: ModelMeta) -> Any:
    from e5studio.backends.openvino_conversion import convert  # the only use of torch

    return convert(folder, meta)
