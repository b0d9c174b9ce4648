"""The sentence-transformers trainer with E5's steps; its loop, optimiser, schedule and resumption are used as they are.

The rest goes in by the trainer's own hooks: the loss, the collator, the batch sampler and callbacks. A checkpoint holds
the weights that are trained, and counts only once it is whole.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from transformers import PrinterCallback, TrainerCallback

from e5studio.errors import NonFiniteError, OutOfMemoryError
from e5studio.file_digest import digest_of
from e5studio.memory import is_out_of_memory
from e5studio.training.collator import StepCollator
from e5studio.training.recipe import Recipe
from e5studio.training.step_loss import MIN_CHUNK_TOKENS, StepLoss
from e5studio.training.steps import Step
from e5studio.training.work_folder import read_note, write_note, writing

OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

_WEIGHTS, _WHOLE = "trained.safetensors", "whole"


@dataclass(frozen=True)
class TrainedSteps:
    """What a run of the trainer did.

    Attributes:
        losses: Of each step, those before a resumption included.
        seconds: Spent in steps, those before a resumption included.
        n_tokens: Tokens read in these seconds.
        n_resumed: Steps that an earlier run had done.
        n_halved: How often the step was halved for want of memory.
    """

    losses: tuple[float, ...]
    seconds: float
    n_tokens: int
    n_resumed: int
    n_halved: int


@dataclass(frozen=True)
class _Spent:
    """What the steps took until a checkpoint."""

    seconds: float = 0.0
    n_tokens: int = 0


class _PlannedBatches:
    """The batch sampler: blocks of draws, in the planned order."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._lengths = [len(step) for step in steps]

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[list[int]]:
        start = 0
        for length in self._lengths:
            yield list(range(start, start + length))
            start += length


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Tells of every step, and asks for a checkpoint when the last one is old enough."""

    def __init__(self, seconds: float, collator: StepCollator, spent: _Spent, on_step: OnStep | None) -> None:
        self._seconds, self._collator, self._before, self._on_step = seconds, collator, spent, on_step
        self._start = self._last = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._start = self._last = time.monotonic()

    def spent(self) -> _Spent:
        """So far, earlier runs included."""
        seconds = self._before.seconds + time.monotonic() - self._start
        return _Spent(seconds, self._before.n_tokens + self._collator.n_tokens)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if self._on_step is not None:
            self._on_step(state.global_step, state.max_steps)
        if time.monotonic() - self._last >= self._seconds and state.global_step < state.max_steps:
            control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        with writing("A checkpoint", checkpoint):
            write_note(checkpoint / _WHOLE, {"spent": asdict(self.spent()), "digests": _digests(checkpoint)})
        self._last = time.monotonic()
        return control


class E5Trainer(SentenceTransformerTrainer):
    """The trainer, whose checkpoints are small and whose steps shrink where memory is short."""

    n_halved = 0

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One step; out of memory, it is done again in chunks of half the size."""
        while True:
            try:
                loss: torch.Tensor = super().training_step(model, dict(inputs), num_items_in_batch)
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"The loss of step {self.state.global_step + 1} is no finite number: the weights have run away. Take a "
                "smaller --learning-rate or a higher --temperature, and another output."
            )
        return loss

    def _halve(self, error: Exception) -> None:
        step_loss: Any = self.loss
        limits = step_loss.limits.halved()
        if limits.chunk_tokens < MIN_CHUNK_TOKENS:
            raise OutOfMemoryError(
                "A training step does not fit into memory, in the smallest chunks.",
                "Take a smaller model, fewer tokens (--max-tokens) or a smaller batch.",
            ) from error
        step_loss.limits = limits
        self.n_halved += 1
        self.model.zero_grad()

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: the report is our own."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with writing("A checkpoint", Path(self.args.output_dir)):
            super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(trained_weights(self.model), folder / _WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        weights = safetensors.torch.load_file(Path(resume_from_checkpoint) / _WEIGHTS)
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                parameters[name].copy_(weight)


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that training changes, by name."""
    return {name: each.detach().contiguous() for name, each in model.named_parameters() if each.requires_grad}


def run_steps(
    model: SentenceTransformer,
    loss: StepLoss,
    steps: Sequence[Step],
    collator: StepCollator,
    recipe: Recipe,
    folder: Path,
    on_step: OnStep | None = None,
) -> TrainedSteps:
    """Train, from the last whole checkpoint on if there is one.

    Args:
        model: The model, changed in place.
        loss: Over this model.
        steps: In the order of the collator's draws.
        collator: Makes the inputs of a step.
        recipe: Learning rate, warm-up, seed.
        folder: Of the checkpoints.
        on_step: Called after each step.

    Raises:
        OutOfMemoryError: Not even the smallest chunk fits.
    """
    checkpoint = _last_whole(folder)
    spent = _Spent() if checkpoint is None else _Spent(**read_note(checkpoint / _WHOLE)["spent"])
    watch = _Watch(recipe.checkpoint_seconds, collator, spent, on_step)
    trainer = E5Trainer(
        model=model,
        args=_arguments(steps, recipe, folder),
        train_dataset=Dataset.from_dict({"draw": range(sum(map(len, steps)))}),
        loss=loss,
        data_collator=cast(Any, collator),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    total = watch.spent()
    n_resumed = 0 if checkpoint is None else _step_of(checkpoint)
    return TrainedSteps(tuple(losses), total.seconds, total.n_tokens, n_resumed, trainer.n_halved)


def _arguments(steps: Sequence[Step], recipe: Recipe, folder: Path) -> SentenceTransformerTrainingArguments:
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,  # the steps of all epochs are one sequence
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps(len(steps)),
        lr_scheduler_type="linear",
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        optim="adamw_torch",
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=recipe.device == "cpu",
        save_strategy="no",  # `_Watch` asks for checkpoints by time
        save_total_limit=2,  # the one before stays until a new one is whole
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=[],
        dataloader_pin_memory=False,
        batch_sampler=cast(Any, lambda dataset, **_: _PlannedBatches(steps)),
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several would each get a part of the step, and its negatives
    return arguments


def _last_whole(folder: Path) -> Path | None:
    """The newest checkpoint that is as it was written; newer ones, which are not, are deleted."""
    for path in sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True):
        note = read_note(path / _WHOLE)
        if note is not None and note["digests"] == _digests(path):
            return path
        shutil.rmtree(path)
    return None


def _digests(checkpoint: Path) -> dict[str, str]:
    """The digest of each file of a checkpoint but the note that holds them."""
    return {path.name: digest_of(path) for path in sorted(checkpoint.iterdir()) if path.name != _WHOLE}


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
