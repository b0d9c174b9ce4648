"""Columns, delimiters and quotes are never guessed silently: the right texts, or a refusal whose advice works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e5studio.errors import FileEncodingError, FileFormatError
from e5studio.evaluation.sts_files import read_sts
from e5studio.files import open_texts
from e5studio.studio.corpus.table_file import choose_columns, read_table

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file as it is given."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def texts_of(path: Path, **options: Any) -> list[str | None]:
    return [row.text for row in open_texts(path, **options).rows()]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(FileFormatError) as caught:
        open_texts(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestDelimiters:
    @pytest.mark.parametrize("delimiter", [";", "\t", "|", "^", ":", "¦", "\x01", "\x1f"])
    def test_another_one_is_refused_and_can_be_given(self, write: Write, delimiter: str) -> None:
        rows = [["id", "text", "queue"], ["1", "Where, please?", "post"], ["2", "How?", "post"]]
        path = write("tickets.csv", "".join(delimiter.join(row) + "\r\n" for row in rows))
        said = "--delimiter tab" if delimiter == "\t" else f"--delimiter {delimiter!r}"
        assert said in refusal(path)
        assert texts_of(path, delimiter=delimiter) == ["Where, please?", "How?"]

    def test_commas_in_a_tsv(self, write: Write) -> None:
        path = write("a.tsv", "id,text\n1,one\n2,two\n")
        assert "--delimiter ','" in refusal(path)
        assert texts_of(path, delimiter=",") == ["one", "two"]

    def test_a_comma_in_the_header_does_not_hide_it(self, write: Write) -> None:
        path = write("a.csv", "Nr;text, kurz;text\n1;eins, zwei;a\n2;drei;b\n")
        assert "--delimiter ';'" in refusal(path)
        assert texts_of(path, delimiter=";") == ["a", "b"]

    def test_the_wrong_one_given(self, write: Write) -> None:
        path = write("a.csv", "id,text\n1,one\n2,two\n")
        assert "--delimiter ','" in refusal(path, delimiter=";")
        assert texts_of(path, delimiter=",") == ["one", "two"]

    @pytest.mark.parametrize("rows", ["why; and how\nwho; or what\nwhen\n", "why\nwho\n"])
    def test_one_column_can_be_said_to_be_one(self, write: Write, rows: str) -> None:
        path = write("a.csv", "questions; all\n" + rows)
        options = {"delimiter": ","} if ";" in rows else {}
        if options:
            assert "--delimiter ','" in refusal(path)
        assert texts_of(path, **options) == rows.splitlines()

    def test_signs_of_a_text_are_none(self, write: Write) -> None:
        assert texts_of(write("a.csv", "doc.text\nThe cat sat.\nIt slept.\n")) == ["The cat sat.", "It slept."]
        assert texts_of(write("a.csv", "why?\nWho is it?\nWhere?\n")) == ["Who is it?", "Where?"]

    def test_a_line_like_that_of_excel_further_down_is_a_row(self, write: Write) -> None:
        assert "separated by" in refusal(write("a.csv", "\nsep=;x\nid;text\n1;one\n2;two\n"))

    @pytest.mark.parametrize("delimiter", [";", "|", "\t"])
    def test_the_line_with_which_excel_says_it(self, write: Write, delimiter: str) -> None:
        rows = f"sep={delimiter}\nid{delimiter}text\n1{delimiter}one, two\n"
        assert texts_of(write("a.csv", rows)) == ["one, two"]
        assert [row.line for row in open_texts(write("a.csv", rows)).rows()] == [3]


class TestHeader:
    @pytest.mark.parametrize(
        "title",
        [
            "Report\n",
            "Report\n\nAll tickets\n",
            "# exported on 2024-05-01\n",
            "Report of May,,\n,,\n",
            "All, tickets\n",
        ],
    )
    def test_what_stands_above_it_is_to_be_removed(self, write: Write, title: str) -> None:
        table = "id,text,queue\n1,one,a\n2,two,b\n3,three,c\n"
        assert "Remove what stands above the names of the columns" in refusal(write("a.csv", title + table))
        assert texts_of(write("a.csv", table)) == ["one", "two", "three"]

    @pytest.mark.parametrize("title", ["Report\n", "Report\nby me\n\n"])
    def test_a_title_above_another_delimiter(self, write: Write, title: str) -> None:
        table = "id;text\n1;one\n2;two\n"
        said = refusal(write("a.csv", title + table))
        assert "Remove what stands above" in said
        assert "--delimiter ';'" in said
        assert texts_of(write("a.csv", table), delimiter=";") == ["one", "two"]

    def test_separated_otherwise_than_the_rows(self, write: Write) -> None:
        assert "separate these alike" in refusal(write("a.csv", "id,text\n1;one\n2;two\n"))
        assert texts_of(write("a.csv", "id;text\n1;one\n2;two\n"), delimiter=";") == ["one", "two"]

    def test_rows_longer_than_it(self, write: Write) -> None:
        """As R writes the names of rows."""
        assert "give each column a name" in refusal(write("a.csv", 'id,text\n"a",1,one\n"b",2,two\n'))
        assert texts_of(write("a.csv", 'row,id,text\n"a",1,one\n"b",2,two\n')) == ["one", "two"]

    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    @pytest.mark.parametrize("header", ["id,text", '"id","text"'])
    def test_where_files_are_joined_it_is_no_text(self, write: Write, mark: str, header: str) -> None:
        rows = list(open_texts(write("a.csv", f"{header}\n1,one\n{mark}{header}\n2,two\n")).rows())
        assert [row.text for row in rows] == ["one", None, "two"]
        assert rows[1].detail == "line 3 repeats the first line, as where two files are joined"

    def test_joined_in_another_order(self, write: Write) -> None:
        assert "line 3 names the columns in another order" in refusal(
            write("a.csv", "id,text\n1,one\ntext,id\ntwo,2\n")
        )

    def test_a_row_that_names_a_column_among_nameless_ones(self, write: Write) -> None:
        assert texts_of(write("a.csv", ",text,\ntext,,\n1,one,\n")) == ["", "one"]

    def test_twice_the_same_name(self, write: Write) -> None:
        assert "'text' more than once" in refusal(write("a.csv", 'text,"text "\na,b\n'))


class TestQuotes:
    BACKSLASHES = 'id,text\n1,"She said \\"hi\\" to me"\n2,plain\n'

    def test_behind_backslashes(self, write: Write) -> None:
        path = write("mysql.csv", self.BACKSLASHES)
        assert "--quotes backslash" in refusal(path)
        assert texts_of(path, quotes="backslash") == ['She said "hi" to me', "plain"]
        assert texts_of(path, quotes="literal") == ['"She said \\"hi\\" to me"', "plain"]

    def test_behind_backslashes_other_backslashes_stay(self, write: Write) -> None:
        content = 'id,text\n1,"C:\\new \\\\ \\"a\\"\n b\\",c"\n2,d\\,e\\\nf\n'
        assert texts_of(write("b.tsv", "id\ttext\n1\tone\\\ntwo\n"), quotes="backslash") == ["one\ntwo"]
        assert "line 2 ends in a backslash" in refusal(write("b.tsv", "id\ttext\n1\tone\\\ntwo\n"))
        code = 'id,text\n1,"make \\\n  all, now"\n2,C:\\dir\\\n3,c\n'
        assert texts_of(write("c.csv", code)) == ["make \\\n  all, now", "C:\\dir\\", "c"]
        assert texts_of(write("a.csv", content), quotes="backslash") == ['C:\\new \\ "a"\n b",c', "d,e\nf"]

    def test_behind_backslashes_without_quotes_around(self, write: Write) -> None:
        path = write("a.csv", 'id,text\n1,She said \\"hi\\"\n2,b\n')
        assert "line 2: all of its quotes follow a backslash" in refusal(path)
        assert texts_of(path, quotes="backslash") == ['She said "hi"', "b"]

    @pytest.mark.parametrize("row", ['2,"abc" def', '2,"abc"def,', '2," "a" "'])
    def test_text_behind_a_closing_quote_spoils_its_row_alone(self, write: Write, row: str) -> None:
        rows = list(open_texts(write("a.csv", f'id,text\n1,"one, and"\n{row}\n3,three\n')).rows())
        assert [each.text for each in rows] == ["one, and", None, "three"]
        assert rows[1].detail.startswith("line 3 has a quote inside a cell in quotes")

    def test_a_space_in_front_of_one_spoils_its_row_alone(self, write: Write) -> None:
        content = 'id,text\n1, "one, and"\n2,two\n3, "three"\n4, a 27" screen\n5,"six"\n'
        rows = list(open_texts(write("a.csv", content)).rows())
        assert [each.text for each in rows] == [None, "two", None, ' a 27" screen', "six"]
        assert rows[0].detail == "line 2 has a space in front of a quote that opens a cell, which is to be removed"
        assert texts_of(write("a.csv", content.replace(' "', '"'))) == [
            "one, and",
            "two",
            "three",
            ' a 27" screen',
            "six",
        ]

    @pytest.mark.parametrize(
        "content",
        [
            'id,text\n1,"one\nand"\n2,"abc" def\n3,three\n',  # rows may have several lines
            'id,text\n1,"He "said" it\nand, so on"\n3,three\n',  # this one may go on
            'text\n"abc" def\nthree\n',  # any line is a row
        ],
    )
    def test_it_spoils_the_file_where_its_row_has_no_clear_end(self, write: Write, content: str) -> None:
        assert "unclear where the row ends" in refusal(write("a.csv", content))

    def test_stray_ones_in_a_tsv_that_join_lines(self, write: Write) -> None:
        rows = ['"Where is the exit?', "Down the hall", 'Ask at the desk"', "Thank you"]
        content = "id\ttext\n" + "".join(f"{number}\t{row}\n" for number, row in enumerate(rows))
        path = write("phrases.tsv", content)
        said = refusal(path)
        assert "row at line 2" in said
        assert "--quotes literal" in said
        assert texts_of(path, quotes="literal") == rows
        joined = write("phrases.csv", content.replace("\t", ","))
        assert "--quotes literal" in refusal(joined)
        assert texts_of(joined, quotes="literal") == rows

    def test_stray_ones_in_a_tsv_that_enclose_nothing(self, write: Write) -> None:
        rows = ['"Stars" burn', 'a 27" screen', '"', '"Go"']
        path = write("a.tsv", "id\ttext\n" + "".join(f"{number}\t{row}\n" for number, row in enumerate(rows)))
        assert texts_of(path) == rows

    def test_those_of_a_tsv_of_one_column(self, write: Write) -> None:
        path = write("a.tsv", 'text\n"Where is it?\nDown the hall"\n')
        assert "--quotes literal" in refusal(path)
        assert texts_of(path, quotes="doubled") == ["Where is it?\nDown the hall"]

    def test_never_closed(self, write: Write) -> None:
        path = write("a.csv", 'id,text\n1,one\n2,"two\n3,three\n')
        assert "--quotes literal" in refusal(path)
        assert texts_of(path, quotes="literal") == ["one", '"two', "three"]

    def test_texts_of_several_lines_need_no_option(self, write: Write) -> None:
        assert texts_of(write("a.csv", 'id,text\n1,"Dear all,\nplease, come"\n2,"say ""no"""\n')) == [
            "Dear all,\nplease, come",
            'say "no"',
        ]
        assert texts_of(write("c.csv", 'id,text\n1,"Dear all\nplease, come"\n')) == ["Dear all\nplease, come"]
        assert texts_of(write("b.csv", 'text\n"one\ntwo"\nthree\n')) == ["one\ntwo", "three"]


