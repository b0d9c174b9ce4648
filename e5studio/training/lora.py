"""LoRA (Hu et al. 2021, 2106.09685): small matrices are trained beside the model's own and added to them at the end."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from e5studio.errors import MissingDependencyError


def add_lora(transformer: Any, rank: int, seed: int) -> Any:
    """Put trainable matrices of a rank beside every linear layer, in place; all other weights are frozen.

    Returns:
        What `merged` takes.

    Raises:
        MissingDependencyError: peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingDependencyError(
            "LoRA needs peft.", "Install it with: pip install 'e5studio[train,lora]'"
        ) from error
    torch.manual_seed(seed)
    options: Any = {"r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0, "target_modules": "all-linear"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names that will go
        return peft.get_peft_model(transformer, peft.LoraConfig(**options))


def merged(adapted: Any) -> Any:
    """The model with the matrices added to its own, under its own names."""
    return adapted.merge_and_unload()
