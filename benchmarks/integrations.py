"""The plug-ins beside each framework's own Hugging Face class: which vectors are right, and texts per second.

Each class runs in a process of its own, in an environment where it and its plug-in are installed
together; rounds alternate. Right means equal to the model card's script. Checkpoints have the exact
architectures and random weights. Not a test: run it by hand.

    python benchmarks/integrations.py --langchain ENV/bin/python --llama-index ENV/bin/python
    python benchmarks/integrations.py --tables   # only write the tables again, from results/integrations.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers import Worker

ROOT = Path(__file__).parent.parent
SCRIPT = "integrations_worker.py"
RESULT = Path(__file__).with_name("results") / "integrations.json"
N_TEXTS = 500
ROUNDS = 5
FRAMEWORKS = {"langchain": "langchain-e5studio", "llama-index": "llama-index-embeddings-e5studio"}
PEERS = {"langchain": "HuggingFaceEmbeddings", "llama-index": "HuggingFaceEmbedding"}
OURS = {"langchain": "E5Embeddings", "llama-index": "E5Embedding"}
CELLS = {
    "prompts": "`query: ` and `passage: ` by role",
    "template": "a task in the instruct template, documents bare",
    "newlines": "newlines reach the model",
    "end_token": "e5-mistral's text begins with BOS and ends with EOS",
    "normalized": "vectors of length 1, also where the repository names no Normalize module",
    "cache": "one cache for queries and documents of two models, without mixing",
    "length": "512 tokens of a longer text",
    "float32": "float32 on a checkpoint stored in float16",
}


@dataclass(frozen=True)
class Models:
    """Folders of the checkpoints."""

    e5_small_shape: str
    e5: str
    instruct: str
    mistral: str
    without_modules: str


def make_models(root: Path) -> Models:
    """Write the checkpoints: small ones to compare vectors, one in the shape of e5-small to measure."""
    import shutil

    from shapes import make_e5_small

    from tests.checkpoints import make_checkpoint

    names = ("e5", "multilingual-e5-instruct", "e5-mistral-instruct")
    e5, instruct, mistral = (make_checkpoint(name, root).folder for name in names)
    plain = root / "without-modules"
    shutil.copytree(e5, plain)
    (plain / "modules.json").unlink()
    return Models(str(make_e5_small(root / "e5-small")), str(e5), str(instruct), str(mistral), str(plain))


def expected_vectors(models: Models) -> dict[str, Any]:
    """What the model card's script gives for the texts that the cells ask for."""
    from integrations_worker import ASKED

    from tests.reference import Reference

    vectors = {}
    for name, (model, inputs) in ASKED.items():
        reference = Reference.load(Path(getattr(models, model)))
        embed = reference.embed_last_token if model == "mistral" else reference.embed
        vectors[name] = embed(inputs).tolist()
    return vectors


def measure(workers: dict[str, Worker], models: Models) -> dict[str, Any]:
    """Texts per second of each class in each precision, rounds in turn."""
    from corpora import docstrings
    from machine import wait_for_quiet

    texts = list(docstrings()[:N_TEXTS])
    measured: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        systems = [(framework, who) for framework in workers for who in ("ours", "peer")]
        for framework, who in systems:
            workers[framework].ask(do="load", who=who, model=models.e5_small_shape, dtype=dtype)
        seconds: dict[tuple[str, str], list[float]] = {system: [] for system in systems}
        is_warm = False
        while min(map(len, seconds.values())) < ROUNDS:
            wait_for_quiet()
            times = {}
            for framework, who in systems:
                times[framework, who] = workers[framework].ask(do="time", who=who, texts=texts)
            if is_warm:
                for system, taken in times.items():
                    seconds[system].append(taken)
                print(dtype, {"/".join(system): round(N_TEXTS / taken, 1) for system, taken in times.items()})
            is_warm = True
        for framework in workers:
            ours, peer = seconds[framework, "ours"], seconds[framework, "peer"]
            ratios = [theirs / own for own, theirs in zip(ours, peer, strict=True)]
            measured.setdefault(framework, {})[dtype] = {
                "ours_texts_per_second": round(N_TEXTS / statistics.median(ours), 1),
                "peer_texts_per_second": round(N_TEXTS / statistics.median(peer), 1),
                "ratio_median": round(statistics.median(ratios), 2),
                "ratio_min": round(min(ratios), 2),
                "ratio_max": round(max(ratios), 2),
            }
    return measured


def table(result: dict[str, Any], framework: str) -> str:
    """The README's table of one framework."""
    peer = f"{PEERS[framework]} {result['versions'][framework]['peer']}"
    lines = [
        "Right means equal to the model card's script, on small checkpoints in the exact architectures. "
        f"Texts per second: {result['texts']} docstrings of mixed length, {result['model']}, "
        f"{result['machine']['cores']} cores, {result['rounds']} rounds in turn (`benchmarks/integrations.py`).\n",
        f"| | {OURS[framework]} | {peer}, as it comes | {peer}, set by hand |",
        "| --- | --- | --- | --- |",
    ]
    for cell, words in CELLS.items():
        marks = [result["cells"][framework][column][cell] for column in ("ours", "peer", "by_hand")]
        lines.append(f"| {words} | " + " | ".join("yes" if mark else "**no**" for mark in marks) + " |")
    for dtype, words in {"float32": "float32, both as they come", "bfloat16": "bfloat16"}.items():
        row = result["speed"][framework][dtype]
        spread = f"{row['ratio_median']} x, {row['ratio_min']} to {row['ratio_max']}"
        lines.append(
            f"| texts per second, {words} | {row['ours_texts_per_second']:.0f} ({spread}) | "
            f"{row['peer_texts_per_second']:.0f} | |"
        )
    return "\n".join(lines)


def write_tables(result: dict[str, Any]) -> None:
    """Put each table between the marks of its README."""
    begin, end = "<!-- benchmark table: begin -->", "<!-- benchmark table: end -->"
    for framework, folder in FRAMEWORKS.items():
        path = ROOT / "integrations" / folder / "README.md"
        text = path.read_text(encoding="utf-8")
        head, rest = text.split(begin)
        path.write_text(f"{head}{begin}\n{table(result, framework)}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def run(pythons: dict[str, str]) -> dict[str, Any]:
    """Compare vectors, then speed."""
    from machine import describe_machine

    with (
        tempfile.TemporaryDirectory() as root,
        Worker(pythons["langchain"], SCRIPT, "langchain") as langchain,
        Worker(pythons["llama-index"], SCRIPT, "llama-index") as llama_index,
    ):
        models = make_models(Path(root))
        workers = {"langchain": langchain, "llama-index": llama_index}
        expected = expected_vectors(models)
        cells = {
            framework: worker.ask(do="cells", models=vars(models), expected=expected)
            for framework, worker in workers.items()
        }
        print(json.dumps(cells, indent=2))
        return {
            "machine": describe_machine("torch", "transformers"),
            "versions": {framework: worker.ask(do="versions") for framework, worker in workers.items()},
            "model": "the shape of e5-small-v2, random weights",
            "texts": N_TEXTS,
            "rounds": ROUNDS,
            "cells": cells,
            "speed": measure(workers, models),
        }


def main() -> None:
    """Measure, write results/integrations.json and the tables of the READMEs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--langchain", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--llama-index", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--tables", action="store_true")
    chosen = parser.parse_args()
    if not chosen.tables:
        result = run({"langchain": chosen.langchain, "llama-index": chosen.llama_index})
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    write_tables(json.loads(RESULT.read_text()))


if __name__ == "__main__":
    main()
