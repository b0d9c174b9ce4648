"""Writers are killed at random moments: readers see a whole file or none, and never a wrong vector.

E5STUDIO_KILLS sets how often each kind of them is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e5studio.backends import conversion_cache
from e5studio.files.vectors import files_of
from e5studio.four_bit.model_folder import model_folder

N_KILLS = int(os.environ.get("E5STUDIO_KILLS", "4"))
ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def kill(kind: str, folder: Path, *arguments: object) -> int:
    """How many of the reads found something whole."""
    command = [sys.executable, "-W", "error", "-m", "tests.kills", kind, N_KILLS, folder, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*map(str, command)], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["whole"]


def test_encode(checkpoints, tmp_path):
    pytest.importorskip("pyarrow")
    kill("encode", tmp_path, checkpoints("e5").folder)
    expected = {tmp_path / "texts.txt", *files_of(tmp_path / "v.npy"), tmp_path / "v.parquet"}
    hidden = {path.name for path in tmp_path.iterdir()} - {path.name for path in expected}
    parts = {"v.npy.job", "v.parquet.job"}
    assert hidden <= parts | {".v.npy.tmp", ".v.npy.json.tmp", ".v.npy.json.old", ".v.parquet.tmp"}, "no more each time"


def test_conversion(tmp_path, monkeypatch):
    kill("convert", tmp_path)
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path))
    folder = conversion_cache.folder_of("openvino", {"model": "another"})
    assert conversion_cache.store(folder, lambda into: (into / "model.bin").write_bytes(b"x"))
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_four_bit_weights(tmp_path, monkeypatch):
    kill("four-bit", tmp_path)
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path / "cache"))
    folder = model_folder(tmp_path / "model.bin", "another")
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_cache(tmp_path):
    assert kill("cache", tmp_path) > 0
