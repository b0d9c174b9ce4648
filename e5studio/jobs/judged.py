"""The documents of a retrieval task as a finished job holds them: its vectors are measured as they are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

from e5studio.errors import FileFormatError, FingerprintMismatchError
from e5studio.evaluation import RetrievalTask
from e5studio.jobs.vectors import ShardVectors
from e5studio.prompts import Prompt, join_title

ID_COLUMN = "_id"


@dataclass(frozen=True)
class JudgedVectors:
    """A job over the corpus of a task in BEIR's form.

    Attributes:
        shards: The job.
        task: The task, its documents in the order of the vectors.
        n_missing: Documents without a vector, which no query can find.
        n_other_texts: Documents that were embedded as another text than the task has, such as without the title.
    """

    shards: ShardVectors
    task: RetrievalTask
    n_missing: int
    n_other_texts: int

    @classmethod
    def of(cls, shards: ShardVectors, task: RetrievalTask) -> JudgedVectors:
        """Find the documents of a task by the column `_id` of the shards.

        Raises:
            FileFormatError: The job is one over other documents, has several vectors for some, or did not keep `_id`.
        """
        plan = shards.plan
        if plan.long == "chunk":
            raise FileFormatError(f"{shards.path} has vectors of parts of texts. Encode them with --long pool.")
        if ID_COLUMN not in plan.corpus.fields:
            raise FileFormatError(
                f"{shards.path} has no column {ID_COLUMN!r}, by which documents are known. Encode the corpus.jsonl of "
                f"the task, and keep it (--keep {ID_COLUMN})."
            )
        has_texts = plan.corpus.column in plan.corpus.fields
        columns = shards.columns([ID_COLUMN, *([plan.corpus.column] if has_texts else [])])
        ids = tuple(str(name) for name in columns[ID_COLUMN])
        known = set(task.document_ids)
        if strangers := [name for name in ids if name not in known]:
            raise FileFormatError(f"{shards.path} has a document {strangers[0]!r}, which {task.name} has not.")
        if len(set(ids)) != len(ids):
            raise FileFormatError(f"{shards.path} has several vectors for a document. Remove copies from the texts.")
        n_other = 0
        if has_texts:
            expected = dict(zip(task.document_ids, map(_text, task.documents()), strict=True))
            n_other = sum(expected[name] != text for name, text in zip(ids, columns[plan.corpus.column], strict=True))
        return cls(shards, replace(task, document_ids=ids), len(known) - len(ids), n_other)

    def check_prompt(self, prompt: Prompt) -> None:
        """Refuse vectors with another prompt than an evaluation puts in front of documents."""
        if prompt.text != self.shards.plan.prompt.text:
            raise FingerprintMismatchError(
                f"{self.shards.path} was made with the prompt {self.shards.plan.prompt.text!r} and not {prompt.text!r}."
            )


def _text(document: tuple[str, str]) -> str:
    return join_title(*document).strip()
