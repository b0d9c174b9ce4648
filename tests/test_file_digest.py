"""A changed file has another digest, and damage in the Hub's cache is known by the names of its files."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e5studio import file_digest
from e5studio.errors import ModelFilesError
from e5studio.file_digest import damaged_blob, remember, sha256_of
from e5studio.hub import check_blobs


def link(folder: Path, name: str, blob: str, content: bytes) -> Path:
    """A file of the Hub's cache: a link to a blob that is named by its digest."""
    (folder / "blobs").mkdir(exist_ok=True)
    (folder / "blobs" / blob).write_bytes(content)
    (folder / name).symlink_to(folder / "blobs" / blob)
    return folder / name


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    stat = path.stat()
    path.unlink()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert sha256_of(path) == hashlib.sha256(b"two").hexdigest()


@pytest.fixture
def n_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """How often a file's bytes are read when a new process asks for its digest."""
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_digest, "_LARGE", 4)
    reads: list[object] = []
    digest_of = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: reads.append(given) or digest_of(*given))

    def count(path: Path) -> int:
        file_digest._read.cache_clear()
        reads.clear()
        assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
        return len(reads)

    return count


def written(path: Path, content: bytes, *, age: float) -> Path:
    path.write_bytes(content)
    changed = time.time() - age
    os.utime(path, (changed, changed))
    return path


def test_a_large_file_is_read_by_one_process_only(tmp_path: Path, n_read: Callable[[Path], int]) -> None:
    path = written(tmp_path / "a", b"weights", age=60)
    assert [n_read(path), n_read(path)] == [1, 0]
    assert n_read(written(path, b"w3ights", age=30)) == 1
    assert n_read(written(path, b"weights!", age=30)) == 1
    path.rename(tmp_path / "b")
    assert n_read(tmp_path / "b") == 1


def test_a_small_file_is_read_by_each(tmp_path: Path, n_read: Callable[[Path], int]) -> None:
    path = written(tmp_path / "a", b"abc", age=60)
    assert [n_read(path), n_read(path)] == [1, 1]


def test_a_file_that_is_just_written_may_change_again(tmp_path: Path, n_read: Callable[[Path], int]) -> None:
    path = written(tmp_path / "a", b"weights", age=0)
    assert [n_read(path), n_read(path)] == [1, 1]
    remember(path, hashlib.sha256(b"weights").hexdigest())  # its writer knows
    assert n_read(path) == 0


def test_damaged_or_impossible_records_cost_time_only(tmp_path: Path, n_read: Callable[[Path], int]) -> None:
    path = written(tmp_path / "a", b"weights", age=60)
    n_read(path)
    [record] = (tmp_path / "cache" / "digests").iterdir()
    for content in (b"", b"\xff", record.read_bytes()[:-1], b"0" + record.read_bytes()[1:]):
        record.write_bytes(content)
        assert n_read(path) == 1
    record.unlink()
    record.parent.rmdir()
    record.parent.write_bytes(b"a file")
    assert [n_read(path), n_read(path)] == [1, 1]


@pytest.mark.parametrize(
    ("name", "blob"),
    [
        ("model.safetensors", hashlib.sha256(b"content").hexdigest()),
        ("config.json", "6b584e8ece562ebffc15d38808cd6b98fc3d97ea"),  # `git hash-object` of "content"
    ],
)
def test_a_blob_is_what_its_name_says(tmp_path: Path, name: str, blob: str) -> None:
    path = link(tmp_path, name, blob, b"content")
    check_blobs(tmp_path, [name, "absent.json"])
    path.write_bytes(b"c0ntent")
    assert damaged_blob(path) == (tmp_path / "blobs" / blob).resolve()
    with pytest.raises(ModelFilesError, match=rf"{name} of .* is damaged.* Delete .*{blob}, and it is downloaded"):
        check_blobs(tmp_path, [name])


def test_other_files_are_not_judged(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"content")
    link(tmp_path, "config.json", "mine", b"{}")
    check_blobs(tmp_path, ["model.safetensors", "config.json"])
