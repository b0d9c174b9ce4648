"""Which backends this machine has, which one "auto" means, and how one is loaded by name."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import platform
import sys
from dataclasses import dataclass
from typing import Any, cast, get_args

from e5studio import memory
from e5studio.backends.protocol import Backend, BackendName, DType
from e5studio.errors import BackendError, MissingDependencyError
from e5studio.hub import ModelFiles
from e5studio.models import ModelMeta

_PACKAGES = {"openvino": "openvino", "torch": "torch", "onnx": "onnxruntime"}  # fastest on a CPU first
_CONVERSION_PACKAGES = {"onnx": "onnx"}  # for what is not converted yet; what is on disk runs without


def resolve_choices(name: BackendName, *, device: str, dtype: DType) -> tuple[BackendName, str, DType]:
    """What "auto" and abbreviations stand for on this machine, so that equal choices are equal.

    A backend of "auto" is torch on a GPU, and on a CPU the fastest one that is installed and computes
    in the precision chosen.

    Raises:
        MissingDependencyError: The backend's package is not installed.
        BackendError: The backend, the device or the precision is not available here.
    """
    if name == "auto":
        name = _fastest(device, dtype)
    device, dtype = _import_backend(name).resolve_choices(device, dtype)
    return name, device, dtype


def check_fits(
    name: BackendName, model: str, n_parameters: int, *, device: str, dtype: DType, freeable: int = 0
) -> None:
    """Refuse a model whose weights would not fit on the device, before anything is allocated.

    Arguments are as in `load_backend`; `freeable` are bytes that other models would give up for it.

    Raises:
        OutOfMemoryError: With both sizes, and the precision that would fit.
    """
    is_gpu = device.startswith("cuda")
    available = _import_backend("torch").gpu_bytes(device) if is_gpu else memory.available_bytes()
    read_in = dtype if name == "torch" else "float32"  # the others convert from float32
    memory.check_fits(model, n_parameters, read_in, None if available is None else available + freeable)


def load_backend(name: BackendName, files: ModelFiles, meta: ModelMeta, *, device: str, dtype: DType) -> Backend:
    """Load a model's weights into a backend.

    Args:
        name: Backend, from `resolve_choices` as `device` and `dtype` are.
        files: Where config.json and the weights are.
        meta: What the model is.
        device: Where to compute.
        dtype: Precision of the computation.

    Raises:
        ModelFilesError: The files are not what `meta` says.
        OutOfMemoryError: The weights do not fit.
    """
    module = _import_backend(name)
    with memory.as_out_of_memory(meta.name):
        backend: Backend = module.load(files, meta, device=device, dtype=dtype)
    return backend


@dataclass(frozen=True)
class BackendStatus:
    """What a backend can do on this machine.

    Attributes:
        name: As `backend=` takes it.
        version: Of the package behind it, or None where that is not installed.
        device: What device="auto" stands for, or None.
        refused: For each precision None, or a sentence that says why it is not available.
        is_auto: Whether "auto" chooses it.
    """

    name: str
    version: str | None
    device: str | None
    refused: dict[str, str | None]
    is_auto: bool


def backend_statuses() -> list[BackendStatus]:
    """All backends, and what they can do here."""
    chosen = _fastest("auto", "auto")
    return [_status(name, is_auto=name == chosen) for name in _PACKAGES]


def _status(name: str, *, is_auto: bool) -> BackendStatus:
    refused: dict[str, str | None] = {}
    device = None
    for dtype in get_args(DType)[1:]:
        try:
            module = _import_backend(name)
            device, _ = module.resolve_choices("auto", dtype)
            converts = _converts(name)
            refused[dtype] = None if converts else f"It is made with {_CONVERSION_PACKAGES[name]}. {_install(name)}"
        except (BackendError, MissingDependencyError) as error:
            refused[dtype] = str(error)
    version = _version(_PACKAGES[name]) if _is_installed(_PACKAGES[name]) else None
    return BackendStatus(name, version, device, refused, is_auto)


def _fastest(device: str, dtype: DType) -> BackendName:
    if device not in ("auto", "cpu") or (device == "auto" and _has_accelerator()):
        return "torch"
    last_choice = None
    for name in _PACKAGES:  # no further than needed: to learn what torch computes in takes its import, for seconds
        if not _computes_in(name, dtype):
            continue
        if _converts(name):
            return cast(BackendName, name)
        last_choice = last_choice or name  # it may have to make a model and could not, but serves one that is on disk
    return cast(BackendName, last_choice or "torch")  # torch says what is wrong


def _computes_in(name: str, dtype: DType) -> bool:
    if not _is_installed(_PACKAGES[name]):
        return False
    try:
        _import_backend(name).resolve_choices("cpu", dtype)
    except (BackendError, MissingDependencyError):
        return False
    return True


def _converts(name: str) -> bool:
    """Whether a backend can convert a model here, or needs not."""
    return name not in _CONVERSION_PACKAGES or _is_installed(_CONVERSION_PACKAGES[name])


def _has_accelerator() -> bool:
    """Whether torch has a device that is faster than the CPU; torch is imported only where a driver says so."""
    drivers = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libamdhip64.so")
    if not (_is_apple_silicon() or any(map(_has_library, drivers))):
        return False
    device, _ = _import_backend("torch").resolve_choices("auto", "float32")
    return bool(device != "cpu")


def _is_apple_silicon() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _is_installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None  # a mere folder of that name has none


def _version(package: str) -> str | None:
    """Of the distribution that brings the package: onnxruntime comes in several."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # it has another name; to look through all takes a second
        names = importlib.metadata.packages_distributions().get(package, [])
    return importlib.metadata.version(names[0]) if names else None


def _install(name: str) -> str:
    """How to get what a backend needs."""
    package = "torch" if name == "torch" else f'"e5studio[{name}]"'
    return f"Install it with: pip install {package}"


def _import_backend(name: str) -> Any:
    if name not in _PACKAGES:
        raise BackendError(f"Unknown backend {name!r}. There are: auto, {', '.join(_PACKAGES)}.")
    if not _is_installed(_PACKAGES[name]):
        raise MissingDependencyError(f"The {name} backend needs the package {_PACKAGES[name]!r}.", _install(name))
    try:
        with memory.as_out_of_memory(f"The package {_PACKAGES[name]!r}"):
            return importlib.import_module(f"e5studio.backends.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("e5studio"):
            raise
        raise MissingDependencyError(f"The {name} backend needs the package {error.name!r}.", _install(name)) from error
    except (ImportError, OSError) as error:  # the package is there, and broken
        raise BackendError(
            f"The {name} backend does not start: {error}. Install {_PACKAGES[name]} again, or take another backend."
        ) from error
