"""Paths on object stores and other remote file systems (s3://, gs://, hf://, memory://), by fsspec."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import Any, BinaryIO, cast

from e5studio.errors import FileFormatError, MissingDependencyError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://")
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "LastModified", "last_modified", "mtime", "created")
"""What stores call that which changes with an object, the surest first."""


def located(name: str | Path) -> Path:
    """The path that a name means: one with a scheme, such as s3://bucket/corpus, is remote."""
    if isinstance(name, str) and (scheme := _SCHEME.match(name)):
        return RemotePath(name) if scheme[1] != "file" else Path(name.removeprefix("file://"))
    return Path(name)


@dataclass(frozen=True)
class RemoteStat:
    """The part of `os.stat_result` that a store knows."""

    st_size: int


class RemotePath(PosixPath):
    """A path of a remote file system, for all code that reads files by their paths.

    What a store has not, such as links and locks, is not here either; to use the path as one of this machine is a
    TypeError. A name that is a prefix of others counts as a folder.
    """

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is not on this machine.")

    def open(self, mode: str = "r", *_: Any, encoding: str | None = None, **__: Any) -> Any:
        """Open it for reading."""
        file = self._ask("open", "rb")
        return file if "b" in mode else io.TextIOWrapper(cast(BinaryIO, file), encoding)

    def read_bytes(self) -> bytes:
        """All of it."""
        return bytes(self._ask("cat_file"))

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        """Its size."""
        return RemoteStat(int(self._info()["size"]))

    def version(self) -> str:
        """What changes with its content, as far as the store says; "" if it says nothing."""
        info = self._info()
        return next((f"{name} {info[name]}" for name in _VERSIONS if info.get(name)), "")

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is an object or a folder."""
        return bool(self._ask("exists"))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is an object."""
        return bool(self._ask("isfile"))

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there are objects below it."""
        return bool(self._ask("isdir"))

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override]
        """What is directly below it; nothing if there is nothing."""
        try:
            names = self._ask("ls", detail=False)
        except FileNotFoundError:
            return
        yield from self._named(names)

    def files_below(self) -> list[RemotePath]:
        """All objects below it."""
        return self._named(self._ask("find"))

    def matches(self) -> list[RemotePath]:
        """The objects that it means as a pattern."""
        return [path for path in self._named(self._ask("glob")) if path.is_file()]

    def resolve(self, strict: bool = False) -> RemotePath:
        """Itself."""
        return self

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder is there when something is in it."""

    def rmdir(self) -> None:
        """Nothing: a folder is gone when nothing is in it."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        try:
            self._ask("rm_file")
        except FileNotFoundError:
            if not missing_ok:
                raise

    def delete_all(self) -> None:
        """Delete the objects below it."""
        if self.is_dir():
            self._ask("rm", recursive=True)

    @contextmanager
    def uploading(self) -> Iterator[BinaryIO]:
        """A file on this machine that becomes the object, in one request, when the block ends without an error."""
        with tempfile.NamedTemporaryFile(prefix="e5studio-upload-") as file:
            yield cast(BinaryIO, file)
            file.flush()
            system, key = self._system()
            with self._as_os_error():
                system.put_file(file.name, key)

    def _info(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._ask("info"))

    def _named(self, keys: list[str]) -> list[RemotePath]:
        scheme = str(self).split("://", 1)[0]
        return sorted(RemotePath(key if "://" in key else f"{scheme}://{key.lstrip('/')}") for key in keys)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call the file system, which may have listed the folder before others changed it."""
        system, key = self._system()
        with self._as_os_error():
            system.invalidate_cache(key)
            return getattr(system, method)(key, *arguments, **options)

    def _system(self) -> tuple[Any, str]:
        import fsspec.core

        try:
            system, key = fsspec.core.url_to_fs(str(self))
        except ImportError as error:
            raise MissingDependencyError(f"{self} cannot be opened: {error}.") from error
        except ValueError as error:
            raise FileFormatError(f"{self} cannot be opened: {error}.") from error
        return system, str(key)

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = str(self)
            raise
        except Exception as error:  # such as an absent password, for which each store has an error of its own
            raise OSError(5, f"{type(error).__name__}: {error}", str(self)) from error
