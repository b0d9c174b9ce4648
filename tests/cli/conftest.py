"""What each call of a command would do again in the same process: its commands built, its model's weights read."""

from __future__ import annotations

import functools

import pytest
import typer.testing

from e5studio import load


@pytest.fixture(scope="module", autouse=True)
def _commands_are_built_once():
    """Typer builds all commands to run one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.testing._get_command))
        yield


@pytest.fixture(scope="module", autouse=True)
def _weights_are_read_once():
    """The weights of files with the same digest; all else of loading is done each time."""
    load_backend, backends = load.load_backend, {}

    def load_once(name, files, meta, *, device, dtype):
        key = (name, files.folder, files.revision, meta, device, dtype)
        if key not in backends:
            backends[key] = load_backend(name, files, meta, device=device, dtype=dtype)
            backends[key].close = lambda: None  # by the command that is done; others go on with it
        return backends[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "load_backend", load_once)
        yield
