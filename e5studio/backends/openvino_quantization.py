"""From a float OpenVINO graph to int8, by NNCF. Imported for conversions only, since it needs NNCF.

Weights and activations of the linear layers become 8-bit integers whose scales are fixed here, so that a text's vector
depends on the text alone. The rest stays float, attention too: with the real multilingual-e5-small, on NFCorpus and STS
Benchmark's training texts, int8 in attention tripled what int8 does to the order of passages, and saved no time on an
AMD chip without VNNI. It was not timed on others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from e5studio.errors import MissingDependencyError

# The share of scale that moves from activations to weights (SmoothQuant). NNCF's default of 0.95 makes vectors worse:
# measured with all-MiniLM-L6-v2 on unrelated text, mean cosine to float32 0.9931 at 0.95, 0.9966 at 0.8.
_SMOOTHING = 0.8


def quantize(graph: Any, samples: list[dict[str, NDArray[Any]]]) -> Any:
    """Quantise the graph of a model.

    Args:
        graph: In float32.
        samples: Inputs of the graph on which the scales are measured.

    Raises:
        MissingDependencyError: NNCF is not installed.
    """
    nncf = _import_nncf()
    pad_id = graph.get_rt_info("pad_id").value
    smoothing = nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
    with _quiet(nncf):
        quantized = nncf.quantize(
            graph,
            nncf.Dataset(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(samples),
            ignored_scope=nncf.IgnoredScope(types=["ScaledDotProductAttention"], validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smoothing),
        )
    quantized.set_rt_info(pad_id, "pad_id")
    return quantized


def _import_nncf() -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # the only switch that disables its telemetry
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "A model is converted to int8 once, which needs the package 'nncf'.",
            'Install it with: pip install "e5studio[int8]"',
        ) from error
    return nncf


@contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """Hide its bars and reports."""
    import logging

    import rich

    console = rich.get_console()
    was_quiet, logger = console.quiet, logging.getLogger("nncf")
    level = logger.level
    console.quiet = True
    nncf.set_log_level(logging.ERROR)
    try:
        yield
    finally:
        console.quiet = was_quiet
        logger.setLevel(level)
