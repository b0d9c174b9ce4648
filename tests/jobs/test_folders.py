"""Folders of shards: every row once, with its columns and the encoder's vector, or among the rejects with a reason."""

from __future__ import annotations

import gzip
import hashlib
import json

import numpy as np
import pytest

from e5studio.encoder import E5Encoder
from e5studio.errors import NonFiniteError
from e5studio.files import read_vectors
from e5studio.jobs import corpus_reader
from e5studio.jobs.corpus_reader import CorpusReader
from e5studio.jobs.input_files import measure
from e5studio.jobs.scan import scan
from e5studio.long_documents import encode_long_documents, split_to_fit
from e5studio.quantization import Ranges, quantize
from tests.jobs.conftest import text_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def encoder(checkpoints):
    with E5Encoder(checkpoints("e5").folder, prompt_kind="query_passage", device="cpu") as loaded:
        yield loaded


def shards(folder):
    return sorted((folder / "shards").glob("*.parquet"))


def table(folder):
    return pa.concat_tables([pq.read_table(path) for path in shards(folder)])


def vectors(rows):
    return np.stack(rows.column("vector").to_numpy())


def rejects(folder):
    return [
        json.loads(line) for path in sorted((folder / "rejects").iterdir()) for line in path.read_text().splitlines()
    ]


def contents(folder):
    """What the shards hold; with several threads the last digits need not be the same in two runs."""
    tables = {path.name: pq.read_table(path) for path in shards(folder)}
    return {name: (rows.drop(["vector"]).to_pylist(), vectors(rows).round(4).tolist()) for name, rows in tables.items()}


def test_every_row_is_there_once_with_its_columns_and_its_vector(run, own, corpus, out, encoder):
    result = run("encode", corpus, "-o", out, "--shard-rows", 16, *own)
    assert result.exit_code == 3
    assert "Wrote 47 vectors" in result.stderr
    assert "3 of 50 rows have no vector (1 empty, 1 without a value, 1 not text)" in result.stderr
    assert [path.name for path in shards(out)] == [f"part-{shard:05}-of-00004.parquet" for shard in range(4)]
    rows = table(out)
    assert rows.schema.names == ["row", "id", "text", "tags", "vector"]
    assert rows.schema.field("vector").type == pa.list_(pa.float32(), encoder.spec.embed_dim)
    assert rows.schema.field("id").type == pa.int64()
    good = [number for number in range(50) if number not in (7, 20, 33)]
    assert rows.column("row").to_pylist() == good
    assert rows.column("id").to_pylist() == [1000 + number for number in good]
    assert rows.column("tags").to_pylist()[0] == '["a", 0]'
    texts = [text_of(number) for number in good]
    assert rows.column("text").to_pylist() == texts
    np.testing.assert_allclose(vectors(rows), encoder.encode_document(texts), atol=2e-6)
    assert [(reject["row"], reject["line"], reject["status"]) for reject in rejects(out)] == [
        (7, 8, "empty"),
        (20, 21, "missing"),
        (33, 34, "bad_type"),
    ]
    assert {reject["file"] for reject in rejects(out)} == {str(corpus)}
    record = json.loads((out / "manifest/part-00000-of-00004.json").read_text())
    assert (record["rows"], record["rejected"]) == (15, {"empty": 1})
    assert record["sha256"] == hashlib.sha256(shards(out)[0].read_bytes()).hexdigest()


def test_a_finished_job_does_nothing_and_a_shard_that_is_gone_cut_or_changed_is_made_again(run, own, corpus, out):
    command = ["encode", corpus, "-o", out, "--shard-rows", 16, *own]
    run(*command)
    before = contents(out)
    first, second, third, fourth = shards(out)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    third.write_bytes(third.read_bytes().replace(b"PAR1", b"PAR2"))
    result = run(*command)
    assert result.exit_code == 3
    assert "2 of the rows were embedded by earlier runs" in result.stderr, "those of the fourth"
    assert contents(out) == before
    written = fourth.stat().st_mtime_ns
    assert "50 of the rows were embedded by earlier runs" in run(*command).stderr
    assert fourth.stat().st_mtime_ns == written
    (out / "rejects/part-00000-of-00004.jsonl").unlink()
    run(*command)
    assert len(rejects(out)) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--role", "query"], "prompt 'passage: ' and not 'query: '"),
        (["--precision", "int8"], "precision 'float32' and not 'int8'"),
        (["--keep", "id"], "keep None and not ('id',)"),
        (["--max-tokens", "16"], "and not 16"),
        (["--long", "pool"], "long 'truncate' and not 'pool'"),
        (["--shard-rows", "20"], "shard_rows 16 and not 20"),
        (["--skip-bad-bytes"], "skip_bad_bytes False and not True"),
    ],
)
def test_another_job_is_refused_with_what_differs(run, own, corpus, out, changes, said):
    run("encode", corpus, "-o", out, "--shard-rows", 16, *own)
    before = contents(out)
    result = run("encode", corpus, "-o", out, "--shard-rows", 16, *own, *changes)
    assert result.exit_code == 1
    assert said in result.stderr
    assert contents(out) == before
    assert run("encode", corpus, "-o", out, "--shard-rows", 16, *own, *changes, "--overwrite").exit_code == 3