class TestLineEnds:
    def test_a_carriage_return_inside_a_text_spoils_its_row_alone(self, write: Write) -> None:
        """As pandas writes it, without quotes."""
        rows = list(open_texts(write("a.csv", "id,text\n1,one\n2,two\rthird\n3,four\n")).rows())
        assert [row.text for row in rows] == ["one", None, None, "four"]
        assert "line 3 ends in a carriage return" in rows[1].detail
        lines = list(open_texts(write("a.txt", "one\n10%\r20%\r\nthree\n")).rows())
        assert [row.text for row in lines] == ["one", None, None, "three"]

    @pytest.mark.parametrize("end", ["\r\r\n", "\r"])
    def test_those_of_old_systems_and_of_a_common_mistake(self, write: Write, end: str) -> None:
        assert texts_of(write("a.csv", end.join(["id,text", "1,one", "2,two", ""]))) == ["one", "two"]

    def test_those_of_joined_files(self, write: Write) -> None:
        assert texts_of(write("a.csv", "id,text\r\n1,one\n2,two\r\n3,three")) == ["one", "two", "three"]


class TestBytes:
    MIXED = "id,text\n1,café crème\n2,it’s open\n3,fine\n".encode().replace("’".encode(), b"\x92")

    def test_one_that_does_not_fit_can_be_left_out_with_its_row(self, write: Write) -> None:
        path = write("mixed.csv", self.MIXED)
        said = refusal(path)
        assert "on line 3, byte 27 does not fit" in said
        assert "--skip-bad-bytes" in said
        assert "cp1252" not in said
        rows = list(open_texts(path, skip_bad_bytes=True).rows())
        assert [row.text for row in rows] == ["café crème", None, "fine"]
        assert rows[1].detail == "line 3 has a byte that does not fit utf-8"

    def test_an_encoding_that_would_spoil_the_others_is_refused(self, write: Write) -> None:
        path = write("mixed.csv", self.MIXED)
        assert "Leave --encoding out" in refusal(path, encoding="cp1252")
        assert texts_of(path, encoding="utf-8", skip_bad_bytes=True) == ["café crème", None, "fine"]

    @pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
    def test_other_files_alike(self, write: Write, name: str) -> None:
        lines = [b'{"text": "%s"}' % each if name == "a.jsonl" else each for each in (b"one", b"caf\xe9", b"three")]
        path = write(name, b"\n".join(lines))
        assert "on line 2" in refusal(path)
        assert texts_of(path, skip_bad_bytes=True) == ["one", None, "three"]

    def test_half_of_the_rows_mean_another_encoding(self, write: Write) -> None:
        path = write("a.csv", "id,text\n1,Grüße\n2,schön\n3,one\n".encode("cp1252"))
        assert "--encoding cp1252" in refusal(path, skip_bad_bytes=True)
        assert texts_of(path, encoding="cp1252") == ["Grüße", "schön", "one"]

    def test_half_of_a_character_of_utf_16(self, write: Write) -> None:
        content = "id\ttext\n1\tone\n2\tX\n3\tthree\n".encode("utf-16").replace(b"X\0", b"\x3d\xd8")
        assert texts_of(write("a.tsv", content), skip_bad_bytes=True) == ["one", None, "three"]

    def test_a_mark_of_another_encoding_than_given(self, write: Write) -> None:
        path = write("a.csv", "text\ngrün\n".encode("utf-8-sig"))
        assert "Leave --encoding out" in refusal(path, encoding="cp1252")
        assert "Leave --encoding out" in refusal(write("b.csv", "text\nx\n".encode("utf-16")), encoding="utf-16-be")
        assert texts_of(path) == ["grün"]

    def test_east_asian_utf_16_without_a_mark(self, write: Write) -> None:
        path = write("a.csv", "text,番号\n日本語の長い文章です。次の行も日本語です,一\n".encode("utf-16-be"))
        assert "--encoding utf-16-be" in refusal(path)
        assert len(texts_of(path, encoding="utf-16-be")) == 1


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("<!DOCTYPE html>\n<html><body>text,id</body></html>", "is a web page"),
            ("\ufeff\n  <HTML>\n<table><tr><td>text</td></tr></table>", "is a web page"),
            ("<html>".encode("utf-16"), "is a web page"),
            ("\n\n<!doctype HTML>", "is a web page"),
            ("<?xml version='1.0'?>\n<rows/>", "is XML"),
            ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 133\n", "git lfs pull"),
            (b"SQLite format 3\0...", "an SQLite database"),
        ],
    )
    @pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt"])
    def test_under_the_name_of_texts(self, write: Write, content: str | bytes, said: str, name: str) -> None:
        assert said in refusal(write(name, content))

    @pytest.mark.parametrize(
        "content", ['{"text": "one", "id": 1}\n', '[{"text": "one"}]', '[\n  {"text": "one"}\n]\n']
    )
    def test_json_under_the_name_of_a_table(self, write: Write, content: str) -> None:
        assert "name the file .jsonl" in refusal(write("a.csv", content))

    @pytest.mark.parametrize(
        ("content", "said"),
        [("<div>not found</div>\n<p>x</p>\n", "HTML or XML"), ("| id | text |\n|--|--|\n| 1 | one |\n", "of Markdown")],
    )
    def test_mark_up_under_the_name_of_a_table(self, write: Write, content: str, said: str) -> None:
        assert said in refusal(write("a.csv", content))

    @pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
    def test_zeros_at_the_end_as_after_a_crash_are_no_encoding(self, write: Write, name: str) -> None:
        line = '{"text": "one"}\n' if name == "a.jsonl" else "text\none\n" if name == "a.csv" else "one\n"
        first, *_ = texts_of(write(name, line + "\0" * 100))
        assert first == "one"

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "all.csv").mkdir()
        (tmp_path / "all.csv" / "part-0.csv").write_text("text\none\n")
        assert f"such as {tmp_path / 'all.csv' / 'part-0.csv'}" in refusal(tmp_path / "all.csv")
        assert texts_of(tmp_path / "all.csv" / "part-0.csv") == ["one"]


