"""Jobs whose texts and shards are on a store: the shards of a job on a disk, resumed and refused as there."""

from __future__ import annotations

import json

import fsspec
import pytest

from e5studio.files.remote import RemotePath, located
from tests.jobs.test_commands import stopping
from tests.jobs.test_folders import contents

pytest.importorskip("pyarrow")


@pytest.fixture
def memory():
    """A store in this process."""
    system = fsspec.filesystem("memory")
    yield "memory://jobs", system
    system.rm("/", recursive=True)


@pytest.fixture
def s3(monkeypatch):
    """A store in S3's form on this machine."""
    pytest.importorskip(
        "s3fs", reason="s3fs is not installed: pip install -r requirements-s3.txt in an environment beside"
    )
    server_module = pytest.importorskip("moto.server", reason="moto is not installed, as s3fs")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        *(("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_DEFAULT_REGION", "us-east-1")),
    ):
        monkeypatch.setenv(name, value)
    import s3fs

    system = s3fs.S3FileSystem()
    root = f"s3://jobs-{port}"  # the stores of a process are one
    system.mkdir(root)
    yield root, system
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(params=["memory", "s3"])
def store(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def download(store, tmp_path):
    """A folder of the store, on this disk."""

    def get(name):
        target = tmp_path / f"copy of {name}"
        store[1].get(f"{store[0]}/{name}", str(target), recursive=True)
        return target

    return get


def test_paths_name_what_they_mean():
    path = located("s3://bucket/a/b.jsonl.gz")
    assert isinstance(path, RemotePath)
    assert str(path) == "s3://bucket/a/b.jsonl.gz"
    assert (path.name, path.suffix, str(path.parent / "c")) == ("b.jsonl.gz", ".gz", "s3://bucket/a/c")
    assert str(path.with_suffix("")) == "s3://bucket/a/b.jsonl"
    assert str(located("file:///a/b")) == "/a/b"
    assert not isinstance(located("a/b"), RemotePath)
    with pytest.raises(TypeError, match="not on this machine"):
        open(path)


def test_a_job_on_a_store_is_the_job_on_a_disk(run, own, corpus, out, store, download):
    root, system = store
    run("encode", corpus, "-o", out, "--shard-rows", 16, *own)
    system.pipe_file(f"{root}/in/corpus.jsonl", corpus.read_bytes())
    command = ["encode", f"{root}/in/*.jsonl", "-o", f"{root}/out", "--shard-rows", 16, *own]
    patch = stopping(2, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    stopped = run(*command)
    patch.undo()
    assert stopped.exit_code == 130
    assert f"2 of 4 shards are done and stay in {root}/out" in " ".join(stopped.stderr.split())
    result = run(*command, "--shard-of", "0/2")
    assert result.exit_code == 3, result.stderr
    assert run("jobs", "status", f"{root}/out").exit_code == 4
    assert run("encode", f"{root}/in", *command[2:]).exit_code == 3
    assert contents(download("out")) == contents(out)
    verdict = run("jobs", "verify", f"{root}/out", "--model", own[1])
    assert verdict.exit_code == 0, verdict.output
    hits = [run("search", folder, "rain", "--model", own[1], "--json").stdout for folder in (f"{root}/out", out)]
    rows = [[hit["row"] for hit in json.loads(each)["results"][0]["hits"]] for each in hits]
    assert rows[0] == rows[1]


def test_another_job_and_changed_texts_are_refused(run, own, corpus, store):
    root, system = store
    system.pipe_file(f"{root}/in/corpus.jsonl", corpus.read_bytes())
    command = ["encode", f"{root}/in/corpus.jsonl", "-o", f"{root}/out", "--shard-rows", 16, *own]
    run(*command)
    assert "precision 'float32' and not 'int8'" in run(*command, "--precision", "int8").stderr
    assert run(*command, "--precision", "int8", "--overwrite").exit_code == 3
    system.pipe_file(f"{root}/in/corpus.jsonl", corpus.read_bytes().replace(b"cat", b"cow"))
    assert "another content of corpus.jsonl" in run(*command, "--precision", "int8").stderr


def test_texts_that_change_while_they_are_read_are_refused(run, own, corpus, store):
    root, system = store
    system.pipe_file(f"{root}/in/corpus.jsonl", corpus.read_bytes())
    command = ["encode", f"{root}/in/corpus.jsonl", "-o", f"{root}/out", "--shard-rows", 16, *own]
    changed = corpus.read_bytes().replace(b"cat", b"cow")
    patch = stopping(1, lambda: system.pipe_file(f"{root}/in/corpus.jsonl", changed))
    result = run(*command)
    patch.undo()
    assert result.exit_code == 1
    assert "changed since it was read first" in " ".join(result.stderr.split())
    assert "1 of 4 shards" in " ".join(result.stderr.split())


def test_texts_that_are_known_are_not_read_again(run, own, corpus, memory, monkeypatch):
    root, system = memory
    system.pipe_file(f"{root}/in/corpus.jsonl", corpus.read_bytes())
    command = ["encode", f"{root}/in/corpus.jsonl", "-o", f"{root}/out", "--shard-rows", 16, *own]
    run(*command)
    monkeypatch.setattr(type(system), "open", lambda *_, **__: pytest.fail("opened"))
    monkeypatch.setattr("e5studio.jobs.run._reasons", lambda *_: iter(()))
    assert "50 of the rows were embedded by earlier runs" in run(*command).stderr


def test_what_a_store_cannot_do_is_said(run, own, corpus, memory, out):
    root, _ = memory
    assert "leave out the ending" in run("encode", corpus, "-o", f"{root}/v.npy", *own).stderr.replace("\n", " ")
    assert "cannot be opened" in run("encode", "nowhere://a/b.txt", "-o", out, *own).stderr
    missing = run("encode", f"{root}/none.jsonl", "-o", out, *own)
    assert missing.exit_code == 1
    assert "none.jsonl" in missing.stderr
