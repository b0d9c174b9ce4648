"""A LanceDB table with E5: each side has its prompt, and a reopened table finds its model again."""

from __future__ import annotations

import numpy as np
import pytest

lancedb = pytest.importorskip("lancedb")

from lancedb.embeddings import get_registry  # noqa: E402
from lancedb.pydantic import LanceModel, Vector  # noqa: E402

import e5studio.adapters.lancedb  # noqa: E402, F401
from e5studio.errors import E5StudioError, FingerprintMismatchError, TextError, UnsupportedError  # noqa: E402

DOCUMENTS = ["Berlin has 3.7 million people.", "The top of a mountain.", "Bake it for an hour."]
QUERY = "summit define"


def make(e5_folder, **options):
    return get_registry().get("e5studio").create(name=e5_folder, prompt_kind="query_passage", device="cpu", **options)


def make_table(function, folder):
    class Row(LanceModel):
        text: str | None = function.SourceField()
        vector: Vector(function.ndims()) | None = function.VectorField(default=None)

    return lancedb.connect(str(folder)).create_table("texts", schema=Row)


def test_table_embeds_both_sides_and_finds_its_model_again(e5_folder, core, tmp_path):
    make_table(make(e5_folder), tmp_path).add([{"text": text} for text in DOCUMENTS])
    table = lancedb.connect(str(tmp_path)).open_table("texts")
    stored = np.array(table.to_arrow()["vector"].to_pylist())
    assert np.allclose(stored, core.encode_document(DOCUMENTS), atol=1e-6)
    [hit] = table.search(QUERY).limit(1).to_list()
    distances = ((core.encode_query(QUERY) - stored) ** 2).sum(axis=1)
    assert hit["text"] == DOCUMENTS[distances.argmin()]
    assert hit["_distance"] == pytest.approx(distances.min(), abs=1e-5)


def test_blank_texts_are_left_to_lancedb(e5_folder, tmp_path):
    table = make_table(make(e5_folder), tmp_path)
    table.add([{"text": ""}, {"text": "a text"}], on_bad_vectors="drop")
    assert table.count_rows() == 1
    assert [vector is None for vector in make(e5_folder).generate_embeddings([None, "a text", " "])] == [1, 0, 1]


def test_what_is_stored_is_checked(e5_folder):
    stored = make(e5_folder).safe_model_dump()
    again = get_registry().get("e5studio").create(**stored)
    assert again.safe_model_dump() == stored
    with pytest.raises(FingerprintMismatchError):
        get_registry().get("e5studio").create(**{**stored, "max_tokens": 20}).ndims()


def test_unusable_input_is_named_at_once(e5_folder):
    with pytest.raises(UnsupportedError, match="normalize"):
        make(e5_folder, normalize=True)
    with pytest.raises(TextError):  # theirs would try seven times more, for minutes
        make(e5_folder).compute_query_embeddings_with_retry(" ")
    with pytest.raises(E5StudioError, match="int"):
        make(e5_folder).generate_embeddings([1])
