"""Whether `encode_blocks` keeps its memory while 200,000 short texts stream through it, each way in a fresh process.

Texts are made as they are asked for and vectors are dropped, so what grows is ours. Not a test: run it by hand.

    python benchmarks/stream.py --systems 'openvino float32' 'torch float32'
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import tables
from corpora import endless_short_texts
from machine import describe_machine
from memory import Watch, resident_mb
from shapes import SHAPES, shape
from systems import SYSTEMS

RESULT = Path(__file__).with_name("results") / "stream.json"
N_TEXTS = 200_000
ALLOWED_GROWTH_MB = 200


def stream(model: str, folder: str, backend: Any, dtype: Any, n_texts: int) -> dict[str, Any]:
    """Load an encoder in this process and stream texts through it.

    Returns:
        Memory after loading, and the largest during each block; seconds.
    """
    from e5studio import E5Encoder

    texts = endless_short_texts()
    next(texts)  # reads the docstrings; that memory must not count as the first block's
    encoder = E5Encoder(model, path=folder, backend=backend, device="cpu", dtype=dtype)
    watch = Watch()
    loaded, largest, n_vectors = round(resident_mb(), 1), [], 0
    started = time.perf_counter()
    for block in encoder.encode_blocks(itertools.islice(texts, n_texts), prompt_name="document"):
        n_vectors += len(block)
        largest.append(watch.largest())
    assert n_vectors == n_texts
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "loaded_mb": loaded,
        "first_block_mb": largest[0],
        "last_block_mb": largest[-1],
        "peak_mb": max(largest),
        "growth_mb": round(max(largest) - largest[0], 1),
        "block_mb": largest,
    }


def main() -> None:
    """Measure each way in a process of its own, write results/stream.json and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="all-MiniLM-L6-v2")
    parser.add_argument("--systems", nargs="+", default=["openvino float32"], metavar="PATTERN")
    parser.add_argument("--texts", type=int, default=N_TEXTS)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "e5studio-benchmarks")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["E5STUDIO_CACHE"] = str(chosen.folder / "converted")
    if chosen.here:
        print(json.dumps(stream(**json.loads(chosen.here))))
        return
    made = shape(chosen.model, chosen.folder)
    result: dict[str, Any] = {
        "machine": describe_machine("torch", "openvino", "onnxruntime", "numpy", "tokenizers"),
        "model": chosen.model,
        "texts": chosen.texts,
        "allowed_growth_mb": ALLOWED_GROWTH_MB,
        "systems": {},
    }
    for system in SYSTEMS:
        name = system.name.removeprefix("e5studio ")
        if not system.is_ours or not any(fnmatch(name, pattern) for pattern in chosen.systems):
            continue
        asked = {"model": made.meta.name, "folder": str(made.folder), "n_texts": chosen.texts, **system.options}
        command = [sys.executable, __file__, "--folder", str(chosen.folder), "--here", json.dumps(asked)]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        result["systems"][name] = row
        print(name, {key: value for key, value in row.items() if key != "block_mb"}, flush=True)
    chosen.result.write_text(json.dumps(result, indent=2) + "\n")
    if chosen.result == RESULT:
        tables.write()


if __name__ == "__main__":
    main()
