"""Which files are meant by the names, folders and patterns that a user gives, and their digests."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from e5studio.errors import FileFormatError
from e5studio.file_digest import digest_of, sha256_of
from e5studio.files.compression import ending_of
from e5studio.files.records import RECORD_ENDINGS
from e5studio.files.remote import RemotePath
from e5studio.jobs.corpus import PLAN, InputFile


def expand(arguments: Sequence[Path], ignoring: Collection[Path] = ()) -> list[Path]:
    """The files that are meant by files, folders and patterns such as "corpus/*.jsonl".

    Args:
        arguments: The files, folders and patterns.
        ignoring: Files that folders and patterns do not mean, such as the output.

    Raises:
        FileFormatError: A pattern or a folder holds no file of texts, a folder several kinds, or a file comes twice.
    """
    paths: list[Path] = []
    ignored = {path.resolve() for path in ignoring}
    for argument in arguments:
        if argument.is_dir():
            paths += _files_in(argument, ignored)
        elif not argument.exists() and glob.has_magic(str(argument)):
            files = [path for path in _matches(argument) if path.resolve() not in ignored and not _is_of_job(path)]
            if not files:
                raise FileFormatError(f"No file matches {argument}.")
            paths += files
        else:
            paths.append(argument)
    taken: set[Path] = set()
    for path in paths:
        if path.exists() and not path.is_file():
            raise FileFormatError(f"{path} is no file on a disk. Texts are read twice, so save them in one.")
        if path.resolve() in taken:
            raise FileFormatError(f"{path} is given twice, so its rows would be embedded twice. Give it once.")
        taken.add(path.resolve())
    return paths


def _matches(pattern: Path) -> list[Path]:
    if isinstance(pattern, RemotePath):
        return list(pattern.matches())
    return [path for path in sorted(map(Path, glob.glob(str(pattern), recursive=True))) if path.is_file()]


def _files_in(folder: Path, ignored: set[Path]) -> list[Path]:
    """The files of texts in a folder and those below it, also those behind links.

    Hidden ones, marks such as _SUCCESS, and what is in the folder of a job are none.
    """
    is_remote = isinstance(folder, RemotePath)
    below = _objects_below(folder) if isinstance(folder, RemotePath) else _below(folder, {folder.resolve()})
    paths = sorted(path for path in below if ending_of(path) in RECORD_ENDINGS and path.resolve() not in ignored)
    if dangling := next((path for path in paths if not (is_remote or path.exists())), None):
        raise FileFormatError(f"{dangling} is a link to nothing. Mend it, or remove it.")
    endings = sorted({ending_of(path) for path in paths})
    if not paths:
        raise FileFormatError(f"{folder} holds no file of texts ({', '.join(sorted(RECORD_ENDINGS))}).")
    if len(endings) > 1:
        raise FileFormatError(
            f"{folder} holds files of several kinds: {', '.join(endings)}. Say which are meant, as "
            f"'{folder}/*{endings[0]}'."
        )
    return paths


def _below(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """What is in a folder and below it, each folder once."""
    if (folder / PLAN).is_file():
        return
    for path in sorted(folder.iterdir()):
        if path.name[0] in "._":
            continue
        if not path.is_dir():
            yield path
        elif (real := path.resolve()) not in seen:
            seen.add(real)
            yield from _below(path, seen)


def _objects_below(folder: RemotePath) -> Iterator[Path]:
    """The same of a store, which lists all at once."""
    paths = folder.files_below()
    jobs = {path.parent for path in paths if path.name == PLAN}
    for path in paths:
        names = path.relative_to(folder).parts
        if not jobs.intersection(path.parents) and not any(name[0] in "._" for name in names):
            yield path


def _is_of_job(path: Path) -> bool:
    return any((parent / PLAN).is_file() for parent in path.parents)


def measure(paths: Iterable[Path], known: Iterable[InputFile] = ()) -> tuple[InputFile, ...]:
    """Sizes and digests of files; their rows are not counted.

    Args:
        paths: The files.
        known: Files of the plan. One on a store is not read again while size and version are those of the plan.
    """
    known_remote = {(file.path, file.n_bytes, file.version): file.sha256 for file in known if file.version}
    return tuple(_measure(path, known_remote) for path in paths)


def _measure(path: Path, known: Mapping[tuple[str, int, str], str]) -> InputFile:
    n_bytes = path.stat().st_size
    if not isinstance(path, RemotePath):
        return InputFile(os.path.abspath(path), n_bytes, sha256_of(path), 0)
    version = path.version()
    digest = known.get((str(path), n_bytes, version)) if version else None
    return InputFile(str(path), n_bytes, digest or digest_of(path), 0, version)
