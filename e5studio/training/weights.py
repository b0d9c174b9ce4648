"""Trains the weights of a start folder and writes them as a new folder, which E5Encoder reads with the same vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from e5studio import checkpoint, cpu
from e5studio.backends.modules import QuietTransformers
from e5studio.encoder import E5Encoder
from e5studio.errors import ModelFilesError
from e5studio.memory import available_bytes
from e5studio.models import ModelMeta
from e5studio.tokenization import Tokenizer
from e5studio.training.attention import FLOAT32_ATTENTION
from e5studio.training.collator import StepCollator
from e5studio.training.examples import TrainingSet
from e5studio.training.lora import add_lora, merged
from e5studio.training.model_folder import write_child_folder
from e5studio.training.recipe import Recipe
from e5studio.training.roles import RolePrompts
from e5studio.training.step_loss import StepLimits, StepLoss
from e5studio.training.steps import Step
from e5studio.training.trainer import OnStep, TrainedSteps, run_steps
from e5studio.training.work_folder import read_note, write_note, writing

_LIMITS_FILE = "limits.json"
_LARGEST_DIFFERENCE = 1e-4  # of two float32 computations of one vector
_N_COMPARED = 8
_NUMBERS_OF_A_TOKEN = 20  # stored for the gradient of one of BERT's layers, times the width
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")  # in the configurations of BERT and XLM-RoBERTa
_MEMORY_SHARE = 0.25  # of what is free, for activations that stay
_MOST_STORED = {"cpu": 2_000_000_000, "cuda": 1 << 40, "mps": 4_000_000_000}  # more gains nothing but memory
_CHUNK_TOKENS = {"cpu": 2_048, "cuda": 65_536, "mps": 8_192}


@dataclass(frozen=True)
class TrainedModel:
    """What training did to the weights.

    Attributes:
        steps: Losses, seconds and tokens.
        n_trained: Weights that were trained.
        n_weights: All weights.
        limits: Of memory in a step, at first.
    """

    steps: TrainedSteps
    n_trained: int
    n_weights: int
    limits: StepLimits

    def write(self, path: Path) -> None:
        """Note that the model is trained and written, so that a run stopped after that does not train again."""
        write_note(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> TrainedModel | None:
        """The note of `write`; None where there is none."""
        fields = read_note(path)
        if fields is None:
            return None
        steps = TrainedSteps(**fields["steps"] | {"losses": tuple(fields["steps"]["losses"])})
        return cls(steps, fields["n_trained"], fields["n_weights"], StepLimits(**fields["limits"]))


def train_weights(
    start: Path,
    into: Path,
    training_set: TrainingSet,
    steps: Sequence[Step],
    prompts: RolePrompts,
    recipe: Recipe,
    *,
    meta: ModelMeta,
    checkpoints: Path,
    on_step: OnStep | None = None,
) -> TrainedModel:
    """Train the model of a start folder and write it to another.

    Args:
        start: From `write_start_folder`.
        into: A new folder.
        training_set: Texts and known answers.
        steps: From `plan_steps`.
        prompts: By role.
        recipe: Learning rate, batches and the like.
        meta: The parent.
        checkpoints: Folder of the checkpoints; training goes on from the last whole one.
        on_step: Called after each step.

    Raises:
        ModelFilesError: The written folder gives other vectors than the trained model.
        OutOfMemoryError: Not even the smallest part of a step fits.
    """
    if recipe.device == "cpu":
        torch.set_num_threads(cpu.chosen_threads() or cpu.n_threads())
    with QuietTransformers(), _quiet_libraries():
        model = load_for_training(start, recipe)
        adapted = add_lora(_transformer(model), recipe.lora_rank, recipe.seed) if recipe.lora_rank else None
        limits = limits_of_run(checkpoints, meta, recipe.device)
        loss = StepLoss(
            model,
            temperature=recipe.temperature,
            dims=recipe.dims,
            limits=limits,
            is_bfloat16=recipe.dtype == "bfloat16",
        )
        collator = StepCollator(
            training_set,
            [draw for step in steps for draw in step],
            Tokenizer.from_folder(start, pooling=meta.pooling),
            prompts,
            recipe.max_tokens,
            checkpoint.pad_id(start),
        )
        trained = run_steps(model, loss, steps, collator, recipe, checkpoints, on_step)
        sizes = [(each.numel(), each.requires_grad) for name, each in model.named_parameters() if "pooler." not in name]
        model.eval()
        weights = _weights_of(_transformer(model) if adapted is None else merged(adapted))
        with writing("The trained model", into.parent):
            write_child_folder(start, weights, into)
        _check_vectors(loss, collator, into)
    return TrainedModel(
        trained, sum(size for size, is_trained in sizes if is_trained), sum(s for s, _ in sizes), limits
    )


def load_for_training(start: Path, recipe: Recipe) -> SentenceTransformer:
    """The model in float32, with what is not trained frozen."""
    without_dropout = {} if recipe.has_dropout else dict.fromkeys(_DROPOUTS, 0.0)
    model = SentenceTransformer(
        str(start),
        device=recipe.device,
        local_files_only=True,
        model_kwargs={"dtype": torch.float32},
        config_kwargs=without_dropout,
    )
    if recipe.dtype == "bfloat16" and recipe.device == "cpu":
        _transformer(model).set_attn_implementation(FLOAT32_ATTENTION)
    for name, parameter in model.named_parameters():
        is_words = name.endswith("word_embeddings.weight")
        parameter.requires_grad_("pooler." not in name and not (is_words and recipe.freezes_words))
    return model


def limits_of_run(folder: Path, meta: ModelMeta, device: str) -> StepLimits:
    """The limits that the run began with: other parts of a step would round otherwise, and end in other weights."""
    path = folder / _LIMITS_FILE
    earlier = read_note(path)
    if earlier is not None:
        return StepLimits(**earlier)
    limits = limits_for(meta, device)
    folder.mkdir(parents=True, exist_ok=True)
    write_note(path, asdict(limits))
    return limits


def limits_for(meta: ModelMeta, device: str) -> StepLimits:
    """Memory of a step: a share of what is free, as tokens of this model."""
    kind = device.partition(":")[0]
    free = torch.cuda.mem_get_info(device)[0] if kind == "cuda" else available_bytes()
    room = min(_MOST_STORED[kind], _MEMORY_SHARE * free) if free is not None else _MOST_STORED[kind]
    bytes_of_a_token = _NUMBERS_OF_A_TOKEN * meta.embed_dim * meta.n_layers * 4
    return StepLimits(_CHUNK_TOKENS[kind], int(room / bytes_of_a_token))


def _weights_of(transformer: Any) -> dict[str, Any]:
    """The tensors by the names that transformers gives them; the pooler, which no E5 uses, is 0.

    Without one transformers warns that the model needs more training.
    """
    weights = transformer.state_dict()
    return {name: torch.zeros_like(weights[name]) if name.startswith("pooler.") else weights[name] for name in weights}


def _transformer(model: SentenceTransformer) -> Any:
    return cast(Any, model[0]).auto_model


def _check_vectors(loss: StepLoss, collator: StepCollator, folder: Path) -> None:
    """Compare a few vectors of the folder, as E5Encoder gives them, with those of the model in memory."""
    texts = list(collator.training_set.documents[:_N_COMPARED])
    prompt = collator.prompts.document
    tokens = collator.tokenizer.encode(texts, prompt=prompt.text, max_tokens=collator.max_tokens)
    device = next(loss.model.parameters()).device
    ids, mask = (torch.from_numpy(each).to(device) for each in tokens.batch.padded(collator.pad_id))
    loss.is_bfloat16 = False
    with torch.inference_mode():
        expected = loss.embed(ids, mask).cpu().numpy()
    with E5Encoder(
        folder, backend="torch", device="cpu", max_tokens=collator.max_tokens, show_progress=False
    ) as encoder:
        vectors = encoder.embed_prepared(encoder.prepare(texts, prompt=prompt))
    difference = float(np.abs(vectors - expected).max())
    if not difference <= _LARGEST_DIFFERENCE:  # nor NaN
        raise ModelFilesError(
            f"The trained model was written to {folder}, which gives other vectors (by {difference:.1e}).",
            "Please report this; the checkpoints stay beside it.",
        )


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Without the libraries' lines about their own work, which the report says better."""
    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "accelerate", "datasets")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
