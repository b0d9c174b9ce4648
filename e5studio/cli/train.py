"""`e5studio train`: fine-tunes a model by E5's recipe, and says whether it helped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from e5studio import training
from e5studio.cli.options import ModelArguments, grouped, not_blank
from e5studio.cli.terminal import print_json, print_line, print_table, progress_bar, say
from e5studio.cli.training_options import MiningArguments, PairsArguments, RecipeArguments
from e5studio.files import refuse_existing
from e5studio.training import TrainOptions

_STAGES = {
    "before": "Evaluating the model as it is",
    "mining": "Mining negatives",
    "training": "Training",
    "after": "Evaluating the trained model",
}
_METRICS = {"ndcg_at_10": "nDCG@10", "cosine_spearman": "Spearman"}


@grouped
def train(
    *,
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS", help="A .jsonl, .csv, .tsv or .parquet file of pairs, or a folder in BEIR's form."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for the trained model.")],
    model: ModelArguments,
    form: PairsArguments,
    recipe: RecipeArguments,
    mining: MiningArguments,
    instruction: Annotated[
        str | None,
        typer.Option("--instruction", "-i", callback=not_blank, help="The task in one sentence, for instruct models."),
    ] = None,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="Both sides are alike, as paraphrases are: the query's prompt on both.")
    ] = False,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the queries to judge the model by; 0 for none.")
    ] = 0.1,
    evaluate: Annotated[
        list[Path] | None,
        typer.Option(help="A BEIR folder or a table of scored pairs to evaluate before and after, too; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fine-tune a model by E5's recipe, and measure on held-out queries whether that helped."""
    refuse_existing(output)
    options = TrainOptions(
        form=form.format(),
        is_symmetric=symmetric,
        instruction=instruction,
        held_out=held_out,
        named_sets=tuple(evaluate or ()),
        mines=mining.mines(),
        mining=mining.options(),
        evaluation_dtype=model.dtype,
        recipe=recipe.changes(model.max_tokens),
    )
    with _stages() as on_stage:
        result = training.train(pairs, model.checked(), output, options, on_stage=on_stage)
    if as_json:
        print_json(result.report.as_json())
    else:
        print_report(result.report)
    say(f"Open it: e5studio studio --model {output}   or in Python: E5Encoder({str(output)!r})")


def print_report(report: training.TrainingReport) -> None:
    """Print the verdicts as a table, and what was done in a sentence or two."""
    if report.verdicts:
        rows = [
            [
                each.name,
                f"{each.before.n_samples:,}",
                _METRICS.get(each.before.metric, each.before.metric),
                f"{each.before.main_score:.4f}",
                f"{each.after.main_score:.4f}",
                f"{each.comparison.difference:+.4f}",
                "" if (ends := each.comparison.interval) is None else f"{ends.low:+.4f} to {ends.high:+.4f}",
                each.word,
            ]
            for each in report.verdicts
        ]
        headings: list[tuple[str, Literal["left", "right"]]] = [
            ("set", "left"),
            ("queries", "right"),
            ("score", "left"),
            ("before", "right"),
            ("after", "right"),
            ("difference", "right"),
            ("95 % interval", "left"),
            ("verdict", "left"),
        ]
        print_table(headings, rows)
    steps = report.trained.steps
    print_line(
        f"{report.n_train:,} queries, {len(steps.losses):,} steps, {steps.n_tokens:,} tokens in {steps.seconds:,.0f} s "
        f"({report.tokens_per_second:,.0f} a second)."
    )
    if report.mining is not None:
        mined = report.mining
        print_line(
            f"{mined.n_mined:,} negatives were mined; {mined.n_left_out:,} documents were left out as probable answers."
        )
    for gap in report.not_measured():
        say(gap)


@contextmanager
def _stages() -> Iterator[training.OnStage]:
    """A bar on stderr for each stage in turn."""
    with ExitStack() as stack:
        current: list[str] = []
        bars = stack.enter_context(ExitStack())
        show = None

        def on_stage(stage: str, done: int, total: int) -> None:
            nonlocal show
            if current != [stage]:
                bars.close()
                current[:] = [stage]
                say(f"{_STAGES[stage]} ...")
                show = bars.enter_context(progress_bar(total))
            if show is not None:
                show(done)

        yield on_stage
