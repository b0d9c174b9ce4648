"""The torch backend: any device that torch knows, float32 unless asked otherwise."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import AbstractContextManager
from typing import Any

import torch

from e5studio import cpu
from e5studio.backends.modules import PooledModel, load_module
from e5studio.backends.onednn_linear import pack
from e5studio.backends.protocol import BatchwiseBackend, DType
from e5studio.batching import Limits, TokenBatch
from e5studio.errors import BackendError
from e5studio.hub import ModelFiles
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray

_DTYPES = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# A CPU gains nothing from larger batches once its caches are full; a GPU wants them large.
_TOKEN_BUDGETS = {"cpu": 1_024, "mps": 16_384, "cuda": 65_536}
_OVERHEADS = {"cpu": 60, "mps": 1_000, "cuda": 2_000}  # what starting a batch costs, in tokens
_alive: weakref.WeakSet[TorchBackend] = weakref.WeakSet()


def load(files: ModelFiles, meta: ModelMeta, *, device: str, dtype: DType) -> TorchBackend:
    """Load a model; arguments and errors as `e5studio.backends.load_backend` says."""
    module = load_module(files.folder, meta, _torch_dtype(dtype))
    if files.source == "folder":
        _copy_weights(module)
    return TorchBackend(module, torch.device(device))


def gpu_bytes(device: str) -> int:
    """Free memory of a GPU."""
    return torch.cuda.mem_get_info(device)[0]


def resolve_choices(device: str, dtype: DType) -> tuple[str, str]:
    """What "auto" stands for; see `e5studio.backends.resolve_choices`."""
    return str(choose_device(device)), str(_torch_dtype(dtype)).removeprefix("torch.")


def _copy_weights(module: PooledModel) -> None:
    """Weights are mapped from their file, and a folder's may be written anew in place, under a model that is in use."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()


def choose_device(device: str) -> torch.device:
    """The device of that name, or the best of cuda, mps and cpu for "auto".

    Raises:
        BackendError: The device is not on this machine.
    """
    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present.insert(0, "cuda")
    try:
        chosen = torch.device(present[0] if device == "auto" else device)
    except RuntimeError as error:
        raise BackendError(f"Unknown device {device!r}. Here are: {', '.join(present)}.") from error
    n_devices = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if chosen.type not in present or (chosen.index or 0) >= n_devices:
        raise BackendError(f"The device {device!r} is not on this machine. Here are: {', '.join(present)}.")
    return torch.device("cuda", chosen.index or 0) if chosen.type == "cuda" else torch.device(chosen.type)


class TorchBackend(BatchwiseBackend):
    """A model on one device; see `e5studio.backends.Backend`."""

    name = "torch"
    quantization = None

    def __init__(self, module: PooledModel, device: torch.device) -> None:
        self._module: Any = module.to(device)
        self._device = device
        self._device_lock = threading.Lock()  # one pass at a time: two would share the device anyway
        self._pad_id = int(module.model.config.pad_token_id or 0)
        self.device = str(device)
        self.dtype = str(module.model.dtype).removeprefix("torch.")
        self.n_bytes = sum(weights.nbytes for weights in module.parameters())
        self.limits = Limits(_TOKEN_BUDGETS[device.type], overhead=_OVERHEADS[device.type])
        if device.type == "cpu":
            pack(module)
            n_threads = cpu.chosen_threads() or min(cpu.n_threads(), torch.get_num_threads())
            if n_threads != torch.get_num_threads():  # whose default ignores a container's quota
                torch.set_num_threads(n_threads)
        self._process = os.getpid()
        _alive.add(self)

    def close(self) -> None:
        """Free the model."""
        with self._lock():
            self._module = None
        self._free_memory()

    def _lock(self) -> AbstractContextManager[Any]:
        return cpu.compute_lock() if self._device.type == "cpu" else self._device_lock

    def _free_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _run(self, batch: TokenBatch, *, token_vectors: bool) -> FloatArray:
        ids, mask = batch.padded(self._pad_id)
        padded = bool(batch.lengths.min() < mask.shape[1])
        with self._lock(), torch.inference_mode(), torch.autocast(self._device.type, enabled=False):
            if self._module is None:
                raise BackendError("This model was closed. Load it again to use it.")
            self._refuse_after_fork()
            input_ids = torch.from_numpy(ids).to(self._device)
            attention_mask = torch.from_numpy(mask).to(self._device)
            pooled, tokens = self._module(input_ids, attention_mask, padded)
            chosen = tokens[attention_mask.bool()] if token_vectors else pooled
            vectors: FloatArray = chosen.cpu().numpy()
        return vectors

    def _refuse_after_fork(self) -> None:
        if self._device.type != "cpu" and self._process != os.getpid():
            raise BackendError(
                f"This process was forked from the one that loaded the model on {self.device}, and no driver allows "
                "that. Start processes with multiprocessing's 'spawn' or 'forkserver', or take device='cpu'."
            )


def _continue_alone() -> None:
    """Make inherited models usable in a forked process."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tokenizers does so after a fork, with a warning
    for backend in _alive:
        backend._device_lock = threading.Lock()  # its holder exists in the parent only


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_continue_alone)


def _torch_dtype(dtype: DType) -> torch.dtype:
    if dtype not in _DTYPES:
        choices = ", ".join(name for name in _DTYPES if name != "auto")
        advice = "Take backend='openvino' for int8. " + 'Install it with: pip install "e5studio[openvino]"'
        fact = f"The torch backend computes in {choices}, not in {dtype!r}."
        raise BackendError(fact, advice if dtype == "int8" else "")
    return _DTYPES[dtype]
