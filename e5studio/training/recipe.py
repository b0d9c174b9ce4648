"""How a model is trained: the figures of E5's papers by size, for batches and machines of any size.

Sources: 2212.03533 and 2402.05672: temperature 0.01; the learning rate of the second stage is 3, 2 and 1 x 1e-5 for
small, base and large; 7 hard negatives; 2 to 3 epochs; texts of 192 tokens; 400 steps of warm-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from e5studio.errors import VectorError
from e5studio.models import ModelMeta

_LEARNING_RATES = {384: 3e-5, 768: 2e-5, 1024: 1e-5}
_LARGE_MODEL_RATE = 1e-5
_LORA_RATE = 1e-4  # of e5-mistral-7b-instruct (2401.00368), with rank 16
# What two cores do in minutes; a GPU takes the papers' figures, but for their batches of many GPUs.
_ON_CPU: dict[str, Any] = {"batch_size": 32, "n_epochs": 2, "n_negatives": 1, "max_tokens": 128}
# The papers' rates are for thousands of steps; in a few, weights would hardly move.
_FULL_RUN, _MOST_FASTER = 300, 3.0
_LARGE_TABLE = 0.5  # of the weights, where most words of a table of many languages come in no text


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a run; `recipe_for` fills in what depends on the model.

    Attributes:
        learning_rate: Of AdamW, after the warm-up; it falls to 0 in a line.
        temperature: Divides the cosines in the loss.
        batch_size: Queries of a step; their answers and negatives are negatives of each other.
        n_epochs: Passes over all queries.
        n_negatives: Hard negatives of each query in a step.
        max_tokens: Tokens read of a text in training.
        warmup_share: Of all steps.
        weight_decay: Of AdamW.
        has_dropout: Whether the model's own dropout is on; a CPU spends most of its time on it.
        freezes_words: Whether the word embeddings stay as they are.
        lora_rank: Rank of the matrices that are trained in place of the weights (LoRA); 0 to train these themselves.
        dims: Shorter lengths of vectors to train, too (Matryoshka).
        dtype: "float32", or "bfloat16" for matrix products alone.
        device: Where it is trained.
        seed: Of draws, order and dropout.
        checkpoint_seconds: Time between checkpoints.
    """

    learning_rate: float
    temperature: float = 0.01
    batch_size: int = 128
    n_epochs: int = 3
    n_negatives: int = 7
    max_tokens: int = 192
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    has_dropout: bool = False
    freezes_words: bool = False
    lora_rank: int = 0
    dims: tuple[int, ...] = ()
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0
    checkpoint_seconds: float = 120.0

    def warmup_steps(self, n_steps: int) -> int:
        """Steps in which the learning rate rises."""
        return round(self.warmup_share * n_steps)


def recipe_for(meta: ModelMeta, n_words: int, n_queries: int, *, device: str, **changes: Any) -> Recipe:
    """The recipe of a model.

    Args:
        meta: The model.
        n_words: Weights in its table of words.
        n_queries: To train on; a run of few steps takes up to 3 times the learning rate.
        device: Where it is trained.
        **changes: Fields of `Recipe` that the caller chose; None leaves a field as it is.

    Raises:
        VectorError: A figure is out of range.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    rate = _LORA_RATE if changes.get("lora_rank") else _LEARNING_RATES.get(meta.embed_dim, _LARGE_MODEL_RATE)
    recipe = Recipe(
        learning_rate=rate,
        freezes_words=device == "cpu" and n_words > _LARGE_TABLE * meta.n_parameters,
        device=device,
    )
    recipe = replace(recipe, **(_ON_CPU if device == "cpu" else {}))
    recipe = replace(recipe, max_tokens=min(recipe.max_tokens, meta.max_tokens))
    recipe = replace(recipe, **changes)
    _check(recipe, meta)
    if "learning_rate" in changes:
        return recipe
    n_steps = recipe.n_epochs * -(-n_queries // recipe.batch_size)
    factor = min(max(_FULL_RUN / n_steps, 1.0), _MOST_FASTER)
    return replace(recipe, learning_rate=recipe.learning_rate * factor)


def check_fields(changes: Mapping[str, Any]) -> None:
    """Refuse what is no field of a recipe, and a seed that no generator takes.

    Raises:
        VectorError: With the fields that there are.
    """
    names = [each.name for each in fields(Recipe)]
    if unknown := [name for name in changes if name not in names]:
        raise VectorError(f"{unknown[0]!r} is no field of a recipe: these are {', '.join(names)}.")
    seed = changes.get("seed", Recipe.seed)
    if not isinstance(seed, int) or not 0 <= seed < 1 << 32:
        raise VectorError(f"seed={seed!r} is out of range: it is a whole number from 0 to {(1 << 32) - 1}.")


def _check(recipe: Recipe, meta: ModelMeta) -> None:
    ranges: dict[str, tuple[float, float]] = {
        "learning_rate": (1e-9, 1.0),
        "temperature": (1e-4, 1.0),
        "warmup_share": (0.0, 1.0),
        "weight_decay": (0.0, 1.0),
        "batch_size": (2, 1 << 20),
        "n_epochs": (1, 10_000),
        "n_negatives": (0, 1_000),
        "lora_rank": (0, meta.embed_dim),
        "max_tokens": (8, meta.max_tokens),
        "checkpoint_seconds": (0.0, 1e9),
    }
    for name, (low, high) in ranges.items():
        value, is_whole = getattr(recipe, name), isinstance(high, int)
        if not isinstance(value, int if is_whole else int | float) or not low <= value <= high:
            sort = "whole number" if is_whole else "number"
            raise VectorError(f"{name}={value!r} is out of range: it is a {sort} from {low:,} to {high:,}.")
    if recipe.dtype not in ("float32", "bfloat16"):
        raise VectorError(f"dtype={recipe.dtype!r}: training computes in 'float32' or 'bfloat16'.")
    if wrong := [dim for dim in recipe.dims if not 1 <= dim < meta.embed_dim]:
        raise VectorError(
            f"dims holds {wrong[0]}; the vectors of {meta.name} have {meta.embed_dim:,} dimensions, so that a shorter "
            f"length is from 1 to {meta.embed_dim - 1:,}."
        )