def test_other_files_are_refused_and_moved_ones_are_not(run, own, corpus, out, tmp_path):
    run("encode", corpus, "-o", out, *own)
    moved = tmp_path / "elsewhere.jsonl"
    corpus.rename(moved)
    assert "50 of the rows were embedded by earlier runs" in run("encode", moved, "-o", out, *own).stderr
    other = tmp_path / "other.txt"
    other.write_text("a text\n")
    assert "the texts of elsewhere.jsonl and not other.txt" in run("encode", other, "-o", out, *own).stderr
    moved.write_text(moved.read_text() + '{"text": "more"}\n')
    assert "another content of elsewhere.jsonl" in run("encode", moved, "-o", out, *own).stderr


@pytest.mark.parametrize("precision", ["float16", "int8", "uint8", "binary", "ubinary"])
def test_precisions(run, own, corpus, out, encoder, precision):
    assert run("encode", corpus, "-o", out, "--precision", precision, *own).exit_code == 3
    rows = table(out)
    whole = encoder.encode_document(rows.column("text").to_pylist())
    expected = (
        whole.astype(np.float16)
        if precision == "float16"
        else quantize(whole, precision, Ranges.fixed(encoder.spec.embed_dim))
    )
    stored = vectors(rows)
    assert stored.dtype == expected.dtype
    assert stored.shape == expected.shape
    if precision in ("binary", "ubinary"):
        np.testing.assert_array_equal(stored, expected)
    else:
        np.testing.assert_allclose(stored.astype(float), expected.astype(float), atol=1)
    result = run("jobs", "verify", out, "--model", own[1])
    assert result.exit_code == 0, result.stderr
    assert "agree with what is stored by" in result.stdout


def test_files_of_all_kinds_follow_each_other(run, own, out, tmp_path):
    texts = [text_of(number) for number in range(12)]
    lines = "".join(f"{text}\n" for text in texts[:3])
    (tmp_path / "a.txt").write_text(lines)
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("".join(f"{text}\n" for text in texts[3:6]))
    with pa.CompressedOutputStream(str(tmp_path / "c.csv.zst"), "zstd") as file:
        file.write(("id,text\n" + "".join(f"{row},{text}\n" for row, text in enumerate(texts[6:9]))).encode())
    pq.write_table(pa.table({"text": texts[9:], "more": [[1.5], None, []]}), tmp_path / "d.parquet", row_group_size=1)
    names = ["a.txt", "b.txt.gz", "c.csv.zst", "d.parquet"]
    result = run("encode", *(tmp_path / name for name in names), "-o", out, "--shard-rows", 5, *own)
    assert result.exit_code == 0, result.stderr
    rows = table(out)
    assert rows.column("text").to_pylist() == texts
    assert rows.column("row").to_pylist() == list(range(12))
    assert rows.column("id").to_pylist() == [None] * 6 + ["0", "1", "2"] + [None] * 3
    assert rows.column("more").to_pylist()[9:] == [[1.5], None, []]
    assert run("encode", tmp_path / "?.*", "-o", tmp_path / "v.npy", *own).exit_code == 0
    np.testing.assert_allclose(read_vectors(tmp_path / "v.npy").vectors, vectors(rows), atol=2e-6)


