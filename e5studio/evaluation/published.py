"""What is published of the E5 family on mteb's tasks, and whether a run agrees with it.

The figures stand in published.tsv beside this file, each with its source: the authors' model cards,
mteb's public results (embeddings-benchmark/results) and the authors' README. Published tables mix
two rules for prompts, so a run is held against figures made by its own rules; the column `rules` is
"authors", "mteb", "both" (where the two agree) or "other" (neither: shown, never checked against).
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from e5studio.evaluation.run import Evaluation
from e5studio.models import get_model_meta, is_in_table

Rules = Literal["authors", "mteb", "both", "other"]

_LOCAL_REVISION = "sha256:"

TOLERANCE = 0.001
"""How far apart two runs of one model may lie: mteb's results repository accepts as much for a task."""


@dataclass(frozen=True)
class PublishedScore:
    """One published figure.

    Attributes:
        model: Hub id.
        task: mteb's name of the task; "BEIR" is the mean of BEIR's fifteen public ones.
        split: Its split.
        metric: mteb's name of the score.
        value: 0 to 1.
        rules: Which prompts it was made with.
        revision: Commit of the model, "" where the source names none.
        source: Where it is published.
    """

    model: str
    task: str
    split: str
    metric: str
    value: float
    rules: Rules
    revision: str
    source: str


@dataclass(frozen=True)
class Check:
    """A run beside a published figure.

    Attributes:
        published: The figure.
        difference: The run's score minus the published one; None where the run was made by other rules.
    """

    published: PublishedScore
    difference: float | None

    @property
    def agrees(self) -> bool | None:
        """Whether the two are within `TOLERANCE`; None where they cannot be compared."""
        return None if self.difference is None else abs(self.difference) <= TOLERANCE


@functools.cache
def published_scores() -> tuple[PublishedScore, ...]:
    """All published figures that come with the package, model by model."""
    table = resources.files("e5studio.evaluation").joinpath("published.tsv").read_text(encoding="utf-8")
    return tuple(
        PublishedScore(**{**row, "value": float(row["value"])})  # type: ignore[arg-type]
        for row in csv.DictReader(table.splitlines(), delimiter="\t")
    )


def check(evaluation: Evaluation) -> list[Check]:
    """Hold a run against what is published of its model and task; [] where nothing is.

    Figures of other revisions of the model are left out. A figure made by other rules for prompts than the run, or
    a run with prompts that the model was not trained with, has no difference.
    """
    model, revision = _public_name(evaluation.spec.model), evaluation.spec.revision
    wanted = (model, evaluation.task, evaluation.split, evaluation.metric)
    found = [
        score
        for score in published_scores()
        if (score.model, score.task, score.split, score.metric) == wanted
        and (score.revision in ("", revision) or revision.startswith(_LOCAL_REVISION))
    ]
    return [Check(score, _difference(evaluation, score)) for score in found]


def _difference(evaluation: Evaluation, score: PublishedScore) -> float | None:
    prompts = evaluation.prompts
    is_as_trained = prompts.kind == evaluation.spec.prompt_kind and prompts.instruction_source != "given"
    has_same_rules = score.rules in ("both", prompts.protocol)
    return evaluation.main_score - score.value if is_as_trained and has_same_rules else None


def _public_name(model: str) -> str:
    """The Hub id of a model that was read from a folder of its own name."""
    return get_model_meta(model).name if is_in_table(model) else model
