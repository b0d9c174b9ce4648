"""Vectors that were taken come back as they were, and others only where they can be those of the corpus."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from e5studio.errors import E5StudioError, FileFormatError, FingerprintMismatchError, NonFiniteError
from e5studio.files import VectorBlock, read_vectors, write_vectors
from e5studio.studio.corpus.corpus import CorpusSetting
from e5studio.studio.corpus.search import search_corpus
from e5studio.studio.corpus.vector_files import export_vectors, import_vectors
from e5studio.studio.serving.downloads import Downloads
from tests.studio.conftest import ENGLISH, OFFLINE
from tests.studio.corpus.conftest import LINES, TEXTS, make_corpus


@pytest.fixture
def downloads():
    return Downloads()


@pytest.fixture
def embedded(embed):
    return embed()


@pytest.fixture
def take(embedded, downloads):
    def take_as(ending, of=None):
        if ending == ".parquet":
            pytest.importorskip("pyarrow")
        return export_vectors(of or embedded, ending, downloads)

    return take_as


@pytest.fixture
def bring(engine, corpus, setting, tmp_path):
    def bring_from(source, name="mine.npy", of=None, under=None, manifest=None):
        path = source
        if isinstance(source, np.ndarray):
            path = tmp_path / "0123"
            with path.open("wb") as file:
                np.save(file, source)
        return import_vectors(engine, of or corpus, under or setting, path, name=name, manifest=manifest)

    return bring_from


def save_table(tmp_path, columns, metadata=None):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.table(columns).replace_schema_metadata(metadata), tmp_path / "0123")
    return tmp_path / "0123"


class TestTake:
    def test_the_command_line_reads_both_kinds(self, take, embedded, encoders):
        for ending in (".npy", ".parquet"):
            found = read_vectors(take(ending)[0].path)
            np.testing.assert_array_equal(found.vectors, embedded.vectors)
            found.check_made_by(encoders("e5").spec)
            manifest = found.manifest
            assert (manifest.prompt, manifest.role, manifest.source) == ("passage: ", "document", "faq.csv")
        assert found.texts([0, 5]) == [TEXTS[0], TEXTS[5]]

    def test_parquet_holds_titles_and_lines_too(self, take, embed):
        import pyarrow.parquet

        embedded = embed(make_corpus(TEXTS[:2], titles=("A \ud800", "")))
        table = pyarrow.parquet.read_table(take(".parquet", embedded)[0].path)
        assert table["title"].to_pylist() == ["A \ufffd", ""]
        assert table["line"].to_pylist() == [2, 3]

    def test_names_are_those_that_belong_together(self, take):
        assert [file.file_name for file in take(".npy")] == ["e5-vectors.npy", "e5-vectors.npy.json"]
        assert [file.file_name for file in take(".parquet")] == ["e5-vectors.parquet"]

    def test_a_full_disk_is_a_sentence(self, take, monkeypatch):
        from e5studio.studio.corpus import vector_files

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(vector_files, "write_vectors", full)
        with pytest.raises(E5StudioError, match="no room for this file"):
            take(".npy")

    def test_no_model_is_needed(self, take, embedded, stand_in_pool):
        before = stand_in_pool.n_leased
        assert take(".npy")
        assert stand_in_pool.n_leased == before


class TestBring:
    def test_what_was_taken(self, take, bring, embedded, engine):
        array, manifest = take(".npy")
        [parquet] = take(".parquet")
        for brought in (bring(array.path, manifest=manifest.path), bring(parquet.path, "mine.PARQUET")):
            np.testing.assert_array_equal(brought.embedded.vectors, embedded.vectors)
            assert brought.note == ""
            assert brought.embedded.fingerprint == embedded.fingerprint
            assert brought.embedded.n_tokens is None
            hits = search_corpus(engine, brought.embedded, "summit").hits
            assert hits == search_corpus(engine, embedded, "summit").hits

    @pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2", ">f4"])
    def test_others_are_normalised_and_said_to_tell_nothing(self, bring, embedded, dtype):
        brought = bring((embedded.vectors * 3).astype(dtype))
        np.testing.assert_allclose(brought.embedded.vectors, embedded.vectors, atol=1e-3 if dtype == "<f2" else 1e-6)
        assert brought.embedded.vectors.dtype == np.float32
        assert "Nothing in mine.npy tells which model made it" in brought.note

    @pytest.mark.parametrize("kind", ["list", "fixed"])
    def test_parquet_of_others(self, bring, embedded, tmp_path, kind):
        arrow = pytest.importorskip("pyarrow")
        column = arrow.array(embedded.vectors.tolist(), arrow.list_(arrow.float64()))
        if kind == "fixed":
            column = column.cast(arrow.list_(arrow.float64(), embedded.vectors.shape[1]))
        path = save_table(tmp_path, {"id": range(6), "embedding": column})
        brought = bring(path, "mine.parquet")
        np.testing.assert_allclose(brought.embedded.vectors, embedded.vectors, atol=1e-6)
        assert "mine.parquet" in brought.note

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda rows: rows[:4], "mine.npy has 4 vectors, and there are 6 texts"),
            (lambda rows: rows[:, :7], "have 7 dimensions, those of this model 48"),
            (lambda rows: rows[0], "of shape"),
            (lambda rows: rows.astype(complex), "complex128"),
            (lambda rows: np.array([{"a": 1}], object), "cannot be read as a numpy array"),
        ],
    )
    def test_arrays_of_another_shape(self, bring, embedded, change, said):
        with pytest.raises(FileFormatError, match=said) as caught:
            bring(change(embedded.vectors))
        assert "0123" not in str(caught.value)

    @pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN or infinity in row 3"), (0, "zeros in row 3")])
    def test_rows_that_are_no_vectors(self, bring, embedded, value, said):
        vectors = embedded.vectors.copy()
        vectors[2] = value
        with pytest.raises(NonFiniteError, match=f"mine.npy holds .*{said}"):
            bring(vectors)

    def test_pickles_are_not_opened(self, bring, tmp_path):
        class Bomb:
            def __reduce__(self):
                return open, (str(tmp_path / "ran"), "w")

        path = tmp_path / "0123"
        path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(FileFormatError, match="cannot be read as a numpy array"):
            bring(path)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 384)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -384)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1180591620717411303424, 384)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 48)}",
            "{'descr': (), 'fortran_order': False, 'shape': (6, 48)}",
            "{'descr': 'f4,(', 'fortran_order': False, 'shape': (6, 48)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (6,",
            "{'descr': '<f4",
            "\x00",
            "(" * 5000,
            "-" * 9000 + "1",
            "",
        ],
    )
    def test_broken_headers(self, bring, tmp_path, header):
        content = header.encode()
        path = tmp_path / "0123"
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content + bytes(64))
        with pytest.raises(
            FileFormatError, match=r"^mine\.npy cannot be read as a numpy array: .*numpy\.save\.$"
        ) as caught:
            bring(path)
        assert "0123" not in str(caught.value)
        assert len(str(caught.value)) < 350

    @pytest.mark.parametrize("length", [3, 8, 9, 20, 100])
    def test_cut_arrays(self, bring, embedded, tmp_path, length):
        np.save(tmp_path / "whole.npy", embedded.vectors)
        path = tmp_path / "0123"
        path.write_bytes((tmp_path / "whole.npy").read_bytes()[:length])
        with pytest.raises(FileFormatError, match=r"^mine\.npy cannot be read as a numpy array"):
            bring(path)

    @pytest.mark.parametrize(
        "content", [b"", b"[]", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b'{"spec": {}}', b'{"spec": 1}']
    )
    def test_a_bad_manifest_is_called_by_the_name_of_the_file(self, take, bring, content):
        array, manifest = take(".npy")
        manifest.path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"^mine\.npy\.json does not describe vectors") as caught:
            bring(array.path, manifest=manifest.path)
        assert str(manifest.path.parent) not in str(caught.value)
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize("change", [{"embed_dim": "48"}, {"embed_dim": -1}, {"model": ["a"]}, {"dtype": None}])
    def test_a_manifest_of_other_types(self, take, bring, change):
        array, manifest = take(".npy")
        content = json.loads(manifest.path.read_text())
        content["spec"] |= change
        manifest.path.write_text(json.dumps(content))
        with pytest.raises(FileFormatError, match=rf"^mine\.npy\.json does not .*\('{next(iter(change))}' is no"):
            bring(array.path, manifest=manifest.path)

    def test_parquet_of_another_shape(self, bring, embedded, tmp_path):
        rows = embedded.vectors.tolist()
        for columns, said in (
            ({"vector": rows[:5]}, "has 5 vectors, and there are 6 texts"),
            ({"vector": [row[:4] for row in rows]}, "have 4 dimensions, those of this model 48"),
            ({"vector": [*rows[:5], rows[5][:4]]}, "differ in length; they have from 4 to 48 dimensions. All need 48"),
            ({"vector": [rows[0][:40], rows[1] + [0.5] * 8, *rows[2:]]}, "from 40 to 56 dimensions"),
            ({"id": [1] * 6}, "no column of vectors"),
            ({"a": rows, "b": rows}, "several columns of vectors: 'a', 'b'"),
        ):
            with pytest.raises(FileFormatError, match=said):
                bring(save_table(tmp_path, columns), "mine.parquet")
        with pytest.raises(NonFiniteError, match="row 6"):
            bring(save_table(tmp_path, {"vector": [*rows[:5], None]}), "mine.parquet")

    def test_of_another_encoder(self, take, bring):
        array, manifest = take(".npy")
        stored = read_vectors(array.path)
        made_by = replace(stored.manifest, spec=replace(stored.manifest.spec, model="intfloat/e5-base-v2"))
        with write_vectors(array.path, made_by, 6, overwrite=True) as write:
            write(VectorBlock(TEXTS, ["ok"] * 6, stored.vectors))
        with pytest.raises(FingerprintMismatchError, match=r"mine\.npy was made with model 'intfloat/e5-base-v2' and"):
            bring(array.path, manifest=manifest.path)

    def test_with_another_prompt(self, take, bring, embed):
        [file] = take(".parquet", embed(under=CorpusSetting(ENGLISH, "symmetric")))
        with pytest.raises(FingerprintMismatchError, match="prompt 'query: ', and the prompt here is 'passage: '"):
            bring(file.path, "mine.parquet")

    def test_of_the_same_texts_in_another_order(self, take, bring):
        [file] = take(".parquet")
        other = make_corpus((TEXTS[1], TEXTS[0], *TEXTS[2:]), LINES)
        with pytest.raises(FileFormatError, match=r"in another order: in row 1 stands “The summit is .* on line 2 of"):
            bring(file.path, "mine.parquet", of=other)

    @pytest.mark.parametrize("titles", [("A",) * 6, ("", "A \ud800", "", "", "", "")])
    def test_titles_count_in_both_directions(self, take, bring, embed, titles):
        titled, untitled = make_corpus(titles=titles), make_corpus()
        row = next(row for row, title in enumerate(titles) if title) + 1
        [with_titles] = take(".parquet", embed(titled))
        [without] = take(".parquet", embed(untitled))
        assert bring(with_titles.path, "mine.parquet", of=titled).note == ""
        assert bring(without.path, "mine.parquet", of=untitled).note == ""
        with pytest.raises(FileFormatError, match=rf"in row {row} the title “A.* and on line {row + 1} of .* no title"):
            bring(with_titles.path, "mine.parquet", of=untitled)
        with pytest.raises(FileFormatError, match=rf"in row {row} no title .* the title “A.* Choose no column of titl"):
            bring(without.path, "mine.parquet", of=titled)
        with pytest.raises(FileFormatError, match=r"the title “B”\. Choose "):
            bring(with_titles.path, "mine.parquet", of=make_corpus(titles=("B",) * 6))

    def test_white_space_between_title_and_text(self, take, bring, embed):
        titled = make_corpus(("  padded ", *TEXTS[1:]), titles=(" A ", *"BCDEF"))
        [file] = take(".parquet", embed(titled))
        assert bring(file.path, "mine.parquet", of=titled).note == ""

    def test_a_corpus_of_empty_titles_is_one_without(self, take, bring, embed):
        texts = (" padded ", *TEXTS[1:])
        [file] = take(".parquet", embed(make_corpus(texts)))
        assert bring(file.path, "mine.parquet", of=make_corpus(texts, titles=("",) * 6)).note == ""
        assert bring(file.path, "mine.parquet", of=make_corpus(texts)).note == ""

    def test_texts_of_others_are_those_that_were_embedded(self, bring, embedded, tmp_path):
        titled = make_corpus(titles=("A",) * 6)
        vectors = {"vector": embedded.vectors.tolist()}
        bring(save_table(tmp_path, {**vectors, "text": list(titled.documents)}), "mine.parquet", of=titled)
        with pytest.raises(FileFormatError, match="Choose no column of titles"):
            bring(save_table(tmp_path, {**vectors, "text": TEXTS}), "mine.parquet", of=titled)
        # Nothing tells whether another program embedded the titles that it wrote.
        both = save_table(tmp_path, {**vectors, "text": TEXTS, "title": ["A"] * 6})
        assert bring(both, "mine.parquet", of=titled).note
        assert bring(both, "mine.parquet", of=make_corpus()).note

    @pytest.mark.parametrize("column", ["text", "title"])
    def test_more_text_than_a_corpus_can_have(self, bring, embedded, tmp_path, monkeypatch, column):
        from e5studio.studio.corpus import vector_files

        monkeypatch.setattr(vector_files, "MAX_CHARACTERS", 1000)
        path = save_table(tmp_path, {"vector": embedded.vectors.tolist(), column: ["x" * 300] * 6})
        with pytest.raises(
            FileFormatError, match=rf"^mine\.parquet has more than 1,006 characters in column '{column}'"
        ):
            bring(path, "mine.parquet")

    def test_two_columns_of_texts(self, bring, embedded, tmp_path):
        arrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet

        columns = [arrow.array(embedded.vectors.tolist()), arrow.array(TEXTS), arrow.array(TEXTS)]
        pyarrow.parquet.write_table(arrow.Table.from_arrays(columns, ["vector", "text", "text"]), tmp_path / "0123")
        with pytest.raises(FileFormatError, match="'text' more than once"):
            bring(tmp_path / "0123", "mine.parquet")

    def test_an_ending_that_is_none_of_ours(self, bring, embedded):
        with pytest.raises(FileFormatError, match=r"mine\.pkl ends in '\.pkl'"):
            bring(embedded.vectors, "mine.pkl")

    def test_a_model_of_other_dimensions(self, bring, embedded):
        with pytest.raises(FileFormatError, match="have 48 dimensions, those of this model 384"):
            bring(embedded.vectors, under=CorpusSetting(OFFLINE, "none"))
