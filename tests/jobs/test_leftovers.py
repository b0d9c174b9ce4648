"""What an earlier job or a person left in a folder is never taken for a part of this one."""

from __future__ import annotations

import json

import pytest

from e5studio.errors import FingerprintMismatchError
from e5studio.jobs.folder import JobFolder, open_job
from tests.jobs.conftest import text_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def other(tmp_path):
    """As many rows with other texts."""
    path = tmp_path / "other.jsonl"
    path.write_text("".join(json.dumps({"id": number, "text": f"other {number}"}) + "\n" for number in range(50)))
    return path


def texts(folder):
    tables = [pq.read_table(path, columns=["text"]) for path in sorted((folder / "shards").glob("*.parquet"))]
    return pa.concat_tables(tables).column("text").to_pylist()


@pytest.mark.parametrize("shard_rows", [16, 10])
def test_shards_without_their_plan_are_made_again(run, own, corpus, other, out, shard_rows):
    """A kill while `--overwrite` deletes leaves them; so does a person who deletes job.json."""
    run("encode", corpus, "-o", out, "--shard-rows", 16, *own)
    (out / "job.json").unlink()
    result = run("encode", other, "-o", out, "--shard-rows", shard_rows, *own)
    assert "earlier runs" not in result.stderr
    assert texts(out) == [f"other {number}" for number in range(50)]
    assert len(list((out / "shards").iterdir())) == -(-50 // shard_rows)
    assert run("jobs", "verify", out, "--sample", 0).exit_code == 0


def test_a_run_whose_folder_was_begun_anew_stores_nothing(run, own, corpus, other, out):
    run("encode", corpus, "-o", out, "--shard-rows", 16, *own)
    folder, plan = open_job(out)
    record = folder.record(plan, 0)
    run("encode", other, "-o", out, "--shard-rows", 16, "--overwrite", *own)
    with pytest.raises(FingerprintMismatchError):
        JobFolder(out).commit(plan, record, [])
    assert texts(out) == [f"other {number}" for number in range(50)]


def test_a_file_with_another_ending_is_another_file(run, own, tmp_path, out):
    lines = tmp_path / "t.txt"
    lines.write_text("text\n" + "".join(f"line {number}\n" for number in range(12)))
    run("encode", lines, "-o", out, *own)
    result = run("encode", lines.rename(tmp_path / "t.csv"), "-o", out, *own)
    assert result.exit_code == 1
    assert "the texts of t.txt and not t.csv" in result.stderr


@pytest.mark.parametrize("change", [{"shard_rows": 0}, {"shard_rows": "8"}, {"precision": "int8"}])
def test_a_plan_that_was_edited_is_refused(run, own, corpus, out, change):
    run("encode", corpus, "-o", out, *own)
    plan = out / "job.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), **change}))
    result = run("jobs", "status", out)
    assert result.exit_code == 1
    assert "job.json was changed after it was written" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("change", [{"tokens": "x"}, {"rows": None}, {"rejected": 3}, {"shard": 1}])
def test_a_record_that_was_edited_is_none(run, own, corpus, out, change):
    run("encode", corpus, "-o", out, "--shard-rows", 16, *own)
    record = out / "manifest/part-00000-of-00004.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
    assert "3 of 4 shards are done" in run("jobs", "status", out).stdout
    assert "34 of the rows were embedded by earlier runs" in " ".join(
        run("encode", corpus, "-o", out, "--shard-rows", 16, *own).stderr.split()
    )


def test_status_misses_shards_that_are_gone_or_cut_and_verify_counts(run, own, corpus, out):
    run("encode", corpus, "-o", out, "--shard-rows", 16, *own)
    first, second, *_ = sorted((out / "shards").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-9])
    assert "2 of 4 shards are done" in run("jobs", "status", out).stdout
    record = out / "manifest/part-00002-of-00004.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "rows": 800}))
    said = " ".join(run("jobs", "verify", out, "--sample", 0).stderr.split())
    assert "part-00000-of-00004 is missing" in said
    assert "part-00001-of-00004 was changed or damaged" in said
    assert "its record says 800 rows" in said


def test_texts_that_were_moved_are_found_where_they_are_and_lost_ones_are_said(run, own, corpus, out):
    run("encode", corpus, "-o", out, *own)
    moved = corpus.rename(corpus.with_name("moved.jsonl"))
    verify = ("jobs", "verify", out, "--model", own[1])
    lost = run(*verify)
    assert lost.exit_code == 5
    assert "1 of 1 shards are whole" in lost.stdout
    assert "--sample 0" in lost.stderr
    run("encode", moved, "-o", out, *own)
    assert run(*verify).exit_code == 0


def test_a_merged_file_is_not_put_among_the_shards(run, own, corpus, out):
    run("encode", corpus, "-o", out, *own)
    before = texts(out)
    for name in ("all.parquet", "part-00000-of-00001.parquet"):
        result = run("jobs", "merge", out, "-o", out / "shards" / name, "--overwrite")
        assert result.exit_code == 1
        assert "is in the folder of the job" in result.stderr.replace("\n", " ")
    assert texts(out) == before


def test_outputs_among_the_texts_are_no_texts(run, own, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [{"text": text_of(number)} for number in range(3)] + [{"text": ""}]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for texts_, output in ((folder, folder / "v.parquet"), (f"{folder}/**/*.jsonl", folder / "out")):
        for more in ((), ("--overwrite",)):
            assert run("encode", texts_, "-o", output, *more, *own).exit_code == 3


def test_folders_behind_links_are_read_and_links_to_nothing_are_said(run, own, tmp_path, out):
    real, folder = tmp_path / "real", tmp_path / "in"
    real.mkdir()
    folder.mkdir()
    (real / "b.txt").write_text("two\nthree\n")
    (folder / "a.txt").write_text("one\n")
    (folder / "more").symlink_to(real)
    (folder / "round").symlink_to(folder)
    run("encode", folder, "-o", out, *own)
    assert sorted(texts(out)) == ["one", "three", "two"]
    (folder / "lost.txt").symlink_to(tmp_path / "nothing")
    result = run("encode", folder, "-o", tmp_path / "again", *own)
    assert result.exit_code == 1
    assert "lost.txt is a link to nothing" in result.stderr.replace("\n", " ")


def test_whole_numbers_that_no_double_holds_stay_what_they_are(run, own, tmp_path, out):
    path = tmp_path / "a.jsonl"
    numbers = {"large": 2**53 + 1, "small": 7, "both": 2**53 + 1}
    path.write_text("".join(json.dumps(row) + "\n" for row in ({"text": "a", **numbers}, {"text": "b", "both": 1.5})))
    run("encode", path, "-o", out, *own)
    [shard] = (out / "shards").iterdir()
    rows = pq.read_table(shard)
    assert rows.column("large").to_pylist() == [2**53 + 1, None]
    assert rows.column("both").to_pylist() == ["9007199254740993", "1.5"]


def test_a_column_to_keep_that_is_not_there_is_said_with_those_that_are(run, own, corpus, out):
    result = run("encode", corpus, "-o", out, "--keep", "nosuch", *own)
    assert result.exit_code == 1
    assert all(name in result.stderr for name in ("'id'", "'text'", "'tags'"))
