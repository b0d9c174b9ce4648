"""Folders in BEIR's form and tables of pairs: good ones read whole, bad ones refused by file and line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e5studio.errors import FileFormatError, JudgementWarning
from e5studio.evaluation.beir import read_beir
from e5studio.evaluation.sts_files import read_sts
from e5studio.evaluation.task_names import known_task
from e5studio.evaluation.tasks import Document

Record = dict[str, Any]

CORPUS: tuple[Record, ...] = (
    {"_id": "d1", "title": "Cells", "text": "Cells divide."},
    {"_id": "d2", "title": "", "text": "Stars burn."},
    {"_id": "d3", "text": "Rivers flow."},
)
QUERIES: tuple[Record, ...] = (
    {"_id": "q1", "text": "What divides?"},
    {"_id": "q2", "text": "What burns?"},
    {"_id": "q3", "text": "What sings?"},
)
HEADER = "query-id\tcorpus-id\tscore\n"
QRELS = f"{HEADER}q2\td2\t1\nq1\td1\t2\nq1\td3\t0\nq3\td1\t0\n"

BOM = b"\xef\xbb\xbf"
ZIP = b"PK\x03\x04" + bytes(40)
ZERO_WIDTH = "\u200b\u200d\ufeff"


def json_lines(records: Sequence[Record | str]) -> str:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)}\n" for each in records)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def make_beir(
    folder: Path,
    corpus: Sequence[Record | str] | bytes = CORPUS,
    queries: Sequence[Record | str] | bytes = QUERIES,
    qrels: str | bytes = QRELS,
) -> Path:
    write(folder / "corpus.jsonl", corpus if isinstance(corpus, bytes) else json_lines(corpus))
    write(folder / "queries.jsonl", queries if isinstance(queries, bytes) else json_lines(queries))
    write(folder / "qrels" / "test.tsv", qrels)
    return folder


def changed(records: Sequence[Record], place: int, **changes: Any) -> list[Record | str]:
    return [{**record, **changes} if number == place else record for number, record in enumerate(records)]


def without(record: Record, field: str) -> Record:
    return {name: value for name, value in record.items() if name != field}


def refused(call: Callable[[], object], *parts: str) -> None:
    """In one sentence that a person may be shown, and that holds each of the parts."""
    with pytest.raises(FileFormatError) as caught:
        call()
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message
    assert "\n" not in message


class TestBeirFolder:
    def test_is_read_whole(self, tmp_path: Path) -> None:
        task = read_beir(make_beir(tmp_path / "my data"))
        assert (task.name, task.split, task.source) == ("my data", "test", str(tmp_path / "my data"))
        assert task.query_ids == ("q2", "q1")
        assert task.queries == ("What burns?", "What divides?")
        assert task.document_ids == ("d1", "d2", "d3")
        assert list(task.documents()) == [
            Document("Cells", "Cells divide."),
            Document("", "Stars burn."),
            Document("", "Rivers flow."),
        ]
        assert task.judgements == {"q2": {"d2": 1}, "q1": {"d1": 2, "d3": 0}}
        assert task.n_unjudged == 1
        assert task.skips_own_id is False

    def test_documents_can_be_gone_through_again_and_side_by_side(self, tmp_path: Path) -> None:
        task = read_beir(make_beir(tmp_path))
        first, second = task.documents(), task.documents()
        pairs = list(zip(first, second, strict=True))
        assert [left for left, _ in pairs] == [right for _, right in pairs] == list(task.documents())
        assert len(pairs) == 3

    def test_numbers_as_ids_are_text(self, tmp_path: Path) -> None:
        corpus = changed(CORPUS, 1, _id=2)
        queries = changed(QUERIES, 0, _id=1)
        task = read_beir(make_beir(tmp_path, corpus, queries, f"{HEADER}1\t2\t1\n"))
        assert task.query_ids == ("1",)
        assert task.document_ids == ("d1", "2", "d3")
        assert task.judgements == {"1": {"2": 1}}

    def test_spaces_around_ids_are_no_part_of_them(self, tmp_path: Path) -> None:
        corpus, queries = changed(CORPUS, 0, _id=" d1 "), changed(QUERIES, 0, _id="q1\u00a0")
        task = read_beir(make_beir(tmp_path, corpus, queries, f"{HEADER}q1 \t d1\t 1 \n"))
        assert task.judgements == {"q1": {"d1": 1}}
        assert task.document_ids[0] == "d1"

    def test_fields_that_no_one_asked_for_are_passed_over(self, tmp_path: Path) -> None:
        corpus = changed(CORPUS, 0, metadata={"url": "x"})
        queries = changed(QUERIES, 0, metadata={}, title=3)
        assert read_beir(make_beir(tmp_path, corpus, queries)).digest == read_beir(make_beir(tmp_path)).digest

    def test_document_may_be_empty_and_a_title_null(self, tmp_path: Path) -> None:
        task = read_beir(make_beir(tmp_path, changed(CORPUS, 0, title=None, text="")))
        assert next(task.documents()) == Document("", "")

    def test_texts_keep_their_spaces_and_quotes(self, tmp_path: Path) -> None:
        text = ' "Two\tlines\nof" e\u0301t\u00e9\u2028 \U0001f600 '
        task = read_beir(make_beir(tmp_path, changed(CORPUS, 0, title=text, text=text), changed(QUERIES, 0, text=text)))
        assert next(task.documents()) == Document(text, text)
        assert task.queries[1] == text

    @pytest.mark.parametrize(
        "rewrite",
        [
            lambda content: BOM + content,
            lambda content: content.replace(b"\n", b"\r\n"),
            lambda content: BOM + content.replace(b"\n", b"\r\n"),
            lambda content: content.rstrip(b"\n"),
            lambda content: b"\n" + content.replace(b"\n", b"\n\n"),
            lambda content: content.decode().encode("utf-16"),
        ],
        ids=["byte order mark", "CRLF", "both", "no last line end", "blank lines", "UTF-16"],
    )
    def test_how_the_files_were_saved_makes_no_difference(
        self, rewrite: Callable[[bytes], bytes], tmp_path: Path
    ) -> None:
        folder = make_beir(tmp_path)
        plain = read_beir(folder)
        for path in folder.rglob("*.*"):
            path.write_bytes(rewrite(path.read_bytes()))
        found = read_beir(folder)
        assert (found.query_ids, found.queries, found.document_ids) == (
            plain.query_ids,
            plain.queries,
            plain.document_ids,
        )
        assert list(found.documents()) == list(plain.documents())
        assert found.judgements == plain.judgements
        assert found.digest == plain.digest

    @pytest.mark.parametrize("start", ["", "\ufeff"])
    def test_judgements_without_a_header_lose_no_line(self, start: str, tmp_path: Path) -> None:
        task = read_beir(make_beir(tmp_path, qrels=start + QRELS.removeprefix(HEADER)))
        assert task.judgements == {"q2": {"d2": 1}, "q1": {"d1": 2, "d3": 0}}

    def test_judgement_given_twice_alike_counts_once(self, tmp_path: Path) -> None:
        assert read_beir(make_beir(tmp_path, qrels=f"{QRELS}q2\td2\t1\n")).judgements["q2"] == {"d2": 1}

    @pytest.mark.parametrize(("score", "relevance"), [("3", 3), ("1.0", 1), ("-1", -1), ("0", 0)])
    def test_score_may_be_any_whole_number(self, score: str, relevance: int, tmp_path: Path) -> None:
        task = read_beir(make_beir(tmp_path, qrels=f"{HEADER}q1\td1\t1\nq1\td2\t{score}\n"))
        assert task.judgements["q1"] == {"d1": 1, "d2": relevance}

    def test_query_with_nothing_above_zero_is_counted_and_left_out(self, tmp_path: Path) -> None:
        task = read_beir(make_beir(tmp_path, qrels=f"{HEADER}q1\td1\t0\nq2\td1\t-1\nq2\td2\t0\nq3\td3\t1\n"))
        assert (task.query_ids, task.queries, task.n_unjudged) == (("q3",), ("What sings?",), 2)
        assert task.judgements == {"q3": {"d3": 1}}

    def test_dangling_judgements_are_counted_with_one_warning(self, tmp_path: Path) -> None:
        """ArguAna judges 5 documents that its corpus lacks, NFCorpus queries that its file of queries lacks."""
        lines = "q1\td7\t1\nq2\td7\t0\nq3\td8\t1\nq9\td1\t1\n"
        with pytest.warns(JudgementWarning) as caught:
            task = read_beir(make_beir(tmp_path, qrels=QRELS + lines))
        assert [warning.filename for warning in caught] == [__file__]
        message = str(caught[0].message)
        assert "2 documents that corpus.jsonl lacks, in 3 of 8 judgements ('d7', 'd8')" in message
        assert "1 query that queries.jsonl lacks, in 1 of 8 judgements ('q9')" in message
        assert task.query_ids == ("q2", "q1", "q3")
        assert task.judgements["q1"] == {"d1": 2, "d3": 0, "d7": 1}
        assert task.judgements["q3"] == {"d1": 0, "d8": 1}

    @pytest.mark.parametrize("name", ["corpus", "queries"])
    def test_what_comes_again_equal_to_the_letter_is_one(self, name: str, tmp_path: Path) -> None:
        good = CORPUS if name == "corpus" else QUERIES
        once = read_beir(make_beir(tmp_path / "data"))
        documents = list(once.documents())
        make_beir(tmp_path / "data", **{name: [good[0], *good, {**good[1], "metadata": 1}]})  # type: ignore[arg-type]
        again = read_beir(tmp_path / "data")
        assert (again.document_ids, again.queries, again.digest) == (once.document_ids, once.queries, once.digest)
        assert list(again.documents()) == documents

    def test_quotes_in_judgements_are_part_of_the_ids(self, tmp_path: Path) -> None:
        corpus = changed(CORPUS, 0, _id='"d1"')
        assert read_beir(make_beir(tmp_path, corpus, qrels=f'{HEADER}q1\t"d1"\t1\n')).judgements == {"q1": {'"d1"': 1}}


class TestBeirSplit:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        made = make_beir(tmp_path)
        write(made / "qrels" / "dev.tsv", f"{HEADER}q3\td3\t1\n")
        return made

    def test_is_test_among_several(self, folder: Path) -> None:
        task = read_beir(folder)
        assert (task.split, task.query_ids) == ("test", ("q2", "q1"))

    def test_is_the_one_asked_for(self, folder: Path) -> None:
        task = read_beir(folder, split="dev")
        assert (task.split, task.query_ids) == ("dev", ("q3",))

    def test_is_the_only_one_whatever_it_is_called(self, folder: Path) -> None:
        (folder / "qrels" / "test.tsv").unlink()
        assert read_beir(folder).split == "dev"

    def test_other_files_among_the_judgements_are_passed_over(self, folder: Path) -> None:
        (folder / "qrels" / "test.tsv").unlink()
        write(folder / "qrels" / "readme.txt", "no judgements")
        assert read_beir(folder).split == "dev"

    def test_unknown_is_refused_with_the_known_ones(self, folder: Path) -> None:
        refused(lambda: read_beir(folder, split="train"), "qrels", "no split 'train'", "'dev', 'test'", "--split")

    def test_must_be_chosen_where_none_is_called_test(self, folder: Path) -> None:
        (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "train.tsv")
        refused(lambda: read_beir(folder), "no split 'test'", "'dev', 'train'", "--split")


class TestTaskName:
    @pytest.mark.parametrize(
        ("written", "name"),
        [
            ("SciFact", "SciFact"),
            ("scifact", "SciFact"),
            ("trec-covid", "TRECCOVID"),
            ("TREC_COVID", "TRECCOVID"),
            ("nfcorpus", "NFCorpus"),
            ("arguana", "ArguAna"),
            ("fiqa", "FiQA2018"),
            ("quora", "QuoraRetrieval"),
            ("dbpedia-entity", "DBPedia"),
            ("webis-touche2020", "Touche2020"),
            ("climate-fever", "ClimateFEVER"),
            ("stsb", "STSBenchmark"),
            ("stsbenchmark", "STSBenchmark"),
            ("sick-r", "SICK-R"),
            ("my data", "my data"),
            ("scifact of mine", "scifact of mine"),
            ("", ""),
        ],
    )
    def test_is_spelt_as_mteb_spells_it(self, written: str, name: str) -> None:
        assert known_task(written) == name

    @pytest.mark.parametrize(
        ("folder", "name"), [("scifact", "SciFact"), ("trec-covid", "TRECCOVID"), ("Our FAQ (2024)", "Our FAQ (2024)")]
    )
    def test_is_that_of_the_folder(self, folder: str, name: str, tmp_path: Path) -> None:
        assert read_beir(make_beir(tmp_path / folder)).name == name

    def test_is_that_of_the_folder_one_stands_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(make_beir(tmp_path / "scifact"))
        assert read_beir(Path()).name == "SciFact"

    def test_given_goes_before_the_folders(self, tmp_path: Path) -> None:
        assert read_beir(make_beir(tmp_path / "scifact"), name="nfcorpus").name == "NFCorpus"
        assert read_beir(tmp_path / "scifact", name="faq").name == "faq"

    @pytest.mark.parametrize(
        ("folder", "name", "skips"),
        [
            ("arguana", None, True),
            ("data", "ArguAna", True),
            ("scifact", None, False),
            ("arguana", "SciFact", False),
            ("data", None, False),
        ],
    )
    def test_says_whether_a_query_may_find_itself(
        self, folder: str, name: str | None, skips: bool, tmp_path: Path
    ) -> None:
        assert read_beir(make_beir(tmp_path / folder), name=name).skips_own_id is skips


class TestBeirDigest:
    def test_is_the_same_in_another_place(self, tmp_path: Path) -> None:
        here = make_beir(tmp_path / "scifact")
        there = shutil.copytree(here, tmp_path / "elsewhere" / "copy")
        assert read_beir(here).digest == read_beir(there).digest

    def test_stands_for_every_text_id_and_judgement(self, tmp_path: Path) -> None:
        renamed = QRELS.replace("q2", "q9")
        folders: list[dict[str, Any]] = [
            {},
            {"corpus": changed(CORPUS, 2, text="Rivers flow")},
            {"corpus": changed(CORPUS, 2, title="Rivers")},
            {"corpus": changed(CORPUS, 0, title="CellsC", text="ells divide.")},
            {"corpus": changed(CORPUS, 1, title="Stars burn.", text="")},
            {"corpus": changed(CORPUS, 2, _id="d9"), "qrels": QRELS.replace("d3", "d9")},
            {"corpus": CORPUS[::-1]},
            {"corpus": [{**CORPUS[0], "_id": "d2"}, {**CORPUS[1], "_id": "d1"}, CORPUS[2]]},
            {"corpus": [*CORPUS, {"_id": "d4", "text": ""}]},
            {"queries": changed(QUERIES, 0, text="What divides")},
            {"queries": changed(QUERIES, 1, _id="q9"), "qrels": renamed},
            {"queries": [{**QUERIES[0], "_id": "q2"}, {**QUERIES[1], "_id": "q1"}, QUERIES[2]]},
            {"qrels": QRELS.replace("q1\td1\t2", "q1\td1\t1")},
            {"qrels": QRELS.replace("q1\td3\t0", "q1\td2\t0")},
            {"qrels": QRELS.replace("q1\td3\t0\n", "")},
            {"qrels": f"{QRELS}q2\td3\t1\n"},
        ]
        digests = [read_beir(make_beir(tmp_path / str(number), **each)).digest for number, each in enumerate(folders)]
        assert len(set(digests)) == len(folders)


class TestBadBeirFolder:
    def test_missing(self, tmp_path: Path) -> None:
        refused(lambda: read_beir(tmp_path / "nothing"), "There is no folder", str(tmp_path / "nothing"))

    def test_that_is_a_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "corpus.jsonl", json_lines(CORPUS))
        refused(lambda: read_beir(path), "There is no folder", "corpus.jsonl")

    @pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels"])
    def test_part_missing(self, name: str, tmp_path: Path) -> None:
        folder = make_beir(tmp_path / "data")
        shutil.move(folder / name, tmp_path / name)
        refused(lambda: read_beir(folder), f"{folder} has no {name}. ")

    def test_all_parts_missing(self, tmp_path: Path) -> None:
        refused(lambda: read_beir(tmp_path), "has no corpus.jsonl and no queries.jsonl and no qrels")

    def test_no_judgements_in_their_folder(self, tmp_path: Path) -> None:
        folder = make_beir(tmp_path)
        (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "test.txt")
        refused(lambda: read_beir(folder), "qrels", "holds no .tsv file", "test.tsv")

    @pytest.mark.parametrize(
        ("line", "parts"),
        [
            ("{", ["is not JSON"]),
            ("Cells divide.", ["is not JSON"]),
            ('{"_id": "x", "text": "cut', ["is not JSON"]),
            ("[" * 100_000, ["is not JSON"]),
            ('["x", "a text"]', ["not an object but list"]),
            ('"x"', ["not an object but str"]),
            ({"text": "a text"}, ["no '_id'", "'text'"]),
            ({"id": "x", "text": "a text"}, ["no '_id'", "'id', 'text'"]),
            ({}, ["no '_id'", "none"]),
            ({"_id": "", "text": "a text"}, ["no '_id' that is text"]),
            ({"_id": " ", "text": "a text"}, ["no '_id' that is text"]),
            ({"_id": None, "text": "a text"}, ["no '_id' that is text"]),
            ({"_id": True, "text": "a text"}, ["no '_id' that is text"]),
            ({"_id": 1.5, "text": "a text"}, ["no '_id' that is text"]),
            ({"_id": "x"}, ["'text' is missing"]),
            ({"_id": "x", "text": 3}, ["'text' is not text but int"]),
            ({"_id": "x", "text": None}, ["'text' is not text but NoneType"]),
            ({"_id": "x", "text": ["a"]}, ["'text' is not text but list"]),
        ],
    )
    @pytest.mark.parametrize("name", ["corpus", "queries"])
    def test_record_is_named_by_line(self, name: str, line: Record | str, parts: list[str], tmp_path: Path) -> None:
        good = CORPUS if name == "corpus" else QUERIES
        make_beir(tmp_path, **{name: [good[0], "", line, *good[1:]]})  # type: ignore[arg-type]
        refused(lambda: read_beir(tmp_path), f"{name}.jsonl, line 3", *parts)

    @pytest.mark.parametrize(("title", "kind"), [(["Cells"], "list"), (3, "int"), ({}, "dict")])
    def test_title_that_is_no_text(self, title: object, kind: str, tmp_path: Path) -> None:
        make_beir(tmp_path, changed(CORPUS, 1, title=title))
        refused(lambda: read_beir(tmp_path), f"corpus.jsonl, line 2: 'title' is not text but {kind}")

    @pytest.mark.parametrize("name", ["corpus", "queries"])
    @pytest.mark.parametrize(("first", "again"), [("x1", "x1"), ("1", 1), ("x1", "x1 ")])
    def test_id_twice_with_other_contents(self, name: str, first: object, again: object, tmp_path: Path) -> None:
        good = CORPUS if name == "corpus" else QUERIES
        records = [*good, {"_id": first, "text": "first"}, "", {"_id": again, "text": "again"}]
        records += [{**good[0], "text": "changed"}, {**good[0], "text": "and again"}, good[1]]
        make_beir(tmp_path, **{name: records})  # type: ignore[arg-type]
        expected = [f"{str(first)!r} on lines 4 and 6: 'first' and 'again'", f"{good[0]['_id']!r} on lines 1 and 7"]
        refused(lambda: read_beir(tmp_path), f"{name}.jsonl: 2 ids with different contents", *expected)

    def test_a_title_tells_documents_apart(self, tmp_path: Path) -> None:
        make_beir(tmp_path, [*CORPUS, {**CORPUS[1], "title": "Stars"}])
        refused(lambda: read_beir(tmp_path), "1 id with different contents", "'Stars burn.' and 'Stars / Stars burn.'")

    @pytest.mark.parametrize("text", ["", " \n\t", ZERO_WIDTH, "\u00ad\u3000"])
    def test_empty_query(self, text: str, tmp_path: Path) -> None:
        make_beir(tmp_path, queries=changed(QUERIES, 1, text=text))
        refused(lambda: read_beir(tmp_path), "queries.jsonl, line 2", "'q2' is empty")

    @pytest.mark.parametrize(
        ("line", "parts"),
        [
            ("q1\td1", ["2 cells where three are due"]),
            ("q1 0 d1 1", ["1 cells where three are due"]),
            ("q1\t0\td1\t1", ["4 cells where three are due"]),
            ("q1\td1\tyes", ["'yes' is no whole number"]),
            ("q1\td1\t", ["'' is no whole number"]),
            ("q1\td1\t1.5", ["'1.5' is no whole number"]),
            ("q1\td1\tnan", ["'nan' is no whole number"]),
            ("q1\td1\tinf", ["'inf' is no whole number"]),
            ("\td1\t1", ["an id is empty"]),
            ("q1\t \t1", ["an id is empty"]),
            (HEADER.strip(), ["'score' is no whole number"]),
        ],
    )
    def test_judgement_is_named_by_line(self, line: str, parts: list[str], tmp_path: Path) -> None:
        make_beir(tmp_path, qrels=f"{QRELS}\n{line}\nq2\td1\t1\n")
        refused(lambda: read_beir(tmp_path), "test.tsv, line 7", *parts)

    def test_contradictions_are_counted(self, tmp_path: Path) -> None:
        make_beir(tmp_path, qrels=f"{QRELS}q1\td1\t1\nq2\td2\t0\n")
        parts = [
            "2 judgements with another score",
            "line 6",
            "'d1' was judged 2 for query 'q1' before, and 1 here",
            "line 7",
        ]
        refused(lambda: read_beir(tmp_path), "test.tsv", *parts)

    @pytest.mark.parametrize(
        ("qrels", "parts"),
        [
            ("d1\tq1\t1\nd2\tq2\t1\n", ["none of the 2 judged queries is in queries.jsonl", "'d1'"]),
            ("q1\td01\t1\nq2\td02\t1\nq2\td03\t0\n", ["none of the 3 judged documents is in corpus.jsonl", "'d01'"]),
        ],
    )
    def test_judgements_of_other_files(self, qrels: str, parts: list[str], tmp_path: Path) -> None:
        make_beir(tmp_path, qrels=HEADER + qrels)
        refused(lambda: read_beir(tmp_path), "do not belong together", *parts)

    @pytest.mark.parametrize("qrels", [HEADER, f"{HEADER}q1\td1\t0\nq2\td2\t-1\n"])
    def test_nothing_relevant(self, qrels: str, tmp_path: Path) -> None:
        make_beir(tmp_path, qrels=qrels)
        refused(lambda: read_beir(tmp_path), "test.tsv", "no document relevant")

    @pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
    def test_byte_that_is_not_utf_8_is_named(self, name: str, tmp_path: Path) -> None:
        path = make_beir(tmp_path) / name
        good = path.read_bytes()
        path.write_bytes(good + b'{"_id": "caf\xe9"}\n')
        refused(lambda: read_beir(tmp_path), Path(name).name, "not utf-8", f"byte {len(good) + 12} ")

    @pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
    @pytest.mark.parametrize(("content", "what"), [(ZIP, "zip archive"), (b"\x1f\x8b\x08", "gzip"), (b"", "is empty")])
    def test_another_kind_of_file_under_the_name(self, name: str, content: bytes, what: str, tmp_path: Path) -> None:
        write(make_beir(tmp_path) / name, content)
        refused(lambda: read_beir(tmp_path), Path(name).name, what)

    @pytest.mark.parametrize(("name", "what"), [("corpus", "no document"), ("queries", "no query")])
    def test_blank_lines_alone(self, name: str, what: str, tmp_path: Path) -> None:
        make_beir(tmp_path, **{name: b"\n \n\n"})  # type: ignore[arg-type]
        refused(lambda: read_beir(tmp_path), f"{name}.jsonl", what)


PAIRS = (
    ("sentence1", "sentence2", "score"),
    ("A man plays.", "A man is playing.", "4.8"),
    ("A cat sleeps.", "Stars burn.", "0"),
    ("Rivers flow.", "A river runs.", "3.5"),
)


def write_table(path: Path, rows: Sequence[Sequence[str]], **options: Any) -> Path:
    """As a program writes it that knows how to quote."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", **options).writerows(rows)
    return path


