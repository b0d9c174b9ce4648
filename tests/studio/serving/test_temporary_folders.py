"""A process's folders go with it, whatever ended it, and with nobody else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from e5studio.studio.serving import temporary_folders

USE_FOLDER = "import os, e5studio.studio.serving.uploads as u; u.use_own_folder(); print(os.environ['GRADIO_TEMP_DIR'])"
NO_FOLDER = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}


@pytest.fixture(autouse=True)
def _temporary(monkeypatch, tmp_path):
    monkeypatch.setattr(temporary_folders.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temporary_folders, "_own", [])


def test_it_goes_with_the_process(tmp_path):
    environment = {**NO_FOLDER, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", USE_FOLDER], capture_output=True, text=True, env=environment, check=True
    )
    assert Path(done.stdout.strip()).name.startswith("e5studio-uploads-")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
def test_a_killed_process_leaves_an_orphan_and_a_living_one_does_not(tmp_path):
    """Whatever the number of the process is: another container has its own numbers."""
    environment = {**NO_FOLDER, "TMPDIR": str(tmp_path)}
    code = f"{USE_FOLDER}; import sys; sys.stdout.flush(); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        folder = Path(process.stdout.readline().strip())
        (folder / "diary.txt").write_text("a secret")
        for other in ("e5studio-notes", "e5studio-my-own-folder", "e5studio-files", "something-else-1-2"):
            (tmp_path / other).mkdir()
        (tmp_path / "e5studio-uploads-link").symlink_to(tmp_path / "something-else-1-2")
        before = set(tmp_path.iterdir())
        temporary_folders.delete_orphans()
        assert set(tmp_path.iterdir()) == before
        assert (folder / "diary.txt").exists()
        process.kill()
        process.wait()
        temporary_folders.delete_orphans()
        assert before - set(tmp_path.iterdir()) == {folder}


def test_a_folder_is_for_its_user_only_and_its_name_tells_nothing_of_the_process():
    folder = temporary_folders.new_folder("uploads")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert str(os.getpid()) not in folder.path.name.split("-")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_fork_that_ends_leaves_its_parents_folders():
    folder = temporary_folders.new_folder("files")
    child = os.fork()
    if child == 0:
        temporary_folders.delete_folders()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.path.exists()
    temporary_folders.delete_folders()
    assert not folder.path.exists()


def test_nothing_stays_on_disk_where_the_service_is_stopped(tmp_path):
    environment = {**NO_FOLDER, "TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
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