class TestJson:
    @pytest.mark.parametrize(
        "content",
        [
            '[\n {"text": "one"},\n {"text": "two"}\n]\n',
            '[{"text": "one"},\n{"text": "two"}]\n',
            '[{"text": "one"}, {"text": "two"}]',
            '\ufeff[ {"text": "one"}]',
            '[\n  "one",\n  "two"\n]\n',
        ],
    )
    def test_an_array_is_refused(self, write: Write, content: str) -> None:
        assert "is one JSON array. Write one object a line" in refusal(write("rows.jsonl", content))

    @pytest.mark.parametrize(
        "content",
        [
            '{\n  "text": "one"\n}\n',
            '{"text":\n"one"}\n',
            '{ "text": "one",\n  "id": 1 }\n{\n',
            '{"rows": [\n  {"text": "one"},\n  {"text": "two"}\n]}\n',
        ],
    )
    def test_an_object_over_several_lines_is_refused(self, write: Write, content: str) -> None:
        assert "over several lines" in refusal(write("pretty.jsonl", content))

    def test_a_cut_first_line_spoils_itself_alone(self, write: Write) -> None:
        rows = list(open_texts(write("a.jsonl", '{"text": "one",\n{"text": "two"}\n')).rows())
        assert [row.text for row in rows] == [None, "two"]
        assert rows[0].detail.startswith("line 1 is not JSON (")
        assert rows[0].detail.count("line") == 1

    def test_joined_files(self, write: Write) -> None:
        path = write("a.jsonl", '{"text": "one"}\n\ufeff{"text": "two"}\n{"text": "three"}{"text": "four"}\n')
        assert texts_of(path) == ["one", "two", None]

    def test_a_name_twice(self, write: Write) -> None:
        rows = list(open_texts(write("a.jsonl", '{"text": "one", "text": "two"}\n{"text": "three"}\n')).rows())
        assert [row.text for row in rows] == [None, "three"]
        assert rows[0].detail == "line 1 is an object that names 'text' more than once"

    def test_names_of_columns_are_text(self, write: Write) -> None:
        path = write("a.jsonl", '{"\\ud800text": "hello", "b": "x"}\n')
        table = read_table(path, name="a.jsonl")
        assert table.columns == ("\ufffdtext", "b")
        assert texts_of(path, column="\ufffdtext") == ["hello"]


