"""The process that `limit.py` starts for one backend and precision: times whole encoding and its parts.

Requests and answers are lines of JSON on stdin and stdout.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import gemm
from workers import serve

from e5studio import E5Encoder
from e5studio.batching import Limits, TokenBatch, plan_batches

BUDGETS = (512, 1024, 2048, 4096, 8192)
ROW_COUNTS = (4, 8, 16, 32)


class Server:
    """Answers requests for one encoder, or for the matrix products."""

    def load(self, model: str, folder: str, backend: Any, dtype: Any, profiled: bool = False) -> str:
        """Load an encoder; `profiled` makes OpenVINO count the time of each layer, which slows it a little."""
        self._layers: Counter[tuple[str, str]] = Counter()
        if profiled:
            _count_layers(self._layers)
        self._encoder = E5Encoder(model, path=folder, backend=backend, device="cpu", dtype=dtype)
        return self._encoder.spec.dtype

    def corpus(self, texts: list[str]) -> dict[str, Any]:
        """Take the texts, and make ready all ways to batch them.

        Returns:
            Their lengths, and for each way how many tokens are computed for one of the texts.
        """
        self._texts = texts
        self._tokens = self._encoder.prepare(texts, prompt_name="document").batch
        lengths, limits = self._tokens.lengths, self._encoder._backend.limits
        self._ways = {"own": _batches(self._tokens, limits)}
        for budget in BUDGETS:
            own = replace(limits, token_budget=budget)
            self._ways[f"{budget} tokens"] = _batches(self._tokens, own)
            fewest = _batches(self._tokens, replace(own, overhead=1_000_000))
            self._ways[f"{budget} tokens, fewest batches"] = fewest
        order = np.argsort(-lengths, kind="stable")
        for count in ROW_COUNTS:
            rows = [order[start : start + count] for start in range(0, len(order), count)]
            self._ways[f"{count} rows"] = [self._tokens.select(row) for row in rows]
        padding = {name: sum(map(_computed, batches)) / int(lengths.sum()) for name, batches in self._ways.items()}
        about = {"token_budget": limits.token_budget, "overhead": limits.overhead}
        return {"lengths": lengths.tolist(), "computed_per_token": padding, "limits": about}

    def end_to_end(self) -> dict[str, float]:
        """From texts to vectors, as a user calls it."""
        return _timed(lambda: self._encoder.encode_document(self._texts))

    def prepared(self, way: str) -> dict[str, float]:
        """The backend alone, fed with batches made before."""
        return _timed(lambda: [len(rows) for rows in self._encoder._backend.embed(self._ways[way])])

    def parts(self) -> dict[str, float]:
        """Seconds of what happens beside the backend, each part alone, one after the other."""
        limits = self._encoder._backend.limits
        batches = self._ways["own"]
        return {
            "tokenising": _timed(lambda: self._encoder.prepare(self._texts, prompt_name="document"))["seconds"],
            "planning": _timed(lambda: plan_batches(self._tokens.lengths, limits))["seconds"],
            "gathering": _timed(lambda: _batches(self._tokens, limits))["seconds"],
            "padding": _timed(lambda: [batch.padded(0) for batch in batches])["seconds"],
        }

    def layers(self) -> list[tuple[str, str, float]]:
        """Seconds of each kind of layer in one pass over the texts, by type and by name without numbers."""
        self._encoder.encode_document(self._texts)
        self._layers.clear()
        self._encoder.encode_document(self._texts)
        return [(*key, seconds) for key, seconds in self._layers.most_common()]

    def peaks(self, precision: str, n_layers: int, hidden: int, intermediate: int) -> dict[str, dict[str, float]]:
        """Operations a second of matrix products, by engine and shape."""
        inner = [(hidden, intermediate), (intermediate, hidden)]
        shapes = [(rows, *pair) for rows in gemm.ROWS[2:5] for pair in inner] + [(gemm.SQUARE,) * 3]
        chain = gemm.linear_layers(n_layers, hidden, intermediate)
        engines = ["openvino"] if precision == "int8" else ["openvino", "torch"]
        chains = {"openvino": gemm.openvino_peak, "torch": gemm.torch_chain}
        return {
            "torch": {"x".join(map(str, shape)): gemm.torch_peak(precision, *shape) for shape in shapes},
            "openvino": {
                "x".join(map(str, shape)): gemm.openvino_peak(precision, shape[0], [shape[1:]]) for shape in shapes
            },
            **{
                f"{engine}, all linear layers": {
                    str(rows): chains[engine](precision, rows, chain) for rows in gemm.ROWS
                }
                for engine in engines
            },
        }


def _batches(tokens: TokenBatch, limits: Limits) -> list[TokenBatch]:
    return [tokens.select(rows) for rows in plan_batches(tokens.lengths, limits)]


def _computed(batch: TokenBatch) -> int:
    return int(len(batch) * batch.lengths.max())


def _timed(run: Callable[[], object]) -> dict[str, float]:
    cpu, started = time.process_time(), time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def _count_layers(layers: Counter[tuple[str, str]]) -> None:
    """Have every OpenVINO model that is compiled from here on count, and every request add its counts."""
    import re

    import openvino

    compile_model, infer = openvino.Core.compile_model, openvino.InferRequest.infer

    def counting(core: Any, model: Any, device: Any = None, config: Any = None, **more: Any) -> Any:
        return compile_model(core, model, device, {**(config or {}), "PERF_COUNT": True}, **more)

    def inferring(request: Any, *given: Any, **more: Any) -> Any:
        results = infer(request, *given, **more)
        for layer in request.get_profiling_info():
            name = re.sub("[0-9]+", "", layer.node_name)
            layers[layer.node_type, name] += layer.real_time.total_seconds()
        return results

    openvino.Core.compile_model = counting
    openvino.InferRequest.infer = inferring


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_OFFLINE"] = "1"
    with contextlib.suppress(KeyboardInterrupt):
        serve(Server())
