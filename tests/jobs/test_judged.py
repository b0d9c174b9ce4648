"""`e5studio evaluate --vectors`: the scores of what a folder of shards holds."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_evaluate import DOCUMENTS, QUERIES, beir, write_lines

pytest.importorskip("pyarrow")
pytest.importorskip("pytrec_eval")
__all__ = ["beir"]


@pytest.fixture
def model(own):
    return own[:4]


@pytest.fixture
def encoded(run, own, out, tmp_path):
    """A job over the documents as the authors read them, in another order, and as the corpus has them."""

    def encode(texts, *options):
        path = tmp_path / "documents.jsonl"
        write_lines(path, [{"_id": f"d{n}", "text": text} for n, text in reversed(list(enumerate(texts)))])
        assert run("encode", path, "-o", out, "--shard-rows", 4, "--overwrite", *own, *options).exit_code in (0, 3)
        return out

    return encode


def scores(run, *arguments):
    result = run("evaluate", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    [task] = json.loads(result.stdout)["results"]
    return task, result.stderr


def test_scores_are_those_of_texts_that_are_embedded_now(run, model, beir, encoded):
    folder = encoded([f"{title} {text}".strip() for title, text in DOCUMENTS])
    stored, said = scores(run, beir, *model, "--vectors", folder)
    embedded, _ = scores(run, beir, *model)
    assert stored["scores"] == embedded["scores"]
    assert "another text" not in said


def test_other_texts_and_missing_ones_are_said(run, model, beir, encoded):
    folder = encoded([text if n else " " for n, (_, text) in enumerate(DOCUMENTS)])
    _, said = scores(run, beir, *model, "--vectors", folder)
    words = " ".join(said.split())
    assert "1 documents have no vector" in words
    assert "13 of 14 documents were embedded as another text" in words


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--role", "query"], "made with the prompt 'query: ' and not 'passage: '"),
        (["--keep", "text"], "has no column '_id'"),
        (["--long", "chunk"], "has vectors of parts of texts"),
        (["--max-tokens", "16"], "was made with max_tokens 16 and not"),
    ],
)
def test_other_vectors_are_refused(run, model, beir, encoded, options, said):
    folder = encoded([text for _, text in DOCUMENTS], *options)
    result = run("evaluate", beir, *model, "--vectors", folder)
    assert result.exit_code == 1
    assert said in " ".join(result.stderr.split())


def test_documents_of_another_task_are_refused(run, model, beir, encoded):
    folder = encoded([text for _, text in DOCUMENTS] + QUERIES)
    assert "has a document 'd" in run("evaluate", beir, *model, "--vectors", folder).stderr
