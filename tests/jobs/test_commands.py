"""`e5studio jobs`, shares of several workers, progress, and faults that end in a sentence and are mended."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys

import numpy as np
import pytest

from e5studio.cli.encode import parts_folder
from e5studio.encoder import E5Encoder
from e5studio.file_lock import held
from e5studio.files import read_vectors
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.plan import Share
from tests.jobs.test_folders import contents, shards, table, vectors

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def whole(run, own, corpus, tmp_path):
    """The shards of a run that nothing disturbed."""
    run("encode", corpus, "-o", tmp_path / "whole", "--shard-rows", 16, *own)
    return contents(tmp_path / "whole")


@pytest.fixture
def command(own, corpus, out):
    return ["encode", corpus, "-o", out, "--shard-rows", 16, *own]


def stopping(n_blocks, stop):
    """Let `n_blocks` be embedded, then stop."""
    embed, done = E5Encoder.embed_prepared, []

    def spoiled(self, prepared, /, **options):
        done.append(None)
        if len(done) > n_blocks:
            stop()
        return embed(self, prepared, **options)

    patch = pytest.MonkeyPatch()
    patch.setattr(E5Encoder, "embed_prepared", spoiled)
    return patch


class TestStatus:
    def test_says_what_is_done_and_how_to_go_on(self, run, command, out):
        run(*command)
        result = run("jobs", "status", out)
        assert result.exit_code == 0
        assert "4 of 4 shards are done, 16 rows each." in result.stdout
        assert "47 vectors of 47 of 50 rows; 3 rows have none." in result.stdout
        (out / "manifest/part-00002-of-00004.json").unlink()
        result = run("jobs", "status", out)
        assert result.exit_code == 4
        assert "3 of 4 shards are done" in result.stdout
        assert "To go on" in result.stdout
        content = json.loads(run("jobs", "status", out, "--json").stdout)
        assert (content["missing"], content["rows"], content["rejected"]) == ([2], 50, {"empty": 1, "missing": 1})

    def test_of_no_job(self, run, tmp_path):
        result = run("jobs", "status", tmp_path)
        assert result.exit_code == 1
        assert "holds no job" in result.stderr


class TestVerify:
    def test_a_sound_job(self, run, own, command, out):
        run(*command)
        result = run("jobs", "verify", out, "--model", own[1])
        assert result.exit_code == 0, result.output
        assert "4 of 4 shards are whole: 47 rows with vectors, 3 rejected, of 50." in result.stdout
        assert "rows made again agree with what is stored by 1.000000" in result.stdout

    def test_what_is_wrong_is_named(self, run, command, out):
        run(*command)
        first, second, third, _ = shards(out)
        first.unlink()
        (out / "manifest/part-00000-of-00004.json").unlink()
        second.write_bytes(second.read_bytes()[:-1])
        rows = pq.read_table(third)
        rewrite(out, third, rows.slice(1), "part-00002-of-00004")
        result = run("jobs", "verify", out, "--sample", 0)
        assert result.exit_code == 5
        words = " ".join(result.stderr.split())
        assert "part-00000-of-00004 is missing." in words
        assert "part-00001-of-00004 was changed or damaged." in words
        assert "part-00002-of-00004: it holds 14 vectors and its record says 15." in words
        assert "are not the rows 32 to 47, each once" in words

    def test_vectors_of_another_length_or_text_are_found(self, run, own, command, out):
        run(*command)
        for name in ("part-00001-of-00004", "part-00002-of-00004"):
            rows = pq.read_table(out / f"shards/{name}.parquet")
            numbers = vectors(rows)
            if "1-of" in name:
                numbers[2] *= 1.5
            else:
                numbers = numbers[::-1]
            flat = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), numbers.shape[1])
            rows = rows.set_column(rows.schema.names.index("vector"), "vector", flat)
            rewrite(out, out / f"shards/{name}.parquet", rows, name)
        result = run("jobs", "verify", out, "--model", own[1], "--sample", 40)
        assert result.exit_code == 5
        assert "1 vectors do not have length 1, first that of row 18: 1.5000." in result.stderr
        assert "made again agrees by" in result.stderr


def rewrite(out, path, rows, name):
    """Change a shard and its digest, as somebody who does not know the rows would."""
    pq.write_table(rows, path)
    record = out / f"manifest/{name}.json"
    content = json.loads(record.read_text())
    changed = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
    record.write_text(json.dumps({**content, **changed}))


class TestMerge:
    def test_one_parquet_file_is_all_rows(self, run, command, out, tmp_path):
        run(*command)
        assert run("jobs", "merge", out, "-o", tmp_path / "all.parquet").exit_code == 0
        assert pq.read_table(tmp_path / "all.parquet").equals(table(out))

    def test_one_array_is_the_file_that_encode_makes(self, run, own, corpus, command, out, tmp_path):
        run(*command)
        assert run("jobs", "merge", out, "-o", tmp_path / "all.npy").exit_code == 0
        run("encode", corpus, "-o", tmp_path / "single.npy", *own)
        merged, single = read_vectors(tmp_path / "all.npy"), read_vectors(tmp_path / "single.npy")
        np.testing.assert_allclose(merged.vectors, single.vectors, atol=2e-6)
        assert merged.manifest == single.manifest

    def test_a_job_that_is_not_done_is_refused(self, run, command, out, tmp_path):
        run(*command)
        shards(out)[1].unlink()
        result = run("jobs", "merge", out, "-o", tmp_path / "all.parquet")
        assert result.exit_code == 1
        assert "1 of the 4 shards" in result.stderr
        assert not (tmp_path / "all.parquet").exists()

    def test_chunks_are_no_array(self, run, command, out, tmp_path):
        run(*command, "--long", "chunk")
        assert "these are chunks" in run("jobs", "merge", out, "-o", tmp_path / "all.npy").stderr.replace("\n", " ")


class TestSearch:
    @pytest.mark.parametrize("precision", ["float32", "float16", "int8", "ubinary"])
    def test_the_nearest_rows_are_those_of_a_single_file(self, run, own, corpus, command, out, tmp_path, precision):
        run(*command, "--precision", precision)
        run("encode", corpus, "-o", tmp_path / "v.parquet", *own)
        query = ["a cat at night", "--model", own[1], "--json", "--top-k", 5]
        ours, theirs = (
            json.loads(run("search", vectors, *query).stdout)["results"][0]["hits"]
            for vectors in (out, tmp_path / "v.parquet")
        )
        if precision in ("float32", "float16"):
            assert [hit["text"] for hit in ours] == [hit["text"] for hit in theirs]
            assert [hit["row"] for hit in ours] == [hit["row"] for hit in theirs]
        assert [hit["score"] for hit in ours] == pytest.approx(
            [hit["score"] for hit in theirs],
            abs={"float32": 0.001, "float16": 0.1, "int8": 3, "ubinary": 60}[precision],
        )

    def test_a_part_of_a_text_is_a_hit(self, run, own, out, tmp_path):
        (tmp_path / "t.txt").write_text("cat dog " * 20 + "\nrain\n" + "river stone " * 20)
        run("encode", tmp_path / "t.txt", "-o", out, "--long", "chunk", "--max-tokens", 16, "--shard-rows", 2, *own)
        hits = json.loads(run("search", out, "rain", "--model", own[1], "--json").stdout)["results"][0]["hits"]
        parts = {(row["row"], row["text"]) for row in table(out).to_pylist()}
        assert {(hit["row"], hit["text"]) for hit in hits} <= parts

    def test_a_job_that_is_not_done_is_refused(self, run, own, command, out):
        run(*command)
        shards(out)[1].unlink()
        result = run("search", out, "rain", "--model", own[1])
        assert result.exit_code == 1
        assert "1 of the 4 shards" in result.stderr


class TestShares:
    @pytest.mark.parametrize(
        ("environment", "rank"),
        [
            ({"RANK": "2", "WORLD_SIZE": "3"}, 2),
            ({"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "3"}, 1),
            ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"}, 0),
            (
                {
                    "SLURM_ARRAY_TASK_ID": "14",
                    "SLURM_ARRAY_TASK_COUNT": "3",
                    "SLURM_ARRAY_TASK_MIN": "10",
                    "SLURM_ARRAY_TASK_STEP": "2",
                },
                2,
            ),
        ],
    )
    def test_of_clusters(self, environment, rank):
        assert Share.of_environment(environment) == Share(rank, 3)

    @pytest.mark.parametrize(
        "environment",
        [{}, {"RANK": "2"}, {"RANK": "0", "WORLD_SIZE": "2", "JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "2"}],
    )
    def test_that_nothing_says(self, environment):
        with pytest.raises(ValueError, match="SLURM_ARRAY_TASK_ID"):
            Share.of_environment(environment)

    @pytest.mark.parametrize("text", ["3", "3/3", "a/b", "/2", "-1/2"])
    def test_that_are_none(self, run, command, text):
        result = run(*command, "--shard-of", text)
        assert result.exit_code == 2
        assert "--shard-of" in result.stderr

    def test_workers_make_all_shards_and_none_of_another(self, run, command, out, whole):
        run(*command, "--shard-of", "1/3")
        assert [path.name[:10] for path in shards(out)] == ["part-00001"]
        run(*command, "--shard-of", "auto", RANK="0", WORLD_SIZE="3")
        assert [path.name[:10] for path in shards(out)] == ["part-00000", "part-00001", "part-00003"]
        assert run("jobs", "status", out).exit_code == 4
        run(*command, "--shard-of", "2/3")
        assert contents(out) == whole

    def test_one_worker_cannot_begin_anew(self, run, command):
        assert run(*command, "--shard-of", "0/3", "--overwrite").exit_code == 2


@pytest.mark.parametrize(
    "options",
    [["--keep", "id"], ["--precision", "int8"], ["--shard-rows", 4], ["--shard-of", "0/2"], ["--long", "chunk"]],
)
def test_what_needs_a_folder_says_so(run, own, corpus, tmp_path, options):
    result = run("encode", corpus, "-o", tmp_path / "v.parquet", *own, *options)
    assert result.exit_code == 2
    assert "folder of shards" in result.stderr


def test_progress_is_lines_of_json(run, command):
    lines = [json.loads(line) for line in run(*command, "--progress", "json").stdout.splitlines()]
    assert {"rows", "of", "rejected", "tokens", "tokens_per_second", "seconds", "seconds_left"} == lines[0].keys()
    assert (lines[0]["rows"], lines[-1]["rows"], lines[-1]["of"], lines[-1]["rejected"]) == (0, 50, 50, 3)


def test_shards_of_earlier_runs_are_checked_before_anything_is_embedded(run, command, out):
    run(*command)
    shards(out)[1].unlink()
    lines = [json.loads(line) for line in run(*command, "--progress", "json").stdout.splitlines()]
    assert lines[0] == {"checked_shards": 0, "of_shards": 3}
    assert (lines[-1]["rows"], lines[-1]["of"]) == (50, 50)


def test_shares_that_overlap_are_called_that(run, command, out):
    run(*command, "--shard-of", "0/2")
    shards(out)[0].unlink()
    with held(out / "shards/.part-00000-of-00004.parquet.tmp"):
        result = run(*command, "--shard-of", "0/4")
    assert result.exit_code == 1
    words = " ".join(result.stderr.split())
    assert "Another worker makes part-00000-of-00004" in words
    assert "the shares of the two overlap" in words


class TestFaults:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_signals_end_it_and_it_goes_on(self, run, command, out, whole, number, code):
        usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background command ignores it
        patch = stopping(2, lambda: os.kill(os.getpid(), number))
        result = run(*command)
        patch.undo()
        signal.signal(signal.SIGINT, usual)
        assert result.exit_code == code
        assert "2 of 4 shards are done" in result.stderr
        assert "Give the same command again to go on." in result.stderr.replace("\n", " ")
        assert len(shards(out)) == 2
        assert run(*command).exit_code == 3
        assert contents(out) == whole

    def test_a_single_file_goes_on_too(self, run, own, corpus, tmp_path, monkeypatch):
        monkeypatch.setattr("e5studio.cli.encode.SHARD_ROWS", {"parts": 16})
        output = tmp_path / "v.npy"
        command = ["encode", corpus, "-o", output, *own]
        run(*command)
        before = output.read_bytes()
        output.unlink()
        (tmp_path / "v.npy.json").unlink()
        patch = stopping(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert run(*command).exit_code == 143
        patch.undo()
        assert not output.exists()
        other = run(*command[:-1], "query")
        assert other.exit_code == 1
        assert "prompt 'passage: ' and not 'query: '" in other.stderr
        result = run(*command)
        assert "48 of the rows were embedded by earlier runs" in result.stderr
        assert output.read_bytes() == before
        assert not parts_folder(output).exists()

    def test_parts_of_a_file_that_is_whole_go_and_those_of_another_run_stay(
        self, run, own, corpus, tmp_path, monkeypatch
    ):
        """A kill may come when the file has its name and its parts are there still."""
        output = tmp_path / "v.npy"
        parts = parts_folder(output)
        command = ["encode", corpus, "-o", output, *own]
        monkeypatch.setattr(JobFolder, "remove", lambda self: None)
        run(*command)
        monkeypatch.undo()
        assert parts.exists()
        os.utime(output, (0, 0))
        assert "exists already" in run(*command).stderr
        assert parts.exists(), "parts that are newer are of a run that has not ended"
        os.utime(output)
        assert "exists already" in run(*command).stderr
        assert not parts.exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
    def test_full_disk(self, run, command, out, whole):
        import resource

        allowed = resource.getrlimit(resource.RLIMIT_FSIZE)

        def fill():
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, allowed[1]))

        patch = stopping(2, fill)
        try:
            result = run(*command)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
            patch.undo()
        assert result.exit_code == 1
        assert "Error: " in result.stderr.splitlines()[-1]
        assert "part-00002-of-00004" in result.stderr.splitlines()[-1]
        assert len(shards(out)) == 2
        assert run(*command).exit_code == 3
        assert contents(out) == whole

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
    def test_read_only_folder(self, run, command, out, whole):
        out.mkdir()
        out.chmod(0o500)
        try:
            result = run(*command)
        finally:
            out.chmod(0o700)
        assert result.exit_code == 1
        assert "Permission denied" in result.stderr
        assert run(*command).exit_code == 3
        assert contents(out) == whole

    def test_a_folder_that_cannot_be_written_ends_in_a_sentence(self, run, command, out, whole):
        def refused(*_, **__):
            raise PermissionError(13, "Permission denied", str(out))

        patch = pytest.MonkeyPatch()
        patch.setattr("e5studio.files.atomic.file_lock.open_locked", refused)
        result = run(*command)
        patch.undo()
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == f"Error: {out}: Permission denied"
        assert run(*command).exit_code == 3
        assert contents(out) == whole

    @pytest.mark.parametrize("fault", ["vanished", "changed"])
    def test_texts_that_vanish_or_change_while_they_are_read(self, run, command, corpus, out, whole, fault):
        content = corpus.read_text()

        def harm():
            if fault == "vanished":
                corpus.unlink(missing_ok=True)
            else:
                corpus.write_text(content.replace("cat", "cow"))

        patch = stopping(1, harm)
        result = run(*command)
        patch.undo()
        assert result.exit_code == 1
        assert ("No such file" if fault == "vanished" else "changed since it was read first") in result.stderr
        assert len(shards(out)) == 1, "none of a shard whose texts are in doubt"
        assert run(*command).exit_code == 1, "still not the same texts"
        corpus.write_text(content)
        assert run(*command).exit_code == 3
        assert contents(out) == whole

    def test_a_damaged_plan_is_refused(self, run, command, out, whole):
        run(*command)
        plan = out / "job.json"
        plan.write_text(plan.read_text()[:-20])
        result = run(*command)
        assert result.exit_code == 1
        assert "is not the plan of a job, or is damaged" in result.stderr.replace("\n", " ")
        assert run(*command, "--overwrite").exit_code == 3
        assert contents(out) == whole

    def test_a_folder_of_something_else_is_left_alone(self, run, command, out):
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
        for more in ([], ["--overwrite"]):
            result = run(*command, *more)
            assert result.exit_code == 1
            assert "holds thesis.tex and no job" in result.stderr
        assert [path.name for path in out.iterdir()] == ["thesis.tex"]

    def test_beginning_anew_deletes_the_job_only(self, run, command, out):
        run(*command)
        (out / "notes.txt").write_text("mine")
        assert run(*command, "--precision", "int8", "--overwrite").exit_code == 3
        assert (out / "notes.txt").read_text() == "mine"
