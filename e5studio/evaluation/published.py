"""Published scores of the E5 family on mteb's tasks, and whether a run agrees with them.

The scores are in published.tsv beside this file, each with its source: the authors' model cards,
mteb's public results (embeddings-benchmark/results) and the authors' README. Published tables mix
two rules for prompts, so a run is compared with scores by its own rules; the column `rules` is
"authors", "mteb", "both" (where the two agree) or "other" (neither: shown, never checked against).
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from e5studio.evaluation.protocols import AUTHORS_MAX_TOKENS
from e5studio.evaluation.run import Evaluation
from e5studio.models import get_model_meta, is_in_table

Rules = Literal["authors", "mteb", "both", "other"]

_LOCAL_REVISION = "sha256:"

TOLERANCE = 0.001
"""Accepted difference of two runs of one model, as in mteb's results repository."""

# Queries or pairs of the tasks in the table, to detect other data under the same name.
_N_SAMPLES = {
    "ArguAna": 1406,
    "BIOSSES": 100,
    "NFCorpus": 323,
    "SICK-R": 9927,
    "STS12": 3108,
    "STS13": 1500,
    "STS14": 3750,
    "STS15": 3000,
    "STS16": 1186,
    "STSBenchmark": 1379,
    "SciFact": 300,
}

# Languages of the tasks whose score is a mean over languages: one of some of them is another score.
_N_LANGUAGES = {"XQuADRetrieval": 12}


@dataclass(frozen=True)
class PublishedScore:
    """One published score.

    Attributes:
        model: Hub id.
        task: mteb's name of the task; "BEIR" is the mean of BEIR's fifteen public ones, the score of
            XQuADRetrieval that of its twelve languages.
        split: Its split.
        metric: mteb's name of the score.
        value: 0 to 1.
        rules: The rules for its prompts.
        revision: Commit of the model, "" if the source names none.
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
    """A run compared with a published score.

    Attributes:
        published: The published score.
        difference: The run's score minus the published one; None if they are not comparable.
        obstacle: Why they are not comparable; "" if they are.
    """

    published: PublishedScore
    difference: float | None
    obstacle: str = ""

    @property
    def agrees(self) -> bool | None:
        """Whether the two are within `TOLERANCE`; None if they are not comparable."""
        return None if self.difference is None else abs(self.difference) <= TOLERANCE


@functools.cache
def published_scores() -> tuple[PublishedScore, ...]:
    """All published scores in the package, by model."""
    table = resources.files("e5studio.evaluation").joinpath("published.tsv").read_text(encoding="utf-8")
    return tuple(
        PublishedScore(**{**row, "value": float(row["value"])})  # type: ignore[arg-type]
        for row in csv.DictReader(table.splitlines(), delimiter="\t")
    )


def check(evaluation: Evaluation) -> list[Check]:
    """Compare a run with the published scores of its model and task; [] if there are none.

    Scores of other revisions of the model are ignored (a local folder counts as the model of its name). A score
    that is not comparable has an obstacle and no difference: another metric, other data, other rules, or a length
    or prompts that are not the protocol's.
    """
    model, revision = evaluation.spec.model, evaluation.spec.revision
    if is_in_table(model):
        model = get_model_meta(model).name  # also if it was read from a folder of that name
    published = [
        score
        for score in published_scores()
        if (score.model, score.task, score.split) == (model, evaluation.task, evaluation.split)
        and (score.revision in ("", revision) or revision.startswith(_LOCAL_REVISION))
    ]
    obstacles = [_obstacle(evaluation, score) for score in published]
    return [
        Check(score, None if obstacle else evaluation.main_score - score.value, obstacle)
        for score, obstacle in zip(published, obstacles, strict=True)
    ]


def _obstacle(evaluation: Evaluation, score: PublishedScore) -> str:
    prompts = evaluation.prompts
    if score.metric != evaluation.metric:
        return f"it is {score.metric}"
    if evaluation.n_samples not in (None, _N_SAMPLES.get(evaluation.task, evaluation.n_samples)):
        return f"other data: it has {_N_SAMPLES[evaluation.task]:,} queries or pairs, this {evaluation.n_samples:,}"
    n_languages = _n_subsets(evaluation)
    if n_languages != _N_LANGUAGES.get(evaluation.task, n_languages):
        return f"other data: it is the mean of {_N_LANGUAGES[evaluation.task]} languages, this of {n_languages}"
    if score.rules not in ("both", prompts.protocol):
        return "other rules"
    if prompts.kind != evaluation.spec.prompt_kind or prompts.instruction_source == "given":
        return "other prompts"
    if evaluation.precision != "float32":
        return f"the documents' vectors are {evaluation.precision}"
    if evaluation.spec.max_tokens != _usual_length(evaluation):
        return f"other length: it was read up to {_usual_length(evaluation):,} tokens"
    return ""


def _n_subsets(evaluation: Evaluation) -> int:
    if evaluation.mteb_result is None:
        return 1
    return sum(len(entries) for entries in evaluation.mteb_result["scores"].values())


def _usual_length(evaluation: Evaluation) -> int:
    if not is_in_table(evaluation.spec.model):
        return evaluation.spec.max_tokens
    own = get_model_meta(evaluation.spec.model).max_tokens
    return min(own, AUTHORS_MAX_TOKENS) if evaluation.prompts.protocol == "authors" else own
