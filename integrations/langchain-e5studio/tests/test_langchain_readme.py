"""The README's examples run as they stand, with small models in place of those that must be downloaded."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from langchain_e5studio import E5Embeddings

from e5studio import get_model_pool
from e5studio.hub import from_folder
from e5studio.load import ResolvedModel

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def served(checkpoints, monkeypatch):
    """Small models under the names of the README."""
    small = {
        "intfloat/multilingual-e5-small": checkpoints("multilingual-e5-small"),
        "intfloat/multilingual-e5-large-instruct": checkpoints("multilingual-e5-instruct"),
    }

    def resolve(options):
        checkpoint = small[options.model.name]
        meta = replace(checkpoint.meta, name=options.model.name)
        return ResolvedModel(options, meta, from_folder(checkpoint.folder))

    monkeypatch.setattr("e5studio.model_pool.resolve", resolve)
    get_model_pool().clear()
    yield small
    get_model_pool().clear()


def test_python(served):
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    embeddings = names["embeddings"]
    assert names["found"].page_content in names["passages"]
    assert len(names["claims"].invoke("protein")) == 2
    assert names["vectors"] == embeddings.embed_documents([f"Protein {names['passages'][0]}", names["passages"][1]])
    assert names["good_morning"] == embeddings.embed_query("good morning")
    assert len(names["chunks"]) > 2
    assert "".join("".join(names["chunks"]).split()) == "".join(names["long_text"].split())
    assert names["vector"] == embeddings.embed_query("how much protein should a female eat")
    assert np.linalg.norm(names["pooled"]) == pytest.approx(1, abs=1e-6)


def test_every_option_is_in_the_table():
    table = README[README.index("| option |") : README.index("## Why not")]
    assert {option for option in E5Embeddings.model_fields if f"`{option}`" not in table} == set()
