"""Evaluation: tasks, the rules for prompts, scores with intervals, published scores.

`read_beir` and `read_sts` return tasks, `evaluate` runs an encoder on one. `MtebEncoder` runs an
encoder on mteb's harness; names that need mteb are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from e5studio.analysis.retrieval_metrics import K_VALUES
from e5studio.evaluation.beir import read_beir
from e5studio.evaluation.movers import Mover, movers
from e5studio.evaluation.protocols import Protocol, TaskPrompts
from e5studio.evaluation.published import Check, PublishedScore, check, published_scores
from e5studio.evaluation.results import PairedTest, as_mteb_result, interval, paired_tests
from e5studio.evaluation.run import Evaluation, evaluate, prompts_of, under_protocol
from e5studio.evaluation.sts_files import read_sts
from e5studio.evaluation.tasks import Document, RetrievalTask, StsTask
from e5studio.evaluation.verdicts import Verdict, verdict_of

if TYPE_CHECKING:
    from e5studio.evaluation.mteb_adapter import MtebEncoder, load_mteb_encoder
    from e5studio.evaluation.mteb_run import evaluate_with_mteb, load_task

_WITH_MTEB = {
    "MtebEncoder": "mteb_adapter",
    "evaluate_with_mteb": "mteb_run",
    "load_mteb_encoder": "mteb_adapter",
    "load_task": "mteb_run",
}

__all__ = [
    "K_VALUES",
    "Check",
    "Document",
    "Evaluation",
    "Mover",
    "MtebEncoder",
    "PairedTest",
    "Protocol",
    "PublishedScore",
    "RetrievalTask",
    "StsTask",
    "TaskPrompts",
    "Verdict",
    "as_mteb_result",
    "check",
    "evaluate",
    "evaluate_with_mteb",
    "interval",
    "load_mteb_encoder",
    "load_task",
    "movers",
    "paired_tests",
    "prompts_of",
    "published_scores",
    "read_beir",
    "read_sts",
    "under_protocol",
    "verdict_of",
]


def __getattr__(name: str) -> Any:
    if name not in _WITH_MTEB:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_MTEB[name]}"), name)