class TestParquet:
    @pytest.fixture
    def save(self, tmp_path: Path) -> Callable[..., Path]:
        """Writes columns given by their names, or a table."""
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

        def save_columns(columns: Any = None, /, **named: Any) -> Path:
            table = arrow.table(named) if columns is None else columns
            parquet.write_table(table, tmp_path / "a.parquet")
            return tmp_path / "a.parquet"

        return save_columns

    def test_bytes_are_to_be_marked_as_text(self, save: Callable[..., Path]) -> None:
        """As Impala and Hive write strings."""
        arrow = pytest.importorskip("pyarrow")
        column = arrow.array([b"hello", b"world"], arrow.binary())
        for path in (save(id=["A-1", "A-2"], text=column), save(text=column)):
            assert "cast the column to pyarrow.string()" in refusal(path)
            with pytest.raises(FileFormatError, match=r"'text'.*binary.*cast the column to pyarrow\.string\(\)"):
                read_table(path, name="a.parquet")
        assert texts_of(save(id=["A-1", "A-2"], text=column.cast(arrow.string()))) == ["hello", "world"]

    @pytest.mark.parametrize("values", [[["hello"]], [{"en": "hello"}], [None], [5]])
    def test_no_other_column_takes_the_place_of_texts_of_another_type(
        self, save: Callable[..., Path], values: list[Any]
    ) -> None:
        path = save(id=["A-1"], text=values)
        assert "Column 'text' of" in refusal(path)
        with pytest.raises(FileFormatError, match=r"^Column 'text' of a\.parquet"):
            read_table(path, name="a.parquet")
        assert texts_of(path, column="id") == ["A-1"]

    def test_nor_where_texts_stand_inside_another_column(self, save: Callable[..., Path]) -> None:
        path = save(id=["A-1"], messages=[[{"role": "user", "content": "hello"}]])
        assert "'id' (text), 'messages' (list<" in refusal(path)
        assert read_table(path, name="a.parquet").notes == (
            "Not offered: 'messages' (list<element: struct<role: string, content: string>>).",
        )
        with pytest.raises(
            FileFormatError, match=r"Column 'content' of a\.parquet, list<element: string>, does not hold"
        ):
            read_table(save(id=["A-1"], content=[["hello"]]), name="a.parquet")

    def test_columns_are_found_by_their_names(self, save: Callable[..., Path]) -> None:
        path = save(**{"meta": [{"text": "nested"}], "meta.text": ["flat"], "x": ["other"]})
        assert texts_of(path, column="meta.text") == ["flat"]
        assert read_table(path, name="a.parquet").column("meta.text") == ("flat",)

    def test_a_name_twice(self, save: Callable[..., Path]) -> None:
        arrow = pytest.importorskip("pyarrow")
        path = save(arrow.Table.from_arrays([arrow.array(["a"]), arrow.array(["b"])], names=["text", "text"]))
        assert "'text' more than once" in refusal(path)

    def test_a_column_that_cannot_be_written_does_not_spoil_the_others(self, save: Callable[..., Path]) -> None:
        arrow = pytest.importorskip("pyarrow")
        unknown = arrow.array([0], arrow.timestamp("us", tz="Mars/Phobos"))
        late = arrow.array([2**62], arrow.timestamp("ms"))
        path = save(text=["a"], at=unknown, late=late)
        assert texts_of(path) == ["a"]
        table = read_table(path, name="a.parquet")
        assert (table.column("text"), table.columns) == (("a",), ("text", "late"))


