"""Saved files hold what the page shows, give nothing to spreadsheets that they would run, and open again."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import plotly
import pyarrow.parquet
import pytest

from e5studio.errors import VectorError
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.engine.text_box import Limits
from e5studio.studio.form.link import read_link
from e5studio.studio.map.placing import MapSettings, place_texts
from e5studio.studio.page.save import EXPORTS, export, export_html, export_page, valid_export
from e5studio.studio.page.view_state import SharedView, read_view
from e5studio.studio.serving.table_files import safe_cell
from tests.studio.conftest import ENGLISH

PLOTLY_JS = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text("utf-8")
QUERIES = ("=1+1", 'a "quoted", text', "\ud800 broken")
PASSAGES = ("+cmd|' /C calc'!A0", "the top of a mountain", "@SUM(1)", "-2", "漢字")


@pytest.fixture(scope="module")
def result(engine):
    return engine.score(ScoreRequest(ENGLISH, "retrieval", "\n".join(QUERIES), "\n".join(PASSAGES)))


@pytest.fixture(scope="module")
def text_map(result):
    return place_texts(result, MapSettings())


def rows_of(download):
    return list(csv.DictReader(io.StringIO(download.content.decode("utf-8-sig"), newline="")))


def test_csv_holds_all_pairs_and_no_formula(result):
    rows = rows_of(export("scores.csv", result))
    assert len(rows) == 15
    for row in rows:
        i, j = int(row["row"][1:]) - 1, int(row["column"][1:]) - 1
        assert float(row["score"]) == pytest.approx(float(result.scores[i, j]), abs=1e-3)
        assert row["row_text"][0] not in "=+-@"
        assert row["column_text"][0] not in "=+-@"
    assert rows[0]["row_text"] == "'=1+1"
    assert {row["column_text"] for row in rows} >= {"the top of a mountain", "漢字", "'@SUM(1)", "'-2"}
    assert sum(row["rank"] == "1" for row in rows) == 3


@pytest.mark.parametrize("text", ["=a", "+a", "-a", "@a", "\ta", "\ra", "\na", "\0a", " =a", "\uff1da", "\uff20a"])
def test_formulas_get_an_apostrophe(text):
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "text", ["hello;=1", "a\n=1", "a\tb;  =1", 'a;"=1"', "a|@x", ";;+1", ' "=1', 'say "hi";-2', "a\r\n\r\n=1"]
)
def test_no_spreadsheet_finds_a_formula_wherever_it_cuts(text, delimiter):
    line = io.StringIO()
    csv.writer(line).writerow(["Q1", safe_cell(text), "0.5"])
    cells = [cell for row in csv.reader(io.StringIO(line.getvalue(), newline=""), delimiter=delimiter) for cell in row]
    assert not [cell for cell in cells if cell.strip(' "')[:1] in tuple("=+-@")]


@pytest.mark.parametrize("text", ["", " ", "a=b", "1 - 2", "'=a", "é"])
def test_other_texts_stay(text):
    assert safe_cell(text) == text


def test_parquet_keeps_texts_as_they_are(result):
    table = pyarrow.parquet.read_table(io.BytesIO(export("scores.parquet", result).content))
    assert table.column("row_text").to_pylist()[0] == "=1+1"
    assert table.column("row_text").to_pylist()[-1] == "\ufffd broken"
    np.testing.assert_array_equal(np.array(table.column("score")).reshape(3, 5), result.scores)
    assert table.schema.metadata[b"fingerprint"].decode() == result.fingerprint


def test_numbers_are_those_of_the_result(result):
    np.testing.assert_array_equal(np.load(io.BytesIO(export("scores.npy", result).content)), result.scores)
    np.testing.assert_array_equal(np.load(io.BytesIO(export("vectors.npy", result).content)), result.vectors)
    table = pyarrow.parquet.read_table(io.BytesIO(export("vectors.parquet", result).content))
    np.testing.assert_array_equal(np.stack(table.column("vector").to_pylist()), result.vectors)
    assert table.column("label").to_pylist() == ["Q1", "Q2", "Q3", "P1", "P2", "P3", "P4", "P5"]


@pytest.mark.parametrize("n_dims", [2, 3])
def test_a_map_is_saved_with_places_and_groups(result, n_dims):
    text_map = place_texts(result, MapSettings(n_dims=n_dims))
    rows = rows_of(export("map.csv", result, text_map))
    assert [row["label"] for row in rows] == list(result.points[0])
    saved = np.array([[float(row[axis]) for axis in "xyz"[:n_dims]] for row in rows])
    np.testing.assert_allclose(saved, text_map.coordinates, rtol=1e-4, atol=1e-6)
    assert {"group", "group_name", "neighbours_kept", "best_score", "tokens"} <= set(rows[0])
    table = pyarrow.parquet.read_table(io.BytesIO(export("map.parquet", result, text_map).content))
    assert table.num_rows == len(rows)


@pytest.mark.parametrize("kind", EXPORTS)
def test_every_file_has_a_name_and_a_type(result, text_map, kind):
    download = export(kind, result, text_map)
    assert download.file_name == f"e5-{kind}"
    assert download.content


def test_texts_among_themselves_are_not_paired_with_themselves(engine):
    result = engine.score(ScoreRequest(ENGLISH, "symmetric", "a\nb\nc", ""))
    rows = rows_of(export("scores.csv", result))
    assert len(rows) == 6
    assert all(row["row"] != row["column"] for row in rows)


def test_a_saved_page_opens_as_it_was(result):
    view = SharedView("map", "score", MapSettings("tsne"), "best", (1, 2))
    state = json.loads(export_page(result, view).content)
    assert read_view(state) == view
    opened = read_link(state, Catalog(), Limits())
    assert opened.queries == "\n".join(QUERIES).replace("\ud800", "\ufffd")  # a browser could not send it
    assert opened.passages == "\n".join(PASSAGES)
    np.testing.assert_allclose(state["result"]["scores"], result.scores, atol=1e-4)
    assert state["result"]["row_texts"] == ["=1+1", 'a "quoted", text', "\ufffd broken"]  # as the model read them
    assert state["result"]["column_texts"] == list(PASSAGES)
    assert state["result"]["prompts"] == ["query: ", "passage: "]


def test_html_opens_alone_with_every_text_as_text(engine, tmp_path):
    hostile = "</script><img src=x onerror=alert(1)>"
    result = engine.score(ScoreRequest(ENGLISH, "retrieval", f"{hostile}\nsummit", f"\ud800 {hostile}\n漢字"))
    text_map = place_texts(result, MapSettings())
    for kind in ("scores.html", "map.html"):
        download = export_html(kind, result, text_map, SharedView(colour="best"), tmp_path / kind)
        assert download.file_name == f"e5-{kind}"
        written = download.path.read_text("utf-8")
        head, _, rest = written.partition("<body>")
        assert "default-src 'none'" in head
        assert result.meta.short_name in head
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", written.replace(PLOTLY_JS, ""))
        assert "Plotly.newPlot" in written.replace(PLOTLY_JS, "")
        assert hostile not in written
        assert "&lt;img src=x" in rest
        assert "漢字</dd>" in rest
        assert ("The stronger the colour" if kind == "scores.html" else "PCA shows") in rest
        assert all(f"<dt>{label}</dt>" in rest for label in ("Q1", "Q2", "P1", "P2"))


def test_a_map_that_is_not_there_is_no_other_file(engine, result, text_map, tmp_path):
    other = engine.score(result.request)
    for absent in (None, text_map):
        with pytest.raises(VectorError, match="not there yet"):
            export("map.csv", other, absent)
        with pytest.raises(VectorError, match="not there yet"):
            export_html("map.html", other, absent, SharedView(), tmp_path / "map.html")


def test_long_texts_in_many_pairs_are_left_out(engine, monkeypatch):
    monkeypatch.setattr("e5studio.studio.page.save._MAX_TEXT_CHARACTERS", 100)
    result = engine.score(ScoreRequest(ENGLISH, "retrieval", "a question\nanother", "x" * 60))
    assert set(rows_of(export("scores.csv", result))[0]) == {"row", "column", "score", "rank", "softmax_percent"}


@pytest.mark.parametrize("kind", ["", None, "../scores.csv", 7])
def test_other_kinds_of_files_are_refused(kind):
    with pytest.raises(VectorError, match=r"scores\.csv"):
        valid_export(kind)
