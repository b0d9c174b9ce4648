"""A changed file has another digest, and damage in the Hub's cache is known by the names of its files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from e5studio.errors import ModelFilesError
from e5studio.file_digest import damaged_blob, sha256_of
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
