"""Jobs by actors of Ray: the bytes of a job without it, begun on one and finished on the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from e5studio.encoder import E5Encoder
from e5studio.errors import MissingDependencyError
from e5studio.jobs import ray as ray_module
from e5studio.jobs.folder import JobFolder, open_job
from e5studio.jobs.plan import Share
from e5studio.jobs.ray import Actors, ShardMaker, TableEmbedder, import_ray
from e5studio.jobs.run import Run, finish, take_earlier_shards
from e5studio.options import EncodeOptions, ModelOptions
from tests.jobs.conftest import text_of
from tests.jobs.test_folders import contents

pa = pytest.importorskip("pyarrow")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _threads_stay(monkeypatch):
    """Actors set them for their process."""
    monkeypatch.setenv("E5STUDIO_THREADS", os.environ.get("E5STUDIO_THREADS", ""))


@pytest.fixture
def options(checkpoints):
    return ModelOptions(checkpoints("e5").folder, prompt_kind="query_passage", device="cpu")


def test_an_actor_makes_the_shards_of_the_command(run, own, corpus, out, tmp_path, options):
    """The actor is called as Ray calls it, without Ray."""
    run("encode", corpus, "-o", out, "--shard-rows", 16, *own)
    before, (_, plan) = contents(out), open_job(out)
    JobFolder(tmp_path / "actor").begin(plan)
    actor = ShardMaker(json.dumps(plan.to_json()), str(tmp_path / "actor"), options, 2)
    made = actor(pa.table({"shard": [2, 0]})).to_pylist() + actor(pa.table({"shard": [3, 1]})).to_pylist()
    assert [(row["shard"], row["error"]) for row in made] == [(2, ""), (0, ""), (3, ""), (1, "")]
    assert contents(tmp_path / "actor") == before
    assert json.loads(actor(pa.table({"shard": [2]})).to_pylist()[0]["record"]) == json.loads(made[0]["record"])
    corpus.unlink()
    (tmp_path / "actor/shards/part-00001-of-00004.parquet").unlink()
    assert "No such file" in actor(pa.table({"shard": [1]})).to_pylist()[0]["error"]


@pytest.mark.parametrize("long", ["truncate", "chunk", "pool"])
def test_an_actor_embeds_a_table(options, long):
    texts = [None, "the cat sat on the mat. " * 9, " ", *map(text_of, range(5))]
    prompt = {"prompt_name": "document", "prompt": None, "instruction": None}
    actor = TableEmbedder(options, EncodeOptions(max_tokens=16), 2, "text", prompt, long, "float32")
    rows = actor(pa.table({"text": texts, "id": list(range(8))})).to_pylist()
    assert sorted({row["id"] for row in rows}) == list(range(8))
    assert {row["id"]: row["rejected"] for row in rows if row["vector"] is None} == {0: "missing", 2: "empty"}
    assert len(rows) == 8 if long != "chunk" else len(rows) > 8
    with E5Encoder(options.model, prompt_kind="query_passage", device="cpu", max_tokens=16) as encoder:
        short = [row for row in rows if row["id"] > 2 and (long != "chunk" or row["end"] == len(row["text"]))]
        expected = encoder.encode_document([row["text"] for row in short if not row.get("start")])
    vectors = [row["vector"] for row in short if not row.get("start")]
    np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_what_ray_cannot_do_is_said(run, own, corpus, out, monkeypatch):
    result = run("encode", corpus, "-o", out.with_suffix(".npy"), "--ray", "local", *own)
    assert result.exit_code == 2
    assert "Actors make a folder of shards" in " ".join(result.stderr.replace("│", " ").split())
    assert run("encode", corpus, "-o", out, "--ray", "local", "--actors", "3-2", *own).exit_code == 2
    monkeypatch.setattr(ray_module.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(MissingDependencyError, match="e5studio\\[ray\\]"):
        import_ray()


def test_the_command_hands_the_plan_to_the_actors(run, own, corpus, out, tmp_path, monkeypatch):
    given = []

    def work(plan, folder, options, actors, share, on_run):
        given.append((actors, share))
        ShardMaker(json.dumps(plan.to_json()), str(folder.path), options, 2)(pa.table({"shard": range(plan.n_shards)}))
        return finished(plan, folder, on_run)

    monkeypatch.setattr("e5studio.cli.encode.connected", lambda address: nullcontext())
    monkeypatch.setattr("e5studio.cli.encode.run_on_ray", work)
    command = ["encode", corpus, "--shard-rows", 16, *own]
    result = run(*command, "-o", out, "--ray", "auto", "--actors", "2-8", "--actor-cpus", 2)
    assert result.exit_code == 3, result.stderr
    assert "Wrote 47 vectors" in result.stderr
    assert given == [(Actors(2, 8, 2), Share())]
    run(*command, "-o", tmp_path / "local")
    assert contents(out) == contents(tmp_path / "local")


def finished(plan, folder, on_run):
    """What a run says when all shards are there."""
    run = Run()
    take_earlier_shards(run, plan, folder, range(plan.n_shards), on_run)
    finish(run, plan, folder, on_run)
    return run


@pytest.mark.long
def test_jobs_by_local_ray(checkpoints, tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("openvino")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "E5STUDIO_CACHE": str(tmp_path / "cache")}
    environment |= {"E5STUDIO_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.jobs.on_ray", str(tmp_path), str(checkpoints("e5").folder)]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.endswith("done\n")