class TestStsFile:
    @pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "PAIRS.TSV"])
    def test_is_read_whole(self, name: str, tmp_path: Path) -> None:
        path = write_table(tmp_path / name, PAIRS)
        task = read_sts(path)
        assert (task.name, task.split, task.source) == (Path(name).stem, "test", str(path))
        assert task.first == ("A man plays.", "A cat sleeps.", "Rivers flow.")
        assert task.second == ("A man is playing.", "Stars burn.", "A river runs.")
        assert task.scores.dtype == np.float64
        np.testing.assert_array_equal(task.scores, [4.8, 0, 3.5])

    @pytest.mark.parametrize("ending", ["csv", "tsv"])
    @pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    def test_quoted_cells_come_back_as_they_were(
        self, ending: str, quoting: int, line_end: str, tmp_path: Path
    ) -> None:
        texts = ['He said "no".', '"Quoted"', "a\ttab", "a, comma", "two\nlines", '"', " spaces around  ", "it's"]
        rows = [PAIRS[0], *[(text, f"{text}!", str(score)) for score, text in enumerate(texts)]]
        path = write_table(tmp_path / f"pairs.{ending}", rows, quoting=quoting, lineterminator=line_end)
        task = read_sts(path)
        assert task.first == tuple(texts)
        assert task.second == tuple(f"{text}!" for text in texts)
        np.testing.assert_array_equal(task.scores, range(len(texts)))

    def test_stray_quotes_of_a_tsv_are_read_as_they_stand(self, tmp_path: Path) -> None:
        rows = [
            PAIRS[0],
            ('"Then he left.', "He left.", "3.0"),
            ("A cat sleeps.", '"Stars" burn', "0"),
            ('He said "no"', '"No" he said."', "4.5"),
        ]
        task = read_sts(write(tmp_path / "sts-test.tsv", "".join("\t".join(row) + "\n" for row in rows)))
        assert task.first == ('"Then he left.', "A cat sleeps.", 'He said "no"')
        assert task.second == ("He left.", '"Stars" burn', '"No" he said."')
        np.testing.assert_array_equal(task.scores, [3, 0, 4.5])

    @pytest.mark.parametrize("ending", ["csv", "tsv"])
    def test_texts_stay_as_they_are(self, ending: str, tmp_path: Path) -> None:
        texts = (" leading", "trailing  ", "e\u0301t\u00e9", "a\u00a0b", "\U0001f600")
        rows = [PAIRS[0], *[(text, text[::-1], f" {score}.5 ") for score, text in enumerate(texts)]]
        task = read_sts(write_table(tmp_path / f"pairs.{ending}", rows))
        assert task.first == texts
        assert task.second == tuple(text[::-1] for text in texts)
        np.testing.assert_array_equal(task.scores, [0.5, 1.5, 2.5, 3.5, 4.5])

    def test_columns_may_stand_in_any_order_among_others(self, tmp_path: Path) -> None:
        rows = [("score", "genre", "sentence2", "sentence1"), ("1", "news", "b", "a"), ("2", "", "d", "c")]
        task = read_sts(write_table(tmp_path / "pairs.csv", rows))
        assert (task.first, task.second, task.scores.tolist()) == (("a", "c"), ("b", "d"), [1, 2])

    def test_columns_may_be_called_text1_and_text2(self, tmp_path: Path) -> None:
        rows = [("text1", " text2 ", "score"), ("a", "b", "1"), ("c", "d", "2")]
        task = read_sts(write_table(tmp_path / "pairs.csv", rows))
        assert (task.first, task.second) == (("a", "c"), ("b", "d"))

    def test_columns_asked_for_go_before_the_usual_ones(self, tmp_path: Path) -> None:
        rows = [(*PAIRS[0], "left", "right", "gold"), ("a", "b", "1", "A", "B", "5"), ("c", "d", "2", "C", "D", "4")]
        task = read_sts(write_table(tmp_path / "pairs.csv", rows), columns=("left", "right", "gold"))
        assert (task.first, task.second, task.scores.tolist()) == (("A", "C"), ("B", "D"), [5, 4])

    @pytest.mark.parametrize(
        ("written", "name"), [("stsb.csv", "STSBenchmark"), ("sts12.csv", "STS12"), ("ours.csv", "ours")]
    )
    def test_name_is_that_of_the_file(self, written: str, name: str, tmp_path: Path) -> None:
        path = write_table(tmp_path / written, PAIRS)
        assert read_sts(path).name == name
        assert read_sts(path, name="biosses").name == "BIOSSES"

    def test_encoding_and_delimiter_may_be_others(self, tmp_path: Path) -> None:
        content = "sentence1;sentence2;score\ncafé;bar, Café;3\nthé;eau;1\n"
        task = read_sts(write(tmp_path / "pairs.csv", content.encode("cp1252")), encoding="cp1252", delimiter=";")
        assert (task.first, task.second) == (("café", "thé"), ("bar, Café", "eau"))

    @pytest.mark.parametrize(
        "rewrite", [lambda content: BOM + content, lambda content: content.decode().encode("utf-16")]
    )
    def test_byte_order_mark_is_no_part_of_the_first_column(
        self, rewrite: Callable[[bytes], bytes], tmp_path: Path
    ) -> None:
        path = write_table(tmp_path / "pairs.csv", PAIRS)
        plain = read_sts(path)
        path.write_bytes(rewrite(path.read_bytes()))
        assert read_sts(path).digest == plain.digest

    def test_blank_lines_are_passed_over(self, tmp_path: Path) -> None:
        path = write(tmp_path / "pairs.csv", "\nsentence1,sentence2,score\n\na,b,1\n\n\nc,d,2\n\n")
        assert read_sts(path).first == ("a", "c")


