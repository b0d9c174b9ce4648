"""Files become tables as they are meant, or are refused in words that a visitor understands."""

from __future__ import annotations

import json
import time

import pytest

from e5studio.errors import E5StudioError, FileEncodingError, FileFormatError, TextError
from e5studio.studio.corpus import table_file as tables
from e5studio.studio.corpus.selection import cells_of
from e5studio.studio.corpus.table_file import choose_columns, read_pasted, read_table
from e5studio.studio.errors import LimitError


@pytest.fixture
def read(tmp_path):
    def read_content(content, name="faq.csv", **options):
        path = tmp_path / "0123"  # uploads lie under other names
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, name=name, **options)

    return read_content


@pytest.fixture
def read_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    def read_columns(columns, **options):
        path = tmp_path / "0123"
        pyarrow.parquet.write_table(arrow.table(columns), path)
        return read_table(path, name="faq.parquet", **options)

    return read_columns


def texts(table, column="text"):
    return choose_columns(table, column).texts


class TestCsv:
    def test_cells_stay_the_text_they_are(self, read):
        cells = ["NA", "null", "None", "nan", "12", "007", "true", " padded "]
        assert texts(read("text\n" + "\n".join(cells))) == tuple(cells)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends(self, read, end):
        table = read(end.join(["id,text", "1,one", "2,two"]))
        assert (texts(table), table.lines) == (("one", "two"), (2, 3))

    def test_ragged_rows_are_named_by_line_and_skipped(self, read):
        corpus = choose_columns(read("id,text\n1,one\n2,two,too\n3\n4,four\n"), "text")
        assert corpus.texts == ("one", "four")
        assert corpus.lines == (2, 5)
        assert corpus.bad_rows == ("line 3 has 3 cells, the header 2", "line 4 has 1 cells, the header 2")

    def test_ragged_rows_are_refused_when_asked(self, read):
        with pytest.raises(FileFormatError, match=r"^faq\.csv: line 3 has 3 cells, the header 2\. Correct it"):
            read("id,text\n1,one\n2,two,too\n", bad_rows="refuse")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("", "is empty"),
            ("\n\n", "nothing but blank lines"),
            ("id,text\n", "names columns but has no rows"),
            ("text,id,text\na,1,b\n", "'text' more than once"),
            ('id,text\n1,one\n2,"two\n3,three\n', "row at line 3 is never closed"),
            (b"PK\x03\x04anything", "zip archive or an Excel workbook"),
            (b"PAR1anything", "a Parquet file"),
            ("id,text\n1,2,3\n", "no row that can be read; line 2 has 3 cells"),
        ],
    )
    def test_what_cannot_be_read_says_why_in_the_files_own_name(self, read, content, said):
        with pytest.raises(FileFormatError, match=said) as caught:
            read(content)
        assert "faq.csv" in str(caught.value)
        assert "0123" not in str(caught.value)
        assert "--" not in str(caught.value)

    def test_encodings_are_not_guessed_but_can_be_chosen(self, read):
        content = "text\none\nGrüße\n".encode("cp1252")
        said = r"faq\.csv is not utf-8: on line 3, byte 11 .* under 'How the file is read'"
        with pytest.raises(FileEncodingError, match=said):
            read(content)
        assert texts(read(content, encoding="cp1252")) == ("one", "Grüße")
        assert texts(read("text\nGrüße\n".encode("utf-16"))) == ("Grüße",)
        assert read("text\nGrüße\n".encode("utf-8-sig")).columns == ("text",)
        with pytest.raises(FileEncodingError, match="Unknown text encoding 'klingon'"):
            read(content, encoding="klingon")

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_the_line_of_a_bad_byte_is_right_far_into_a_file(self, read, end):
        row = "a text of some length" + end
        with pytest.raises(FileEncodingError, match="on line 9,002, byte"):
            read(("text" + end + row * 9_000).encode() + b"\xfc" + end.encode(), bad_rows="refuse")

    @pytest.mark.parametrize("ending", ["csv", "jsonl", "txt"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_a_mark_at_the_start_is_no_part_of_the_text(self, read, encoding, ending):
        content = {"csv": "text,id\none,1\n", "jsonl": '{"text": "one"}\n', "txt": "one\n"}[ending]
        for start in ("\ufeff", ""):
            table = read((start + content).encode(encoding), f"faq.{ending}", encoding=encoding)
            assert table.columns[0] == "text"
            assert texts(table) == ("one",)

    def test_another_delimiter_is_suspected_and_can_be_chosen(self, read):
        content = "id;text\n1;one\n2;two\n"
        with pytest.raises(FileFormatError, match=r"separated by ';'\. Choose what its cells are separated by under"):
            read(content)
        assert texts(read(content, delimiter=";")) == ("one", "two")
        assert texts(read(content, delimiter=","), "id;text") == ("1;one", "2;two")
        with pytest.raises(FileFormatError, match="separated by ';'"):
            read("id;text\n1;one, two\n")
        with pytest.raises(FileFormatError, match="cannot separate cells"):
            read(content, delimiter=";;")

    def test_nameless_columns_are_called_by_their_place(self, read):
        table = read(",text,,column 3\n0,a,b,c\n")
        assert table.columns == ("column 1", "text", "column 3 ", "column 3")
        assert [str(column[0]) for column in table.cells] == ["0", "a", "b", "c"]

    def test_tabs(self, read):
        assert texts(read("id\ttext\n1\tone, two\n", "faq.TSV")) == ("one, two",)


class TestLines:
    def test_blank_lines_are_empty_rows(self, read):
        corpus = choose_columns(read("one\n\n \u200b\nfour\u2028five\n", "faq.txt"), "text")
        assert (corpus.texts, corpus.lines, corpus.n_empty) == (("one", "four\u2028five"), (1, 4), 2)

    def test_cr_only(self, read):
        assert texts(read("one\rtwo\r", "faq.txt")) == ("one", "two")

    def test_nothing_but_blank_lines(self, read):
        with pytest.raises(TextError, match=r"No row of faq\.txt holds a text .*\(2 empty\)"):
            choose_columns(read("\n\n", "faq.txt"), "text")

    def test_pasted(self):
        table = read_pasted("one\r\n\ntwo\n\n")
        corpus = choose_columns(table, *table.columns)
        assert (corpus.texts, corpus.lines, corpus.n_empty) == (("one", "two"), (1, 3), 1)

    def test_nothing_pasted(self):
        with pytest.raises(TextError, match="nothing to read"):
            read_pasted(" \n")


class TestJsonLines:
    ROWS = (
        {"text": "one", "year": 1999, "ok": True},
        {"text": 5, "year": None},
        {"text": ["a"], "year": [1]},
        {"text": None},
        {"year": "later"},
        {"text": "", "year": 1.5},
        {"text": "six"},
    )

    def content(self):
        return "\n".join(map(json.dumps, self.ROWS)) + "\nnot json\n"

    def test_each_kind_of_row_is_counted(self, read):
        corpus = choose_columns(read(self.content(), "a.jsonl"), "text")
        assert (corpus.texts, corpus.lines) == (("one", "six"), (1, 7))
        assert (corpus.n_missing, corpus.n_empty) == (2, 1)
        assert cells_of(corpus, read(self.content(), "a.jsonl"), "year") == ("1999", "")
        assert [row.split(" (")[0] for row in corpus.bad_rows] == [
            "line 8 is not JSON",
            "line 2: 'text' is not text but int",
            "line 3: 'text' is not text but list",
        ]

    def test_what_is_no_text_is_refused_when_asked(self, read):
        table = read(self.content().removesuffix("not json\n"), "a.ndjson", bad_rows="refuse")
        with pytest.raises(FileFormatError, match="line 2: 'text' is not text but int"):
            choose_columns(table, "text")

    def test_a_column_without_text(self, read):
        with pytest.raises(FileFormatError, match="no column of text"):
            read('{"id": 1}\n', "a.jsonl")
        table = read('{"id": 1, "body": "one"}\n', "a.jsonl")
        with pytest.raises(TextError, match=r"column 'id' \(1 not text\)\. Choose another column: 'body'"):
            choose_columns(table, "id")
        with pytest.raises(FileFormatError, match=r"no column 'text'\. Choose one of 'id', 'body'"):
            choose_columns(table, "text")

    def test_a_line_that_is_too_long_is_not_parsed(self, read, monkeypatch):
        from e5studio.files import json_lines

        monkeypatch.setattr(tables, "MAX_LINE_CHARACTERS", 100)
        bomb = json.dumps({"text": "bomb", "a": [{}] * 100})
        content = '{"text": "one"}\n' + bomb + '\n{"text": "three"}\n'
        parsed = []
        monkeypatch.setattr(json_lines.json, "loads", lambda line, **_: parsed.append(line) or {"text": "x"})
        corpus = choose_columns(read(content, "a.jsonl"), "text")
        assert corpus.lines == (1, 3)
        assert bomb not in parsed
        said = f"line 2 is too long ({len(bomb)} characters; at most 100 are read of a line)"
        assert corpus.bad_rows == (said,)
        with pytest.raises(FileFormatError, match=r"^a\.jsonl: line 2 is too long \(.*\)\. Correct it, or let such"):
            read(content, "a.jsonl", bad_rows="refuse")


class TestParquet:
    def test_columns_that_are_no_text_can_colour(self, read_parquet):
        table = read_parquet({"body": ["one", None, "three"], "n": [1, 2, None], "vector": [[1.0], [2.0], [3.0]]})
        assert table.columns == ("body", "n")
        corpus = choose_columns(table, "body")
        assert (corpus.texts, corpus.lines, cells_of(corpus, table, "n"), corpus.n_missing) == (
            ("one", "three"),
            (1, 3),
            ("1", ""),
            1,
        )

    def test_dates_and_categories(self, read_parquet):
        import datetime

        import pyarrow

        when = pyarrow.array([datetime.datetime(2024, 5, 1)], pyarrow.timestamp("ns"))
        kind = pyarrow.array(["news"]).dictionary_encode()
        table = read_parquet({"text": kind, "when": when})
        assert cells_of(choose_columns(table, "text"), table, "when")[0].startswith("2024-05-01 00:00:00")
        assert texts(table) == ("news",)

    @pytest.mark.parametrize("values", [[b"one"], [[1.0]], [{"a": "one"}]])
    def test_no_column_that_can_be_read_as_text(self, read_parquet, values):
        with pytest.raises(
            FileFormatError, match=r"^faq\.parquet has no column of text\. Its columns: 'a' \("
        ) as caught:
            read_parquet({"a": values})
        assert "0123" not in str(caught.value)
        with pytest.raises(FileFormatError, match=r"no column of text\. Its columns: none"):
            read_parquet({})

    def test_damaged(self, read):
        with pytest.raises(FileFormatError, match=r"faq\.parquet cannot be read as Parquet"):
            read(b"PAR1 but not really", "faq.parquet")

    def test_what_ends_the_process_that_reads_it_is_refused(self, read, tmp_path):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"text": ["one", "two"]}), tmp_path / "damaged")
        content = (tmp_path / "damaged").read_bytes()
        # The column says that none is missing, and its statistics count those that are: pyarrow aborts.
        optional, required = (b"\x15\x0c\x25" + kind + b"\x18\x04text" for kind in (b"\x02", b"\x00"))
        assert content.count(optional) == 1
        with pytest.raises(FileFormatError, match=r"^faq\.parquet cannot be read as Parquet"):
            read(content.replace(optional, required), "faq.parquet")

    @pytest.mark.parametrize("kind", ["string", "dictionary"])
    def test_few_bytes_that_stand_for_gigabytes_are_refused(self, read_parquet, kind):
        """The footer may say what it likes; what is in memory counts."""
        import pyarrow

        cell = "a" * 1_000_000
        places = pyarrow.array([0] * 3_000, pyarrow.int32())
        texts = pyarrow.DictionaryArray.from_arrays(places, [cell])
        with pytest.raises(FileFormatError, match=r"^faq\.parquet holds 25\d,\d{3},\d{3} bytes in the 256 rows up to"):
            read_parquet({"text": texts} if kind == "dictionary" else {"text": pyarrow.array([cell] * 300)})

    def test_bytes_that_are_no_utf_8(self, read_parquet):
        import pyarrow

        cells = pyarrow.array([b"one", b"caf\xe9", None, "grün".encode()], pyarrow.binary())
        broken = pyarrow.Array.from_buffers(pyarrow.string(), 4, cells.buffers(), 1)
        for column in (broken, broken.cast(pyarrow.large_string()), broken.dictionary_encode()):
            corpus = choose_columns(read_parquet({"text": column}), "text")
            assert (corpus.texts, corpus.lines, corpus.n_missing) == (("one", "grün"), (1, 4), 1)
            assert corpus.bad_rows == ("row 2: 'text' is not text but bytes that are no UTF-8",)


