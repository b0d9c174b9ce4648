"""The options of a run, as an object that the command line and Python share; it loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e5studio.errors import VectorError
from e5studio.training.negatives import MiningOptions
from e5studio.training.pairs_file import PairsFormat
from e5studio.training.recipe import check_fields

OnStage = Callable[[str, int, int], None]
"""Called with (stage, parts done, parts in all); the stages are "before", "mining", "training" and "after"."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What a run does beside its recipe.

    Attributes:
        form: How the file of pairs is to be read.
        is_symmetric: Both sides are the same sort of text: the query's prompt on both.
        instruction: The task in one sentence, for instruct models.
        held_out: Share of the queries to judge by; 0 for none.
        named_sets: Folders in BEIR's form or tables of scored pairs, to be evaluated before and after, too.
        mines: Whether to mine negatives; None: where a query has none and no teacher scored its documents.
        mining: How; the number of negatives follows from the recipe.
        recipe: Fields of `e5studio.training.recipe.Recipe` in place of those for the model.
    """

    form: PairsFormat = field(default_factory=PairsFormat)
    is_symmetric: bool = False
    instruction: str | None = None
    held_out: float = 0.1
    named_sets: tuple[str | Path, ...] = ()
    mines: bool | None = None
    mining: MiningOptions = field(default_factory=MiningOptions)
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise VectorError(f"held_out={self.held_out} is no share of the queries: it is 0 to below 1.")
        check_fields(self.recipe)
