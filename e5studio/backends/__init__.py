"""Backends: what computes the vectors; see `protocol` for the seam and `choice` for which one is taken."""

from e5studio.backends.choice import BackendStatus, backend_statuses, check_fits, load_backend, resolve_choices
from e5studio.backends.protocol import Backend, BackendName, Capabilities, DType
from e5studio.similarity import FloatArray

__all__ = [
    "Backend",
    "BackendName",
    "BackendStatus",
    "Capabilities",
    "DType",
    "FloatArray",
    "backend_statuses",
    "check_fits",
    "load_backend",
    "resolve_choices",
]