def test_a_folder_is_its_files_of_one_kind(run, own, out, tmp_path):
    folder = tmp_path / "texts"
    (folder / "b").mkdir(parents=True)
    for name, text in {"b/2.txt": "two", "1.txt": "one", "_SUCCESS": "", ".hidden.txt": "no"}.items():
        (folder / name).write_text(text)
    assert run("encode", folder, "-o", out, *own).exit_code == 0
    assert table(out).column("text").to_pylist() == ["one", "two"]
    assert run("encode", folder, "-o", folder / "inside", "--precision", "int8", *own).exit_code == 0
    again = run("encode", folder, "-o", folder / "inside", "--precision", "int8", *own)
    assert "2 of the rows were embedded by earlier runs" in again.stderr, "no output is taken for texts"
    (folder / "3.csv").write_text("text\nthree\n")
    assert "holds files of several kinds: .csv, .txt" in run("encode", folder, "-o", out, *own).stderr


@pytest.mark.parametrize("ending", [".csv", ".txt", ".jsonl", ".csv.gz", ".parquet"])
def test_a_file_without_rows_among_others_is_said_once_and_refuses_nothing(run, own, tmp_path, out, ending):
    folder = tmp_path / "in"
    folder.mkdir()
    contents = {".csv": "text\n{}", ".csv.gz": "text\n{}", ".txt": "{}", ".jsonl": "{}"}
    row = '{"text": "one"}\n' if ending == ".jsonl" else "one\n"
    for name, texts in (("a", []), ("b", ["one"]), ("c", [])):
        path = folder / f"{name}{ending}"
        if ending == ".parquet":
            pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path)
        else:
            content = contents[ending].format(row if texts else "").encode()
            path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    if ending == ".csv":
        (folder / "c.csv").write_bytes(b"")
    result = run("encode", folder, "-o", out, *own)
    assert result.exit_code == 0, result.stderr
    assert f"2 of 3 files have no rows: a{ending}, c{ending}." in result.stderr
    assert table(out).column("text").to_pylist() == ["one"]
    (folder / f"b{ending}").unlink()
    result = run("encode", folder, "-o", tmp_path / "none", *own)
    assert result.exit_code == 1
    assert "None of the files has a row." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none*.txt"], "No file matches"),
        (["a.txt", "a.txt"], "is given twice"),
        (["a.txt", "b.csv"], "has its texts in column 'text'"),
        (["row.csv"], "come with a column 'row'"),
        (["a.txt", "--keep", "id"], "No file has a column 'id' to keep"),
        (["cut.txt.gz"], "cannot be decompressed"),
        (["plain.txt.zst"], "cannot be decompressed"),
        (["x.parquet.gz"], "is a compressed Parquet file"),
        (["empty"], "holds no file of texts"),
    ],
)
def test_texts_that_are_refused(run, own, out, tmp_path, arguments, said):
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "b.csv").write_text("body\ntwo\n")
    (tmp_path / "row.csv").write_text("row,text\n1,two\n")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"one\n" * 1000)[:-9])
    (tmp_path / "plain.txt.zst").write_text("one\n")
    (tmp_path / "x.parquet.gz").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    paths = [part if part[0] == "-" or part == "id" else tmp_path / part for part in arguments]
    result = run("encode", *paths, "-o", out, *own)
    assert result.exit_code == 1, result.stderr
    assert said in result.stderr.replace("\n", " ")


def test_rows_of_parquet_that_are_no_text_are_rejected(run, own, out, tmp_path):
    column = pa.chunked_array([pa.array([b"good", b"\xff", None], pa.binary()).cast(pa.string(), safe=False)])
    pq.write_table(pa.table({"text": column, "id": [1, 2, 3]}), tmp_path / "t.parquet")
    assert run("encode", tmp_path / "t.parquet", "-o", out, "--keep", "id", *own).exit_code == 3
    assert table(out).column("id").to_pylist() == [1]
    assert [(reject["line"], reject["status"]) for reject in rejects(out)] == [(2, "bad_type"), (3, "missing")]


