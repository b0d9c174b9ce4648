"""Uploaded files grow no older than an hour, also those whose upload broke off."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from e5studio.errors import TextError
from e5studio.studio.serving import uploads


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setattr(uploads.tempfile, "mkdtemp", lambda prefix: str(tmp_path / f"{prefix}x"))
    uploads.use_own_folder()
    own = tmp_path / f"e5studio-uploads-{os.getpid()}-x"
    (own / "hash").mkdir(parents=True)
    yield own
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)


def written(path, seconds_ago):
    path.write_text("a visitor's text")
    os.utime(path, (time.time() - seconds_ago,) * 2)
    return path


def test_old_files_go_and_new_ones_stay(folder):
    old = written(folder / "hash" / "corpus.csv", 3601)
    broken_off = written(folder / "tmpabc", 3601)
    new = written(folder / "tmpdef", 3500)
    uploads.delete_old(lambda path: True)
    assert not old.exists()
    assert not broken_off.exists()
    assert new.exists()
    uploads.delete_old(lambda path: True)
    assert not old.parent.exists()


def test_what_no_page_has_read_goes_earlier(folder):
    read, unread = written(folder / "hash" / "read.csv", 700), written(folder / "hash" / "unread.csv", 700)
    uploads.delete_old(lambda path: path == read)
    assert (read.exists(), unread.exists()) == (True, False)


def test_there_is_room_for_so_much_and_no_more(folder, monkeypatch):
    monkeypatch.setattr(uploads, "_MAX_BYTES", 20)
    written(folder / "hash" / "one.csv", 0)
    assert uploads.has_room()
    written(folder / "hash" / "two.csv", 0)
    assert not uploads.has_room()


def test_a_folder_that_somebody_chose_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    uploads.use_own_folder()
    old = written(tmp_path / "mine.csv", 10_000)
    uploads.delete_old(lambda path: False)
    assert old.exists()
    assert uploads.has_room()


def test_it_goes_with_the_process():
    code = "import os, e5studio.studio.serving.uploads as u; u.use_own_folder(); print(os.environ['GRADIO_TEMP_DIR'])"
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "e5studio-uploads-" in done.stdout
    assert not os.path.exists(done.stdout.strip())


def test_what_a_killed_process_left_goes_when_the_next_one_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "chosen"))
    monkeypatch.setattr(uploads.tempfile, "gettempdir", lambda: str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"e5studio-uploads-{ended.pid}-a", f"e5studio-files-{ended.pid}-b", f"e5studio-uploads-{os.getppid()}-c"]
    others = ["e5studio-notes", "e5studio-my-own-folder", "something-else-1-2"]
    for name in (*names, *others):
        (tmp_path / name).mkdir()
    uploads.use_own_folder()
    assert {path.name for path in tmp_path.iterdir()} == {names[2], *others}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_fork_that_ends_leaves_its_parents_folders(folder):
    child = os.fork()
    if child == 0:
        uploads.delete_folders()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.exists()
    uploads.delete_folders()
    assert not folder.exists()


def test_a_file_that_is_gone_is_told_in_a_sentence(tmp_path):
    with pytest.raises(TextError, match=r"papers\.csv is no longer on the server: .* Choose it again\."):
        uploads.still_there(tmp_path / "papers.csv")


def test_nothing_stays_on_disk_where_the_service_is_stopped(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    environment |= {"TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    server = subprocess.Popen(
        [sys.executable, "app.py", "--model", "all-MiniLM-L6-v2"],
        cwd=Path(__file__).parents[3],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = re.search(r"http://\S+?/(?=\s|,|$)", server.stdout.readline())[0]
        answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("diary.txt", b"a secret")}, timeout=60)
        [path] = answer.json()
        assert Path(path).read_bytes() == b"a secret"
        server.terminate()
        assert server.wait(60) == 128 + signal.SIGTERM
    finally:
        server.kill()
        server.stdout.close()
    assert not list(tmp_path.glob("e5studio-*"))
