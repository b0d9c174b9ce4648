"""The recipes of docs/adapters.md run as they stand, with a small model in place of one that must be downloaded."""

from __future__ import annotations

import ast
import importlib.util
import re
import warnings
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
MODEL = '"intfloat/e5-small-v2"'


def packages(recipe: str) -> list[str]:
    """The packages that a recipe is for."""
    statements = [node for node in ast.parse(recipe).body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in statements]
    return [module.split(".")[0] for module in modules if not module.startswith("e5studio")]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: "-".join(dict.fromkeys(packages(recipe))) or "encode")
def test_recipe(recipe, e5_folder, tmp_path, monkeypatch):
    for name in packages(recipe):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    assert MODEL in recipe
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages, at their import
        source = recipe.replace(MODEL, f'"{e5_folder}", prompt_kind="query_passage", device="cpu"')
        exec(compile(source, "recipe", "exec", dont_inherit=True), names)  # not this file's __future__
    assert names.get("hits", True)
