"""Which back end "auto" means, and what is said of those that are not to be had."""

from __future__ import annotations

import sys

import pytest

from e5studio.backends import backend_statuses, resolve_choices
from e5studio.backends import choice as backends
from e5studio.errors import BackendError, MissingDependencyError

INSTALLED = {"openvino": "openvino", "torch": "torch", "onnx": "onnxruntime"}


@pytest.fixture(autouse=True)
def _usual_machine(monkeypatch):
    monkeypatch.setattr(backends, "_PACKAGES", dict(INSTALLED))
    monkeypatch.setattr(backends, "_has_library", lambda name: False)
    monkeypatch.setattr(backends, "_is_apple_silicon", lambda: False)


def hide(monkeypatch, package):
    """As if a package were not installed."""
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("e5studio.backends.o")]:
        monkeypatch.delitem(sys.modules, name)
    is_installed = backends._is_installed
    monkeypatch.setattr(backends, "_is_installed", lambda name: name != package and is_installed(name))


def test_auto_is_the_fastest_on_a_cpu():
    pytest.importorskip("openvino")
    assert resolve_choices("auto", device="cpu", dtype="auto") == ("openvino", "cpu", "float32")
    assert resolve_choices("auto", device="cpu", dtype="int8") == ("openvino", "cpu", "int8")


def test_auto_imports_no_backend_that_it_does_not_choose(monkeypatch):
    pytest.importorskip("openvino")
    imported, import_module = [], backends.importlib.import_module
    monkeypatch.setattr(backends.importlib, "import_module", lambda name: imported.append(name) or import_module(name))
    resolve_choices("auto", device="auto", dtype="auto")
    assert {*imported} == {"e5studio.backends.openvino"}


def test_auto_is_what_computes_in_the_precision_asked_for():
    assert resolve_choices("auto", device="cpu", dtype="float16") == ("torch", "cpu", "float16")


def test_auto_is_torch_where_nothing_else_is_installed(monkeypatch):
    hide(monkeypatch, "openvino")
    assert resolve_choices("auto", device="auto", dtype="auto")[0] == "torch"
    hide(monkeypatch, "onnxruntime")
    for backend in ("auto", "torch", "openvino"):
        with pytest.raises((BackendError, MissingDependencyError), match=r'pip install "e5studio\[openvino\]"'):
            resolve_choices(backend, device="cpu", dtype="int8")
    with pytest.raises(MissingDependencyError, match=r'pip install "e5studio\[openvino\]"'):
        resolve_choices("openvino", device="cpu", dtype="auto")


def test_auto_is_onnx_for_int8_alone(monkeypatch):
    pytest.importorskip("onnxruntime")
    hide(monkeypatch, "openvino")
    assert resolve_choices("auto", device="cpu", dtype="int8") == ("onnx", "cpu", "int8")


def test_auto_is_torch_where_it_finds_a_faster_device(monkeypatch):
    monkeypatch.setattr(backends, "_has_library", lambda name: True)
    monkeypatch.setattr("e5studio.backends.torch.resolve_choices", lambda device, dtype: ("cuda:0", "float32"))
    assert resolve_choices("auto", device="auto", dtype="auto") == ("torch", "cuda:0", "float32")


def test_a_driver_alone_is_no_device(monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(backends, "_has_library", lambda name: True)
    monkeypatch.setattr("e5studio.backends.torch.resolve_choices", lambda device, dtype: ("cpu", "float32"))
    assert resolve_choices("auto", device="auto", dtype="auto")[0] == "openvino"


def test_an_unknown_back_end_names_the_known():
    with pytest.raises(BackendError, match="There are: auto, openvino, torch, onnx"):
        resolve_choices("tensorrt", device="auto", dtype="auto")


def test_auto_is_what_computes_in_the_precision(monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    assert resolve_choices("auto", device="cpu", dtype="int8")[0] == "openvino"
    hide(monkeypatch, "openvino")
    assert resolve_choices("auto", device="cpu", dtype="int8")[0] == "onnx"
    hide(monkeypatch, "onnx")
    assert resolve_choices("auto", device="cpu", dtype="int8")[0] == "onnx", "it may be on disk"


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "anything").mkdir()  # repositories of models have folders "openvino" and "onnx"
    monkeypatch.syspath_prepend(tmp_path)
    assert not backends._is_installed("anything")


@pytest.mark.parametrize("error", [ImportError("no libtbb.so.12"), OSError("wrong ELF class")])
def test_a_broken_package_is_passed_over(monkeypatch, error):
    imported = backends.importlib.import_module

    def broken(name, package=None):
        if name == "e5studio.backends.openvino":
            raise error
        return imported(name, package)

    monkeypatch.setattr(backends.importlib, "import_module", broken)
    assert resolve_choices("auto", device="cpu", dtype="auto")[0] == "torch"
    assert str(error) in backend_statuses()[0].refused["float32"]
    with pytest.raises(BackendError, match=r"does not start: .* Install openvino again"):
        resolve_choices("openvino", device="cpu", dtype="auto")


def test_statuses(monkeypatch):
    hide(monkeypatch, "openvino")
    openvino, torch, _ = backend_statuses()
    assert (openvino.version, openvino.device, openvino.is_auto) == (None, None, False)
    assert 'pip install "e5studio[openvino]"' in openvino.refused["float32"]
    assert (torch.device, torch.is_auto, torch.refused["float32"]) == ("cpu", True, None)


def test_the_version_is_that_of_whichever_distribution_brings_the_package(monkeypatch):
    def version(name):
        if name == "onnxruntime":
            raise backends.importlib.metadata.PackageNotFoundError(name)
        return f"that of {name}"

    monkeypatch.setattr(backends.importlib.metadata, "version", version)
    brought = {"onnxruntime": ["onnxruntime-gpu"]}
    monkeypatch.setattr(backends.importlib.metadata, "packages_distributions", lambda: brought)
    assert backends._version("onnxruntime") == "that of onnxruntime-gpu"
    assert backends._version("openvino") == "that of openvino"


def test_onnx_is_refused_where_nothing_could_convert(monkeypatch):
    pytest.importorskip("onnxruntime")
    hide(monkeypatch, "onnx")
    status = backend_statuses()[2]
    assert status.refused["float32"] == 'It is made with onnx. Install it with: pip install "e5studio[onnx]"'
