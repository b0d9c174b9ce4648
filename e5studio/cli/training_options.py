"""The options of `e5studio train` and `e5studio mine`: the pairs, the recipe, how negatives are mined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from e5studio.cli.options import DelimiterOption, EncodingOption, InstructionOption, QuotesOption
from e5studio.training import MiningOptions, PairsFormat

_PAIRS_PANEL = "Pairs"
_RECIPE_PANEL = "Recipe (what is left out follows from the model and the machine)"
_MINING_PANEL = "Hard negatives"


@dataclass(frozen=True)
class PairsArguments:
    """The pairs, how they are read, and what they are."""

    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS", help="A .jsonl, .csv, .tsv or .parquet file of pairs, or a folder in BEIR's form."
        ),
    ]
    instruction: InstructionOption = None
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="Both sides are alike, as paraphrases are: the query's prompt on both.")
    ] = False
    columns: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="QUERY POSITIVE",
            help="Columns of the pairs, if not query (or anchor) and positive.",
            rich_help_panel=_PAIRS_PANEL,
        ),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(help="Judgements of a BEIR folder; train if left out.", rich_help_panel=_PAIRS_PANEL),
    ] = None
    encoding: EncodingOption = None
    delimiter: DelimiterOption = None
    quotes: QuotesOption = None

    def format(self) -> PairsFormat:
        """For the reader."""
        return PairsFormat(self.columns, self.split, self.encoding, self.delimiter, self.quotes)


@dataclass(frozen=True)
class RecipeArguments:
    """The options that replace figures of the recipe."""

    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over all queries.", rich_help_panel=_RECIPE_PANEL)
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(min=2, help="Queries of a step, in any memory.", rich_help_panel=_RECIPE_PANEL),
    ] = None
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-9, max=1, help="After the warm-up.", rich_help_panel=_RECIPE_PANEL)
    ] = None
    temperature: Annotated[
        float | None, typer.Option(min=1e-4, max=1, help="0.01 for E5.", rich_help_panel=_RECIPE_PANEL)
    ] = None
    train_dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="bfloat16: for matrix products alone.", rich_help_panel=_RECIPE_PANEL),
    ] = None
    freeze_words: Annotated[
        bool | None,
        typer.Option(
            "--freeze-words/--train-words",
            help="Leave the word embeddings as they are: on a CPU, where they are most of the model.",
            rich_help_panel=_RECIPE_PANEL,
        ),
    ] = None
    dropout: Annotated[
        bool | None,
        typer.Option("--dropout/--no-dropout", help="The model's own; slow on a CPU.", rich_help_panel=_RECIPE_PANEL),
    ] = None
    lora: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Train matrices of this rank beside the weights (16 in the papers).",
            rich_help_panel=_RECIPE_PANEL,
        ),
    ] = None
    dims: Annotated[
        list[int] | None,
        typer.Option(
            "--dim", min=1, help="A shorter length of vectors to train, too; repeatable.", rich_help_panel=_RECIPE_PANEL
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, help="Of every draw.", rich_help_panel=_RECIPE_PANEL)] = None
    n_negatives: Annotated[
        int | None,
        typer.Option("--negatives", min=0, help="Hard negatives of a query in a step.", rich_help_panel=_RECIPE_PANEL),
    ] = None
    checkpoint_seconds: Annotated[
        float | None, typer.Option(min=0, help="Time between checkpoints.", rich_help_panel=_RECIPE_PANEL)
    ] = None

    def changes(self, max_tokens: int | None) -> dict[str, Any]:
        """The fields of `Recipe` that were given, and the tokens read of a text in training."""
        named = {
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "temperature": self.temperature,
            "max_tokens": max_tokens,
            "dtype": self.train_dtype,
            "freezes_words": self.freeze_words,
            "has_dropout": self.dropout,
            "lora_rank": self.lora,
            "dims": tuple(self.dims) if self.dims else None,
            "seed": self.seed,
            "n_negatives": self.n_negatives,
            "checkpoint_seconds": self.checkpoint_seconds,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class MiningArguments:
    """The options that say which documents become negatives."""

    depth: Annotated[
        int, typer.Option(min=1, help="Rank to which documents become negatives.", rich_help_panel=_MINING_PANEL)
    ] = 200
    margin: Annotated[
        float,
        typer.Option(
            min=0,
            max=1.99,
            help="Cosine by which a negative stays below the best known answer; nearer ones are probable answers.",
            rich_help_panel=_MINING_PANEL,
        ),
    ] = 0.01
    top: Annotated[
        bool,
        typer.Option("--top", help="Take the highest ranks in place of random ones.", rich_help_panel=_MINING_PANEL),
    ] = False

    def options(self, n_negatives: int = 1, seed: int = 0) -> MiningOptions:
        """For the miner."""
        return MiningOptions(n_negatives, self.depth, self.margin, "top" if self.top else "random", seed)
