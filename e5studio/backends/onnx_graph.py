"""One ONNX graph in an ONNX Runtime session; its inputs and outputs are read from the file.

The backend chooses the file and the batches, and decides when it runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# ONNX Runtime sends telemetry from a thread, for which a forked process would wait at its end. Only this variable,
# set before the import, disables all of it; a value that is set already stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from e5studio import cpu
from e5studio.backends.onnx_files import digest, files_of
from e5studio.backends.poison import check_written, poisoned
from e5studio.batching import TokenBatch
from e5studio.checkpoint import pad_id
from e5studio.errors import ModelFilesError, OutOfMemoryError
from e5studio.memory import as_out_of_memory
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray

onnxruntime.disable_telemetry_events()  # most of it, where other code imported onnxruntime before

VERSION = str(onnxruntime.__version__)
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
_TOKEN_VECTORS = ("tokens", "last_hidden_state", "token_embeddings")  # ours, transformers', sentence-transformers'


class Graph:
    """A graph that is ready to run, by one caller at a time.

    Args:
        path: The file; others with weights may lie beside it.
        folder: Holds the model's config.json.
        meta: What the model is.
        is_own: Whether E5 Studio converted it, and its pooled vectors are those of the model card.

    Attributes:
        n_bytes: Of its files.
        digest: Of its files; None where E5 Studio converted it, and so the weights say what it is.

    Raises:
        ModelFilesError: The file is damaged.
        OutOfMemoryError: It does not fit.
    """

    def __init__(self, path: Path, folder: Path, meta: ModelMeta, *, is_own: bool = False) -> None:
        self.session = _session(path)
        self.digest = None if is_own else digest(path)
        self.n_bytes = sum(file.stat().st_size for file in files_of(path))
        self._pad_id = pad_id(folder)
        self._pooling = meta.pooling
        self._embed_dim = meta.embed_dim
        self._is_roberta = meta.model_type == "xlm-roberta"
        self._inputs = {each.name: each for each in self.session.get_inputs()}
        outputs = {each.name for each in self.session.get_outputs() if each.type == "tensor(float)"}
        self._tokens = next((name for name in _TOKEN_VECTORS if name in outputs), None)
        self._pools = is_own

    def is_usable(self) -> bool:
        """Whether its inputs are known and of any size, and it returns float32 vectors of tokens."""
        return (
            {"input_ids", "attention_mask"} <= self._inputs.keys() <= _INPUTS
            and all(each.type in _INTEGERS for each in self._inputs.values())
            and not any(isinstance(size, int) for each in self._inputs.values() for size in each.shape)
            and self._tokens is not None
        )

    def run(self, batch: TokenBatch, *, token_vectors: bool) -> FloatArray:
        """Vectors of the tokens of a batch, (sum of lengths, embed_dim), or of its rows, (rows, embed_dim)."""
        ids, mask = batch.padded(self._pad_id)
        is_pooled = self._pools and not token_vectors
        output = self._compute("pooled" if is_pooled else self._tokens, self._feed(ids, mask), is_pooled)
        vectors: FloatArray = output[mask.astype(bool)] if token_vectors else output
        return vectors if token_vectors or is_pooled else _pool(vectors, mask, self._pooling)

    def _compute(self, name: str | None, feed: dict[str, NDArray[Any]], is_pooled: bool) -> FloatArray:
        rows, longest = feed["input_ids"].shape
        output = poisoned((rows, self._embed_dim) if is_pooled else (rows, longest, self._embed_dim))
        binding = self.session.io_binding()
        for each, array in feed.items():
            binding.bind_cpu_input(each, array)
        binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(output))  # which shares its memory
        self.session.run_with_iobinding(binding)
        check_written(output, "ONNX Runtime")
        return output

    def _feed(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        feed = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(ids)
        if "position_ids" in self._inputs:
            feed["position_ids"] = self._positions(ids)
        return {name: array.astype(_INTEGERS[self._inputs[name].type], copy=False) for name, array in feed.items()}

    def _positions(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self._is_roberta:
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()
        # Counted from one past the padding's id; a text may hold that id as well, and it has no position there either.
        is_counted = ids != self._pad_id
        positions: NDArray[np.int64] = np.cumsum(is_counted, axis=1) * is_counted + self._pad_id
        return positions


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu.n_threads()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would hold a plan for every shape of batch
    options.log_severity_level = 4  # errors come as exceptions as well
    try:
        with as_out_of_memory(str(path)):
            return onnxruntime.InferenceSession(
                path,
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=["SkipLayerNormFusion"],  # slower than the two operations that it replaces
            )
    except OutOfMemoryError:
        raise
    except Exception as error:  # its error types have no common base
        raise ModelFilesError(
            f"{path} is damaged, or newer than ONNX Runtime {VERSION}: {_reason(error)} Fetch it again, or delete "
            "it, and the model is converted from its safetensors instead."
        ) from error


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") + "." if text else type(error).__name__ + "."


def _pool(tokens: FloatArray, mask: NDArray[np.int64], pooling: str) -> FloatArray:
    """Vectors of rows, (rows, embed_dim), from those of tokens, (rows, longest, embed_dim), as the model cards do."""
    lengths = mask.sum(axis=1)
    pooled: FloatArray
    if pooling == "last_token":
        pooled = tokens[np.arange(len(tokens)), lengths - 1]
    else:  # not by a matrix product, for which numpy would start threads beside those of ONNX Runtime
        pooled = np.einsum("rl,rld->rd", mask.astype(np.float32), tokens) / lengths[:, None].astype(np.float32)
    return pooled
