"""The public names are there, sorted, and cost nothing until they are used."""

from __future__ import annotations

import subprocess
import sys

import e5studio


def test_all_is_sorted_and_complete() -> None:
    assert e5studio.__all__ == sorted(e5studio.__all__)
    for name in e5studio.__all__:
        assert getattr(e5studio, name).__name__ == name


def test_unknown_names_raise_attribute_error() -> None:
    assert not hasattr(e5studio, "E5Encodr")


def test_import_brings_in_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "gradio", "numpy", "pandas", "sklearn", "umap", "plotly", "huggingface_hub"]
    code = f"import sys, e5studio; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
