"""A fine-tune on two cores: what it brings on held-out queries, and how fast it is beside the plain trainer.

The recipe is the one that `e5studio train` takes on a CPU, but for bfloat16, one epoch and 64 tokens, which make it a
matter of minutes; it was fixed before any held-out query was looked at. A run that is stopped goes on where it was. The
data are not part of the project. Not a test: run it by hand.

    python benchmarks/training.py gain --pairs FOLDER --general FILE --work FOLDER
    python benchmarks/training.py speed --pairs FOLDER
    python benchmarks/training.py memory --pairs FOLDER

`gain` takes a BEIR folder with a train split, and a table of scored pairs to see what is forgotten. `speed` trains a
few steps of the same triplets by sentence-transformers' trainer at its defaults (but for E5's prompts and scale, and
our batches and their order, so that the losses can be compared) and by ours (`pip install ".[train]"`). `memory` trains
a few steps of 64 queries, with 3 negatives and 192 tokens, in the shape of e5-small-v2.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from e5studio import E5Encoder
from e5studio.options import ModelOptions
from e5studio.training import TrainingSet, TrainOptions, read_training_set, train

RESULT = Path(__file__).with_name("results") / "training.json"
MODEL = "intfloat/multilingual-e5-small@4bit"
_SPEED_RECIPE: dict[str, Any] = {"learning_rate": 3e-5, "warmup_share": 0.0, "max_tokens": 64}
PACKAGES = ("torch", "transformers", "sentence-transformers", "accelerate", "openvino")


def gain(pairs: Path, general: Path, work: Path) -> dict[str, Any]:
    """Fine-tune, and evaluate before and after."""
    work.mkdir(parents=True, exist_ok=True)
    clock = work / f"clock-{os.getpid()}.json"
    start = time.perf_counter()

    def note(stage: str, done: int, total: int) -> None:
        from e5studio.training.report import peak_memory

        seconds = time.perf_counter() - start
        clock.write_text(json.dumps({"stage": stage, "seconds": seconds, "peak_bytes": peak_memory()}))
        print(f"{seconds:6.0f} s  {stage} {done:,}/{total:,}", flush=True)

    options = TrainOptions(
        named_sets=(general,),
        recipe={"dtype": "bfloat16", "n_epochs": 1, "max_tokens": 64, "checkpoint_seconds": 100.0},
    )
    result = train(pairs, ModelOptions(MODEL, dtype="bfloat16"), work / "model", options, on_stage=note)
    pieces = [json.loads(path.read_text()) for path in work.glob("clock-*.json")]
    report = result.report.as_json()
    for verdict in report["verdicts"]:
        verdict.pop("evaluations")
    return report | {
        "all_seconds": round(sum(piece["seconds"] for piece in pieces)),
        "pieces": len(pieces),
        "peak_memory_bytes": max(piece["peak_bytes"] for piece in pieces),
    }


def speed(pairs: Path, n_steps: int, only: list[str]) -> dict[str, Any]:
    """Tokens a second and losses of each system over the same steps."""
    from e5studio.training import model_folder

    training_set = _with_random_negatives(read_training_set(pairs))
    with tempfile.TemporaryDirectory() as folder, E5Encoder(MODEL, backend="torch") as encoder:
        model_folder.write_start_folder(encoder, Path(folder) / "start")
        systems: dict[str, Callable[[], dict[str, Any]]] = {
            "sentence-transformers": lambda: _plain(Path(folder), training_set, n_steps),
            "ours, float32, all weights, dropout": lambda: _ours(
                encoder, Path(folder), training_set, n_steps, freezes_words=False, has_dropout=True
            ),
            "ours, float32": lambda: _ours(encoder, Path(folder), training_set, n_steps),
            "ours, bfloat16": lambda: _ours(encoder, Path(folder), training_set, n_steps, dtype="bfloat16"),
        }
        rows = {}
        for name, run in systems.items():
            if not only or name in only:
                rows[name] = run()
                print(name, rows[name], flush=True)
    return rows


def memory(pairs: Path, n_steps: int) -> dict[str, Any]:
    """The peak of this process; all weights are trained, as they are by default in a model of one language."""
    from shapes import shape

    from e5studio.training import model_folder
    from e5studio.training.report import peak_memory

    training_set = _with_random_negatives(read_training_set(pairs), 3)
    with tempfile.TemporaryDirectory() as folder:
        made = shape("e5-small-v2", Path(folder))
        with E5Encoder(made.meta, path=made.folder, backend="torch") as encoder:
            model_folder.write_start_folder(encoder, Path(folder) / "start")
        before = peak_memory()
        row = _ours(encoder, Path(folder), training_set, n_steps, batch_size=64, n_negatives=3, max_tokens=192)
    return {"peak_bytes_before": before, "peak_bytes": peak_memory(), **row}


def _with_random_negatives(training_set: TrainingSet, n: int = 1) -> TrainingSet:
    chance = np.random.default_rng(0)
    rows = chance.integers(len(training_set.documents), size=(len(training_set.examples), n)).tolist()
    examples = [replace(each, negatives=tuple(row)) for each, row in zip(training_set.examples, rows, strict=True)]
    return training_set.with_examples(examples)


def _steps(training_set: TrainingSet, n_steps: int, batch_size: int = 32, n_negatives: int = 1) -> Any:
    from e5studio.training.steps import StepOptions, plan_steps

    return plan_steps(training_set, StepOptions(batch_size, n_epochs=1, n_negatives=n_negatives))[:n_steps]


def _recipe(encoder: E5Encoder, **changes: Any) -> Any:
    from e5studio import checkpoint
    from e5studio.training.recipe import recipe_for

    n_words = checkpoint.count_words(encoder.files.folder)
    return recipe_for(
        encoder.meta,
        n_words,
        0,
        device="cpu",
        **(_SPEED_RECIPE | changes),
    )


def _ours(encoder: E5Encoder, folder: Path, training_set: TrainingSet, n_steps: int, **changes: Any) -> dict[str, Any]:
    from e5studio.training.roles import RolePrompts
    from e5studio.training.weights import train_weights

    recipe = _recipe(encoder, **changes)
    done = train_weights(
        folder / "start",
        folder / "ours",
        training_set,
        _steps(training_set, n_steps, recipe.batch_size, recipe.n_negatives),
        RolePrompts.of("query_passage"),
        recipe,
        meta=encoder.meta,
        checkpoints=Path(tempfile.mkdtemp(dir=folder)),
    ).steps
    return {"tokens_per_second": round(done.n_tokens / done.seconds, 1), "losses": done.losses}


def _plain(folder: Path, training_set: TrainingSet, n_steps: int) -> dict[str, Any]:
    """The trainer as its documentation shows it."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from torch.utils.data import BatchSampler, SequentialSampler

    draws = [draw for step in _steps(training_set, n_steps) for draw in step]
    documents = training_set.documents
    rows = {
        "anchor": [training_set.examples[draw.example].query for draw in draws],
        "positive": [documents[draw.positive] for draw in draws],
        "negative": [documents[draw.negatives[0]] for draw in draws],
    }
    model = SentenceTransformer(str(folder / "start"), device="cpu", local_files_only=True)
    model.max_seq_length = 64
    prompts = {"anchor": "query: ", "positive": "passage: ", "negative": "passage: "}
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=tempfile.mkdtemp(dir=folder),
            per_device_train_batch_size=32,
            num_train_epochs=1,
            learning_rate=3e-5,
            prompts=prompts,
            batch_sampler=lambda dataset, **_: BatchSampler(SequentialSampler(dataset), 32, drop_last=False),
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
        ),
        train_dataset=Dataset.from_dict(rows),
        loss=MultipleNegativesRankingLoss(model, scale=100),
    )
    tokenizer = model.tokenizer
    lengths = [
        min(len(tokenizer(prompts[column] + text)["input_ids"]), 64) for column, texts in rows.items() for text in texts
    ]
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"tokens_per_second": round(sum(lengths) / seconds, 1), "losses": losses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["gain", "speed", "memory"])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--general", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.what == "gain":
        figures = gain(options.pairs, options.general, options.work)
    elif options.what == "speed":
        figures = speed(options.pairs, options.steps, options.only)
    else:
        figures = memory(options.pairs, options.steps)
    results = json.loads(options.result.read_text()) if options.result.is_file() else {}
    results[options.what] = results.get(options.what, {}) | figures
    results["machine"] = describe_machine(*PACKAGES)
    options.result.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
