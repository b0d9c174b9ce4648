"""A lock ends with its holder, and its file is never shared by two."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from e5studio import file_lock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")


def lock_and_die(path: Path) -> None:
    file_lock.open_locked(path)
    os._exit(9)


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock.held(path):
        with pytest.raises(BlockingIOError):
            file_lock.open_locked(path)
        assert path.exists()
    assert not path.exists()
    with file_lock.held(path):
        pass


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = multiprocessing.get_context("fork").Process(target=lock_and_die, args=[path])
    process.start()
    process.join()
    assert path.exists()
    with file_lock.held(path):
        pass
    assert not path.exists()


def test_the_file_is_empty_whatever_was_left(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"left behind")
    os.link(path, tmp_path / "other")
    handle = file_lock.open_locked(path)
    assert os.fstat(handle).st_size == 0
    os.close(handle)
    assert (tmp_path / "other").read_bytes() == b"left behind"


def test_a_link_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    (tmp_path / "lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        file_lock.open_locked(tmp_path / "lock")


def test_where_no_file_can_be_locked_one_that_exists_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(file_lock, "_lock", refuse)
    path = tmp_path / "lock"
    with file_lock.held(path), pytest.raises(OSError, match="not implemented"):
        file_lock.open_locked(path)
    assert not path.exists()
