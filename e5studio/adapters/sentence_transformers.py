"""An E5Encoder that passes for a SentenceTransformer, for programs and packages that take one.

Embedding, similarity, prompts and what evaluators, miners and topic models ask of a model work as in
sentence-transformers. What needs the weights as a torch module (training, saving, pools of processes) is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Self, Unpack, cast

from e5studio.cache import vector_key
from e5studio.encode_report import EncodeReport, warn
from e5studio.encoder import E5Encoder
from e5studio.errors import MissingDependencyError, PromptError, UnreadTextWarning, UnsupportedError
from e5studio.models import ModelMeta
from e5studio.options import EncoderArguments
from e5studio.prompts import Prompt, resolve_prompt_name
from e5studio.similarity import FloatArray
from e5studio.text_checks import checked_container, listed_indices

try:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util.quantization import quantize_embeddings
    from transformers import PreTrainedTokenizerFast
except ImportError as error:
    raise MissingDependencyError(
        "This adapter needs sentence-transformers 5.4 or newer.",
        'Install it with: pip install "sentence-transformers>=5.4"',
    ) from error

_TRAINING = (
    "E5 Studio computes vectors with weights that can't be trained",
    "Load the model with sentence_transformers.SentenceTransformer, train and save it there, and load its folder here.",
)
_SAVING = (
    "the weights are held as a backend computes with them",
    "Their files are unchanged in the folder encoder.files.folder.",
)
_POOLS = (
    "E5 Studio computes in this process, on all its cores or on one GPU",
    "Leave pools of processes out; for several GPUs start a program for each.",
)


def _refused(name: str, reason: tuple[str, str]) -> Callable[..., NoReturn]:
    def method(*_: Any, **__: Any) -> NoReturn:
        fact, advice = reason
        raise UnsupportedError(f"{name} is not supported: {fact}.", advice)

    return method


class E5SentenceTransformer(SentenceTransformer):
    """A SentenceTransformer whose vectors an E5Encoder computes.

    `encode_query` and `encode_document` choose their prompts. `encode` takes the prompt of the call, else the one
    given here; on a model with prompts it is refused without either, since a wrong prompt shows in no error.

    Args:
        model: As `E5Encoder` takes it; or an E5Encoder, whose weights are shared.
        prompt_name: The prompt of `encode`: "query", "document", or "symmetric" for similarity, clustering,
            topics and classification.
        prompt: The text in front for `encode`, in place of a name; "" where the texts carry their prompts already.
        instruction: The task of the queries, on instruct models; the card's web search if None, with a warning.
        **options: As `E5Encoder` takes them: device, backend, dtype, max_tokens, ...

    Raises:
        E5StudioError: As `E5Encoder`, and for a prompt that the model does not take.
    """

    def __init__(
        self,
        model: str | Path | ModelMeta | E5Encoder,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        instruction: str | None = None,
        **options: Unpack[EncoderArguments],
    ) -> None:
        encoder = _encoder(model, options)
        self._query = encoder.resolve_prompt("query", instruction=instruction)
        prompts = {"query": self._query.text, "document": encoder.resolve_prompt("document").text}
        default: str | None = None if prompt_name is None else resolve_prompt_name(prompt_name)
        if prompt is not None:
            prompts["default"] = encoder.resolve_prompt(prompt_name, prompt=prompt).text
            default = "default"
        super().__init__(
            modules=[_EncoderModule(encoder)],
            device=encoder.device,
            prompts=prompts,
            default_prompt_name=default,
            backend=encoder.spec.backend,  # type: ignore[arg-type]  # a Literal of the same names
        )
        self.eval()
        self._set_encoder(encoder)

    @property
    def encoder(self) -> E5Encoder:
        """What computes the vectors."""
        module: Any = self[0]
        encoder: E5Encoder = module.encoder
        return encoder

    @property
    def device(self) -> torch.device:
        """Where the encoder computes, and where tensors are returned."""
        return torch.device(self.encoder.device)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the computation; vectors are float32."""
        dtype: torch.dtype = getattr(torch, self.encoder.spec.dtype)
        return dtype

    @property
    def max_seq_length(self) -> int:
        """Tokens read of a text, prompt and special tokens counted."""
        return self.encoder.spec.max_tokens

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self._set_encoder(self.encoder.with_options(max_tokens=value))

    def encode(  # type: ignore[override]  # theirs is overloaded by what it returns, and takes any **kwargs
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | list[str] | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        task: str | None = None,
        sentences: str | Iterable[str] | None = None,
    ) -> Any:
        """Embed texts; arguments and results are those of `SentenceTransformer.encode`.

        Args:
            inputs: One text or several. An empty text gets the vector of its prompt, with a warning.
            prompt_name: "query", "document", "symmetric", or what another API calls them.
            prompt: The text in front, in place of a name; "" for none.
            batch_size: At most the tokens of so many texts of full length at once, and the backend's own limit.
            show_progress_bar: Whether to show a bar; None shows it on a terminal for long work.
            output_value: "sentence_embedding", or "token_embeddings" where the backend gives them.
            precision: Of the returned vectors: "float32", "int8", "uint8", "binary" or "ubinary".
            convert_to_numpy: Return an array; a list of tensors if false.
            convert_to_tensor: Return a tensor.
            device: The device where the encoder computes, or None.
            normalize_embeddings: Vectors have length 1 either way, as E5's own folders end in a normalisation.
            truncate_dim: Keep the first so many dimensions, scaled to length 1.
            pool: Not supported.
            chunk_size: Not supported.
            task: The prompt name, where neither it nor a prompt is given.
            sentences: The old name of `inputs`.

        Raises:
            PromptError: The model has prompts, and none was chosen here or in the constructor.
            TextTypeError: Some inputs are not strings.
            UnsupportedError: An option can't be honoured; the message names it.
        """
        texts, is_single = _as_list(inputs, sentences)
        _refuse_given(_POOLS, pool=pool, chunk_size=chunk_size)
        self._check_device(device)
        chosen = self._choose_prompt(prompt_name, prompt, task)
        encoder = self._encoder_with(batch_size, show_progress_bar, truncate_dim)
        if output_value == "token_embeddings":
            embeddings: Any = [encoder.token_embeddings(text, prompt=chosen).vectors for text in texts]
            embeddings = [torch.from_numpy(vectors).to(self.device) for vectors in embeddings]
        elif output_value == "sentence_embedding":
            prepared = encoder.prepare(texts, prompt=chosen, allow_empty=True)
            warn(prepared.report, stacklevel=2, details="encoder.prepare(...).report lists them.")
            _warn_of_empty(prepared.report)
            vectors = _quantized(encoder.embed_prepared(prepared), precision)
            embeddings = _converted(vectors, self.device, convert_to_numpy, convert_to_tensor)
        else:
            raise UnsupportedError(
                f"output_value={output_value!r} is not supported.", "Take 'sentence_embedding' or 'token_embeddings'."
            )
        return embeddings[0] if is_single else embeddings

    fit = _refused("fit", _TRAINING)
    old_fit = _refused("old_fit", _TRAINING)
    forward = _refused("forward", _TRAINING)
    named_parameters = _refused("named_parameters", _TRAINING)
    state_dict = _refused("state_dict", _SAVING)
    save = _refused("save", _SAVING)
    save_pretrained = _refused("save_pretrained", _SAVING)
    push_to_hub = _refused("push_to_hub", _SAVING)
    start_multi_process_pool = _refused("start_multi_process_pool", _POOLS)

    @property  # type: ignore[misc]  # theirs can be set
    def config(self) -> NoReturn:
        """Refused: trainers ask for it first."""
        _refused("config", _TRAINING)()

    def train(self, mode: bool = True) -> Self:
        """Refused, but for `train(False)`."""
        return _refused("train", _TRAINING)() if mode else super().train(mode)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Refuse what `to`, `cuda`, `half` and their like would do with the weights, unless it is nothing."""
        before = torch.zeros(1, device=self.device, dtype=self.dtype)
        after = fn(before)
        if (after.device, after.dtype) != (before.device, before.dtype):
            raise UnsupportedError(
                f"This model computes on {before.device} in {before.dtype}, and can't be moved to {after.device} in "
                f"{after.dtype}.",
                "Choose both when it is loaded: E5SentenceTransformer(..., device=, dtype=).",
            )
        return self

    def _set_encoder(self, encoder: E5Encoder) -> None:
        """Let the encoder compute, and name all that its vectors depend on where `mine_hard_negatives` looks for it."""
        module: Any = self[0]
        module.encoder = encoder
        identity = vector_key(encoder.spec.fingerprint, repr(sorted(self.prompts.items())), "").hex()[:32]
        self.model_card_data.base_model = f"{encoder.spec.model}.{identity}"

    def _check_device(self, device: object) -> None:
        if device is None:
            return
        if isinstance(device, list | tuple):
            _refused(f"device={device}", _POOLS)()
        requested = torch.device(str(device))
        if requested.type != self.device.type or requested.index not in (None, self.device.index or 0):
            raise UnsupportedError(
                f"device={str(device)!r}: this model computes on {self.encoder.device}.",
                "Choose the device when it is loaded: E5SentenceTransformer(..., device=).",
            )

    def _choose_prompt(self, prompt_name: str | None, prompt: str | None, task: str | None) -> Prompt:
        if prompt is not None:
            return self.encoder.resolve_prompt(prompt_name, prompt=prompt)
        name = next((name for name in (prompt_name, task, self.default_prompt_name) if name is not None), None)
        if name is not None:
            key = name if name in self.prompts else self.encoder.resolve_prompt(name).name
            text = self.prompts[str(key)]
            return self._query if text == self._query.text else self.encoder.resolve_prompt(prompt=text)
        try:
            return self.encoder.resolve_prompt()
        except PromptError as error:
            raise PromptError(
                str(error),
                "Where another package calls encode, choose once: E5SentenceTransformer(..., prompt_name=).",
            ) from None

    def _encoder_with(
        self, batch_size: int | None, show_progress_bar: bool | None, truncate_dim: int | None
    ) -> E5Encoder:
        truncate_dim = self.truncate_dim if truncate_dim is None else truncate_dim
        encoder = self.encoder.with_options(truncate_dim=truncate_dim, show_progress=show_progress_bar)
        if batch_size is None:
            return encoder
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r}; it must be a whole number of at least 1.")
        return encoder.with_options(token_budget=min(encoder.token_budget, batch_size * encoder.spec.max_tokens))


class _EncoderModule(torch.nn.Module):
    """What stands where a SentenceTransformer expects its transformer."""

    def __init__(self, encoder: E5Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer as it was published."""
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(self.encoder.files.folder)
        return tokenizer

    processor = property(lambda self: self.tokenizer)  # what newer versions call it

    def get_embedding_dimension(self) -> int:
        """Length of a vector."""
        return self.encoder.spec.embed_dim

    def preprocess(self, inputs: list[str], prompt: str | None = None, task: str | None = None) -> Any:
        """The ids of prompts and texts, as tensors; a task changes none of them."""
        return self.tokenizer(
            [(prompt or "") + text for text in inputs],
            padding=True,
            truncation=True,
            max_length=self.encoder.spec.max_tokens,
            return_tensors="pt",
        )


