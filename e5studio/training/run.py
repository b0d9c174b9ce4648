"""A whole run: read, hold out, evaluate, mine, train, save, evaluate again, say what it brought.

Everything before the first step follows from the data, the settings and the seed, and its vectors lie in the work
folder. So a run that was stopped, however it ended, goes on when the same command is given again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from e5studio import checkpoint
from e5studio.cache import VectorCache
from e5studio.encoder import E5Encoder
from e5studio.errors import OutputError, UnsupportedError
from e5studio.load import load_model
from e5studio.models import ModelMeta
from e5studio.options import ModelOptions
from e5studio.spec import EncoderSpec
from e5studio.training.examples import TrainingSet
from e5studio.training.model_folder import write_start_folder
from e5studio.training.negatives import MinedSet, mine_negatives
from e5studio.training.options import OnStage, TrainOptions
from e5studio.training.pairs_file import read_training_set
from e5studio.training.recipe import Recipe, recipe_for
from e5studio.training.report import TrainingReport, write_reports
from e5studio.training.roles import RolePrompts
from e5studio.training.split import Split, split_queries
from e5studio.training.steps import Step, StepOptions, digest_of, plan_steps
from e5studio.training.verdict import Trial, read_named_sets
from e5studio.training.weights import TrainedModel, train_weights
from e5studio.training.work_folder import read_note, work_folder, write_note, writing

_SETTINGS, _STEPS, _TRAINED = "settings.json", "steps.json", "trained.json"


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and what is known of it.

    Attributes:
        folder: The model.
        report: Settings, figures and verdicts.
    """

    folder: Path
    report: TrainingReport


def train(
    pairs: str | Path,
    model: str | Path | ModelOptions,
    output: str | Path,
    options: TrainOptions | None = None,
    *,
    on_stage: OnStage | None = None,
) -> TrainingResult:
    """Fine-tune a model by E5's recipe, and measure whether it helped.

    A run that was stopped goes on when it is called again with the same arguments; until it is done, its work lies in
    `output` + ".train".

    Args:
        pairs: A .jsonl, .csv, .tsv or .parquet file, or a folder in BEIR's form; see `read_training_set`.
        model: The model to start from; a dtype is that of the evaluations and of mining.
        output: A new folder for the trained model.
        options: What the run does beside E5's recipe.
        on_stage: Called with the progress.

    Raises:
        FileFormatError: The pairs cannot be read, or are too few.
        OutputError: The output exists, another run is at work on it, or its work is of other data or settings.
        UnsupportedError: The model cannot be trained here.
        OutOfMemoryError: Not even small parts of a step fit.
        NonFiniteError: The loss ran away.
    """
    options, output = options or TrainOptions(), Path(output)
    refuse_output(output)
    training_set = read_training_set(pairs, options.form)
    trial_sets = read_named_sets(options.named_sets)
    with work_folder(output) as work, closing(VectorCache(work / "vectors")) as cache:
        run = _Run(options, output.name, work, cache, on_stage or (lambda stage, done, total: None))
        report = run.run(training_set, trial_sets, model if isinstance(model, ModelOptions) else ModelOptions(model))
        with writing("The report", run.child):
            write_reports(report, run.child, output.name)
            os.replace(run.child, output)
    return TrainingResult(output, report)


def refuse_output(output: Path) -> None:
    """Refuse to train into a folder that exists.

    Raises:
        OutputError: There is something of that name.
    """
    if os.path.lexists(output):
        raise OutputError(
            f"{output} exists already, and a trained model is never replaced.", "Name another output, or delete it."
        )


