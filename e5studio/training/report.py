"""What is known of a trained model: report.json for programs, and README.md, the model card, for people."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from e5studio import __version__
from e5studio.analysis.significance import Interval
from e5studio.evaluation import as_mteb_result
from e5studio.evaluation.run import RETRIEVAL_METRIC, STS_METRIC
from e5studio.models import ModelMeta
from e5studio.training.negatives import MiningReport
from e5studio.training.recipe import Recipe
from e5studio.training.roles import RolePrompts
from e5studio.training.verdict import Verdict
from e5studio.training.weights import TrainedModel

REPORT_FILE, CARD_FILE = "report.json", "README.md"
_CURVE_POINTS = 200
_METRICS = {RETRIEVAL_METRIC: "nDCG@10", STS_METRIC: "Spearman"}
_HEADINGS = ["set", "size", "score", "before", "after", "difference", "95 % interval", "p", "verdict"]


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """A run: its data, settings and verdicts.

    Attributes:
        parent: The model that was trained.
        parent_fingerprint: Of the encoder that was evaluated before.
        source: Where the pairs were read.
        data_digest: Of all texts, judgements and scores.
        n_documents: Different documents.
        n_train: Queries trained on.
        n_left_out: Queries that no step took, since its other queries have the same answer.
        n_held_out: Queries held out.
        prompts: By role.
        recipe: The settings of training.
        mining: How negatives were mined; None where none were.
        trained: Losses, seconds, tokens.
        verdicts: Of the held-out queries first, then of each named set.
        seconds: By stage.
    """

    parent: ModelMeta
    parent_fingerprint: str
    source: str
    data_digest: str
    n_documents: int
    n_train: int
    n_left_out: int
    n_held_out: int
    prompts: RolePrompts
    recipe: Recipe
    mining: MiningReport | None
    trained: TrainedModel
    verdicts: tuple[Verdict, ...]
    seconds: dict[str, float]

    @property
    def tokens_per_second(self) -> float:
        """In training, padding not counted."""
        return self.trained.steps.n_tokens / max(self.trained.steps.seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """For report.json."""
        return {
            "parent": {"name": self.parent.name, "fingerprint": self.parent_fingerprint},
            "data": {
                "source": Path(self.source).name,
                "digest": self.data_digest,
                "documents": self.n_documents,
                "train_queries": self.n_train,
                "left_out_queries": self.n_left_out,
                "held_out_queries": self.n_held_out,
            },
            "prompts": {"query": self.prompts.query().text, "document": self.prompts.document.text},
            "recipe": asdict(self.recipe),
            "mining": None if self.mining is None else asdict(self.mining),
            "training": {
                "steps": len(self.trained.steps.losses),
                "tokens": self.trained.steps.n_tokens,
                "tokens_per_second": round(self.tokens_per_second, 1),
                "trained_weights": self.trained.n_trained,
                "weights": self.trained.n_weights,
                "memory_limits": asdict(self.trained.limits),
                "halved": self.trained.steps.n_halved,
                "resumed_after": self.trained.steps.n_resumed,
                "losses": _thinned(self.trained.steps.losses),
            },
            "seconds": {stage: round(seconds, 1) for stage, seconds in self.seconds.items()},
            "peak_memory_bytes": peak_memory(),
            "verdicts": [_verdict(each) for each in self.verdicts],
            "not_measured": self.not_measured(),
            "versions": {
                "e5studio": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "transformers", "sentence-transformers")},
            },
        }

    def table(self) -> list[list[str]]:
        """The verdicts as cells of text, below a row of headings; empty where nothing was evaluated."""
        rows = [_verdict_row(each) for each in self.verdicts]
        return [_HEADINGS, *rows] if rows else []

    def not_measured(self) -> list[str]:
        """What nobody should read out of the figures."""
        gaps = ["What another seed gives."]
        if not self.n_held_out:
            gaps.append("Whether training helped on such queries: no queries were held out.")
        if all(each.is_held_out for each in self.verdicts):
            gaps.append("What the model has forgotten: no other set was named (--evaluate).")
        return gaps


def write_reports(report: TrainingReport, folder: Path, name: str) -> None:
    """Write report.json and the model card into the model's folder.

    Args:
        report: The run.
        folder: Where.
        name: What the model is called.
    """
    content = json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / REPORT_FILE).write_text(content + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(report, name), encoding="utf-8")


def model_card(report: TrainingReport, name: str) -> str:
    """The model card in Markdown."""
    recipe, steps = report.recipe, report.trained.steps
    mined = "no mined negatives" if report.mining is None else _mining_sentence(report.mining)
    lines = [
        "---",
        "library_name: sentence-transformers",
        f"base_model: {report.parent.name}",
        f"license: {report.parent.license}",
        "tags: [sentence-transformers, feature-extraction, e5, e5studio]",
        "---",
        "",
        f"# {name}",
        "",
        f"{report.parent.name}, trained on {report.n_train:,} queries of {Path(report.source).name} "
        f"(digest {report.data_digest}) by E5's recipe.",
        "",
        *_card_table(report.table()),
        "",
        "## How it is used",
        "",
        *_use(report.prompts, name),
        "",
        "## How it was trained",
        "",
        f"- InfoNCE at temperature {recipe.temperature:g}, {recipe.batch_size} queries a step, {len(steps.losses):,} "
        f"steps in {recipe.n_epochs} epoch{'s' if recipe.n_epochs > 1 else ''}; {mined}.",
        f"- AdamW, learning rate {recipe.learning_rate:g}, warm-up over {recipe.warmup_share:.0%} of the steps; "
        f"{recipe.max_tokens} tokens of a text; seed {recipe.seed}.",
        f"- {report.trained.n_trained:,} of {report.trained.n_weights:,} weights were trained"
        f"{' (the word embeddings were not)' if recipe.freezes_words else ''}, in {recipe.dtype}.",
        f"- {report.seconds['training']:,.0f} s at {report.tokens_per_second:,.0f} tokens a second.",
        "",
        "## What was not measured",
        "",
        *(f"- {gap}" for gap in report.not_measured()),
        "",
    ]
    return "\n".join(lines)


def peak_memory() -> int | None:
    """The most memory that this process has held, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _use(prompts: RolePrompts, name: str) -> list[str]:
    """What the texts need: the folder states the prompts of its kind of model, but no task and no symmetric pairs."""
    query, document = json.dumps(prompts.query().text), json.dumps(prompts.document.text)
    task = prompts.default_instruction
    encode_query = f'encoder.encode_query(["..."]{"" if task is None else f", instruction={task!r}"})'
    encode_document = 'encoder.encode_document(["..."])'
    where = f"{query} stands in front of every query and {document} in front of every document"
    if query == document and prompts.kind != "none":
        encode_document, where = encode_query, f"{query} stands in front of every text: both sides are queries"
    how = "the folder says so, and the libraries put them there" if task is None else "the task is given with each call"
    return [
        f"{where}; {how}:",
        "",
        "```python",
        "from e5studio import E5Encoder  # or sentence_transformers.SentenceTransformer, with the same prompts",
        "",
        f'encoder = E5Encoder("{name}")',
        f"queries, documents = {encode_query}, {encode_document}",
        "```",
    ]