@pytest.mark.parametrize("options", [[], ["--long", "chunk", "--max-tokens", 16]])
def test_columns_of_parquet_stay_what_they_are(run, own, out, tmp_path, options):
    (tmp_path / "in").mkdir()
    for number in range(2):
        texts = [text_of(row) for row in range(30)]
        columns = {
            "text": pa.array(texts).dictionary_encode(),
            "view": pa.array(texts, pa.string_view()),
            "when": pa.array([number * 10**9] * 30, pa.timestamp("us", "UTC")),
            "nested": pa.array([{"a": row, "b": ["x", None]} for row in range(30)]),
            "kind": pa.array([f"{number} {row % 3}" for row in range(30)]).dictionary_encode(),
            "nothing": pa.nulls(30),
        }
        pq.write_table(pa.table(columns), tmp_path / f"in/{number}.parquet", row_group_size=7)
    assert run("encode", tmp_path / "in", "-o", out, "--shard-rows", 16, *own, *options).exit_code == 0
    source = pa.concat_tables([pq.read_table(path) for path in sorted((tmp_path / "in").iterdir())])
    rows = table(out)
    origin = rows.column("row").to_pylist()
    for name in source.column_names:
        if name != "text" or not options:
            cells = source.column(name).to_pylist()
            assert rows.column(name).to_pylist() == [cells[row] for row in origin]
    assert rows.schema.field("nested").type == source.schema.field("nested").type


def test_one_poison_row_costs_no_other(run, own, corpus, out, monkeypatch):
    embed = E5Encoder.embed_prepared

    def spoiled(self, prepared, /, **options):
        if len(prepared) == 15:
            raise NonFiniteError("not finite", [3])
        return embed(self, prepared, **options)

    monkeypatch.setattr(E5Encoder, "embed_prepared", spoiled)
    assert run("encode", corpus, "-o", out, "--shard-rows", 16, *own).exit_code == 3
    assert [reject["row"] for reject in rejects(out) if reject["status"] == "failed"] == [3, 19, 36]
    assert len(table(out)) == 44


class TestLongTexts:
    @pytest.fixture
    def texts(self, tmp_path):
        path = tmp_path / "long.csv"
        path.write_text("id,text\n" + f"x,{'the cat sat on the mat. ' * 9}\ny,short\nz, \nw,{'a dog barks ' * 20}\n")
        return path

    def test_chunks_say_where_they_come_from(self, run, own, texts, out, encoder):
        assert run("encode", texts, "-o", out, "--long", "chunk", "--max-tokens", 16, *own).exit_code == 3
        rows = table(out).to_pylist()
        encoder = encoder.with_options(max_tokens=16)
        whole = {"x": "the cat sat on the mat. " * 9, "y": "short", "w": "a dog barks " * 20}
        for name, text in whole.items():
            parts = split_to_fit(encoder, text, prompt="passage: ")
            mine = [row for row in rows if row["id"] == name]
            assert [row["text"] for row in mine] == parts
            assert [text[row["start"] : row["end"]] for row in mine] == parts
            assert [row["chunk"] for row in mine] == list(range(len(parts)))
            vectors = encoder.encode_document(parts)
            np.testing.assert_allclose([row["vector"] for row in mine], vectors, atol=2e-6)
        assert run("jobs", "verify", out, "--model", own[1]).exit_code == 0

    def test_pooled_vectors_are_those_of_long_documents(self, run, own, texts, out, encoder, tmp_path):
        options = ["--long", "pool", "--max-tokens", 16]
        assert run("encode", texts, "-o", out, *options, *own).exit_code == 3
        rows = table(out)
        encoder = encoder.with_options(max_tokens=16)
        expected = encode_long_documents(encoder, rows.column("text").to_pylist(), prompt="passage: ")
        np.testing.assert_allclose(vectors(rows), expected, atol=2e-6)
        assert run("encode", texts, "-o", tmp_path / "v.npy", *options, *own).exit_code == 3
        np.testing.assert_allclose(read_vectors(tmp_path / "v.npy").vectors[[0, 1, 3]], expected, atol=2e-6)


def test_blocks_do_not_depend_on_where_reading_begins(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_reader, "BLOCK_ROWS", 8)
    monkeypatch.setattr(corpus_reader, "_ROWS_AT_ONCE", 4)
    table = pa.table({"text": [text_of(number) for number in range(50)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=7)
    files = measure([corpus, tmp_path / "t.parquet"])
    both = scan(files, {}, None, set())
    reader = CorpusReader(both)

    def rows(start, stop, reader):
        return [
            (block.first, [(row.line, row.text) for row in block.rows], block.columns)
            for block in reader.blocks(start, stop)
        ]

    for start, stop in ((40, 60), (0, 100), (60, 61), (99, 100), (3, 9), (10, 20), (55, 90)):
        assert rows(start, stop, reader) == rows(start, stop, CorpusReader(both))
        got = [each for _, some, _ in rows(start, stop, reader) for each in some]
        assert [line for line, _ in got] == [number % 50 + 1 for number in range(start, stop)]
