"""Uploaded files grow no older than an hour, take no more than their room, and each visitor has a share of it."""

from __future__ import annotations

import os

import pytest

from e5studio.errors import TextError
from e5studio.studio.serving import temporary_folders, uploads
from e5studio.studio.serving.uploads import Uploads, uploads_here


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Our own folder, in which Gradio would write."""
    monkeypatch.setattr(temporary_folders.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temporary_folders, "_own", [])
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    uploads.use_own_folder()
    [own] = temporary_folders._own
    assert os.environ.pop("GRADIO_TEMP_DIR") == str(own.path)
    return own


def written(path, n_bytes=10):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * n_bytes)
    return path


def upload(room, visitor, path, n_bytes=10):
    arriving = room.begin(visitor)
    if arriving is None or not arriving.take(n_bytes):
        if arriving:
            arriving.end([])
        return False
    arriving.end([written(path, n_bytes)])
    return True


def test_old_files_go_and_new_ones_stay(folder, clock):
    room = Uploads(folder, lambda path: True, clock=clock)
    corpus, broken_off = folder.path / "hash" / "corpus.csv", written(folder.path / "tmpabc")
    assert upload(room, "ann", corpus)
    room.delete_old()
    clock.now = 3599
    new = folder.path / "hash" / "new.csv"
    assert upload(room, "ann", new)
    room.delete_old()
    assert corpus.exists()
    assert broken_off.exists()
    clock.now = 3601
    room.delete_old()
    assert (corpus.exists(), broken_off.exists(), new.exists()) == (False, False, True)
    clock.now = 8000
    room.delete_old()
    room.delete_old()
    assert not list(folder.path.iterdir())
    assert room._bytes.total == room._files.total == 0


@pytest.mark.parametrize("set_to", [0, 10**9, 4 * 10**9])
def test_a_clock_of_the_machine_that_is_set_deletes_nothing(folder, clock, set_to):
    room = Uploads(folder, clock=clock)
    path = folder.path / "hash" / "corpus.csv"
    assert upload(room, "ann", path)
    os.utime(path, (set_to,) * 2)
    clock.now = 500
    room.delete_old()
    assert path.exists()
    clock.now = 1200
    room.delete_old()
    assert not path.exists()


def test_what_no_page_has_read_goes_earlier(folder, clock):
    read, unread = folder.path / "hash" / "read.csv", folder.path / "hash" / "unread.csv"
    room = Uploads(folder, lambda path: path == read, clock=clock)
    assert upload(room, "ann", read)
    assert upload(room, "ann", unread)
    clock.now = 700
    room.delete_old()
    assert (read.exists(), unread.exists()) == (True, False)


def test_uploads_that_begin_together_do_not_pass_the_limit_together(folder):
    room = Uploads(folder, max_bytes=1000)
    arriving = [room.begin("ann") for _ in range(14)]
    for _ in range(10):  # in turns, as bytes come
        for each in list(arriving):
            if not each.take(25):
                each.end([])
                arriving.remove(each)
    assert len(arriving) == 2
    assert room._bytes.total == 500


def test_one_visitor_leaves_room_for_others(folder):
    room = Uploads(folder, max_bytes=1000, max_files=100)
    n_files = sum(upload(room, "greedy", folder.path / f"{number}.csv", 0) for number in range(200))
    assert n_files == 50
    assert upload(room, "ann", folder.path / "ann.csv", 300)
    assert not upload(room, "ann", folder.path / "more.csv", 300)
    assert upload(room, "bob", folder.path / "bob.csv", 300)


def test_room_comes_back_with_files_that_go(folder, clock):
    room = Uploads(folder, max_bytes=1000, clock=clock)
    path = folder.path / "hash" / "a.csv"
    assert upload(room, "ann", path, 400)
    assert upload(room, "ann", path, 400) is False
    path.unlink()  # with the page that has it
    room.delete_old()
    assert upload(room, "ann", path, 400)


def test_whoever_uploads_and_never_reads_makes_room_for_who_has_the_same_address(folder, clock):
    read = folder.path / "0.csv"
    room = Uploads(folder, lambda path: path == read, max_files=20, clock=clock)
    assert sum(upload(room, "session ", folder.path / f"{number}.csv") for number in range(30)) == 10
    clock.now = 61
    assert upload(room, "session ", folder.path / "anns.csv")
    assert {path.name for path in folder.path.iterdir()} == {"0.csv", "anns.csv"}
    assert room._files.total == 2


def test_equal_files_count_once(folder):
    room = Uploads(folder, max_bytes=1000)
    for _ in range(20):
        assert upload(room, "ann", folder.path / "hash" / "a.csv", 100)
    assert (room._bytes.total, room._files.total) == (100, 1)


def test_no_upload_walks_the_folder(folder, monkeypatch):
    monkeypatch.setattr(type(folder.path), "rglob", lambda *_: pytest.fail("it was walked"))
    assert upload(Uploads(folder), "ann", folder.path / "a.csv")


def test_a_folder_that_somebody_chose_is_left_alone(monkeypatch, tmp_path, clock):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    uploads.use_own_folder()
    room = uploads_here(lambda path: False)
    old = tmp_path / "mine.csv"
    assert upload(room, "ann", old)
    room._clock = lambda: 10**9
    room.delete_old()
    assert old.exists()
    assert room._bytes.total == 0


def test_a_folder_that_a_cleaner_took_comes_back_for_its_user_only(folder):
    folder.path.rmdir()
    assert Uploads(folder).begin("ann") is not None
    assert folder.path.stat().st_mode & 0o777 == 0o700
    temporary_folders.delete_orphans()
    assert folder.path.is_dir(), "it is held again"


def test_a_file_that_is_gone_is_told_in_a_sentence(tmp_path):
    with pytest.raises(TextError, match=r"papers\.csv is no longer on the server: .* Choose it again\."):
        uploads.still_there(tmp_path / "papers.csv")