def _verdict_row(verdict: Verdict) -> list[str]:
    before, comparison = verdict.before, verdict.comparison
    return [
        f"{verdict.name}, held out" if verdict.is_held_out else verdict.name,
        f"{before.n_samples:,} {'pairs' if before.metric == STS_METRIC else 'queries'}",
        _METRICS.get(before.metric, before.metric),
        f"{before.main_score:.4f}",
        f"{verdict.after.main_score:.4f}",
        f"{comparison.difference:+.4f}",
        _range(comparison.interval),
        f"{comparison.p_value:.4f}",
        verdict.word,
    ]


def _range(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.low:+.4f} to {interval.high:+.4f}"


def _card_table(table: list[list[str]]) -> list[str]:
    if not table:
        return ["It was not evaluated."]
    rows = (table[0], ["---"] * len(table[0]), *table[1:])
    return [f"| {' | '.join(row)} |" for row in rows]


def _mining_sentence(mining: MiningReport) -> str:
    return (
        f"{mining.n_mined:,} negatives mined from the first {mining.options.depth} ranks of the parent, "
        f"{mining.n_left_out:,} documents left out that are probably answers (within {mining.options.margin:g} of the "
        "best known one)"
    )


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "set": verdict.name,
        "held_out": verdict.is_held_out,
        "metric": verdict.before.metric,
        "samples": verdict.before.n_samples,
        "before": verdict.before.main_score,
        "after": verdict.after.main_score,
        **asdict(verdict.comparison),
        "verdict": verdict.word,
        "evaluations": [as_mteb_result(verdict.before), as_mteb_result(verdict.after)],
    }


def _thinned(losses: tuple[float, ...]) -> list[float]:
    """At most 200 losses: the mean of each block."""
    size = -(-len(losses) // _CURVE_POINTS) or 1
    blocks = [losses[start : start + size] for start in range(0, len(losses), size)]
    return [round(sum(block) / len(block), 5) for block in blocks]