@dataclass
class _Run:
    """The stages, which hand their results on."""

    options: TrainOptions
    name: str
    work: Path
    cache: VectorCache
    tell: OnStage
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def child(self) -> Path:
        """Where the trained model is written and measured, before it gets its name."""
        return self.work / "model"

    def run(self, training_set: TrainingSet, trial_sets: Any, parent: ModelOptions) -> TrainingReport:
        """All stages."""
        options = self.options
        with E5Encoder.from_loaded(load_model(parent)) as encoder:
            prompts = RolePrompts.of(
                encoder.meta.prompt_kind, is_symmetric=options.is_symmetric, instruction=options.instruction
            )
            prompts.check(training_set)
            split = split_queries(training_set, options.held_out, options.recipe.get("seed", Recipe.seed))
            recipe = self._recipe(encoder, len(split.train.examples))
            _check_room(encoder, training_set, prompts, recipe.max_tokens)
            self._check_note(_SETTINGS, self._settings(encoder.spec, training_set.digest, prompts, recipe))
            trial = Trial(split.held_out, trial_sets, prompts, Path(training_set.source).stem)
            with self._timed("before"):
                before = trial.evaluate(encoder, self.cache, self._progress("before"))
            mined = self._mine(encoder, split, prompts, recipe)
            steps = plan_steps(
                mined.training_set,
                StepOptions(recipe.batch_size, recipe.n_epochs, recipe.n_negatives, recipe.seed),
            )
            self._check_note(_STEPS, {"digest": digest_of(steps)})
            trained = TrainedModel.read(self.work / _TRAINED) if self.child.is_dir() else None
            if trained is None:
                with writing("The model", self.work):
                    write_start_folder(encoder, self.work / "start")
            meta, spec = encoder.meta, encoder.spec
        if trained is None:
            trained = self._train(mined.training_set, steps, prompts, recipe, meta)
        with self._timed("after"), E5Encoder.from_loaded(load_model(self._as_child(parent, meta))) as child:
            after = trial.evaluate(child, self.cache, self._progress("after"))
        queries = {draw.example for step in steps for draw in step}
        return TrainingReport(
            parent=meta,
            parent_fingerprint=spec.fingerprint,
            source=training_set.source,
            data_digest=training_set.digest,
            n_documents=len(training_set.documents),
            n_train=len(queries),
            n_left_out=len(split.train.examples) - len(queries),
            n_held_out=len(split.held_out.examples) if split.held_out else 0,
            prompts=prompts,
            recipe=recipe,
            mining=mined.report,
            trained=trained,
            verdicts=trial.verdicts(before, after),
            seconds=self.seconds | {"training": trained.steps.seconds},
        )

    def _recipe(self, encoder: E5Encoder, n_queries: int) -> Recipe:
        meta = encoder.meta
        if meta.model_type == "mistral":
            raise UnsupportedError(
                f"{meta.name} cannot be trained here: with its optimiser it takes over 100 GB.",
                "Train an encoder, such as intfloat/multilingual-e5-large-instruct.",
            )
        n_words = checkpoint.count_words(encoder.files.folder)
        return recipe_for(meta, n_words, n_queries, device=encoder.device, **self.options.recipe)

    def _mine(self, encoder: E5Encoder, split: Split, prompts: RolePrompts, recipe: Recipe) -> MinedSet:
        train, mines = split.train, self.options.mines
        if mines is None:
            mines = not train.has_teacher and any(not example.negatives for example in train.examples)
        if not mines or not recipe.n_negatives:
            return MinedSet(train, None)
        n_pool = min(recipe.n_negatives * recipe.n_epochs, self.options.mining.depth)  # other ones in each epoch
        options = replace(self.options.mining, n_negatives=n_pool, seed=recipe.seed)
        with self._timed("mining"):
            return mine_negatives(
                encoder, train, options, prompts=prompts, cache=self.cache, on_progress=self._progress("mining")
            )

    def _train(
        self,
        training_set: TrainingSet,
        steps: tuple[Step, ...],
        prompts: RolePrompts,
        recipe: Recipe,
        meta: ModelMeta,
    ) -> TrainedModel:
        self.tell("training", 0, len(steps))  # loading takes a while
        trained = train_weights(
            self.work / "start",
            self.child,
            training_set,
            steps,
            prompts,
            recipe,
            meta=meta,
            checkpoints=self.work / "checkpoints",
            on_step=self._progress("training"),
        )
        trained.write(self.work / _TRAINED)
        return trained

    def _as_child(self, parent: ModelOptions, meta: ModelMeta) -> ModelOptions:
        """The trained model under the name that it will have, on the same backend, device and precision."""
        child = checkpoint.describe(self.child, name=self.name, prompt_kind=meta.prompt_kind)
        return ModelOptions(child, path=self.child, backend=parent.backend, device=parent.device, dtype=parent.dtype)

    def _settings(self, parent: EncoderSpec, data: str, prompts: RolePrompts, recipe: Recipe) -> dict[str, Any]:
        """All that the steps and the weights follow from."""
        options = self.options
        return {
            "model": {**asdict(parent), "model": None},  # whose revision says it, by whatever path it is named
            "data": data,
            "held out": options.held_out,
            "prompts": asdict(prompts),
            "mining": {"mines": options.mines, **asdict(options.mining)},
            "recipe": {name: value for name, value in asdict(recipe).items() if name != "checkpoint_seconds"},
        }

    def _check_note(self, name: str, content: dict[str, Any]) -> None:
        """Refuse to go on with the work of other data or settings; write down those of this run."""
        path, content = self.work / name, json.loads(json.dumps(content))
        earlier = read_note(path)
        if earlier is None:
            write_note(path, content)
        elif earlier != content:
            others = [key for key in content if content[key] != earlier.get(key)]
            raise OutputError(
                f"{self.work} holds the work of a run with other settings ({', '.join(others)}).",
                "Give the same again to go on with it, delete that folder to start anew, or name another output.",
            )

    def _progress(self, stage: str) -> Callable[[int, int], None]:
        return lambda done, total: self.tell(stage, done, total)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start


def _check_room(encoder: E5Encoder, training_set: TrainingSet, prompts: RolePrompts, max_tokens: int) -> None:
    """Refuse a length that a prompt fills alone: all queries would be the same."""
    instructions = dict.fromkeys(example.instruction for example in training_set.examples)
    limited = encoder.with_options(max_tokens=max_tokens)
    for prompt in (prompts.document, *map(prompts.query, instructions)):
        limited.prepare(["text"], prompt=prompt)
