"""From what a caller calls a model to its description, its files and its loaded weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e5studio import checkpoint, hub
from e5studio.backends import Backend, BackendName, DType, load_backend, refuse_too_large
from e5studio.errors import PromptError, UnknownModelError
from e5studio.models import PROMPT_KINDS, ModelMeta, PromptKind, get_model_meta
from e5studio.tokenization import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory; encoders with different options may share one.

    Attributes:
        meta: What the model is.
        files: Where its files were found.
        tokenizer: Its tokenizer.
        backend: Its weights, ready to run.
    """

    meta: ModelMeta
    files: hub.ModelFiles
    tokenizer: Tokenizer
    backend: Backend


def load_model(
    model: str | Path | ModelMeta,
    *,
    path: str | Path | None = None,
    prompt_kind: PromptKind | None = None,
    backend: BackendName = "auto",
    device: str = "auto",
    dtype: DType = "auto",
    revision: str | None = None,
    local_files_only: bool = False,
    on_download: hub.DownloadProgress | None = None,
) -> LoadedModel:
    """Find, check and load a model; arguments and errors as `e5studio.encoder.E5Encoder` says."""
    _check_arguments(model, prompt_kind)
    known = _known(model, prompt_kind)
    folder = _local_folder(model, path)
    if folder is not None:
        files = hub.from_folder(folder)
        meta = known or _described(folder, folder.resolve().name, prompt_kind)
    elif known is not None:
        if hub.find_local(known, revision=revision) is None:
            # Gigabytes that could not be used are not worth a download.
            refuse_too_large(backend, known.name, known.n_parameters, device=device, dtype=dtype)
        files = hub.locate(known, revision=revision, local_files_only=local_files_only, progress=on_download)
        meta = known
    else:
        name = str(model)
        if prompt_kind is None or "/" not in name:
            get_model_meta(name)  # raises, with suggestions
        files = hub.locate(name, revision=revision, local_files_only=local_files_only, progress=on_download)
        meta = _described(files.folder, name, prompt_kind)
    checkpoint.check(files.folder, meta)
    tokenizer = Tokenizer.from_folder(files.folder, pooling=meta.pooling)
    checkpoint.check_vocabulary(files.folder, tokenizer.n_ids)
    return LoadedModel(meta, files, tokenizer, load_backend(backend, files, meta, device=device, dtype=dtype))


def _check_arguments(model: object, prompt_kind: object) -> None:
    if not isinstance(model, str | Path | ModelMeta) or not str(model).strip():
        raise UnknownModelError(f"model={model!r} is no model. Give a name, a Hub id, a folder or a ModelMeta.")
    if prompt_kind is not None and prompt_kind not in PROMPT_KINDS:
        raise PromptError(f"prompt_kind={prompt_kind!r} is unknown. It is one of {', '.join(map(repr, PROMPT_KINDS))}.")


def _known(model: str | Path | ModelMeta, prompt_kind: PromptKind | None) -> ModelMeta | None:
    """The description that came with the call or stands in the table."""
    if isinstance(model, Path):
        return None
    try:
        meta = model if isinstance(model, ModelMeta) else get_model_meta(model)
    except UnknownModelError:
        return None
    if prompt_kind not in (None, meta.prompt_kind):
        raise PromptError(
            f"prompt_kind={prompt_kind!r}, but {meta.name} was trained with {meta.prompt_kind!r}. Leave it out, or "
            "pass prompt='' to encode where no prompt is wanted."
        )
    return meta


def _local_folder(model: str | Path | ModelMeta, path: str | Path | None) -> Path | None:
    if path is not None:
        return Path(path)
    if isinstance(model, ModelMeta):
        return None
    return Path(model) if isinstance(model, Path) or _means_folder(model) else None


def _means_folder(name: str) -> bool:
    """Whether a name can only be a path: no Hub id begins like one, or has two slashes."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or Path(name).is_dir()


def _described(folder: Path, name: str, prompt_kind: PromptKind | None) -> ModelMeta:
    if prompt_kind is None:
        raise PromptError(
            f"{folder} does not say how its model was trained to be used. Pass prompt_kind='query_passage' "
            "(query: / passage:), 'instruct' or 'none', or a ModelMeta with path=."
        )
    return checkpoint.describe(folder, name=name, prompt_kind=prompt_kind)
