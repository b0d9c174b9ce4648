"""Results of evaluations: intervals, paired tests against the first, mteb's format.

`as_mteb_result` returns the format of mteb's `TaskResult` with one more key, "e5studio": the
encoder, the protocol, the prompts, intervals, and the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from e5studio.analysis.retrieval_metrics import QueryScores
from e5studio.analysis.significance import (
    Comparison,
    Interval,
    compare_means,
    compare_spearman,
    mean_interval,
    spearman_interval,
)
from e5studio.evaluation.published import check
from e5studio.evaluation.run import STS_METRIC, Evaluation, StsSample

_UNDETERMINED = "und-Zyyy"  # ISO 639 and 15924 codes for an unspecified language and script


@dataclass(frozen=True)
class PairedTest:
    """One evaluation against the first.

    Attributes:
        metric: The score compared.
        first: Index of the baseline in the list of evaluations.
        second: Index of the other evaluation.
        comparison: Difference, its interval, p value.
    """

    metric: str
    first: int
    second: int
    comparison: Comparison


def interval(evaluation: Evaluation) -> Interval | None:
    """Bootstrap interval of the main score; None if only scores are known, or for too few queries or pairs."""
    sample = evaluation.sample
    if isinstance(sample, QueryScores):
        return mean_interval(sample.values[evaluation.metric])
    if isinstance(sample, StsSample) and evaluation.metric == STS_METRIC:
        return spearman_interval(sample.cosines, sample.gold)
    return None


def paired_tests(evaluations: Sequence[Evaluation]) -> list[PairedTest]:
    """Each evaluation after the first against the first, if both have the same queries or pairs."""
    return [
        PairedTest(evaluations[0].metric, 0, index, comparison)
        for index, evaluation in enumerate(evaluations[1:], 1)
        if (comparison := _compare(evaluations[0], evaluation)) is not None
    ]


def _compare(first: Evaluation, second: Evaluation) -> Comparison | None:
    if (first.task, first.split, first.dataset_revision) != (second.task, second.split, second.dataset_revision):
        return None
    a, b = first.sample, second.sample
    if isinstance(a, QueryScores) and isinstance(b, QueryScores) and a.query_ids == b.query_ids:
        return compare_means(a.values[first.metric], b.values[first.metric])
    if isinstance(a, StsSample) and isinstance(b, StsSample) and np.array_equal(a.gold, b.gold):
        return compare_spearman(a.cosines, b.cosines, a.gold)
    return None


def as_mteb_result(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as mteb writes its results, readable by `mteb.TaskResult.model_validate`."""
    return {**(evaluation.mteb_result or _in_mteb_form(evaluation)), "e5studio": _beside_mteb(evaluation)}


def _in_mteb_form(evaluation: Evaluation) -> dict[str, Any]:
    scores = {name: round(value, 6) for name, value in evaluation.scores.items()}
    entry = {**scores, "main_score": scores[evaluation.metric], "hf_subset": "default", "languages": [_UNDETERMINED]}
    return {
        "task_name": evaluation.task,
        "dataset_revision": evaluation.dataset_revision,
        "mteb_version": None,
        "scores": {evaluation.split: [entry]},
        "evaluation_time": round(evaluation.work.total_seconds, 3),
        "kg_co2_emissions": None,
    }


def _beside_mteb(evaluation: Evaluation) -> dict[str, Any]:
    prompts, main_interval = evaluation.prompts, interval(evaluation)
    return {
        "encoder": asdict(evaluation.spec),
        "fingerprint": evaluation.spec.fingerprint,
        "precision": evaluation.precision,
        "protocol": prompts.protocol,
        "prompts": {
            "kind": prompts.kind,
            "query": prompts.query.text,
            "document": prompts.document.text,
            "normalized": prompts.normalize,
            "instruction_source": prompts.instruction_source,
        },
        "main_metric": evaluation.metric,
        "interval": asdict(main_interval) if main_interval is not None else None,
        "published": [
            {
                **asdict(each.published),
                "difference": each.difference,
                "agrees": each.agrees,
                "obstacle": each.obstacle,
            }
            for each in check(evaluation)
        ],
        "work": asdict(evaluation.work),
    }
