"""From a model to a folder with its files: local folder, installed package, Hub cache, Hub, in that order.

The only module that talks to the Hub. Safetensors only, pinned revisions, never remote code.
It finds and checks files; it loads no weights.
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import socket
import ssl
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

from e5studio import folder_recipe, model_packages, network
from e5studio.checkpoint import weight_files
from e5studio.download_progress import DownloadProgress, ProgressListener
from e5studio.errors import E5StudioError, ModelFilesError, ModelUnavailableError
from e5studio.file_digest import damaged_blob, recorded_digests, sha256_of
from e5studio.models import ModelMeta, list_models

Source = Literal["folder", "offline", "cache", "hub"]
_ALLOWED_FILES = [
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    *folder_recipe.FILES,
]
_SETTINGS = [name for name in _ALLOWED_FILES if not name.endswith(".safetensors")]
_NEEDED_FILES = ("config.json", "tokenizer.json")

_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_NO_MODEL = f"No model is on this machine: {model_packages.FOUR_BIT_PACKAGE.install} installs one."


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's files are.

    Attributes:
        folder: Holds config.json, tokenizer.json and the weights; of the 4-bit weights the one file, before
            `e5studio.load.fetch` has made such a folder of it.
        source: Which of the places that are searched has them.
        revision: Commit on the Hub, or "sha256:..." over the files of a local folder.
    """

    folder: Path
    source: Source
    revision: str


def from_folder(folder: Path) -> ModelFiles:
    """The files of a local folder; its revision is a digest of every file that is read.

    Raises:
        ModelFilesError: The folder, or a required file, is missing.
    """
    if not os.path.isdir(folder):  # `is_dir` fails on a name that is too long
        raise ModelFilesError(f"There is no folder {folder}. Give the folder that holds config.json and the weights.")
    _check_complete(folder)
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _ALLOWED_FILES for path in folder.glob(pattern)}):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    return ModelFiles(folder, "folder", f"sha256:{digest.hexdigest()[:40]}")


def find_local(model: ModelMeta | str, *, revision: str | None = None) -> ModelFiles | None:
    """The complete files of a model that is on this machine; never touches the network.

    Whether an installed package is undamaged, `fetch` checks.
    """
    if isinstance(model, ModelMeta) and model.revision is not None:
        folder = model_packages.find_folder(model, revision)
        if folder is not None:
            return ModelFiles(folder, "offline", model.revision)
    return _from_cache(model, revision)


def fetch(
    model: ModelMeta | str,
    local: ModelFiles | None,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    progress: DownloadProgress | None = None,
) -> ModelFiles:
    """A model's files, downloaded where they are not on this machine.

    Args:
        model: A model of the table, or the Hub id of another.
        local: The files that `find_local` or `from_folder` returned.
        revision: Commit, tag or branch in place of the pinned one.
        local_files_only: Never download.
        progress: Called with the bytes of a download; a bar on stderr shows them where it is None.

    Raises:
        ModelUnavailableError: Not on this machine, and the Hub does not answer or has no such model.
        ModelFilesError: The files are damaged, or the repository has no safetensors.
    """
    if local is None:
        package = model_packages.package_of(_name(model))
        if package is not None and package.is_only_source:
            raise _not_installed(model, package, revision)
        if local_files_only:
            raise _unavailable(model, "downloads are switched off (local_files_only)")
        files = _download(model, revision, progress)
        _check_complete(files.folder)
        return files
    if local.source == "offline" and isinstance(model, ModelMeta):
        model_packages.check(model, local.folder)
    elif local.source == "cache":
        check_blobs(local.folder, _SETTINGS)
    return local


def check_blobs(folder: Path, names: Iterable[str]) -> None:
    """Refuse damaged files of the Hub's cache, which names them by their digests, and of folders that record theirs.

    Weights are read whole for this, so it is done where they are loaded, and not where a converted model starts.

    Raises:
        ModelFilesError: One is damaged.
    """
    digests = recorded_digests(folder)
    for name in filter(lambda name: (folder / name).is_file(), names):
        if name in digests and sha256_of(folder / name) != digests[name]:
            raise ModelFilesError(f"{name} of {folder} is damaged. Delete the folder: it is written again at once.")
        blob = damaged_blob(folder / name)
        if blob is not None:
            raise ModelFilesError(
                f"{name} of {folder} is damaged: it does not have the digest that the Hub gave. Delete {blob}, and it "
                "is downloaded again."
            )


def hub_answers(timeout: float = 3.0) -> bool:
    """Whether the Hub can be reached within `timeout` seconds."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    answer: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask() -> None:
        try:  # by the client that downloads, so that the host's proxies and certificates decide both alike
            reply = get_session().get(f"{constants.ENDPOINT}/api/models?limit=1", timeout=timeout)
            answer.put(reply.is_success and isinstance(reply.json(), list))  # and no login page of a hotel
        except Exception:
            answer.put(False)

    # A DNS look-up can take longer than the connection's timeout, so it runs in a thread.
    threading.Thread(target=ask, name="e5studio-hub", daemon=True).start()
    try:
        return answer.get(timeout=timeout)
    except queue.Empty:
        return False


def local_models() -> list[str]:
    """Names of the table's models whose files are on this machine."""
    return [meta.name for meta in list_models() if find_local(meta) is not None]


def _from_cache(model: ModelMeta | str, revision: str | None) -> ModelFiles | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name, revision = _name(model), revision or _pinned(model)
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_ALLOWED_FILES, local_files_only=True))
        is_complete = not _missing_files(folder)
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    except ModelFilesError:  # a damaged index: `fetch` gets it again, or reports it
        return None
    return ModelFiles(folder, "cache", folder.name) if is_complete else None


