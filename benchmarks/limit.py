"""How close encoding comes to what the machine can do, and where the rest goes.

Matrix products are timed in each precision, then whole encoding of the mixed corpus, the same backend
fed with batches made before, and the parts. Rounds alternate. Not a test: run it by hand.

    python benchmarks/limit.py --systems 'openvino*'
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tables
from corpora import make_corpus
from machine import chip_result, describe_machine, is_quiet, load_of_others, wait_for_quiet
from numpy.typing import NDArray
from shapes import SHAPES, Shape, shape
from systems import SYSTEMS, System
from workers import Worker, WorkerError

RESULT = chip_result("limit")
PRECISIONS = ("float32", "bfloat16", "int8")
N_TEXTS = 192
ROUNDS = 5
N_FINALISTS = 3
_GROUPS = {
    # what a layer's type or name begins with or holds, in this order
    "linear": ("FullyConnected",),
    "attention": ("ScaledDotProductAttention", "scaled_dot_product", "Transpose", "Softmax"),
    "between precisions": ("Reorder", "Convert", "FakeQuantize"),
    "element-wise": ("Add", "Multiply", "MVN", "Subgraph", "Eltwise", "Gelu", "Divide", "Subtract", "PowerStatic"),
}


def operations_per_token(config: dict[str, Any], lengths: NDArray[np.int64]) -> dict[str, float]:
    """Additions and multiplications that the model needs for one token of texts of these lengths.

    Args:
        config: config.json.
        lengths: Tokens of each text, (n,).
    """
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    linear = 2 * layers * (4 * hidden**2 + 2 * hidden * config["intermediate_size"])
    attention = 4 * layers * hidden * float((lengths.astype(np.float64) ** 2).sum() / lengths.sum())
    return {"linear": linear, "attention": attention}


def group_layers(layers: list[tuple[str, str, float]]) -> dict[str, float]:
    """Seconds of each group of layers."""
    seconds = dict.fromkeys([*_GROUPS, "other"], 0.0)
    for kind, name, taken in layers:
        group = next((group for group, marks in _GROUPS.items() if _is_marked(kind, name, marks)), "other")
        seconds[group] += taken
    return seconds


def _is_marked(kind: str, name: str, marks: tuple[str, ...]) -> bool:
    return any(kind.startswith(mark) or (kind == "Subgraph" and mark in name) for mark in marks)


class Limit:
    """One run.

    Args:
        chosen: The command line.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._chosen = chosen
        self._made: Shape = shape(chosen.model, chosen.folder)
        self._config = json.loads((self._made.folder / "config.json").read_text())
        self._texts = make_corpus("mixed", chosen.texts).texts

    def peaks(self) -> dict[str, Any]:
        """Operations a second of matrix products; the largest of a precision is its peak."""
        sizes = {
            "n_layers": self._config["num_hidden_layers"],
            "hidden": self._config["hidden_size"],
            "intermediate": self._config["intermediate_size"],
        }
        found = {}
        for precision in PRECISIONS:
            with self._worker() as worker:
                by_engine = worker.call("peaks", precision=precision, **sizes)
            found[precision] = {
                "peak": max(max(shapes.values()) for shapes in by_engine.values()),
                "linear_layers": max(
                    max(shapes.values()) for engine, shapes in by_engine.items() if "all linear layers" in engine
                ),
                "by_shape": by_engine,
            }
            print(precision, {key: f"{found[precision][key] / 1e9:.0f} G" for key in ("peak", "linear_layers")})
        return found

    def measure(self, system: System, peaks: dict[str, Any]) -> dict[str, Any]:
        """One backend in one precision.

        Raises:
            WorkerError: It is not there, with the reason.
        """
        with self._worker() as worker:
            self._load(worker, system)
            about = worker.call("corpus", texts=self._texts)
            ways = list(about["computed_per_token"])
            rates, whole = self._rounds(worker, ways, sum(about["lengths"]))
            parts = worker.call("parts")
        best = max((way for way in ways if len(rates[way]) == len(whole)), key=lambda way: median(rates[way]))
        needed = operations_per_token(self._config, np.array(about["lengths"]))
        rate, peak = median(whole), peaks[system.precision]
        row = {
            "precision": system.precision,
            "tokens_per_second": _spread(whole),
            "prepared_tokens_per_second": {way: _spread(rates[way]) for way in ways},
            "best_shape": best,
            "share_of_best_shape": _spread([own / other for own, other in zip(whole, rates[best], strict=True)]),
            "operations_per_token": needed,
            "share_of_peak": round(rate * sum(needed.values()) / peak["peak"], 4),
            "bound_tokens_per_second": round(peak["linear_layers"] / needed["linear"], 1),
            "share_of_bound": round(rate * needed["linear"] / peak["linear_layers"], 4),
            "computed_per_token": about["computed_per_token"],
            "limits": about["limits"],
            "seconds_of_parts": parts,
            "seconds_of_all": round(sum(about["lengths"]) / rate, 4),
        }
        if system.options["backend"] == "openvino":
            row["layers"] = self._layers(system)
        return row

    def _rounds(self, worker: Worker, ways: list[str], n_tokens: int) -> tuple[dict[str, list[float]], list[float]]:
        """Tokens a second of each way to batch, and of the whole.

        All ways run twice, the first time to warm up; then the fastest run beside the whole, round after round.
        """
        seconds: dict[str, float] = {}
        for _ in range(2):
            seconds = {way: self._timed(worker, "prepared", way=way) for way in ways}
        rates = {way: [n_tokens / seconds[way]] for way in ways}
        finalists = sorted(ways, key=lambda way: seconds[way])[:N_FINALISTS]
        rates |= {way: [] for way in finalists}
        self._timed(worker, "end_to_end")
        whole: list[float] = []
        for _ in range(self._chosen.rounds):
            if not self._chosen.busy:
                wait_for_quiet()
            for way in finalists:
                rates[way].append(n_tokens / self._timed(worker, "prepared", way=way))
            whole.append(n_tokens / self._timed(worker, "end_to_end"))
        return rates, whole

    def _timed(self, worker: Worker, do: str, **request: Any) -> float:
        """Seconds of a request during which other programs did next to nothing."""
        ask = functools.partial(worker.call, do, **request)
        for _ in range(3):
            before = load_of_others()
            answer = ask()
            clock, others = load_of_others()
            if self._chosen.busy or is_quiet(before, (clock, others - answer["cpu"])):
                break
        return float(answer["seconds"])

    def _layers(self, system: System) -> dict[str, Any]:
        with self._worker() as worker:
            self._load(worker, system, profiled=True)
            worker.call("corpus", texts=self._texts)
            layers = worker.call("layers")
        merged: dict[str, float] = {}
        for kind, _, seconds in layers:
            merged[kind] = merged.get(kind, 0.0) + seconds
        top = dict(sorted(merged.items(), key=lambda item: -item[1])[:12])
        return {"groups": group_layers(layers), "by_type": top}

    def _worker(self) -> Worker:
        import sys

        cache = {"E5STUDIO_CACHE": str(self._chosen.folder / "converted")}
        log = self._chosen.folder / "limit.log"
        return Worker(sys.executable, "limit_worker.py", log=log, environment=cache)

    def _load(self, worker: Worker, system: System, *, profiled: bool = False) -> None:
        model, folder = self._made.meta.name, str(self._made.folder)
        worker.call("load", model=model, folder=folder, profiled=profiled, **system.options)


