"""The seam: what a back end takes and gives, and how one is loaded by name.

Everything above it (prompts, tokens, order, normalisation, dimensions) is written once.
Everything below (padding, masks, position ids, devices, pooling) is a back end's own affair.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import Limits, TokenBatch
from e5studio.errors import BackendError, MissingDependencyError
from e5studio.models import ModelMeta

FloatArray = NDArray[np.float32]
BackendName = Literal["auto", "torch"]
_BACKENDS = ("torch",)
DType = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Capabilities:
    """What a back end can do besides embedding.

    Attributes:
        token_embeddings: Whether it can give the vectors of single tokens.
    """

    token_embeddings: bool


class Backend(Protocol):
    """A loaded model. Methods may be called from several threads at once."""

    name: str
    device: str
    dtype: str
    n_bytes: int
    limits: Limits
    capabilities: Capabilities

    def embed(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        """Pooled vectors of each batch, (rows, embed_dim) float32, not normalised, in order."""
        ...

    def token_embeddings(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        """Token vectors of each batch, (sum of lengths, embed_dim) float32, in order."""
        ...

    def close(self) -> None:
        """Free the model; later calls fail."""
        ...


def load_backend(
    name: BackendName, folder: Path, meta: ModelMeta, *, device: str = "auto", dtype: DType = "auto"
) -> Backend:
    """Load a model's weights into a back end.

    Args:
        name: "torch", or "auto" for the fastest exact one that is installed.
        folder: Folder with config.json and model.safetensors.
        meta: What the model is.
        device: "auto", "cpu", "cuda", "cuda:1", "mps", ...
        dtype: Precision of the computation; "auto" is float32 on every device.

    Raises:
        ModelFilesError: The files are not what `meta` says.
        OutOfMemoryError: The weights would not fit.
        MissingDependencyError: The back end's package is not installed.
    """
    module = _import_backend(name)
    backend: Backend = module.load(folder, meta, device=device, dtype=dtype)
    return backend


def refuse_too_large(name: BackendName, model: str, n_parameters: int, *, device: str, dtype: DType) -> None:
    """Refuse a model whose weights would not fit on the device, before anything of it is loaded.

    Raises:
        OutOfMemoryError: With both sizes, and the precision that would fit.
    """
    _import_backend(name).refuse_too_large(model, n_parameters, device, dtype)


def resolve_choices(name: BackendName, *, device: str, dtype: DType) -> tuple[BackendName, str, DType]:
    """What "auto" and abbreviations stand for on this machine, so that equal choices are equal.

    Raises:
        BackendError: One of them is not to be had here.
    """
    module = _import_backend(name)
    device, dtype = module.resolve_choices(device, dtype)
    return "torch" if name == "auto" else name, device, dtype


def _import_backend(name: str) -> Any:
    name = "torch" if name == "auto" else name
    if name not in _BACKENDS:
        raise BackendError(f"Unknown back end {name!r}. There are: auto, {', '.join(_BACKENDS)}.")
    try:
        return importlib.import_module(f"e5studio.backends.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("e5studio"):
            raise
        raise MissingDependencyError(
            f"The {name} back end needs the package {error.name!r}. Install it with: pip install {error.name}"
        ) from error
