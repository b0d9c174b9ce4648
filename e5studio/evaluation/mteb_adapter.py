"""An E5Encoder as a model of mteb, for `mteb.evaluate(model, tasks)`.

The prompts follow the authors' rules, or mteb's own; `e5studio.evaluation.protocols` has both. mteb
is in the extra "eval"; only this module and mteb_run import it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from e5studio.backends import BackendName, DType
from e5studio.cache import CachedEncoder, VectorCache
from e5studio.encoder import E5Encoder
from e5studio.errors import MissingDependencyError, PromptError
from e5studio.evaluation.protocols import Protocol, TaskPrompts, check_protocol, task_prompts
from e5studio.evaluation.run import Work, under_protocol
from e5studio.models import PromptKind, is_in_table
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray

try:
    from mteb.abstasks.abstask import get_abstask_prompt
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_implementations import MODEL_REGISTRY
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.types import Licenses, PromptType
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
            `experiment_kwargs`, so that results of two settings never overwrite each other.
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

    def encode(  # mteb's **kwargs are the last three
        self,
        inputs: Iterable[Any],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: str | None = None,
    ) -> FloatArray:
        """Embed the texts of a task.

        Args:
            inputs: Batches of texts; the encoder makes its own batches of them.
            task_metadata: The task, which determines the prompts.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: Whether the texts are queries or documents, where the task has both.
            batch_size: Not used.
            show_progress_bar: Whether to show a bar.
            precision: "float32" or None; vectors are not quantised.

        Returns:
            Float32, (n, embed_dim).
        """
        if precision not in (None, "float32"):
            raise PromptError(f"precision={precision!r}: vectors are float32. Quantise the model: dtype='int8'.")
        prompts = self.prompts_for(task_metadata, prompt_type)
        is_document = prompt_type == PromptType.document
        # A document's "text" is its title and its text, its "body" the text alone.
        field = "body" if is_document and not prompts.reads_titles else "text"
        texts = [text for batch in inputs for text in batch.get(field, batch["text"])]
        return self._embed(
            texts, prompts.document if is_document else prompts.query, prompts.normalize, show_progress_bar
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
    )
    return MtebEncoder(encoder, protocol=protocol, prompt_kind=prompt_kind, instruction=instruction)


def model_meta(encoder: E5Encoder, protocol: Protocol, kind: PromptKind, instruction: str | None) -> ModelMeta:
    """The description of the encoder for mteb, based on mteb's own entry of the model if there is one."""
    spec, meta = encoder.spec, encoder.meta
    # mteb hands them to the loader too.
    settings = {
        "protocol": protocol,
        "prompt_kind": kind,
        "backend": spec.backend,
        "dtype": spec.dtype,
        "max_tokens": spec.max_tokens,
    } | ({"instruction": instruction} if instruction is not None else {})
    ours: dict[str, Any] = {
        "loader": load_mteb_encoder,
        "loader_kwargs": {},
        "revision": spec.revision,
        "max_tokens": spec.max_tokens,
        "embed_dim": spec.embed_dim,
        "framework": ["OpenVINO" if spec.backend == "openvino" else "ONNX" if spec.backend == "onnx" else "PyTorch"],
        "similarity_fn_name": ScoringFunction.COSINE,
        "use_instructions": kind != "none",
        "experiment_kwargs": settings,
    }
    known = MODEL_REGISTRY.get(meta.name)
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


def mteb_instruction(task_metadata: TaskMetadata) -> str:
    """The instruction of mteb for the queries of a task: the task's own prompt, else that of its kind."""
    prompt = task_metadata.prompt
    own = prompt if isinstance(prompt, str) else (prompt or {}).get("query")
    return str(own) if own else get_abstask_prompt(task_metadata.name)