def _spread(values: list[float]) -> dict[str, float]:
    return {name: round(of(values), 4) for name, of in (("median", median), ("min", min), ("max", max))}


def main() -> None:
    """Measure, write results/limit-CHIP.json and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="e5-small-v2")
    parser.add_argument("--systems", nargs="+", default=["*"], metavar="PATTERN", help="as 'openvino float32'")
    parser.add_argument("--texts", type=int, default=N_TEXTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--busy", action="store_true", help="measure although other programs run")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "e5studio-benchmarks")
    parser.add_argument("--result", type=Path, default=RESULT)
    chosen = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    chosen.folder.mkdir(parents=True, exist_ok=True)
    limit = Limit(chosen)
    peaks = limit.peaks()
    result: dict[str, Any] = {
        "machine": describe_machine("torch", "openvino", "onnxruntime", "numpy", "tokenizers"),
        "model": chosen.model,
        "texts": chosen.texts,
        "rounds": chosen.rounds,
        "peaks": peaks,
        "systems": {},
        "not_measured": {},
    }
    for system in SYSTEMS:
        name = system.name.removeprefix("e5studio ")
        if not system.is_ours or not any(fnmatch(name, pattern) for pattern in chosen.systems):
            continue
        try:
            row = limit.measure(system, peaks)
        except WorkerError as error:
            result["not_measured"][name] = str(error)
            print(f"{name}: not measured ({error})")
            continue
        result["systems"][name] = row
        shares = {key: row[key] for key in ("tokens_per_second", "share_of_best_shape", "share_of_peak")}
        print(name, json.dumps(shares), flush=True)
    chosen.result.write_text(json.dumps(result, indent=2) + "\n")
    if chosen.result == RESULT:
        tables.write()


if __name__ == "__main__":
    main()
