"""Whether training helped: the same queries before and after, and "better" only where the interval says so."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from e5studio import evaluation
from e5studio.analysis.significance import Comparison
from e5studio.cache import VectorCache
from e5studio.encoder import E5Encoder, Progress
from e5studio.evaluation import Evaluation, RetrievalTask, StsTask, TaskPrompts, paired_tests, verdict_of
from e5studio.evaluation.run import RETRIEVAL_METRIC, retrieval_scores, under_protocol
from e5studio.training.examples import TrainingSet
from e5studio.training.role_vectors import RoleVectors
from e5studio.training.roles import RolePrompts
from e5studio.training.split import as_task


@dataclass(frozen=True)
class Verdict:
    """One set of queries or pairs, before and after training.

    Attributes:
        name: Of the set.
        is_held_out: Whether its queries are of the training data; else it is a set that the caller named.
        before: The parent's evaluation.
        after: The trained model's.
        comparison: Difference, interval, p value.
    """

    name: str
    is_held_out: bool
    before: Evaluation
    after: Evaluation
    comparison: Comparison

    @property
    def word(self) -> evaluation.Verdict:
        """What may be said: "better" and "worse" only where the interval leaves out 0 and the test agrees."""
        return verdict_of(self.comparison)


@dataclass(frozen=True)
class Trial:
    """What a model is judged by.

    Attributes:
        held_out: Examples that are not trained on; None for none.
        tasks: Sets that the caller named, such as a general one that shows what was forgotten.
        prompts: By role, for the held-out queries; the named sets follow the authors' rules.
        name: Of the held-out set.
    """

    held_out: TrainingSet | None
    tasks: tuple[RetrievalTask | StsTask, ...]
    prompts: RolePrompts
    name: str

    def evaluate(self, encoder: E5Encoder, cache: VectorCache, on_progress: Progress | None = None) -> list[Evaluation]:
        """The evaluations of a model: of the held-out queries, then of each named set."""
        held_out = [] if self.held_out is None else [_of_held_out(encoder, self, self.held_out, cache, on_progress)]
        named = [evaluation.evaluate(encoder, task, cache=cache, on_progress=on_progress) for task in self.tasks]
        return [*held_out, *named]

    def verdicts(self, before: list[Evaluation], after: list[Evaluation]) -> tuple[Verdict, ...]:
        """The paired tests of two lists of `evaluate`."""
        verdicts = []
        for row, (first, second) in enumerate(zip(before, after, strict=True)):
            [test] = paired_tests([first, second])
            is_held_out = self.held_out is not None and row == 0
            verdicts.append(Verdict(first.task, is_held_out, first, second, test.comparison))
        return tuple(verdicts)


def read_named_sets(paths: tuple[str | Path, ...]) -> tuple[RetrievalTask | StsTask, ...]:
    """Folders in BEIR's form, and tables of pairs with people's scores."""
    return tuple(
        evaluation.read_beir(path) if Path(path).is_dir() else evaluation.read_sts(path) for path in map(Path, paths)
    )


def _of_held_out(
    encoder: E5Encoder, trial: Trial, held_out: TrainingSet, cache: VectorCache, on_progress: Progress | None
) -> Evaluation:
    start = time.perf_counter()
    task = as_task(held_out, trial.name)
    limited = under_protocol(encoder, "authors")
    vectors = RoleVectors(limited, trial.prompts, cache)
    queries = vectors.of_queries(held_out.examples)
    documents = vectors.of_documents(held_out.documents, on_progress)
    sample = retrieval_scores(task, queries, [documents], work=vectors.work)
    vectors.work.total_seconds = time.perf_counter() - start
    return Evaluation(
        task=task.name,
        split=task.split,
        dataset_revision=task.digest,
        spec=limited.spec,
        prompts=TaskPrompts(trial.prompts.kind, "authors", trial.prompts.query(), trial.prompts.document),
        metric=RETRIEVAL_METRIC,
        scores=sample.means(),
        sample=sample,
        work=vectors.work,
    )