class TestOneReader:
    """What the command embeds, the page embeds, and what `evaluate` reads is the same."""

    @pytest.mark.parametrize(
        "content",
        [
            "id,text\n1,one\n2,two\n",
            'id,text\n1,"a ""b"", c"\n2,\n',
            "id;text\n1;one\n",
            "sep=;\nid;text\n1;one\n",
            'id,text\n1,"abc" def\n2,two\n3,three\n',
            'id,text\n1,"open\n2,two\n',
            'id,text\n1,"She said \\"hi\\""\n',
            "id,text\n1,one\nid,text\n2,two\n",
            "Report\nid,text\n1,one\n",
            "id,text\n1,one\n2,two\rthree\n",
            "id,text\n1,one,too\n2,two\n",
            "<html>\n",
            '[{"text": "one"}]\n',
        ],
    )
    def test_a_table(self, write: Write, content: str) -> None:
        path = write("a.csv", content)
        try:
            command: Any = [text for text in texts_of(path) if text]
        except FileFormatError as error:
            command = error.fact
        try:
            page: Any = list(choose_columns(read_table(path, name=str(path)), "text").texts)
        except FileFormatError as error:
            page = error.fact
        assert page == command

    def test_pairs(self, write: Write) -> None:
        head = "sentence1;sentence2;score\n"
        with pytest.raises(FileFormatError, match="--delimiter ';'"):
            read_sts(write("a.csv", head + "a;b;1\nc;d;2\n"))
        with pytest.raises(FileFormatError, match="line 3 has a quote inside a cell in quotes"):
            read_sts(write("b.csv", 'sentence1,sentence2,score\na,b,1\n"c" c,d,2\ne,f,3\n'))
        path = write("c.csv", 'sentence1,sentence2,score\n"a \\"x\\"",b,1\nc,d,2\n')
        with pytest.raises(FileFormatError, match="--quotes backslash"):
            read_sts(path)
        assert read_sts(path, quotes="backslash").first == ('a "x"', "c")


