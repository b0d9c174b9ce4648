"""What to say of evaluations: intervals, paired tests against the first, mteb's form of result.

`as_mteb_result` gives what mteb's `TaskResult` reads, with one more key, "e5studio", that holds
what mteb has no place for: the encoder, the protocol, the prompts, intervals, and what it took.
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

_UNDETERMINED = "und-Zyyy"  # ISO 639 and 15924 for a language and a script that nobody named


@dataclass(frozen=True)
class PairedTest:
    """One evaluation against the first.

    Attributes:
        metric: The score compared.
        first: Place of the baseline in the list of evaluations.
        second: Place of the other.
        comparison: Difference, its interval, p value.
    """

    metric: str
    first: int
    second: int
    comparison: Comparison


def interval(evaluation: Evaluation) -> Interval | None:
    """Bootstrap interval of the main score; None where only figures are known, or too few queries or pairs."""
    sample = evaluation.sample
    if isinstance(sample, QueryScores):
        return mean_interval(sample.values[evaluation.metric])
    if isinstance(sample, StsSample) and evaluation.metric == STS_METRIC:
        return spearman_interval(sample.cosines, sample.wanted)
    return None


def paired_tests(evaluations: Sequence[Evaluation]) -> list[PairedTest]:
    """Each evaluation after the first against the first, where both are of the same queries or pairs."""
    tests = []
    for place in range(1, len(evaluations)):
        comparison = _compare(evaluations[0], evaluations[place])
        if comparison is not None:
            tests.append(PairedTest(evaluations[0].metric, 0, place, comparison))
    return tests


def _compare(first: Evaluation, second: Evaluation) -> Comparison | None:
    if (first.task, first.split, first.dataset_revision) != (second.task, second.split, second.dataset_revision):
        return None
    a, b = first.sample, second.sample
    if isinstance(a, QueryScores) and isinstance(b, QueryScores) and a.query_ids == b.query_ids:
        return compare_means(a.values[first.metric], b.values[first.metric])
    if isinstance(a, StsSample) and isinstance(b, StsSample) and np.array_equal(a.wanted, b.wanted):
        return compare_spearman(a.cosines, b.cosines, a.wanted)
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
    prompts, found = evaluation.prompts, interval(evaluation)
    return {
        "encoder": asdict(evaluation.spec),
        "fingerprint": evaluation.spec.fingerprint,
        "protocol": prompts.protocol,
        "prompts": {
            "kind": prompts.kind,
            "query": prompts.query.text,
            "document": prompts.document.text,
            "normalized": prompts.normalize,
            "instruction_source": prompts.instruction_source,
        },
        "main_metric": evaluation.metric,
        "interval": asdict(found) if found is not None else None,
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
