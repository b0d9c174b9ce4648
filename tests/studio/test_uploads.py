"""Uploaded files grow no older than an hour, also those whose upload broke off."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from e5studio.errors import TextError
from e5studio.studio import uploads


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setattr(uploads.tempfile, "mkdtemp", lambda prefix: str(tmp_path / f"{prefix}x"))
    uploads.use_own_folder()
    own = tmp_path / "e5studio-uploads-x"
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
    uploads.delete_old()
    assert not old.exists()
    assert not broken_off.exists()
    assert new.exists()
    uploads.delete_old()
    assert not old.parent.exists()


def test_a_folder_that_somebody_chose_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    uploads.use_own_folder()
    old = written(tmp_path / "mine.csv", 10_000)
    uploads.delete_old()
    assert old.exists()


def test_it_goes_with_the_process():
    code = (
        "from e5studio.studio import uploads; import os; uploads.use_own_folder(); print(os.environ['GRADIO_TEMP_DIR'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "e5studio-uploads-" in done.stdout
    assert not os.path.exists(done.stdout.strip())


def test_a_file_that_is_gone_is_told_in_a_sentence(tmp_path):
    with pytest.raises(TextError, match=r"papers\.csv is no longer on the server: .* Choose it again\."):
        uploads.still_there(tmp_path / "papers.csv")
