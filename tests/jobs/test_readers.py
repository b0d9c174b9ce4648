"""The lines of docs/corpora.md that find nearest neighbours with other programs, run as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from e5studio.encoder import E5Encoder
from tests.jobs.conftest import text_of

pytest.importorskip("pyarrow")
DOCS = (Path(__file__).parents[2] / "docs/corpora.md").read_text(encoding="utf-8")
PROGRAMS = {
    re.findall(r"import (?:numpy, )?(\w+)", block)[0]: block
    for block in re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    if "nearest" in block
}


@pytest.fixture(scope="module")
def texts():
    return [text_of(number) for number in range(60)]


@pytest.fixture
def folder(run, own, texts, tmp_path, monkeypatch):
    """A job in three shards under the names of the documentation."""
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text("\n".join(texts))
    return lambda *options: run("encode", "corpus.txt", "-o", "vectors", "--shard-rows", 25, *own, *options)


def test_each_program_has_its_three_lines():
    assert PROGRAMS.keys() == {"polars", "duckdb", "pandas", "pyarrow", "lancedb"}
    lines_of = [[line for line in block.splitlines() if line] for block in PROGRAMS.values()]
    assert all(len(lines) in (3, 4) for lines in lines_of)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_nearest_neighbours(folder, checkpoints, texts, program, precision):
    pytest.importorskip(program)
    assert folder("--precision", precision).exit_code == 0
    with E5Encoder(checkpoints("e5").folder, prompt_kind="query_passage", device="cpu") as encoder:
        query, vectors = encoder.encode_query("a cat at night"), encoder.encode_document(texts)
    names = {"query": query}
    exec(PROGRAMS[program], names)
    scores = vectors @ query
    assert len(names["nearest"]) == 10
    np.testing.assert_allclose(scores[names["nearest"]], np.sort(scores)[::-1][:10], atol=2e-3)
    shutil.rmtree("lance", ignore_errors=True)