class TestGuesses:
    def test_names_come_before_lengths(self, read):
        table = read("Title,notes,Passage\nT,something long and winding,short\n")
        assert (table.text_column, table.title_column) == ("Passage", "Title")

    def test_the_longest_where_no_name_tells(self, read):
        table = read("a,b\nx,some longer text\n")
        assert (table.text_column, table.title_column) == ("b", None)

    def test_titles_stand_in_front_of_what_is_embedded(self, read):
        corpus = choose_columns(read("title,text\nA,one\n,two\n"), "text", "title")
        assert corpus.documents == ("A one", "two")


class TestLimits:
    def test_rows(self, read, read_parquet):
        content = "text\n" + "x\n" * 11
        said = r"more than the 10 rows taken at once here\. Take a part"
        with pytest.raises(LimitError, match=said):
            read(content, max_rows=10)
        with pytest.raises(LimitError, match=said):
            read_parquet({"text": ["x"] * 11}, max_rows=10)
        with pytest.raises(LimitError, match=said):
            read_pasted("x\n" * 11, max_rows=10)
        assert len(read(content, max_rows=11)) == 11

    def test_a_large_file_is_not_read_to_its_end(self, read):
        # What stands behind the limit would be an error of its own.
        with pytest.raises(LimitError):
            read(b"text\n" + b"x\n" * 100_000 + b"\xff", max_rows=10)

    def test_characters_and_cells(self, read, monkeypatch):
        monkeypatch.setattr(tables, "MAX_CHARACTERS", 100)
        for name in ("a.txt", "a.csv"):
            with pytest.raises(LimitError, match="more than the 100 characters"):
                read("text\n" + "x" * 101, name)
        with pytest.raises(LimitError, match="more than the 100 characters"):
            read("x\n" * 201, "a.txt")
        with pytest.raises(LimitError, match="more than the 100 characters"):
            read_pasted("x" * 101)
        monkeypatch.setattr(tables, "MAX_CELLS", 5)
        with pytest.raises(LimitError, match="2 columns; with its rows that makes more than the 5 cells"):
            read("a,b\n" + "x,y\n" * 3)

    def test_columns(self, read, read_parquet, monkeypatch):
        monkeypatch.setattr(tables, "MAX_COLUMNS", 3)
        said = r"^faq\.{} has 4 columns; at most 3 are taken\. Leave columns out"
        assert read("a,b,c\nx,y,z\n").columns == ("a", "b", "c")
        with pytest.raises(FileFormatError, match=said.format("csv")):
            read("a,b,c,d\nw,x,y,z\n")
        with pytest.raises(FileFormatError, match=said.format("parquet")):
            read_parquet({name: ["x"] for name in "abcd"})
        with pytest.raises(LimitError, match=r"^a\.jsonl has more than the 3 columns taken at once here\. Leave"):
            read('{"a": "x", "b": "x"}\n{"c": "x", "d": "x"}\n', "a.jsonl")

    def test_a_huge_header_takes_no_time(self, read):
        started = time.perf_counter()
        with pytest.raises(FileFormatError, match="1,000,000 columns; at most 1,000 are taken"):
            read(",".join(map(str, range(1_000_000))) + "\n")
        assert time.perf_counter() - started < 5


def test_an_ending_that_is_none_of_ours(read):
    with pytest.raises(E5StudioError, match=r"faq\.xlsx ends in '\.xlsx'.*\.csv"):
        read("x", "faq.xlsx")
