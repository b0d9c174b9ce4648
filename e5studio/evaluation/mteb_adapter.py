"""An E5Encoder as a model of mteb, for `mteb.evaluate(model, tasks)`.

The prompts follow the authors' rules, or mteb's own; `e5studio.evaluation.protocols` has both. mteb
is in the extra "eval"; only this module and mteb_run import it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack, get_args

from e5studio.backends import BackendName, DType
from e5studio.cache import CachedEncoder, VectorCache
from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioWarning, MissingDependencyError, PromptError
from e5studio.evaluation.protocols import AUTHORS_MAX_TOKENS, Protocol, TaskPrompts, check_protocol, task_prompts
from e5studio.evaluation.run import under_protocol
from e5studio.evaluation.work import Work
from e5studio.models import PromptKind, is_in_table
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray

try:
    from mteb.abstasks.abstask import get_abstask_prompt
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_implementations import MODEL_REGISTRY
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.types import EncodeKwargs, Licenses, PromptType
except ImportError as error:
    raise MissingDependencyError(
        'Evaluation on the tasks of mteb needs mteb. Install it with: pip install "e5studio[eval]"'
    ) from error

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata

_ISO_LANGUAGES = {"en": "eng-Latn"}


class MtebEncoder(AbsEncoder):
    """An encoder behind mteb's EncoderProtocol.

    Args:
        encoder: The encoder; the caller closes it.
        protocol: Whose rules choose the prompts.
        prompt_kind: Use the prompts of this kind instead of the model's own: "none" measures it without prompts.
        instruction: An instruction for all tasks, instead of each task's own.
        cache: The vector cache; not used for classification, whose vectors are not normalised. None: no cache.

    Attributes:
        mteb_model_meta: mteb's description of the model; protocol, backend and precision are in its
            `experiment_kwargs` where they are not the usual ones, so that results of two settings never overwrite each
            other, and `ResultCache.load_results()` gives the usual ones.
        used: The prompts of each task run so far.
        work: Texts and tokens embedded so far.
    """

    mteb_model_meta: ModelMeta

    def __init__(
        self,
        encoder: E5Encoder,
        *,
        protocol: Protocol = "authors",
        prompt_kind: PromptKind | None = None,
        instruction: str | None = None,
        cache: VectorCache | None = None,
    ) -> None:
        check_protocol(protocol)
        self.encoder = under_protocol(encoder, protocol)
        self.model = self.encoder  # what AbsEncoder calls it
        self._cache = cache
        self._protocol = protocol
        self._kind = prompt_kind or encoder.meta.prompt_kind
        self._instruction = instruction
        self.mteb_model_meta = model_meta(self.encoder, protocol, self._kind, instruction)
        self.used: dict[str, TaskPrompts] = {}
        self.work = Work()

    def encode(
        self,
        inputs: Iterable[Any],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Unpack[EncodeKwargs],
    ) -> FloatArray:
        """Embed the texts of a task.

        Args:
            inputs: Batches of texts; the encoder makes its own batches of them.
            task_metadata: The task, which determines the prompts.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: Whether the texts are queries or documents, where the task has both.
            **kwargs: mteb's contract lets any option in. `show_progress_bar` is used, `batch_size` is not needed,
                `precision` must be "float32", and others are ignored with a warning.

        Returns:
            Float32, (n, embed_dim).
        """
        _check_options(kwargs)
        prompts = self.prompts_for(task_metadata, prompt_type)
        is_document = prompt_type == PromptType.document
        # A document's "text" is its title and its text, its "body" the text alone.
        field = "body" if is_document and not prompts.reads_titles else "text"
        texts = [text for batch in inputs for text in batch.get(field, batch["text"])]
        return self._embed(
            texts,
            prompts.document if is_document else prompts.query,
            prompts.normalize,
            kwargs.get("show_progress_bar"),
        )

    def prompts_for(self, task_metadata: TaskMetadata, prompt_type: PromptType | None = None) -> TaskPrompts:
        """The prompts of a task."""
        prompts = task_prompts(
            self._kind,
            name=task_metadata.name,
            task_type=task_metadata.type,
            protocol=self._protocol,
            has_roles=prompt_type is not None,
            instruction=self._instruction,
            mteb_instruction=lambda: mteb_instruction(task_metadata),
        )
        if self.encoder.meta.prompt_kind == "none":  # not an E5 model: always normalised
            prompts = replace(prompts, normalize=True)
        self.used[task_metadata.name] = prompts
        return prompts

    def _embed(self, texts: list[str], prompt: Prompt, normalize: bool, show_progress: bool | None) -> FloatArray:
        encoder = self.encoder.with_options(show_progress=show_progress)
        with self.work.timed("tokenising"):
            prepared = encoder.prepare(texts, prompt=prompt, allow_empty=True)
        self.work.count(prepared, texts)
        with self.work.timed("embedding"):
            if self._cache is None or not normalize:  # the cache holds normalised vectors
                return encoder.embed_prepared(prepared, normalize=normalize)
            return CachedEncoder(encoder, self._cache).embed_prepared(prepared, texts)


def load_mteb_encoder(
    model_name: str,
    revision: str | None = None,
    *,
    device: str | None = None,
    protocol: Protocol = "authors",
    prompt_kind: PromptKind | None = None,
    instruction: str | None = None,
    backend: BackendName = "auto",
    dtype: DType = "auto",
    max_tokens: int | None = None,
    truncate_dim: int | None = None,
) -> MtebEncoder:
    """Load a model by name, as mteb's `ModelMeta.loader` is called. Arguments as `E5Encoder` and `MtebEncoder`."""
    is_own = prompt_kind is not None and not is_in_table(model_name)
    encoder = E5Encoder(
        model_name,
        prompt_kind=prompt_kind if is_own else None,
        revision=revision,
        device=device or "auto",
        backend=backend,
        dtype=dtype,
        max_tokens=max_tokens,
        truncate_dim=truncate_dim,
    )
    return MtebEncoder(encoder, protocol=protocol, prompt_kind=prompt_kind, instruction=instruction)