class TestStsSplit:
    ROWS = (
        ("split", *PAIRS[0]),
        ("train", "a", "b", "1"),
        ("test", "c", "d", "2"),
        ("train", "e", "f", "3"),
        ("test", "g", "h", "4"),
    )

    def test_is_test_unless_another_is_asked_for(self, tmp_path: Path) -> None:
        path = write_table(tmp_path / "pairs.csv", self.ROWS)
        usual, train = read_sts(path), read_sts(path, split="train")
        assert (usual.split, usual.first, usual.scores.tolist()) == ("test", ("c", "g"), [2, 4])
        assert (train.split, train.first, train.scores.tolist()) == ("train", ("a", "e"), [1, 3])

    def test_is_the_only_one_whatever_it_is_called(self, tmp_path: Path) -> None:
        rows = [self.ROWS[0], *[row for row in self.ROWS if row[0] == "train"]]
        task = read_sts(write_table(tmp_path / "pairs.csv", rows))
        assert (task.split, task.first) == ("train", ("a", "e"))

    def test_unknown_is_refused_with_the_known_ones(self, tmp_path: Path) -> None:
        path = write_table(tmp_path / "pairs.csv", self.ROWS)
        refused(lambda: read_sts(path, split="dev"), "pairs.csv", "no split 'dev'", "'test', 'train'", "--split")

    def test_must_be_chosen_where_none_is_called_test(self, tmp_path: Path) -> None:
        rows = [(row[0].replace("test", "dev"), *row[1:]) for row in self.ROWS]
        path = write_table(tmp_path / "pairs.csv", rows)
        refused(lambda: read_sts(path), "pairs.csv", "no split 'test'", "'dev', 'train'")

    def test_asked_for_where_there_is_no_such_column(self, tmp_path: Path) -> None:
        path = write_table(tmp_path / "pairs.csv", PAIRS)
        refused(lambda: read_sts(path, split="test"), "pairs.csv", "no column 'split'", "'test'")

    def test_of_a_single_pair(self, tmp_path: Path) -> None:
        path = write_table(tmp_path / "pairs.csv", self.ROWS[:4])
        refused(lambda: read_sts(path), "pairs.csv", "1 pairs", "two or more")


