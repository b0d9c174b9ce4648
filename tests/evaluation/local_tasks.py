"""mteb's tasks over data that we have, small or local."""

from __future__ import annotations

from typing import Any

import mteb
from datasets import Dataset

from e5studio.evaluation import RetrievalTask, StsTask


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
