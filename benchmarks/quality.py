"""What each backend and precision does to quality: SciFact, STS Benchmark, and cosine to float32 in torch.

Weights decide this, so it is measured with real ones: all-MiniLM-L6-v2 by default, or an E5 model where its
files are at hand. The data are not part of the project. Not a test: run it by hand.

    python benchmarks/quality.py --scifact FOLDER --sts FILE
    python benchmarks/quality.py --scifact FOLDER --sts FILE --model intfloat/e5-small-v2 --result FILE

FOLDER is SciFact in BEIR's form; FILE is a table of pairs as `e5studio evaluate` reads it, whose functions do the
counting (`pip install ".[eval]"`).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import tables
from machine import describe_machine
from numpy.typing import NDArray
from shapes import OFFLINE
from systems import SYSTEMS, System

from e5studio import CachedEncoder, E5Encoder, E5StudioError, VectorCache
from e5studio.evaluation import Evaluation, RetrievalTask, StsTask, evaluate, paired_tests, read_beir, read_sts
from e5studio.prompts import join_title

RESULT = Path(__file__).with_name("results") / "quality.json"
REFERENCE = "torch float32"
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class CorpusEvaluation:
    """One system: its vectors of the documents, and both evaluations."""

    documents: Vectors
    evaluations: dict[str, Evaluation]

    def row(self, reference: CorpusEvaluation | None) -> dict[str, Any]:
        """Figures, and beside a reference what changed and how sure that is."""
        row: dict[str, Any] = {name: round(found.main_score, 5) for name, found in self.evaluations.items()}
        if reference is None:
            return row
        for name, found in self.evaluations.items():
            [test] = paired_tests([reference.evaluations[name], found])
            interval = test.comparison.interval
            row[f"{name}_change"] = {
                "low": round(interval.low, 5),
                "high": round(interval.high, 5),
                "p_value": round(test.comparison.p_value, 4),
            }
        cosines = np.einsum("nd,nd->n", self.documents.astype(np.float64), reference.documents.astype(np.float64))
        return row | {"lowest_cosine": round(float(cosines.min()), 7), "mean_cosine": round(float(cosines.mean()), 7)}


def measure(system: System, scifact: RetrievalTask, sts: StsTask, model: str) -> CorpusEvaluation:
    """Run one system.

    Raises:
        E5StudioError: The backend or the precision is not to be had here.
    """
    cache = VectorCache()
    with E5Encoder(model, device="cpu", **system.options) as encoder:
        evaluations = {
            "scifact_ndcg_at_10": evaluate(encoder, scifact, cache=cache),
            "sts_spearman": evaluate(encoder, sts, cache=cache),
        }
        texts = [join_title(document.title, document.text).strip() for document in scifact.documents()]
        prepared = encoder.prepare(texts, prompt_name="document")
        return CorpusEvaluation(CachedEncoder(encoder, cache).embed_prepared(prepared, texts), evaluations)


def main() -> None:
    """Measure, write results/quality.json and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scifact", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sts", type=Path, required=True, metavar="FILE")
    parser.add_argument("--model", default=OFFLINE)
    parser.add_argument("--systems", nargs="+", default=["*"], metavar="PATTERN", help="as 'openvino int8'")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "e5studio-benchmarks")
    parser.add_argument("--result", type=Path, default=RESULT)
    chosen = parser.parse_args()
    os.environ["E5STUDIO_CACHE"] = str(chosen.folder / "converted")
    scifact, sts = read_beir(chosen.scifact, name="SciFact"), read_sts(chosen.sts, name="STSBenchmark")
    result: dict[str, Any] = {
        "machine": describe_machine("torch", "transformers", "openvino", "onnxruntime", "numpy"),
        "model": chosen.model,
        "documents": len(scifact.document_ids),
        "queries": len(scifact.queries),
        "systems": {},
        "not_measured": {},
    }
    ours = {system.name.removeprefix("e5studio "): system for system in SYSTEMS if system.is_ours}
    reference: CorpusEvaluation | None = None
    for name in sorted(ours, key=lambda name: name != REFERENCE):
        if name != REFERENCE and not any(fnmatch(name, pattern) for pattern in chosen.systems):
            continue
        try:
            found = measure(ours[name], scifact, sts, chosen.model)
        except E5StudioError as error:
            result["not_measured"][name] = str(error)
            print(f"{name}: not measured ({error})", flush=True)
            continue
        result["systems"][name] = found.row(reference)
        reference = reference or found
        print(name, result["systems"][name], flush=True)
        chosen.result.write_text(json.dumps(result, indent=2) + "\n")
    if chosen.result == RESULT:
        tables.write()


if __name__ == "__main__":
    main()
