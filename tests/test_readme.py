"""The README's examples run as they stand, with small models in place of those that must be downloaded."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import e5studio
from e5studio.cli.app import app
from e5studio.default_model import ModelChoice
from e5studio.encoder import E5Encoder
from e5studio.model_pool import ModelPool
from e5studio.models import OFFLINE_MODEL

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text("one\ntwo\n")
    (tmp_path / "faq.csv").write_text("question,answer\nhow?,so\nwhy?,therefore\n")
    return tmp_path


def test_python(folder, checkpoints, monkeypatch):
    small = checkpoints("multilingual-e5-small")
    (folder / "models").mkdir()
    (folder / "models/my-e5").symlink_to(checkpoints("e5").folder)

    def encoder(model, **options):
        return E5Encoder(model, **options) if "prompt_kind" in options else E5Encoder(small.meta, path=small.folder)

    def lease_with(pool, model, options):
        return SimpleNamespace(encoder=encoder(model.model))

    monkeypatch.setattr(e5studio, "E5Encoder", encoder, raising=False)
    monkeypatch.setattr(ModelPool, "lease_with", lease_with)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, names)
    assert names["queries"].shape == (1, small.meta.embed_dim)
    assert names["scores"].shape == (1, 1)
    assert names["report"].prompt.text == "query: "
    assert len(names["block"]) == 2
    assert names["embeddings"].embed_query("a") == names["embed_model"].get_query_embedding("a")
    assert names["hits"][0].corpus_id in (0, 1)


def write_scifact(folder):
    """Three documents and a query in BEIR's form."""
    (folder / "scifact" / "qrels").mkdir(parents=True)
    texts = ["Cells divide.", "Stars burn.", "Rivers flow."]
    records = [{"_id": f"d{number}", "title": "", "text": text} for number, text in enumerate(texts)]
    (folder / "scifact" / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    (folder / "scifact" / "queries.jsonl").write_text('{"_id": "q1", "text": "What burns?"}\n')
    (folder / "scifact" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")


def test_evaluation_in_python(folder, encoders, monkeypatch):
    write_scifact(folder)
    monkeypatch.setattr(e5studio, "E5Encoder", lambda model: encoders("e5").with_options(), raising=False)
    monkeypatch.setattr("e5studio.encoder.E5Encoder.close", lambda self: None)
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    scores, own_path, harness = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {}
    exec(scores, names)
    exec(own_path, names)
    assert 0 <= names["with_prompts"].main_score <= 1
    compile(harness, "docs/evaluation.md", "exec")  # it downloads


def test_command_line(folder, checkpoints, offline_folder, monkeypatch):
    calls = []
    monkeypatch.setattr("e5studio.cli.options.default_model", lambda: ModelChoice(OFFLINE_MODEL, "it loads fast"))
    monkeypatch.setattr("e5studio.cli.studio.run_studio", lambda *arguments, **options: calls.append(arguments))
    write_scifact(folder)
    [commands] = [block for block in blocks("sh") if "e5studio models" in block]
    for command in commands.splitlines():
        program, *arguments = shlex.split(command)
        assert program == "e5studio"
        if "studio" not in arguments:
            arguments = [re.sub("e5-base-v2", "all-MiniLM-L6-v2", argument) for argument in arguments]
        if "evaluate" in arguments:  # it makes an int8 model, which of a real one takes half a minute
            arguments[arguments.index("e5-small-v2")] = str(checkpoints("e5").folder)
            arguments += ["--prompt-kind", "query_passage"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert calls == [(["e5-base-v2"], None)]
