"""The README's examples run as they stand, with small models in place of those that must be downloaded."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import pytest
from llama_index.embeddings import e5studio
from llama_index.embeddings.e5studio import E5Embedding

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_python(e5, instruct, core, embedding, monkeypatch, capsys):
    small = {"intfloat/multilingual-e5-small": e5, "intfloat/multilingual-e5-large-instruct": instruct}
    monkeypatch.setattr(
        e5studio, "E5Embedding", lambda *, model_name, **options: embedding(small[model_name], **options)
    )
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 2)
    forked = multiprocessing.get_context("fork")  # the tests of the pipeline spawn: each process imports for seconds
    monkeypatch.setattr("multiprocessing.get_context", lambda method=None: forked)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    encoder = core(e5)
    assert capsys.readouterr().out.strip() == names["found"].text
    assert names["found"].text in names["texts"]
    assert names["good_morning"] == encoder.encode_query(["good morning", "guten Morgen"])[0].tolist()
    assert names["vector"] == encoder.encode_query("how much protein should a female eat").tolist()
    assert [len(node.embedding) for node in names["nodes"]] == [48] * len(names["chunks"])
    assert len(names["pooled"]) == 48
    assert len(names["index"].docstore.docs) == 2


def test_every_option_is_in_the_table():
    table = README[README.index("## Options") : README.index("## Why not")]
    named = set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines() if line[:1] == "|")))
    assert named == set(E5Embedding.model_fields) - {
        "callback_manager",
        "embeddings_cache",
        "num_workers",
        "rate_limiter",
    }