def model_meta(encoder: E5Encoder, protocol: Protocol, kind: PromptKind, instruction: str | None) -> ModelMeta:
    """The description of the encoder for mteb, based on mteb's own entry of the model if there is one."""
    spec, meta = encoder.spec, encoder.meta
    known = MODEL_REGISTRY.get(meta.name)
    settings = {
        "protocol": protocol,
        "prompt_kind": kind,
        "backend": spec.backend,
        "dtype": spec.dtype,
        "max_tokens": spec.max_tokens,
    }
    settings |= {"truncate_dim": spec.embed_dim} if spec.embed_dim != meta.embed_dim else {}
    settings |= {"instruction": instruction} if instruction is not None else {}
    ours: dict[str, Any] = {
        "loader": load_mteb_encoder,
        "loader_kwargs": settings,
        "revision": spec.revision,
        "max_tokens": spec.max_tokens,
        "embed_dim": spec.embed_dim,
        "framework": ["OpenVINO" if spec.backend == "openvino" else "ONNX" if spec.backend == "onnx" else "PyTorch"],
        "similarity_fn_name": ScoringFunction.COSINE,
        "use_instructions": kind != "none",
        "experiment_kwargs": _experiment(encoder, settings, known) or None,
    }
    if known is not None:
        return known.model_copy(update=ours)
    languages = [_ISO_LANGUAGES[code] for code in meta.languages if code in _ISO_LANGUAGES]
    return ModelMeta(
        name=meta.name if "/" in meta.name else f"local/{meta.name}",
        release_date=None,
        languages=languages or None,
        n_parameters=meta.n_parameters,
        memory_usage_mb=None,
        license=meta.license if meta.license in get_args(Licenses) else None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        training_datasets=None,
        **ours,
    )


def _experiment(encoder: E5Encoder, settings: Mapping[str, Any], known: ModelMeta | None) -> dict[str, Any]:
    """The settings that make a result another than the usual one of this model: mteb keeps such results apart.

    The usual one of a model that mteb knows, at the same revision, is mteb's own; else it is by the authors' rules.
    """
    is_mtebs = known is not None and known.revision == encoder.spec.revision
    protocol: Protocol = "mteb" if is_mtebs else "authors"
    usual = {
        "protocol": settings["protocol"] if settings["prompt_kind"] == "none" else protocol,
        "prompt_kind": encoder.meta.prompt_kind,
        "dtype": "float32",
        "max_tokens": min(encoder.meta.max_tokens, AUTHORS_MAX_TOKENS)
        if settings["protocol"] == "authors"
        else encoder.meta.max_tokens,
        # In float32 all backends compute the same figures.
        "backend": settings["backend"] if settings["dtype"] == "float32" else None,
    }
    return {name: value for name, value in settings.items() if name not in usual or value != usual[name]}


def _check_options(options: Mapping[str, Any]) -> None:
    if options.get("precision") not in (None, "float32"):
        precision = options["precision"]
        raise PromptError(f"precision={precision!r}: vectors are float32. Quantise the model: dtype='int8'.")
    foreign = sorted(options.keys() - {"batch_size", "show_progress_bar", "precision"})
    if foreign:
        warnings.warn(
            f"{', '.join(foreign)}: no options of this encoder, and ignored. Set its options where it is made: "
            "E5Encoder(...), MtebEncoder(...).",
            E5StudioWarning,
            stacklevel=3,
        )


def mteb_instruction(task_metadata: TaskMetadata) -> str:
    """The instruction of mteb for the queries of a task: the task's own prompt, else that of its kind."""
    prompt = task_metadata.prompt
    own = prompt if isinstance(prompt, str) else (prompt or {}).get("query")
    return str(own) if own else get_abstask_prompt(task_metadata.name)
