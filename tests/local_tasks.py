"""The two evaluation sets, where they are on this machine, and mteb's tasks over small or local data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import mteb
import pytest
from datasets import Dataset

from e5studio.evaluation import RetrievalTask, StsTask

ROOT = Path(__file__).parent.parent
EVALUATIONS = Path(os.environ.get("E5STUDIO_EVALUATIONS", ROOT.parent / "shared" / "data"))

needs_evaluations = pytest.mark.skipif(
    not EVALUATIONS.is_dir(), reason="the evaluation sets are not on this machine (E5STUDIO_EVALUATIONS)"
)


def in_mteb(task: RetrievalTask | StsTask) -> Any:
    """mteb's task of that name, over our copy of its data: nothing is downloaded."""
    found = mteb.get_task(task.name, eval_splits=[task.split])
    if isinstance(task, StsTask):
        columns = {"sentence1": task.first, "sentence2": task.second, "score": task.scores.tolist()}
        found.dataset = {task.split: Dataset.from_dict({name: list(values) for name, values in columns.items()})}
    else:
        documents = [
            {"id": document_id, "title": document.title, "text": document.text}
            for document_id, document in zip(task.document_ids, task.documents(), strict=True)
        ]
        queries = [{"id": query_id, "text": text} for query_id, text in zip(task.query_ids, task.queries, strict=True)]
        found.dataset = {
            "default": {
                task.split: {
                    "corpus": Dataset.from_list(documents),
                    "queries": Dataset.from_list(queries),
                    "relevant_docs": {query: dict(judged) for query, judged in task.judgements.items()},
                    "top_ranked": None,
                }
            }
        }
    found.data_loaded = True
    return found