class TestStsDigest:
    def test_stands_for_every_text_and_score_and_not_for_the_file(self, tmp_path: Path) -> None:
        def digest(name: str, rows: Sequence[Sequence[str]]) -> str:
            return read_sts(write_table(tmp_path / name, rows)).digest

        plain = digest("a.csv", PAIRS)
        same = [digest("b.tsv", PAIRS), digest("c.csv", [(row[2], row[0], row[1]) for row in PAIRS])]
        assert set(same) == {plain}
        others = [
            [*PAIRS[:3], ("Rivers flow", *PAIRS[3][1:])],
            [*PAIRS[:3], ("Rivers flow", ".A river runs.", PAIRS[3][2])],
            [*PAIRS[:3], (*PAIRS[3][:2], "3.6")],
            [PAIRS[0], *PAIRS[:0:-1]],
            PAIRS[:3],
        ]
        digests = {digest(f"{number}.csv", rows) for number, rows in enumerate(others)}
        assert len(digests | {plain}) == len(others) + 1


class TestBadStsFile:
    @pytest.mark.parametrize(
        ("columns", "missing"),
        [
            (None, "no column 'sentence2' and none 'score'"),
            (("sentence1", "other", "gold"), "no column 'gold'"),
            (("a", "other", "sentence1"), "no column 'a'"),
        ],
    )
    def test_missing_column_is_told_with_those_there_are(
        self, columns: tuple[str, str, str] | None, missing: str, tmp_path: Path
    ) -> None:
        path = write_table(tmp_path / "pairs.csv", [("sentence1", "other", "points"), ("a", "b", "1"), ("c", "d", "2")])
        refused(
            lambda: read_sts(path, columns=columns),
            "pairs.csv",
            missing,
            "'sentence1', 'other', 'points'",
            "--columns",
        )

    def test_column_twice(self, tmp_path: Path) -> None:
        path = write_table(tmp_path / "pairs.csv", [("sentence1", "sentence1", "score"), ("a", "b", "1")])
        refused(lambda: read_sts(path), "pairs.csv", "'sentence1' more than once")

    @pytest.mark.parametrize(("row", "cells"), [("a,b", 2), ("a,b,3,4", 4), ("a,b,c,3", 4), ("a", 1), ("a,b,3,", 4)])
    def test_ragged_row(self, row: str, cells: int, tmp_path: Path) -> None:
        content = f'sentence1,sentence2,score\n"two\nlines",b,1\n\n{row}\nc,d,2\n'
        path = write(tmp_path / "pairs.csv", content)
        refused(lambda: read_sts(path), f"pairs.csv, line 5 has {cells} cells, the header 3")

    @pytest.mark.parametrize("text", ["", "  ", ZERO_WIDTH])
    @pytest.mark.parametrize("column", ["sentence1", "sentence2"])
    def test_empty_text(self, column: str, text: str, tmp_path: Path) -> None:
        row = {"sentence1": "a", "sentence2": "b", "score": "2", column: text}
        path = write_table(tmp_path / "pairs.csv", [*PAIRS, tuple(row.values()), tuple(row.values())])
        refused(lambda: read_sts(path), f"pairs.csv, line 5: '{column}' is empty")

    @pytest.mark.parametrize("score", ["high", "", "nan", "inf", "3,5", "4/5"])
    @pytest.mark.parametrize("ending", ["csv", "tsv"])
    def test_score_that_is_no_number(self, ending: str, score: str, tmp_path: Path) -> None:
        path = write_table(tmp_path / f"pairs.{ending}", [*PAIRS, ("a", "b", score)])
        refused(lambda: read_sts(path), f"pairs.{ending}, line 5: the score {score!r} is no number")

    def test_scores_all_alike(self, tmp_path: Path) -> None:
        path = write_table(tmp_path / "pairs.csv", [PAIRS[0], ("a", "b", "3"), ("c", "d", "3.0")])
        refused(lambda: read_sts(path), "pairs.csv", "the score 3,", "nothing to agree with")

    @pytest.mark.parametrize("n", [0, 1])
    def test_fewer_than_two_pairs(self, n: int, tmp_path: Path) -> None:
        path = write_table(tmp_path / "pairs.csv", PAIRS[: n + 1])
        refused(lambda: read_sts(path), "pairs.csv", f"holds {n} pairs", "two or more")

    @pytest.mark.parametrize("name", ["pairs.txt", "pairs.jsonl", "pairs", "pairs.csv.gz"])
    def test_unknown_ending(self, name: str, tmp_path: Path) -> None:
        path = write(tmp_path / name, "sentence1,sentence2,score\na,b,1\nc,d,2\n")
        refused(lambda: read_sts(path), name, "no table", ".csv and .tsv")

    @pytest.mark.parametrize(
        ("content", "what"),
        [(b"", "is empty"), (b"\n\n", "nothing but blank lines"), (ZIP, "zip archive"), (b"a,b\n\xff\n", "byte 4 ")],
    )
    @pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv"])
    def test_another_kind_of_file_under_the_name(self, name: str, content: bytes, what: str, tmp_path: Path) -> None:
        path = write(tmp_path / name, content)
        refused(lambda: read_sts(path), name, what)

    def test_quote_of_a_csv_that_is_never_closed(self, tmp_path: Path) -> None:
        path = write(tmp_path / "pairs.csv", 'sentence1,sentence2,score\na,b,1\n"c,d,2\ne,f,3\n')
        refused(lambda: read_sts(path), "pairs.csv", "line 3", "never closed")


