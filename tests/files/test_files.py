"""Files of texts are read as they are meant, or refused with a place; files of vectors come back as they were."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from e5studio.errors import FileFormatError, FingerprintMismatchError, MissingDependencyError
from e5studio.files import (
    VectorBlock,
    VectorManifest,
    open_texts,
    read_vectors,
    sidecar_path,
    write_vectors,
)
from e5studio.spec import EncoderSpec

SPEC = EncoderSpec(
    model="intfloat/e5-small-v2",
    revision="abc",
    prompt_kind="query_passage",
    pooling="mean",
    max_tokens=512,
    backend="torch",
    dtype="float32",
    embed_dim=4,
)
MANIFEST = VectorManifest(SPEC, "passage: ", "document", None, "faq.csv")


def texts_of(path, **options):
    return [row.text for row in open_texts(path, **options).rows()]


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


class TestLines:
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_each_line_is_a_text_whatever_ends_it(self, write, end):
        path = write("a.txt", end.join(["one", "two", "three"]) + end)
        assert texts_of(path) == ["one", "two", "three"]

    def test_other_separators_of_unicode_are_part_of_the_text(self, write):
        content = "a\u2028b\u2029c\x0bd\x0ce\x1cf\x85g"
        assert texts_of(write("a.txt", content)) == [content]

    def test_blank_line_keeps_its_place(self, write):
        assert texts_of(write("a.txt", "one\n\nthree")) == ["one", "", "three"]

    def test_nul_is_a_character(self, write):
        assert texts_of(write("a.txt", "a fine text\x00 with a nul")) == ["a fine text\x00 with a nul"]

    def test_column_makes_no_sense(self, write):
        with pytest.raises(FileFormatError, match="no column 'text'"):
            open_texts(write("a.txt", "one"), column="text")


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    def test_byte_order_mark_is_understood_and_not_part_of_the_text(self, write, encoding):
        assert texts_of(write("a.csv", "text\nGrüße, 世界\n".replace(",", ";").encode(encoding))) == ["Grüße; 世界"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_encoding_asked_for_may_have_its_mark(self, write, encoding):
        path = write("a.csv", "text\nGrüße\n".encode("utf-8-sig" if encoding == "utf-8" else encoding))
        assert texts_of(path, encoding=encoding) == ["Grüße"]

    def test_cp1252_is_refused_with_the_byte_and_read_when_asked_for(self, write):
        # Beyond Python's read buffer: an offset within the buffer would be wrong here.
        content = b"x" * 300_000 + b"\n" + "Grüße".encode("cp1252") + b"\n"
        path = write("a.txt", content)
        with pytest.raises(FileFormatError, match=r"byte 300,003 does not fit.*--encoding cp1252"):
            open_texts(path)
        assert texts_of(path, encoding="cp1252")[1] == "Grüße"

    def test_truncated_last_character(self, write):
        with pytest.raises(FileFormatError, match="byte 4 does not fit"):
            open_texts(write("a.txt", b"text\xe4\xb8"))

    def test_bad_byte_after_a_mark(self, write):
        with pytest.raises(FileFormatError, match="byte 5 does not fit"):
            open_texts(write("a.txt", b"\xef\xbb\xbfab\xffcd"))

    def test_utf_16_without_a_mark_is_not_read_as_utf_8(self, write):
        path = write("a.txt", "plain English\n".encode("utf-16-le"))
        with pytest.raises(FileFormatError, match="utf-16-le"):
            open_texts(path)
        assert texts_of(path, encoding="utf-16-le") == ["plain English"]

    @pytest.mark.parametrize("name", ["klingon", "base64"])
    def test_unknown_encoding(self, write, name):
        with pytest.raises(FileFormatError, match=f"Unknown text encoding '{name}'"):
            open_texts(write("a.txt", "text"), encoding=name)

    @pytest.mark.parametrize(
        ("magic", "said"), [(b"PK\x03\x04", "Excel"), (b"PAR1", "Parquet"), (b"\x1f\x8b", "gzip"), (b"%PDF", "PDF")]
    )
    def test_other_files_under_a_text_name(self, write, magic, said):
        with pytest.raises(FileFormatError, match=said):
            open_texts(write("a.csv", magic + b"anything"))


class TestCsv:
    def test_quotes_commas_and_line_breaks_in_a_cell(self, write):
        path = write("a.csv", 'id,text\n1,"a, ""b""\nc"\n2,d\n')
        rows = list(open_texts(path).rows())
        assert [row.text for row in rows] == ['a, "b"\nc', "d"]
        assert [row.line for row in rows] == [2, 4]

    def test_words_for_nothing_and_numbers_stay_text(self, write):
        cells = ["NA", "null", "None", "nan", "12", "1e5", "007", "true", " padded "]
        assert texts_of(write("a.csv", "text\n" + "\n".join(cells))) == cells

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends(self, write, end):
        assert texts_of(write("a.csv", end.join(["id,text", "1,one", "2,two"]))) == ["one", "two"]

    def test_u2028_is_no_row_end(self, write):
        assert texts_of(write("a.csv", "text\na\u2028b\n")) == ["a\u2028b"]

    def test_ragged_rows_keep_their_place_and_say_their_line(self, write):
        rows = list(open_texts(write("a.csv", "id,text\n1,one\n2,two,too\n3\n4,four\n")).rows())
        assert [row.text for row in rows] == ["one", None, None, "four"]
        assert [row.problem for row in rows] == [None, "bad_row", "bad_row", None]
        assert rows[1].detail == "line 3 has 3 cells, the header 2"

    def test_unclosed_quote_does_not_swallow_the_file(self, write):
        with pytest.raises(FileFormatError, match="row at line 3 is never closed"):
            open_texts(write("a.csv", 'id,text\n1,one\n2,"two\n3,three\n4,four\n'))

    def test_inches_are_no_quotes(self, write):
        assert texts_of(write("a.csv", 'id,text\n1,a 27" screen\n')) == ['a 27" screen']

    def test_large_cell(self, write):
        assert len(texts_of(write("a.csv", "text\n" + "x" * 200_000))[0]) == 200_000

    def test_cell_beyond_the_limit(self, write, monkeypatch):
        monkeypatch.setattr("e5studio.files.delimited.MAX_CELL_CHARS", 1000)
        with pytest.raises(FileFormatError, match="row at line 2 is longer than 1,000 characters"):
            open_texts(write("a.csv", 'text\n"' + "x\n" * 1000))

    def test_blank_lines_are_no_rows(self, write):
        assert texts_of(write("a.csv", "text\n\none\n\ntwo\n\n")) == ["one", "two"]

    def test_nul_in_a_cell(self, write):
        assert texts_of(write("a.csv", "text\nwith a \x00 in it\n")) == ["with a \x00 in it"]

    def test_duplicate_header(self, write):
        with pytest.raises(FileFormatError, match="'text' more than once"):
            open_texts(write("a.csv", "text,id,text\na,1,b\n"))

    def test_nameless_columns_of_a_spreadsheet_are_fine(self, write):
        assert texts_of(write("a.csv", ",text,,\n0,a,,\n")) == ["a"]

    @pytest.mark.parametrize(
        ("content", "said"),
        [("", "is empty"), ("id,text\n", "has no rows"), ("\n\n", "nothing but blank lines")],
    )
    def test_nothing_to_read(self, write, content, said):
        with pytest.raises(FileFormatError, match=said):
            open_texts(write("a.csv", content))

    def test_column_is_asked_for_where_it_is_unclear(self, write):
        path = write("a.csv", "id,body\n1,one\n")
        with pytest.raises(FileFormatError, match=r"no column 'text'. Its columns: 'id', 'body'. .* --column"):
            open_texts(path)
        assert texts_of(path, column="body") == ["one"]

    def test_the_only_column_needs_no_name(self, write):
        assert texts_of(write("a.csv", "question\nwhy?\n")) == ["why?"]

    def test_delimiters(self, write):
        assert texts_of(write("a.tsv", "id\ttext\n1\tone, two\n")) == ["one, two"]
        assert texts_of(write("a.csv", "id;text\n1;one, two\n"), delimiter=";") == ["one, two"]


class TestJsonLines:
    def test_each_kind_of_row(self, write):
        lines = [
            '{"text": "one"}',
            '{"text": null}',
            '{"other": 1}',
            '{"text": 5}',
            '{"text": ["a"]}',
            "not json",
            '["text"]',
            "",
            '{"text": "\\ud800 caf\\u00e9 \\u2028"}',
            '{"text": ' + "[" * 100_000,
            '{"text": ' + "1" * 5_000 + "}",
        ]
        rows = list(open_texts(write("a.jsonl", "\n".join(lines))).rows())
        assert [row.text for row in rows if row.text] == ["one", "\ud800 café \u2028"]
        problems = [
            None,
            "missing",
            "missing",
            "bad_type",
            "bad_type",
            "bad_row",
            "bad_row",
            None,
            "bad_row",
            "bad_row",
        ]
        assert [row.problem for row in rows] == problems
        assert rows[7].line == 9, "a blank line is no row, but counts as a line"

    def test_wrong_field_names_those_there_are(self, write):
        with pytest.raises(FileFormatError, match=r"no 'text', but 'id', 'body'"):
            open_texts(write("a.jsonl", '{"id": 1, "body": "one"}\n'))

    def test_raw_u2028_is_no_line_end(self, write):
        assert texts_of(write("a.ndjson", '{"body": "a\u2028b"}\n'), column="body") == ["a\u2028b"]


class TestParquet:
    @pytest.fixture
    def arrow(self):
        return pytest.importorskip("pyarrow")

    def write_table(self, path, columns):
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path

    def test_texts_and_nulls(self, arrow, tmp_path):
        columns = {"id": [1, 2, 3], "text": ["one", None, ""]}
        rows = list(open_texts(self.write_table(tmp_path / "a.parquet", columns)).rows())
        assert [(row.text, row.problem) for row in rows] == [("one", None), (None, "missing"), ("", None)]

    def test_dictionary_and_large_strings(self, arrow, tmp_path):
        for number, kind in enumerate([arrow.large_string(), arrow.dictionary(arrow.int32(), arrow.string())]):
            column = arrow.array(["a", "b", "a"]).cast(kind)
            path = self.write_table(tmp_path / f"{number}.parquet", {"text": column})
            assert texts_of(path) == ["a", "b", "a"]

    def test_column_of_numbers_is_refused(self, arrow, tmp_path):
        path = self.write_table(tmp_path / "a.parquet", {"id": [1], "body": ["one"]})
        with pytest.raises(FileFormatError, match=r"'id' of .* does not hold text. These do: 'body'"):
            open_texts(path, column="id")
        assert texts_of(path) == ["one"], "the only column of text needs no name"

    def test_damaged(self, arrow, write):
        with pytest.raises(FileFormatError, match="cannot be read as Parquet"):
            open_texts(write("a.parquet", b"PAR1 but not really"))

    def test_without_pyarrow(self, write, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
            open_texts(write("a.parquet", b"PAR1"))


def test_many_names_of_columns_are_compared_at_once(write):
    started = time.perf_counter()
    columns = ",".join(f"c{number}" for number in range(200_000))
    with pytest.raises(FileFormatError, match="names the column 'c7' more than once"):
        open_texts(write("a.csv", f"{columns},c7\n"))
    assert time.perf_counter() - started < 5


def test_a_folder_is_called_one(tmp_path):
    with pytest.raises(FileFormatError, match="is a folder"):
        open_texts(tmp_path)


def test_standard_input_is_not_read():
    with pytest.raises(FileFormatError, match="not read from standard input"):
        open_texts(Path("-"))


def test_unknown_ending(write):
    with pytest.raises(FileFormatError, match=r"\.csv, \.jsonl"):
        open_texts(write("a.xlsx", b"PK\x03\x04"))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_texts(tmp_path / "none.txt")


def blocks():
    vectors = np.arange(20, dtype=np.float32).reshape(5, 4)
    vectors[1] = 77  # whatever stands in a row without a vector must not come out
    yield VectorBlock(["a", "", "c"], ["ok", "empty", "ok"], vectors[:3])
    yield VectorBlock([None, "\ud800 e"], ["missing", "ok"], vectors[3:])


def write_all(path, n_rows=5, manifest=MANIFEST):
    with write_vectors(path, manifest, n_rows, overwrite=True) as write_block:
        for block in blocks():
            write_block(block)


def write_until(path, error):
    with write_vectors(path, MANIFEST, 5, overwrite=True) as write_block:
        write_block(next(blocks()))
        raise error


@pytest.fixture(params=["v.npy", "v.parquet"])
def path(request, tmp_path):
    if request.param.endswith("parquet"):
        pytest.importorskip("pyarrow")
    return tmp_path / request.param


class TestVectors:
    def test_come_back_as_they_were(self, path):
        write_all(path)
        found = read_vectors(path)
        expected = np.arange(20, dtype=np.float32).reshape(5, 4)
        assert found.manifest == MANIFEST
        assert found.vectors.dtype == np.float32
        np.testing.assert_array_equal(found.vectors[[0, 2, 4]], expected[[0, 2, 4]])
        assert np.isnan(found.vectors[[1, 3]]).all()

    def test_a_block_without_rows_adds_none(self, path):
        with write_vectors(path, MANIFEST, 0) as write_block:
            write_block(VectorBlock([], [], np.empty((0, 4), np.float32)))
        assert read_vectors(path).vectors.shape == (0, 4)

    def test_only_they_and_their_manifest_are_left(self, path):
        write_all(path)
        expected = {path} | ({sidecar_path(path)} if path.suffix == ".npy" else set())
        assert set(path.parent.iterdir()) == expected

    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
    def test_have_the_permissions_of_any_new_file(self, path):
        write_all(path)
        path.with_name("other").touch()
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(path.with_name("other").stat().st_mode)

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
    def test_a_failed_run_leaves_the_old_file_and_nothing_else(self, path, error):
        write_all(path)
        before = {file: file.read_bytes() for file in path.parent.iterdir()}
        with pytest.raises(error):
            write_until(path, error)
        assert {file: file.read_bytes() for file in path.parent.iterdir()} == before

    @pytest.mark.parametrize("n_rows", [4, 6])
    def test_another_number_of_rows_is_refused(self, path, n_rows):
        with pytest.raises(FileFormatError, match=f"Expected {n_rows} rows and got 5"):
            write_all(path, n_rows)
        assert not list(path.parent.iterdir())

    def test_equal_runs_give_equal_files(self, path):
        write_all(path)
        first = path.read_bytes()
        write_all(path)
        assert path.read_bytes() == first

    def test_other_encoders_are_told_apart(self, path):
        write_all(path)
        found = read_vectors(path)
        found.check_made_by(SPEC)
        with pytest.raises(FingerprintMismatchError) as caught:
            found.check_made_by(replace(SPEC, model="intfloat/e5-base-v2", dtype="bfloat16"))
        assert "model 'intfloat/e5-small-v2' and not 'intfloat/e5-base-v2'" in str(caught.value)
        assert "dtype 'float32' and not 'bfloat16'" in str(caught.value)
        assert "max_tokens" not in str(caught.value)

    def test_a_missing_folder_is_pythons_own_error(self, path):
        with pytest.raises(FileNotFoundError):
            write_all(path.parent / "none" / path.name)

    def test_no_vectors_at_all(self, path):
        path.write_bytes(b"nothing of the kind")
        with pytest.raises(FileFormatError, match="cannot be read as"):
            read_vectors(path)


class TestNpy:
    @pytest.fixture
    def path(self, tmp_path):
        write_all(tmp_path / "v.npy")
        return tmp_path / "v.npy"

    def test_manifest_says_which_rows_are_nan(self, path):
        content = json.loads(sidecar_path(path).read_text())
        assert content["nan_rows"] == {"empty": [1], "missing": [3]}
        assert content["fingerprint"] == SPEC.fingerprint

    def test_has_no_texts(self, path):
        assert read_vectors(path).texts([0, 2]) == [None, None]

    def test_is_refused_without_its_manifest(self, path):
        sidecar_path(path).unlink()
        with pytest.raises(FileFormatError, match=r"v\.npy\.json is missing"):
            read_vectors(path)

    def test_is_refused_beside_anothers_manifest(self, path):
        np.save(path, np.zeros((5, 3), np.float32))
        with pytest.raises(FileFormatError, match="One of the two is of another run"):
            read_vectors(path)

    def test_is_refused_beside_the_manifest_of_another_run(self, path, tmp_path):
        with write_vectors(tmp_path / "other.npy", replace(MANIFEST, source="other.csv"), 5) as write_block:
            write_block(VectorBlock(["a"] * 5, ["ok"] * 5, np.ones((5, 4), np.float32)))
        for whole in (path, sidecar_path(path)):
            before = whole.read_bytes()
            whole.write_bytes((tmp_path / whole.name.replace("v.npy", "other.npy")).read_bytes())
            with pytest.raises(FileFormatError, match=r"does not hold the vectors that v\.npy\.json describes"):
                read_vectors(path)
            whole.write_bytes(before)
        read_vectors(path)

    def test_a_flipped_bit_is_noticed(self, path):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="changed or damaged"):
            read_vectors(path)

    def test_the_same_numbers_saved_by_another_program_are_read(self, path):
        vectors = np.array(read_vectors(path).vectors)
        np.save(path, np.asfortranarray(vectors))
        np.testing.assert_array_equal(read_vectors(path).vectors, vectors)

    def test_pickles_are_not_opened(self, path):
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(FileFormatError, match="cannot be read as a numpy array"):
            read_vectors(path)

    @pytest.mark.parametrize("change", [{"spec": {}}, {"format": 1}, {"fingerprint": "0"}, {"role": ...}])
    def test_manifest_that_is_not_ours(self, path, change):
        content = {**json.loads(sidecar_path(path).read_text()), **change}
        content = {key: value for key, value in content.items() if value is not ...}
        sidecar_path(path).write_text(json.dumps(content))
        with pytest.raises(FileFormatError, match="Encode the texts again"):
            read_vectors(path)


class TestParquetVectors:
    @pytest.fixture
    def path(self, tmp_path):
        pytest.importorskip("pyarrow")
        write_all(tmp_path / "v.parquet")
        return tmp_path / "v.parquet"

    def test_holds_texts_as_the_model_read_them(self, path):
        assert read_vectors(path).texts([4, 0, 3]) == ["\ufffd e", "a", None]

    def test_is_plain_parquet_to_others(self, path):
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        assert str(table.schema.field("vector").type).startswith("list<")
        assert table["vector"].to_pylist()[:2] == [[0, 1, 2, 3], None]
        assert table["status"].to_pylist() == ["ok", "empty", "ok", "missing", "ok"]
        assert table["row"].to_pylist() == [0, 1, 2, 3, 4]
        assert json.loads(table.schema.metadata[b"e5studio"])["fingerprint"] == SPEC.fingerprint

    @pytest.fixture
    def rewrite(self, path):
        """Write the file anew with other columns, as another program does."""
        import pyarrow.parquet

        def with_columns(change):
            pyarrow.parquet.write_table(change(pyarrow.parquet.read_table(path)), path)

        return with_columns

    def test_lost_texts_are_rows_by_number(self, path, rewrite):
        rewrite(lambda table: table.drop_columns(["text", "status", "row"]))
        assert read_vectors(path).texts([4, 0]) == [None, None]

    @pytest.mark.parametrize("kind", ["float64", "fixed", "dictionary"])
    def test_the_same_content_in_other_types_is_read(self, path, rewrite, kind):
        import pyarrow

        vectors = read_vectors(path).vectors

        def change(table):
            if kind == "dictionary":
                return table.set_column(1, "text", table["text"].combine_chunks().dictionary_encode())
            number = pyarrow.float64() if kind == "float64" else pyarrow.float32()
            return table.set_column(3, "vector", table["vector"].cast(pyarrow.list_(number)))

        rewrite(change)
        np.testing.assert_array_equal(read_vectors(path).vectors, vectors)
        assert read_vectors(path).texts([4, 0, 3]) == ["\ufffd e", "a", None]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda rows: [row and row[:1] for row in rows], "do not have 4 dimensions each"),
            (lambda rows: [[0, 1, 2], None, [8, 9, 10, 11, 12], *rows[3:]], "do not have 4 dimensions each"),
            (lambda rows: [[0, 1, 2, 3.5], *rows[1:]], "does not hold the vectors that were written"),
            (lambda rows: [[0, 1, 2, None], *rows[1:]], "does not hold the vectors that were written"),
            (lambda rows: [None, *rows[1:]], "does not hold the vectors that were written"),
            (lambda rows: [row and [2 * number for number in row] for row in rows], "does not hold the vectors"),
            (lambda rows: rows[::-1], "does not hold the vectors that were written"),
        ],
    )
    def test_vectors_changed_by_another_program_are_refused(self, path, rewrite, change, said):
        import pyarrow

        kind = pyarrow.list_(pyarrow.float32())
        rewrite(lambda table: table.set_column(3, "vector", pyarrow.array(change(table["vector"].to_pylist()), kind)))
        with pytest.raises(FileFormatError, match=said):
            read_vectors(path)

    def test_rows_left_out_or_added_are_refused(self, path, rewrite):
        import pyarrow

        whole = path.read_bytes()
        for change in (lambda table: table.slice(1), lambda table: pyarrow.concat_tables([table, table])):
            rewrite(change)
            with pytest.raises(FileFormatError, match="changed, added, left out or moved"):
                read_vectors(path)
            path.write_bytes(whole)

    @pytest.mark.parametrize("texts", [["a", "", "x", None, "\ufffd e"], [None] * 5, [1, 2, 3, 4, 5]])
    def test_texts_changed_by_another_program_are_refused(self, path, rewrite, texts):
        import pyarrow

        rewrite(lambda table: table.set_column(1, "text", pyarrow.array(texts)))
        vectors = read_vectors(path)
        with pytest.raises(FileFormatError, match="does not hold the texts that its vectors were made of"):
            vectors.texts([0])

    def test_a_flipped_bit_is_noticed(self, path):
        whole = path.read_bytes()
        for offset in range(4, len(whole), 37):
            content = bytearray(whole)
            content[offset] ^= 1
            path.write_bytes(content)
            try:
                vectors = read_vectors(path)
                texts = vectors.texts([4, 0, 3])
            except FileFormatError:
                continue
            # A column of texts under another name is as good as none.
            assert vectors.manifest == MANIFEST
            assert texts in (["\ufffd e", "a", None], [None, None, None]), offset

    def test_files_of_others_are_refused(self, path):
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"vector": [[1.0]]}), path)
        with pytest.raises(FileFormatError, match="does not say which model"):
            read_vectors(path)


def test_unknown_vector_ending(tmp_path):
    with pytest.raises(FileFormatError, match=r"\.npy or \.parquet"), write_vectors(tmp_path / "v.csv", MANIFEST, 1):
        pass
