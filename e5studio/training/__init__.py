"""Fine-tuning by E5's recipe, and an honest word on whether it helped.

`train` runs all of it; `read_training_set` and `mine_negatives` serve those who train elsewhere. What needs the
sentence-transformers trainer is imported on first use.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from e5studio.errors import MissingDependencyError
from e5studio.training.examples import Example, TrainingSet
from e5studio.training.negatives import MinedSet, MiningOptions, MiningReport, mine_negatives
from e5studio.training.options import OnStage, TrainOptions
from e5studio.training.pairs_file import PairsFormat, read_training_set
from e5studio.training.recipe import Recipe
from e5studio.training.verdict import Verdict

if TYPE_CHECKING:
    from e5studio.training.report import TrainingReport
    from e5studio.training.run import TrainingResult, train
    from e5studio.training.step_loss import StepLoss

_WITH_TRAINER = {"StepLoss": "step_loss", "TrainingReport": "report", "TrainingResult": "run", "train": "run"}
_PACKAGES = ("sentence_transformers", "accelerate", "datasets", "scipy", "pytrec_eval")

__all__ = [
    "Example",
    "MinedSet",
    "MiningOptions",
    "MiningReport",
    "OnStage",
    "PairsFormat",
    "Recipe",
    "StepLoss",
    "TrainOptions",
    "TrainingReport",
    "TrainingResult",
    "TrainingSet",
    "Verdict",
    "mine_negatives",
    "read_training_set",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WITH_TRAINER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingDependencyError(
            f"Training needs {', '.join(missing)}.", "Install it with: pip install 'e5studio[train]'"
        )
    return getattr(importlib.import_module(f"{__name__}.{_WITH_TRAINER[name]}"), name)