def _encoder(model: str | Path | ModelMeta | E5Encoder, options: EncoderArguments) -> E5Encoder:
    """The encoder that was given, or a new one; sentence-transformers' own options are refused, but for None."""
    known = EncoderArguments.__annotations__
    given = {name: value for name, value in options.items() if value is not None}
    unknown = {name: value for name, value in given.items() if name not in known}
    _refuse_given(("E5 Studio has no such option", f"The options are {', '.join(known)}."), **unknown)
    if not isinstance(model, E5Encoder):
        return E5Encoder(model, **cast(EncoderArguments, given))
    _refuse_given(("this encoder is loaded already", "Give its options to E5Encoder."), **given)
    return model


def _as_list(inputs: str | Iterable[str] | None, sentences: str | Iterable[str] | None) -> tuple[list[str], bool]:
    """The texts, and whether a single one was given."""
    texts = sentences if inputs is None else inputs
    if texts is None or (inputs is not None and sentences is not None):
        raise TypeError("encode() takes the texts as its first argument, inputs; sentences is its old name.")
    return ([texts], True) if isinstance(texts, str) else (list(checked_container(texts)), False)


def _refuse_given(reason: tuple[str, str], **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        _refused(", ".join(given), reason)()


def _warn_of_empty(report: EncodeReport) -> None:
    if report.empty:
        warnings.warn(
            f"{len(report.empty)} of {report.n_texts} texts are empty (at {listed_indices(report.empty)}): each has "
            "the vector of the prompt alone, which says nothing. Leave them out.",
            UnreadTextWarning,
            stacklevel=3,
        )


def _quantized(vectors: FloatArray, precision: str | None) -> Any:
    if precision in (None, "float32") or not len(vectors):
        return vectors
    return quantize_embeddings(vectors, precision=precision)  # type: ignore[arg-type]  # it names the valid ones


def _converted(vectors: Any, device: torch.device, convert_to_numpy: bool, convert_to_tensor: bool) -> Any:
    if convert_to_numpy and not convert_to_tensor:
        return vectors
    tensor = torch.from_numpy(vectors).to(device)
    return tensor if convert_to_tensor else list(tensor)