class TestPage:
    @pytest.mark.parametrize("bad_rows", ["skip", "refuse"])
    def test_one_bad_byte(self, write: Write, bad_rows: Any) -> None:
        path = write("0123", TestBytes.MIXED)
        if bad_rows == "refuse":
            with pytest.raises(FileEncodingError, match=r"^mixed\.csv is not utf-8: on line 3.*'How the file is read'"):
                read_table(path, name="mixed.csv", bad_rows=bad_rows)
        else:
            table = read_table(path, name="mixed.csv", bad_rows=bad_rows)
            assert (table.lines, table.bad_rows) == ((2, 4), ("line 3 has a byte that does not fit utf-8",))

    def test_quotes_are_chosen_in_a_menu(self, write: Write) -> None:
        path = write("0123", TestQuotes.BACKSLASHES)
        with pytest.raises(FileFormatError, match=r"^mysql\.csv: line 2 .*'How the file is read'\.$"):
            read_table(path, name="mysql.csv")
        with pytest.raises(FileFormatError, match=r"Save it as CSV with commas"):
            read_table(path, name="mysql.csv", has_menus=False)
        table = read_table(path, name="mysql.csv", quotes="backslash")
        assert table.column("text") == ('She said "hi" to me', "plain")

    def test_a_column_of_texts_that_holds_none_is_replaced_by_no_other(self, write: Write) -> None:
        with pytest.raises(FileFormatError, match=r"Column 'text' of a\.jsonl is no text but list\. Save it as text\."):
            read_table(write("0123", '{"id": "A-1", "text": ["hello"]}\n'), name="a.jsonl")
        with pytest.raises(FileFormatError, match="has no value at all"):
            read_table(write("0123", '{"id": "A-1", "text": null}\n'), name="a.jsonl")
