"""Linear layers by oneDNN, with weights laid out for it once: makes plain torch fast on CPUs that aren't Intel's.

torch multiplies float32 matrices with MKL, which runs at half speed on processors of other makers, and lays
bfloat16 weights out anew for every batch. The vectors stay the same but for the rounding of sums.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import torch

_mkl: Any = torch.backends.mkl
_mkldnn: Any = torch.backends.mkldnn
_ROWS = 1_024  # tokens of a batch that the layout is best for


def pack(module: torch.nn.Module) -> None:
    """Replace the linear layers of a module on the CPU, where that makes them faster; each weight is kept once."""
    for name, child in list(module.named_children()):
        if isinstance(child, torch.nn.Linear):
            if _gains(child.weight.dtype):
                setattr(module, name, _PackedLinear(child))
        else:
            pack(child)


class _PackedLinear(torch.nn.Module):
    """A linear layer for inference; it has no attributes of torch's own."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return result


def _gains(dtype: torch.dtype) -> bool:
    # The operations that torch's own compiler uses; no public ones do the same without copies.
    if not _mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _is_x86()
    return dtype == torch.float32 and _mkl.is_available() and _is_x86() and not _is_intel()


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


@functools.cache
def _is_intel() -> bool:
    """Whether Intel made the processor, as far as the system says; MKL is fastest there."""
    try:
        description = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        description = platform.processor()
    return "GenuineIntel" in description or not description
