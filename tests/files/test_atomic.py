"""Files appear whole or not at all, under two writers, a full disk, and a kill in mid-write."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
from pathlib import Path

import pytest

from e5studio.errors import OutputError
from e5studio.files import atomic
from e5studio.files.atomic import atomic_files

posix = pytest.mark.skipif(sys.platform == "win32", reason="kills and limits as POSIX has them")


def write(*paths: Path, content: bytes = b"new", overwrite: bool = False) -> None:
    with atomic_files(*paths, overwrite=overwrite) as files:
        for file in files:
            file.write(content)


def write_and_die(*paths: Path) -> None:
    with atomic_files(*paths, overwrite=True) as files:
        files[0].write(b"half")
        os._exit(9)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_runs_never_write_to_one_file(tmp_path):
    path = tmp_path / "a"
    with atomic_files(path, overwrite=False) as (first,):
        first.write(b"first")
        with pytest.raises(OutputError, match="Another run is writing"):
            write(path, overwrite=True)
    assert contents(tmp_path) == {"a": b"first"}


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    path, other = tmp_path / "a", tmp_path / "a.json"
    for made in (path, other):
        with pytest.raises(OutputError, match="exists already"), atomic_files(path, other, overwrite=False):
            made.write_bytes(b"of another")
        assert contents(tmp_path) == {made.name: b"of another"}
        made.unlink()
    write(path, other)
    assert contents(tmp_path) == {"a": b"new", "a.json": b"new"}


def refuse(*_):
    raise OSError(errno.ENOSYS, "not on this file system")


def test_existing_files_are_refused_at_once(tmp_path):
    (tmp_path / "a.json").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"a\.json exists already"):
        write(tmp_path / "a", tmp_path / "a.json")
    assert contents(tmp_path) == {"a.json": b"old"}


@posix
@pytest.mark.parametrize("n_files", [1, 2])
def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path, n_files):
    paths = [tmp_path / "a", tmp_path / "a.json"][:n_files]
    process = multiprocessing.get_context("fork").Process(target=write_and_die, args=paths)
    process.start()
    process.join()
    assert len(contents(tmp_path)) == n_files, "hidden files only"
    write(*paths)
    assert contents(tmp_path) == {path.name: b"new" for path in paths}


def test_a_link_that_a_killed_run_left_harms_nothing(tmp_path):
    path = tmp_path / "a"
    write(path)
    os.link(path, tmp_path / ".a.tmp")
    write(path, content=b"newer", overwrite=True)
    assert contents(tmp_path) == {"a": b"newer"}


@pytest.mark.parametrize("failing", ["a", "a.json", ".a.json.old"])
def test_the_old_pair_stays_where_renaming_fails(tmp_path, monkeypatch, failing):
    path, other = tmp_path / "a", tmp_path / "a.json"
    write(path, other, content=b"old")
    replace = Path.replace

    def fail(self, target):
        if Path(target).name == failing and self.name not in (".a.json.old",):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            write(path, other, overwrite=True)
    assert contents(tmp_path) == {"a": b"old", "a.json": b"old"}
    write(path, other, overwrite=True)
    assert contents(tmp_path) == {"a": b"new", "a.json": b"new"}


@pytest.mark.parametrize("full", [0, 1])
def test_a_full_disk_keeps_the_old_pair_and_names_the_file(tmp_path, monkeypatch, full):
    paths = tmp_path / "a", tmp_path / "a.json"
    write(*paths, content=b"old")

    def fail(handle):
        if os.path.samestat(os.fstat(handle), (tmp_path / f".{paths[full].name}.tmp").stat()):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write(*paths, overwrite=True)
    assert caught.value.filename == str(paths[full])
    assert contents(tmp_path) == {"a": b"old", "a.json": b"old"}


@posix
def test_a_write_that_fails_names_the_file(tmp_path):
    resource = pytest.importorskip("resource")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, allowed[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(tmp_path / "a", content=b"more than five")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert caught.value.filename == str(tmp_path / "a")
    assert contents(tmp_path) == {}
