"""BEIR's queries and judgements come as they are: two files, or the zip."""

from __future__ import annotations

import json
import zipfile

import pytest

from e5studio.errors import FileFormatError
from e5studio.studio.corpus.beir_files import read_corpus_zip, read_pair_files

QUERIES = "\n".join(json.dumps({"_id": f"q{n}", "text": f"question {n}"}) for n in range(3))
QRELS = "query-id\tcorpus-id\tscore\nq0\td7\t1\nq1\td8\t0\nq2\td9\t2\nq2\td1\t1\nq9\td1\t1\n"


def write(folder, **contents):
    files = []
    for name, content in contents.items():
        files.append(folder / name.replace("_", "."))
        files[-1].write_text(content)
    return files


def check(table):
    assert table.columns == ("query", "corpus-id")
    assert list(zip(*table.cells, strict=True)) == [("question 0", "d7"), ("question 2", "d9"), ("question 2", "d1")]
    assert table.lines == (2, 4, 5)


def test_two_files_in_either_order(tmp_path):
    files = write(tmp_path, queries_jsonl=QUERIES, test_tsv=QRELS)
    check(read_pair_files(files))
    check(read_pair_files(files[::-1]))


def test_a_zip_of_the_whole_data_set_takes_the_split_for_tests(tmp_path):
    file = tmp_path / "scifact.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("scifact/corpus.jsonl", "{}")
        archive.writestr("scifact/queries.jsonl", QUERIES)
        archive.writestr("scifact/qrels/train.tsv", QRELS.replace("d7", "d5"))
        archive.writestr("scifact/qrels/test.tsv", QRELS)
        archive.writestr("../../evil.tsv", "x")
    check(read_pair_files([file]))


def test_a_file_of_pairs_is_read_as_before(tmp_path):
    [file] = write(tmp_path, pairs_csv="query,answer_id\na,1\n")
    assert read_pair_files([file]).columns == ("query", "answer_id")


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"test_tsv": QRELS}, "both files are needed"),
        ({"queries_jsonl": QUERIES, "corpus_jsonl": QUERIES}, "both files are needed"),
        ({"queries_jsonl": '{"text": "no id"}', "test_tsv": QRELS}, "no columns '_id' and 'text'"),
        ({"queries_jsonl": QUERIES.replace("q", "x"), "test_tsv": QRELS}, "No id in test.tsv"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(tmp_path, contents, words):
    with pytest.raises(FileFormatError, match=words) as error:
        read_pair_files(write(tmp_path, **contents))
    assert "Upload queries.jsonl" in str(error.value)


def test_a_zip_as_the_corpus_brings_its_pairs(tmp_path):
    file = tmp_path / "scifact.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("scifact/corpus.jsonl", '{"_id": "d7", "title": "T", "text": "seven"}\n')
        archive.writestr("scifact/queries.jsonl", QUERIES)
        archive.writestr("scifact/qrels/test.tsv", QRELS)
    table, pairs = read_corpus_zip(file, "skip")
    assert (table.name, table.column("text")) == ("scifact.zip/corpus.jsonl", ("seven",))
    check(pairs)


def test_a_zip_as_the_corpus_needs_texts_but_no_pairs(tmp_path):
    file = tmp_path / "other.zip"
    for qrels, notes in ((None, ()), ("query-id\tcorpus-id\nnobody\td7\n", ("No id in test.tsv",))):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("corpus.jsonl", '{"_id": "d7", "text": "seven"}\n')
            if qrels is not None:
                archive.writestr("queries.jsonl", QUERIES)
                archive.writestr("qrels/test.tsv", qrels)
        table, pairs = read_corpus_zip(file, "skip")
        assert (len(table), pairs, len(table.notes)) == (1, None, len(notes))
        assert all(note.startswith(start) for note, start in zip(table.notes, notes, strict=True))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("queries.jsonl", QUERIES)
    with pytest.raises(FileFormatError, match=r"holds no corpus\.jsonl"):
        read_corpus_zip(file, "skip")


def test_a_zip_without_them_is_refused(tmp_path):
    file = tmp_path / "other.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(FileFormatError, match=r"holds no queries\.jsonl"):
        read_pair_files([file])
    file.write_text("no zip")
    with pytest.raises(FileFormatError, match="is no zip"):
        read_pair_files([file])
