"""From a model's name to loaded weights, in three steps: `resolve`, `fetch`, `load_fetched`.

Each question is answered once and handed on: what the names mean, where the files are, whether the weights fit.
"""

from __future__ import annotations

import os
import warnings
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from e5studio import checkpoint, folder_recipe, hub, model_packages
from e5studio.backends import Backend, check_fits, load_backend, resolve_choices
from e5studio.download_progress import DownloadProgress
from e5studio.errors import (
    FallbackWarning,
    ModelFilesError,
    ModelUnavailableError,
    PromptError,
    UnknownModelError,
)
from e5studio.four_bit.model_folder import model_folder
from e5studio.models import (
    FOUR_BIT_MODEL,
    FOUR_BIT_SHA256,
    PROMPT_KINDS,
    ModelMeta,
    get_model_meta,
    hub_id,
    is_in_table,
)
from e5studio.options import ModelOptions
from e5studio.tokenization import Tokenizer


@dataclass(frozen=True)
class ResolvedModel:
    """A model between its name and its weights.

    Attributes:
        options: From `canonical`: nothing is "auto" any more.
        meta: What the model is; None where only its files say it.
        files: Where its files are; None where they must be downloaded.
    """

    options: ModelOptions
    meta: ModelMeta | None
    files: hub.ModelFiles | None


@dataclass(frozen=True)
class FetchedModel:
    """A model whose files are on this machine, ready to be loaded.

    Attributes:
        options: As in `ResolvedModel`.
        meta: What the model is.
        files: Where its files are.
    """

    options: ModelOptions
    meta: ModelMeta
    files: hub.ModelFiles


@dataclass(frozen=True)
class LoadedModel(FetchedModel):
    """A model in memory; encoders with different options may share one.

    Attributes:
        tokenizer: Its tokenizer.
        backend: Its weights, ready to run.
    """

    tokenizer: Tokenizer
    backend: Backend


def load_model(options: ModelOptions, on_download: DownloadProgress | None = None) -> LoadedModel:
    """Find, check and load a model; errors as `e5studio.encoder.E5Encoder` lists them."""
    try:
        fetched = fetch(resolve(canonical(options)), on_download)
    except ModelUnavailableError as error:
        options = four_bit_instead(options, error, stacklevel=4)
        fetched = fetch(resolve(canonical(options)), on_download)
    return load_fetched(fetched)


def four_bit_instead(options: Options, error: ModelUnavailableError, *, stacklevel: int) -> Options:
    """The options with the 4-bit weights in place of a model that cannot be fetched, and a warning that says so.

    Args:
        options: What was asked for.
        error: Why it is not available.
        stacklevel: Of the warning.

    Raises:
        ModelUnavailableError: `error`, where the 4-bit weights are of another model or not on this machine, or a
            revision was asked for, which they are not.
    """
    four_bit = get_model_meta(FOUR_BIT_MODEL)
    full = get_model_meta(FOUR_BIT_MODEL.removesuffix("@4bit"))
    if options.revision is not None or _known(options) != full or hub.find_local(four_bit) is None:
        raise error
    warnings.warn(
        f"{error.fact} Its 4-bit weights are taken instead: {four_bit.name}. Their vectors are near those of the full "
        f"weights, and not to be mixed with them. That name asks for them without this warning; "
        f"revision={full.revision!r} takes the full weights or none.",
        FallbackWarning,
        stacklevel=stacklevel,
    )
    return replace(options, model=four_bit.name)


def load_shared(options: ModelOptions) -> LoadedModel:
    """As `load_model`, but once for all callers with equal options, while any of them holds the model."""
    loaded = _shared.get(options)
    if loaded is None:
        loaded = _shared[options] = load_model(options)
    return loaded


def stop_sharing(loaded: LoadedModel) -> None:
    """Hand a model that is being closed to no further caller."""
    for options in [options for options, model in _shared.items() if model is loaded]:
        del _shared[options]


Options = TypeVar("Options", bound=ModelOptions)
_shared: weakref.WeakValueDictionary[ModelOptions, LoadedModel] = weakref.WeakValueDictionary()


def canonical(options: ModelOptions) -> ModelOptions:
    """The one form of all options that lead to the same weights: nothing is "auto", each model has one name.

    Raises:
        UnknownModelError: The name is unknown, and nothing says what the model is.
        PromptError: `prompt_kind` is unknown, or not that of the model.
        BackendError: Backend, device or precision are not available here.
    """
    _check_arguments(options)
    if isinstance(options.model, str) and not os.path.isdir(options.model):
        options = replace(options, model=_full_name(options.model))
    meta, folder = _known(options), local_folder(options)
    if meta is None and folder is None and (options.prompt_kind is None or "/" not in str(options.model)):
        get_model_meta(str(options.model))  # raises, with suggestions
    backend, device, dtype = resolve_choices(options.backend, device=options.device, dtype=options.dtype)
    is_pinned = meta is not None and options.revision == meta.revision
    return ModelOptions(
        meta or (folder.name if folder else str(options.model)),
        path=folder,
        prompt_kind=None if meta else options.prompt_kind,
        backend=backend,
        device=device,
        dtype=dtype,
        revision=None if is_pinned else options.revision,
        local_files_only=options.local_files_only,
    )


def resolve(options: ModelOptions) -> ResolvedModel:
    """Look for the files of a model on this machine.

    Args:
        options: From `canonical`.

    Raises:
        ModelFilesError: A local folder, or a file in it, is missing; or the folder has another digest than `revision`.
    """
    meta = options.model if isinstance(options.model, ModelMeta) else None
    if options.path is not None:
        files = hub.from_folder(Path(options.path))
        _check_unchanged(files, options.revision)
        return ResolvedModel(options, meta, files)
    return ResolvedModel(options, meta, hub.find_local(meta or str(options.model), revision=options.revision))


