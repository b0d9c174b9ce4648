"""`e5studio train`: fine-tunes a model by E5's recipe, and says whether it helped."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from e5studio import training
from e5studio.cli.options import JsonOption, ModelArguments, grouped
from e5studio.cli.terminal import Align, print_json, print_line, print_table, progress_bar, say
from e5studio.cli.training_options import MiningArguments, PairsArguments, RecipeArguments
from e5studio.training import TrainOptions

_STAGES = {
    "before": "Evaluating the model as it is",
    "mining": "Mining negatives",
    "training": "Training",
    "after": "Evaluating the trained model",
}
_ALIGNS: dict[str, Align] = dict.fromkeys(("size", "before", "after", "difference", "p"), "right")


@grouped
def train(
    *,
    pairs: PairsArguments,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for the trained model.")],
    model: ModelArguments,
    recipe: RecipeArguments,
    mining: MiningArguments,
    mine: Annotated[
        bool | None,
        typer.Option(
            "--mine/--no-mine",
            help="Mine negatives; if left out, where a query has none and no teacher scored its documents.",
        ),
    ] = None,
    held_out: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.9,
            help="Share of the queries to judge the model by, 10 to 1,000 of them; 0 for none.",
        ),
    ] = 0.1,
    evaluate: Annotated[
        list[Path] | None,
        typer.Option(help="A BEIR folder or a table of scored pairs to evaluate before and after, too; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a model by E5's recipe, and measure on held-out queries whether that helped."""
    options = TrainOptions(
        form=pairs.format(),
        is_symmetric=pairs.symmetric,
        instruction=pairs.instruction,
        held_out=held_out,
        named_sets=tuple(evaluate or ()),
        mines=mine,
        mining=mining.options(),
        recipe=recipe.changes(model.max_tokens),
    )
    parent = model.checked()
    try:
        with _stages() as on_stage:
            result = training.train(pairs.pairs, parent, output, options, on_stage=on_stage)
    except KeyboardInterrupt:
        say(f"Stopped. The same command goes on with it; until then its work lies in {output}.train.")
        raise
    if as_json:
        print_json(result.report.as_json())
    else:
        print_report(result.report)
    names = shlex.join(["--model", str(output), "--model", str(parent.model)])
    say(f"Open it beside its parent: e5studio studio {names}   or in Python: E5Encoder({str(output)!r})")


def print_report(report: training.TrainingReport) -> None:
    """Print the verdicts as a table, and what was done in a sentence or two."""
    if table := report.table():
        print_table([(name, _ALIGNS.get(name, "left")) for name in table[0]], table[1:])
    steps = report.trained.steps
    print_line(
        f"{report.n_train:,} queries, {len(steps.losses):,} steps, {steps.n_tokens:,} tokens in {steps.seconds:,.0f} s "
        f"({report.tokens_per_second:,.0f} a second)."
    )
    if report.n_left_out:
        print_line(f"{report.n_left_out:,} queries were left out: nothing was left to tell their answer from.")
    if report.mining is not None:
        mined = report.mining
        print_line(
            f"{mined.n_mined:,} negatives were mined; {mined.n_left_out:,} documents were left out as probable answers."
        )
    for gap in report.not_measured():
        say(f"Not measured: {gap[0].lower()}{gap[1:]}")


@contextmanager
def _stages() -> Iterator[training.OnStage]:
    """A bar on stderr for each stage in turn, and for each set that is evaluated in it."""
    with ExitStack() as bars:
        current = ("", 0)
        show: Callable[[float], None] | None = None

        def on_stage(stage: str, done: int, total: int) -> None:
            nonlocal current, show
            if stage != current[0]:
                bars.close()
                say(f"{_STAGES[stage]} ({total:,} {'steps' if stage == 'training' else 'texts'}) ...")
            if show is None or (stage, total) != current:
                bars.close()
                show = bars.enter_context(progress_bar(total))
            current = (stage, total)
            show(done)

        yield on_stage