def _download(model: ModelMeta | str, revision: str | None, progress: DownloadProgress | None) -> ModelFiles:
    from huggingface_hub import HfApi, snapshot_download

    name, revision = _name(model), revision or _pinned(model)
    listener = ProgressListener.of(progress)
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=10)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        _check_downloadable(name, sizes)
        bar: Any = listener.bar() if listener is not None else None
        # By the branch's name where nothing is pinned, so that the cache records which commit it stood for.
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_ALLOWED_FILES, tqdm_class=bar))
    except E5StudioError:
        raise
    except Exception as error:  # of the client's HTTP library, which has changed before, of its Rust part, of the disk
        if listener is not None and listener.failure is not None:
            raise listener.failure from None
        raise _unavailable(model, *_reason(error, revision)) from error
    return ModelFiles(folder, "hub", info.sha or folder.name)


def _check_downloadable(model: str, sizes: dict[str, int]) -> None:
    weights = [name for name in sizes if name.startswith("model") and name.endswith(".safetensors")]
    if not {"model.safetensors", "model.safetensors.index.json"} & sizes.keys():
        raise ModelFilesError(
            f"{model} has no safetensors at this revision, only formats that can run code when they are opened. "
            "E5 Studio does not read those: choose a revision with safetensors, or convert the weights yourself."
        )
    from huggingface_hub import constants

    needed = sum(sizes[name] for name in weights)
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ModelUnavailableError(
            f"{model} needs {needed / 1e9:.1f} GB on disk, and {free / 1e9:.1f} GB are free under {cache}.",
            "Free some space, or let HF_HOME point to a larger disk.",
        )


def _missing_files(folder: Path) -> list[str]:
    return [name for name in (*_NEEDED_FILES, *weight_files(folder)) if not (folder / name).is_file()]


def _check_complete(folder: Path) -> None:
    missing = _missing_files(folder)
    if not missing:
        return
    folder_recipe.check_modules(folder)  # which may say that they are elsewhere
    pickles = [path.name for path in folder.glob("*.bin")]
    hint = (
        f"{pickles[0]} is there, but such files can run code when they are opened and are not read; "
        "save the model with safetensors (save_pretrained does)."
        if pickles and "model.safetensors" in missing
        else "Fetch or save the model again."
    )
    raise ModelFilesError(f"Missing in {folder}: {', '.join(missing)}. {hint}")


def _reason(error: Exception, revision: str | None) -> tuple[str, str]:
    """Why a download failed, to stand after "is not on this machine, and", and sentences for the host alone."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub_errors

    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        variable = next((name for name in _OFFLINE_VARIABLES if os.environ.get(name)), _OFFLINE_VARIABLES[0])
        value = os.environ.get(variable, "1")
        return "downloads are switched off", f"{variable}={value} is set: unset it to fetch the model."
    if isinstance(error, hub_errors.GatedRepoError):
        return "its owner wants its terms accepted first: accept them on its page on the Hub, then `hf auth login`", ""
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return f"the Hub has no revision {revision or 'main'!r} of it: check the commit, tag or branch", ""
    if isinstance(error, hub_errors.RepositoryNotFoundError | hub_errors.HFValidationError):
        return (
            "the Hub has no model of that name, or it is private: check the name, which may also be that of a folder",
            "",
        )
    if isinstance(error, hub_errors.HfHubHTTPError) and getattr(error, "response", None) is not None:
        status = error.response.status_code
        return f"the Hub answers with an error (HTTP {status}): try again later", network.cause_of(
            error, constants.ENDPOINT
        )
    if _is_of_the_disk(error) and not network.unusable_setting(constants.ENDPOINT):
        return "its files cannot be stored", f"{constants.HF_HUB_CACHE}: {error.strerror}."
    return "the Hub does not answer", network.cause_of(error, constants.ENDPOINT)


def _is_of_the_disk(error: Exception) -> TypeGuard[OSError]:
    """Whether a file could not be written; connections and certificates fail with errors of the same kind."""
    is_network = isinstance(error, ConnectionError | TimeoutError | ssl.SSLError | socket.gaierror)
    return isinstance(error, OSError) and not is_network and error.errno is not None


def _not_installed(
    model: ModelMeta | str, package: model_packages.ModelPackage, revision: str | None
) -> ModelUnavailableError:
    pinned = _pinned(model)
    if revision not in (None, pinned):
        return ModelUnavailableError(
            f"{_name(model)} has no revision {revision!r}: it comes from a package, at {pinned!r}.",
            "Leave revision out.",
        )
    return ModelUnavailableError(
        f"{_name(model)} is not on this machine, and the Hub does not have it.",
        f"It comes with a package, on Linux and on Macs with Apple silicon: {package.install}",
    )


def _unavailable(model: ModelMeta | str, reason: str, for_the_host: str = "") -> ModelUnavailableError:
    from huggingface_hub import constants

    searched = [f"the Hub cache {constants.HF_HUB_CACHE}"]
    package = model_packages.package_of(_name(model))
    if package is not None:
        searched.insert(0, f"the installed packages ({package.install})")
    size = f" (about {model.download_bytes / 1e6:,.0f} MB)" if isinstance(model, ModelMeta) else ""
    names = local_models()
    here = f"On this machine: {', '.join(names)}." if names else _NO_MODEL
    return ModelUnavailableError(
        f"{_name(model)} is not on this machine, and {reason}.",
        f"{for_the_host} Looked in {' and '.join(searched)} for config.json, tokenizer.json and "
        f"model.safetensors{size}. {here}".lstrip(),
    )


def _name(model: ModelMeta | str) -> str:
    return model.name if isinstance(model, ModelMeta) else model


def _pinned(model: ModelMeta | str) -> str | None:
    return model.revision if isinstance(model, ModelMeta) else None