def fetch(resolved: ResolvedModel, on_download: DownloadProgress | None = None, *, freeable: int = 0) -> FetchedModel:
    """Have the files of a model on this machine, undamaged.

    Args:
        resolved: From `resolve`.
        on_download: Called with the bytes of a download; a bar on stderr shows them where it is None.
        freeable: Bytes that other models would give up for this one.

    Raises:
        OutOfMemoryError: The weights could never fit; gigabytes that are of no use are not downloaded.
        ModelUnavailableError: Neither on this machine nor on the Hub.
        ModelFilesError: The files are damaged, or are no safetensors.
    """
    options, meta = resolved.options, resolved.meta
    if resolved.files is None and meta is not None:
        _check_fits(options, meta.name, meta.n_parameters, freeable)
    files = hub.fetch(
        meta or str(options.model),
        resolved.files,
        revision=options.revision,
        local_files_only=options.local_files_only,
        progress=on_download,
    )
    if meta is not None and meta.name == FOUR_BIT_MODEL and files.source == "offline":
        if options.backend != "openvino":  # which leaves most of it on disk: `load_fetched` counts
            _check_fits(options, meta.name, meta.n_parameters, freeable)
        weights = files.folder / model_packages.FOUR_BIT_FILE
        files = replace(files, folder=model_folder(weights, FOUR_BIT_SHA256))
    return FetchedModel(options, meta or _described(files.folder, options), files)


def load_fetched(fetched: FetchedModel) -> LoadedModel:
    """Check the files of a model against its description, and load them.

    Raises:
        ModelFilesError: The files are not what they should be.
        OutOfMemoryError: The weights do not fit.
    """
    options, meta, files = fetched.options, fetched.meta, fetched.files
    checkpoint.check(files.folder, meta, is_published=files.revision == meta.revision)
    tokenizer = Tokenizer.from_folder(files.folder, pooling=meta.pooling)
    checkpoint.check_vocabulary(files.folder, tokenizer.n_ids)
    _check_fits(options, meta.name, _n_weights_in_memory(options, meta, files.folder))
    backend = load_backend(options.backend, files, meta, device=options.device, dtype=options.dtype)
    if files.source == "folder":
        _check_unchanged(hub.from_folder(files.folder), files.revision)  # while they were read
    return LoadedModel(options, meta, files, tokenizer, backend)


def local_folder(options: ModelOptions) -> Path | None:
    """The folder that the options name, whether it exists or not; None where they name a model of the table or Hub."""
    model, path = options.model, options.path
    if path is None and (isinstance(model, Path) or (isinstance(model, str) and _means_folder(model))):
        path = model
    if path is None:
        return None
    try:
        folder = Path(path).expanduser()
    except RuntimeError:  # "~stranger"
        folder = Path(path)
    return folder.resolve() if os.path.isdir(folder) else folder  # a name that is too long is none, either


def _n_weights_in_memory(options: ModelOptions, meta: ModelMeta, folder: Path) -> int:
    n_weights = checkpoint.count_parameters(folder)
    stays_on_disk = options.backend == "openvino" and meta.model_type != "mistral"  # rows are read as texts need them
    return n_weights - checkpoint.count_words(folder) if stays_on_disk else n_weights


def _check_fits(options: ModelOptions, name: str, n_parameters: int, freeable: int = 0) -> None:
    check_fits(options.backend, name, n_parameters, device=options.device, dtype=options.dtype, freeable=freeable)


def _check_unchanged(files: hub.ModelFiles, revision: str | None) -> None:
    if revision is not None and revision.startswith("sha256:") and revision != files.revision:
        raise ModelFilesError(
            f"The files in {files.folder} have changed: their digest is {files.revision}, not {revision}.",
            "Bring the old files back, or start again with the new ones.",
        )


def _check_arguments(options: ModelOptions) -> None:
    model, kind = options.model, options.prompt_kind
    if not isinstance(model, str | Path | ModelMeta) or not str(model).strip():
        raise UnknownModelError(f"model={model!r} is no model. Give a name, a Hub id, a folder or a ModelMeta.")
    if kind is not None and kind not in PROMPT_KINDS:
        raise PromptError(f"prompt_kind={kind!r} is unknown. It is one of {', '.join(map(repr, PROMPT_KINDS))}.")


def _known(options: ModelOptions) -> ModelMeta | None:
    """The description that came with the call or stands in the table."""
    if isinstance(options.model, Path):
        return None
    try:
        meta = options.model if isinstance(options.model, ModelMeta) else get_model_meta(options.model)
    except UnknownModelError:
        return None
    if options.prompt_kind not in (None, meta.prompt_kind):
        raise PromptError(
            f"prompt_kind={options.prompt_kind!r}, but {meta.name} was trained with {meta.prompt_kind!r}. Leave it "
            "out, or pass prompt='' to encode without a prompt."
        )
    return meta


def _full_name(name: str) -> str:
    """The Hub id where the name is one of the table's, or the address of a page on the Hub."""
    name = hub_id(name)
    return get_model_meta(name).name if is_in_table(name) else name


def _means_folder(name: str) -> bool:
    """Whether a name can only be a path: no Hub id begins like one, or has two slashes."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or os.path.isdir(name)


def _described(folder: Path, options: ModelOptions) -> ModelMeta:
    prompt_kind = options.prompt_kind or folder_recipe.stated_prompt_kind(folder)
    if prompt_kind is None:
        raise PromptError(
            f"{folder} does not say how its model was trained to be used. Pass prompt_kind='query_passage' "
            "(query: / passage:), 'instruct' or 'none', or a ModelMeta with path=."
        )
    return checkpoint.describe(folder, name=str(options.model), prompt_kind=prompt_kind)
