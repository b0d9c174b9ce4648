"""Every form of training data, and one sentence with file and line for every mistake."""

from __future__ import annotations

import json

import pytest

from e5studio.errors import FileFormatError
from e5studio.training import PairsFormat, read_training_set
from tests.training.conftest import write_pairs

ROWS = [{"query": "a b", "positive": "p1"}, {"query": "c d", "positive": "p2"}]


def read(path, rows, **options):
    return read_training_set(write_pairs(path / "pairs.jsonl", rows), PairsFormat(**options))


def test_pairs_triplets_and_lists(tmp_path):
    rows = [
        {"query": "a", "positive": "p1", "negative": "n1", "negative_1": "n2", "negatives": ["n3", "p2"]},
        {"anchor": "b", "positive": "p2"},
    ]
    training_set = read(tmp_path, rows)
    assert training_set.documents == ("p1", "n1", "n2", "n3", "p2")
    assert [example.negatives for example in training_set.examples] == [(1, 2, 3, 4), ()]
    assert training_set.examples[1].positives == (4,)


def test_rows_of_one_query_are_one_example(tmp_path):
    training_set = read(tmp_path, [*ROWS, {"query": "a b", "positive": "p2", "negative": "p1"}])
    assert [example.positives for example in training_set.examples] == [(0, 1), (1,)]
    assert training_set.examples[0].negatives == (), "a known answer is no negative"


def test_scores_of_a_teacher(tmp_path):
    rows = [{**row, "negatives": ["n"], "scores": [2.5, -1]} for row in ROWS]
    training_set = read(tmp_path, rows)
    assert training_set.has_teacher
    assert training_set.examples[0].teacher_scores == (2.5, -1.0)


def test_csv_with_other_columns_and_lists_in_cells(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('question,answer,negatives\na,p1,"[""n1""]"\nb,p2,\n')
    training_set = read_training_set(path, PairsFormat(columns=("question", "answer")))
    assert training_set.documents == ("p1", "n1", "p2")


def make_beir(folder, split):
    (folder / "qrels").mkdir()
    write_pairs(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "t", "text": f"x{i}"} for i in range(3)])
    write_pairs(folder / "queries.jsonl", [{"_id": f"q{i}", "text": f"query {i}"} for i in range(2)])
    lines = ["query-id\tcorpus-id\tscore", "q0\td0\t2", "q0\td1\t1", "q0\td2\t0", "q1\td2\t1"]
    (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")


def test_a_beir_folder(tmp_path):
    make_beir(tmp_path, "train")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td0\t1\n")
    training_set = read_training_set(tmp_path)
    assert training_set.documents == ("t x0", "t x1", "t x2")
    first = training_set.examples[0]
    assert (first.positives, first.grades, first.negatives) == ((0, 1), (2.0, 1.0), (2,))


def test_the_digest_says_what_was_read(tmp_path):
    digests = {read(tmp_path, rows).digest for rows in (ROWS, ROWS, [*ROWS, {"query": "e", "positive": "p1"}])}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"question": "a", "answer": "b"}], "line 1: the columns are 'question', 'answer'"),
        ([{"query": "a"}], "--columns QUERY POSITIVE"),
        ([ROWS[0], {"query": "a", "positive": " "}], "line 2: 'positive' holds no text"),
        ([ROWS[0], {"query": 3, "positive": "b"}], "line 2: 'query' holds no text"),
        ([{**ROWS[0], "negatives": "n"}], "line 1: 'negatives' is no list"),
        ([{**ROWS[0], "negatives": [1]}], "line 1: 'negatives' holds something else than texts"),
        ([{**ROWS[0], "negatives": ["n"], "scores": [1]}], "line 1: 'scores' has 1 numbers for 2 documents"),
        ([{**ROWS[0], "scores": [1]}], "line 1: 'scores' has 1 numbers for 1 documents"),
        ([{**ROWS[0], "negatives": ["n"], "scores": [1, "x"]}], "something else than finite numbers"),
        ([{**ROWS[0], "negatives": ["n"], "scores": [1, 2]}, ROWS[1]], "1 of 2 queries have a teacher's scores"),
        ([{**ROWS[0], "negatives": ["n"], "scores": [1, 2]}] * 2, "comes twice, with scores"),
        ([{**ROWS[0], "negatives": ["n"], "scores": [1, True]}], "something else than finite numbers"),
        ([{**ROWS[0], "negatives": ["n"], "scores": [1, 10**400]}], "something else than finite numbers"),
        ([{**ROWS[0], "anchor": "a"}], "both columns, query and anchor"),
        ([ROWS[0]], "holds one query"),
        ([ROWS[0]] * 3, "holds one query"),
        ([], "is empty"),
    ],
)
def test_mistakes_are_named(rows, words, tmp_path):
    with pytest.raises(FileFormatError) as caught:
        read(tmp_path, rows)
    assert words in str(caught.value)


