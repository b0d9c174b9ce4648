"""Runs a task on mteb's harness, and extracts the data for intervals and tests from its predictions."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import datasets.exceptions
import mteb
import numpy as np

from e5studio.analysis.retrieval_metrics import QueryScores, cut_off, is_metric, query_scores
from e5studio.cache import VectorCache
from e5studio.encoder import E5Encoder
from e5studio.errors import UnknownTaskError
from e5studio.evaluation.mteb_adapter import MtebEncoder
from e5studio.evaluation.protocols import Protocol
from e5studio.evaluation.run import STS_METRIC, Evaluation, StsSample
from e5studio.models import PromptKind
from e5studio.streams import is_terminal

_RETRIEVAL_TYPES = ("Retrieval", "Reranking")


def load_task(name: str, *, split: str | None = None) -> Any:
    """A task of mteb with its data.

    Args:
        name: mteb's name.
        split: The split to evaluate on; None: all of mteb's evaluation splits.

    Raises:
        UnknownTaskError: mteb has no such task, or its data are neither here nor on the Hub.
    """
    try:
        task = mteb.get_task(name, eval_splits=[split] if split else None)
    except (KeyError, ValueError) as error:
        reason = str(error.args[0] if error.args else error).removeprefix("KeyError: ").rstrip(".?")
        raise UnknownTaskError(
            f"{name!r} is no folder, no file, and no task of mteb: {reason}. Give a folder in BEIR's form, a table of "
            "pairs, or a task's name."
        ) from error
    splits = task.metadata.eval_splits
    if split is not None and split not in splits:
        raise UnknownTaskError(f"{name} has no split {split!r}. mteb evaluates on {', '.join(splits)}.")
    try:
        task.load_data()
    except (OSError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UnknownTaskError(
            f"The data of {name} are not on this machine and could not be downloaded: {reason}. Check the network, or "
            "give a folder that holds them."
        ) from error
    return task


def evaluate_with_mteb(
    encoder: E5Encoder,
    task: Any,
    *,
    protocol: Protocol = "authors",
    prompt_kind: PromptKind | None = None,
    instruction: str | None = None,
    cache: VectorCache | None = None,
) -> Evaluation:
    """Evaluate on mteb's harness.

    Args:
        encoder: The encoder.
        task: From `load_task`, or any other task of mteb.
        protocol: Whose rules choose the prompts.
        prompt_kind: As `MtebEncoder`.
        instruction: As `MtebEncoder`.
        cache: The vector cache; None: no cache.
    """
    model = MtebEncoder(encoder, protocol=protocol, prompt_kind=prompt_kind, instruction=instruction, cache=cache)
    with tempfile.TemporaryDirectory(prefix="e5studio-") as folder, _no_bars_off_a_terminal():
        results = mteb.evaluate(
            model, task, cache=None, prediction_folder=folder, co2_tracker=False, show_progress_bar=False
        )
        [result] = results.task_results
        predictions = _predictions(Path(folder))
    entries = [entry for split in result.scores.values() for entry in split]
    metric = task.metadata.main_score
    is_single = len(entries) == 1
    scores = {name: float(value) for name, value in entries[0].items() if is_single and isinstance(value, int | float)}
    model.work.total_seconds = result.evaluation_time or 0.0
    return Evaluation(
        task=task.metadata.name,
        split=", ".join(result.scores),
        dataset_revision=result.dataset_revision,
        spec=model.encoder.spec,
        prompts=model.used.get(task.metadata.name)
        or next(iter(model.used.values())),  # of an aggregate, its first part
        metric=metric,
        scores={**scores, metric: float(result.get_score())},
        sample=_sample(task, metric, next(iter(result.scores)), predictions) if is_single else None,
        work=model.work,
        mteb_result=json.loads(result.model_dump_json()),  # as mteb writes it, null for NaN
    )


@contextmanager
def _no_bars_off_a_terminal() -> Iterator[None]:
    if is_terminal(sys.stderr) or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def _predictions(folder: Path) -> dict[str, Any]:
    files = list(folder.rglob("*_predictions.json"))
    return json.loads(files[0].read_text(encoding="utf-8")) if files else {}


def _sample(task: Any, metric: str, split: str, predictions: dict[str, Any]) -> QueryScores | StsSample | None:
    """The data behind the main score, if mteb stores it: rankings, or cosines of pairs."""
    subset = next(iter(task.hf_subsets or ["default"]))
    prediction = predictions.get(subset, {}).get(split)
    if prediction is None:
        return None
    if task.metadata.type == "STS" and metric == STS_METRIC:
        data = task.dataset[split] if split in task.dataset else task.dataset[subset][split]
        return StsSample(np.array(prediction["cosine_scores"]), np.array(data["score"], np.float64))
    if task.metadata.type in _RETRIEVAL_TYPES and is_metric(metric) and not task.skip_first_result:
        if task.ignore_identical_ids:
            prediction = {
                query: {doc: s for doc, s in ranked.items() if doc != query} for query, ranked in prediction.items()
            }
        return query_scores(task.dataset[subset][split]["relevant_docs"], prediction, k_values=[cut_off(metric)])
    return None