class TestOddities:
    """Each was once read as something that it is not."""

    @pytest.mark.parametrize("name", ["\ud800", "x\x00y"])
    def test_id_that_trec_eval_cannot_take(self, name: str, tmp_path: Path) -> None:
        folder = make_beir(tmp_path / "odd", corpus=json_lines([json.dumps({"_id": name, "text": "x"})]).encode())
        refused(lambda: read_beir(folder), "corpus.jsonl", "line 1")

    @pytest.mark.parametrize("score", ["1e30", "2000000", "-2000000", "inf"])
    def test_relevance_beyond_what_trec_eval_counts(self, score: str, tmp_path: Path) -> None:
        folder = make_beir(tmp_path / "odd", qrels=f"{HEADER}q1\td1\t{score}\n")
        refused(lambda: read_beir(folder), "test.tsv", "line 2", repr(score))

    def test_first_judgement_is_no_header(self, tmp_path: Path) -> None:
        folder = make_beir(tmp_path / "odd", qrels="q1\td1\t1.5\nq1\td2\t1\n")
        refused(lambda: read_beir(folder), "test.tsv", "line 1", "'1.5'")

    def test_columns_are_read_by_their_names(self, tmp_path: Path) -> None:
        qrels = "corpus-id\tquery-id\tscore\nd1\tq1\t1\n"
        assert read_beir(make_beir(tmp_path / "odd", qrels=qrels)).judgements == {"q1": {"d1": 1}}

    def test_columns_called_by_half_are_refused(self, tmp_path: Path) -> None:
        folder = make_beir(tmp_path / "odd", qrels="corpus-id\tquery\tscore\nd1\tq1\t1\n")
        refused(lambda: read_beir(folder), "test.tsv", "line 1", "'query-id'")

    def test_split_may_be_named_as_its_file(self, tmp_path: Path) -> None:
        assert read_beir(make_beir(tmp_path / "odd"), split="test.tsv").split == "test"

    def test_a_judgement_given_twice_is_the_same_task(self, tmp_path: Path) -> None:
        once = read_beir(make_beir(tmp_path / "once", qrels=f"{HEADER}q1\td1\t1\n"))
        twice = read_beir(make_beir(tmp_path / "twice", qrels=f"{HEADER}q1\td1\t1\nq1\td1\t1\n"))
        assert once.digest == twice.digest

    def test_documents_are_found_from_another_folder_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_beir(tmp_path / "mine")
        monkeypatch.chdir(tmp_path)
        task = read_beir("mine")
        monkeypatch.chdir("/")
        assert len(list(task.documents())) == 3

    def test_another_encoding(self, tmp_path: Path) -> None:
        folder = make_beir(tmp_path / "latin", queries=json_lines([{"_id": "q1", "text": "café"}]).encode("cp1252"))
        write(folder / "qrels" / "test.tsv", f"{HEADER}q1\td1\t1\n")
        assert read_beir(folder, encoding="cp1252").queries == ("café",)

    def test_stray_quotes_at_both_ends_join_no_lines(self, tmp_path: Path) -> None:
        rows = ["sentence1\tsentence2\tscore", "a\tb\t1", '"Then he left.\tHe left.\t3', 'He said so."\tHe said it.\t4']
        task = read_sts(write(tmp_path / "pairs.tsv", "\n".join(rows)))
        assert task.first == ("a", '"Then he left.', 'He said so."')

    def test_ragged_row_is_named_where_cells_are_quoted(self, tmp_path: Path) -> None:
        rows = ["sentence1\tsentence2\tscore", '"a\tx"\tb\t1', "c\td\t2", "e\tf"]
        refused(lambda: read_sts(write(tmp_path / "pairs.tsv", "\n".join(rows))), "pairs.tsv", "line 4")

    def test_one_column_for_both_texts(self, tmp_path: Path) -> None:
        path = write(tmp_path / "pairs.csv", "a,b,score\nx,y,1\nz,w,2\n")
        refused(lambda: read_sts(path, columns=("a", "a", "score")), "--columns")

    def test_no_such_file(self, tmp_path: Path) -> None:
        refused(lambda: read_sts(tmp_path / "absent.tsv"), "absent.tsv")
