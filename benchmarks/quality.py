"""What each back end and precision does to quality: SciFact, STS Benchmark, and cosine to float32 in torch.

Weights decide this, so it is measured with real ones: all-MiniLM-L6-v2 by default, or an E5 model where its
files are at hand. The data are not part of the project. Not a test: run it by hand.

    python benchmarks/quality.py --scifact FOLDER --sts FILE
    python benchmarks/quality.py --scifact FOLDER --sts FILE --model intfloat/e5-small-v2 --result FILE

FOLDER is SciFact in BEIR's form (corpus.jsonl, queries.jsonl, qrels/test.tsv); FILE is a table with the columns
split, score, sentence1 and sentence2, separated by tabs, without quotes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import warnings
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import tables
from machine import describe_machine
from numpy.typing import NDArray
from shapes import OFFLINE
from systems import SYSTEMS, System

from e5studio import E5Encoder, E5StudioError

RESULT = Path(__file__).with_name("results") / "quality.json"
REFERENCE = "torch float32"
Vectors = NDArray[np.float32]


class SciFact:
    """Documents, test queries and judgements.

    Args:
        folder: In BEIR's form.
        n_documents: Take only so many beside those that are judged; for trying the script.
    """

    def __init__(self, folder: Path, n_documents: int | None) -> None:
        with (folder / "qrels" / "test.tsv").open() as file:
            self.judged: dict[str, dict[str, int]] = {}
            for row in csv.DictReader(file, delimiter="\t"):
                self.judged.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
        wanted = {document for judgements in self.judged.values() for document in judgements}
        rows = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
        kept = [row for place, row in enumerate(rows) if place < (n_documents or len(rows)) or row["_id"] in wanted]
        self.documents = {row["_id"]: (row["title"] + " " + row["text"]).strip() for row in kept}
        queries = (json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8"))
        self.queries = {row["_id"]: row["text"] for row in queries if row["_id"] in self.judged}

    def ndcg_at_10(self, queries: Vectors, documents: Vectors) -> float:
        """As pytrec_eval has it: gain is the judgement, equal scores go by the later id first."""
        names = np.array(list(self.documents))
        by_name = np.argsort(names)[::-1]
        discounts = 1 / np.log2(np.arange(2, 12))
        values = []
        for query, scores in zip(self.queries, queries @ documents[by_name].T, strict=True):
            judgements = self.judged[query]
            best = names[by_name[np.argsort(-scores, kind="stable")[:10]]]
            gains = np.array([judgements.get(name, 0) for name in best])
            ideal = np.sort(list(judgements.values()))[::-1][:10]
            values.append((gains * discounts).sum() / (ideal * discounts[: len(ideal)]).sum())
        return float(np.mean(values))


def spearman(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Correlation of ranks; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(found), _ranks(wanted))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[place]
    return ranks


def read_sts(path: Path) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Sentences and scores of the test split."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["split"] == "test"]
    first, second = ([row[column] for row in rows] for column in ("sentence1", "sentence2"))
    return first, second, np.array([float(row["score"]) for row in rows])


def measure(system: System, scifact: SciFact, sts: Path, model: str, reference: Vectors | None) -> tuple[Any, Vectors]:
    """A row of the results, and the vectors of the documents.

    Raises:
        E5StudioError: The back end or the precision is not to be had here.
    """
    with E5Encoder(model, device="cpu", **system.options) as encoder:
        documents = encoder.encode_document(list(scifact.documents.values()))
        queries = encoder.encode_query(list(scifact.queries.values()))
        first, second, scores = read_sts(sts)
        pairs = [encoder.encode(sentences, prompt_name="symmetric") for sentences in (first, second)]
    cosines = np.einsum("nd,nd->n", pairs[0].astype(np.float64), pairs[1].astype(np.float64))
    row: dict[str, float] = {
        "scifact_ndcg_at_10": round(scifact.ndcg_at_10(queries, documents), 5),
        "sts_spearman": round(spearman(cosines, scores), 5),
    }
    if reference is not None:
        to_reference = np.einsum("nd,nd->n", documents.astype(np.float64), reference.astype(np.float64))
        row["lowest_cosine"] = round(float(to_reference.min()), 7)
        row["mean_cosine"] = round(float(to_reference.mean()), 7)
    return row, documents


def main() -> None:
    """Measure, write results/quality.json and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scifact", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sts", type=Path, required=True, metavar="FILE")
    parser.add_argument("--model", default=OFFLINE)
    parser.add_argument("--systems", nargs="+", default=["*"], metavar="PATTERN", help="as 'openvino int8'")
    parser.add_argument("--documents", type=int, help="so many beside those judged; only to try the script")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "e5studio-benchmarks")
    parser.add_argument("--result", type=Path, default=RESULT)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # long abstracts are cut, as everywhere
    os.environ["E5STUDIO_CACHE"] = str(chosen.folder / "converted")
    scifact = SciFact(chosen.scifact, chosen.documents)
    result: dict[str, Any] = {
        "machine": describe_machine("torch", "transformers", "openvino", "nncf", "onnxruntime", "numpy"),
        "model": chosen.model,
        "documents": len(scifact.documents),
        "queries": len(scifact.queries),
        "systems": {},
        "not_measured": {},
    }
    ours = {system.name.removeprefix("e5studio "): system for system in SYSTEMS if system.is_ours}
    reference: Vectors | None = None
    for name in sorted(ours, key=lambda name: name != REFERENCE):
        if name != REFERENCE and not any(fnmatch(name, pattern) for pattern in chosen.systems):
            continue
        try:
            row, documents = measure(ours[name], scifact, chosen.sts, chosen.model, reference)
        except E5StudioError as error:
            result["not_measured"][name] = str(error)
            print(f"{name}: not measured ({error})", flush=True)
            continue
        reference = documents if name == REFERENCE else reference
        result["systems"][name] = row
        print(name, row, flush=True)
        chosen.result.write_text(json.dumps(result, indent=2) + "\n")
    if chosen.result == RESULT:
        tables.write()


if __name__ == "__main__":
    main()