def test_other_files_are_refused(tmp_path):
    for name in ("pairs.txt", "pairs.json"):
        (tmp_path / name).write_text(json.dumps(ROWS))
        with pytest.raises(FileFormatError, match="jsonl"):
            read_training_set(tmp_path / name)
    with pytest.raises(FileFormatError, match="There is no file or folder"):
        read_training_set(tmp_path / "missing.jsonl")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"query,positive\n", "holds no rows"),
        (b'query,positive,negatives\na,b,"' + b"[" * 100_000 + b'"\n', "line 2: 'negatives' is no list"),
        ("query,positive\n\u00e4,b\nc,d\n".encode("latin-1"), "Name the encoding that it was saved with, such as"),
    ],
    ids=["header only", "deep list", "latin-1"],
)
def test_broken_csv_is_a_sentence(content, words, tmp_path):
    (tmp_path / "pairs.csv").write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        read_training_set(tmp_path / "pairs.csv")
    assert words in str(caught.value)
    assert "skip-bad-bytes" not in str(caught.value), "which these commands lack"


def test_a_folder_is_never_trained_on_by_its_test_split(tmp_path):
    make_beir(tmp_path, "test")
    with pytest.raises(FileFormatError, match=r"has no train\.tsv, but test\.tsv\. Name .* with --split"):
        read_training_set(tmp_path)
    assert len(read_training_set(tmp_path, PairsFormat(split="test")).examples) == 2
    (tmp_path / "qrels" / "test.tsv").unlink()
    with pytest.raises(FileFormatError, match=r"Put the judgements into train\.tsv"):
        read_training_set(tmp_path)


def test_options_of_the_other_form_are_refused(tmp_path):
    make_beir(tmp_path, "train")
    with pytest.raises(FileFormatError, match="Leave --columns out"):
        read_training_set(tmp_path, PairsFormat(columns=("a", "b")))
    with pytest.raises(FileFormatError, match="Leave --split out"):
        read(tmp_path, ROWS, split="train")


def test_a_copy_of_the_query_is_no_negative_of_it(tmp_path):
    training_set = read(tmp_path, [{"query": "a", "positive": "b", "negatives": ["a", "n"]}, ROWS[1]])
    assert training_set.documents[:3] == ("b", "a", "n")
    assert training_set.examples[0].negatives == (2,)
    assert training_set.known_answers(training_set.examples[0]) == (0, 1)


def test_lists_of_parquet_are_refused_with_the_way_out(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    path = tmp_path / "pairs.parquet"
    table = {"query": ["a", "b"], "positive": ["p", "r"]}
    pyarrow.parquet.write_table(arrow.table(table), path)
    assert len(read_training_set(path).examples) == 2
    pyarrow.parquet.write_table(arrow.table({**table, "negatives": [["n"], ["m"]]}), path)
    with pytest.raises(FileFormatError, match="lists as JSON text"):
        read_training_set(path)
    pyarrow.parquet.write_table(arrow.table({"query": ["a", "b"], "positive": [["p"], ["r"]]}), path)
    with pytest.raises(FileFormatError, match="the column 'positive' is of type list"):
        read_training_set(path)
