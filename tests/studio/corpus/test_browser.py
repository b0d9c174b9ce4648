"""The Corpus tab in a real browser."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet

from e5studio.studio.corpus import tab as corpus_tab
from tests.studio.browsing import MARKS, NASTY, check_barriers, check_width, expect, reload, take_model
from tests.studio.conftest import ENGLISH

pytestmark = MARKS

SUBJECTS = ["bees", "stars", "rivers", "letters", "trains", "bread"]
ROWS = [[f"n{n}", f"Title {n}", f"a text about {SUBJECTS[n % 6]}, number {n}", SUBJECTS[n % 6]] for n in range(60)]


def sheet(rows, header=("_id", "title", "text", "subject")):
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    return out.getvalue().encode()


def open_corpus(page):
    page.get_by_role("tab", name="Corpus").click()
    expect(page.locator("#e5-embed")).to_be_visible()


def upload(page, content, name="papers.csv", where="#e5-corpus-file"):
    page.locator(f"{where} input[type=file]").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": content}
    )


def embed(page):
    page.locator("#e5-embed").click()
    expect(page.locator("#e5-embed-status .e5-done")).to_be_visible(timeout=30_000)
    expect(page.locator("#e5-corpus-map .js-plotly-plot")).to_be_visible(timeout=30_000)


def search(page, query):
    page.locator("#e5-corpus-query input").fill(query)
    page.locator("#e5-corpus-search").click()
    expect(page.locator("#e5-hits")).to_contain_text("Orange words carry")


def test_a_person_brings_a_file_embeds_searches_and_looks_at_the_map(open_page, tmp_path, encoders):
    page = open_page()
    take_model(page, ENGLISH)
    open_corpus(page)
    expect(page.locator("#e5-corpus-said")).to_contain_text("Up to 50,000 rows")
    upload(page, sheet([*ROWS, ["broken", "row"], ["n99", "Empty", " ", "none"]]))
    expect(page.locator("#e5-corpus-said")).to_contain_text("papers.csv: 61 rows, 4 columns.")
    expect(page.locator("#e5-corpus-said")).to_contain_text("line 62 has 2 cells, the header 4")
    expect(page.locator("#e5-chosen")).to_contain_text(
        "60 texts to embed. Left out: 1 row with an empty text, 1 row that"
    )
    expect(page.locator("#e5-preview tbody tr")).to_have_count(5)
    expect(page.locator("#e5-title-column input")).to_have_value("title")
    page.locator("#e5-colour-column input").click()
    page.get_by_role("option", name="subject").click()
    embed(page)
    expect(page.locator("#e5-embed-status")).to_contain_text("60 texts of papers.csv embedded with e5-small-v2")
    expect(page.locator("#e5-corpus-map .legendtext").first).to_be_visible()
    expect(page.locator("#e5-corpus-map .scatterlayer .points path")).to_have_count(60)
    expect(page.locator("#e5-corpus-caption")).to_contain_text("PCA shows")

    search(page, "who sends letters")
    wanted = encoders("e5")
    documents = wanted.encode_document([f"{title} {text}" for _, title, text, _ in ROWS])
    scores = 100 * wanted.encode_query(["who sends letters"]) @ documents.T
    best = int(scores[0].argmax())
    first = page.locator("#e5-hits .e5-hit").first
    expect(first).to_contain_text(f"{scores[0, best]:.1f}".replace("-", "\N{MINUS SIGN}"))
    expect(first).to_contain_text(f"1 · line {best + 2}")
    expect(page.locator("#e5-hits .e5-hit")).to_have_count(10)
    expect(page.locator("#e5-corpus-caption")).to_contain_text("Rings mark the 10 hits of the search")
    page.locator("#e5-corpus-colour").get_by_text("Score of the search").click()
    expect(page.locator("#e5-corpus-map .colorbar")).to_be_visible()
    page.locator("#e5-corpus-colour").get_by_text("Group").click()
    expect(page.locator("#e5-corpus-caption")).to_contain_text("by k-means")
    page.locator("#e5-corpus-method").get_by_text("UMAP").click()
    expect(page.locator("#e5-corpus-caption")).to_contain_text("UMAP keeps", timeout=60_000)

    with page.expect_download() as saved:
        page.get_by_label("Save vectors as Parquet").click()
    saved.value.save_as(tmp_path / "vectors.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "vectors.parquet")
    np.testing.assert_allclose(np.stack(table["vector"].to_pylist()), documents, atol=1e-5)

    page.get_by_text("Upload existing embeddings").click()
    upload(page, (tmp_path / "vectors.parquet").read_bytes(), "vectors.parquet", "#e5-bring-file")
    expect(page.locator("#e5-embed-status")).to_contain_text("60 texts of papers.csv embedded with e5-small-v2.")
    search(page, "who sends letters")
    expect(page.locator("#e5-hits .e5-hit").first).to_contain_text(f"1 · line {best + 2}")


def test_stop_reload_and_go_on(open_page, held_up, monkeypatch):
    """What was embedded before a reload is not embedded again."""
    embedded = []
    real = corpus_tab.embed_corpus

    def slow(engine, corpus, setting, store, on_progress):
        def report(progress):
            if progress.n_done:
                embedded.append(progress.n_done)
            on_progress(progress)
            if progress.n_done:
                held_up.wait(20)

        return real(engine, corpus, setting, store, report)

    monkeypatch.setattr(corpus_tab, "embed_corpus", slow)
    page = open_page()
    open_corpus(page)
    upload(
        page, "\n".join(f"a sentence about number {n}" + " and more" * (n % 40) for n in range(400)).encode(), "a.txt"
    )
    expect(page.locator("#e5-chosen")).to_contain_text("400 texts to embed")
    page.locator("#e5-embed").click()
    expect(page.locator("#e5-embed-status")).to_contain_text("of 400 texts")
    page.locator("#e5-embed-stop").click()
    held_up.set()
    expect(page.locator("#e5-embed-status .e5-hint")).to_contain_text("Stopped. Vectors computed so far stay")
    before = max(embedded)
    assert 0 < before < 400

    reload(page)
    open_corpus(page)
    expect(page.locator("#e5-corpus-said")).to_contain_text("a.txt: 400 rows")
    expect(page.locator("#e5-embed-status")).to_contain_text("not computed again")
    embed(page)
    expect(page.locator("#e5-embed-status")).to_contain_text(f"{before} vectors were known already.")

    reload(page)
    open_corpus(page)
    expect(page.locator("#e5-embed-status")).to_contain_text("400 texts of a.txt embedded")
    expect(page.locator("#e5-corpus-map .js-plotly-plot")).to_be_visible()


def test_known_answers_tell_what_a_setting_is_worth(open_page):
    page = open_page()
    take_model(page, ENGLISH)
    open_corpus(page)
    upload(page, sheet(ROWS))
    expect(page.locator("#e5-chosen")).to_contain_text("60 texts")
    page.get_by_text("Measure with known answers").click()
    pairs = [[f"question about {row[3]} number {n}", row[0]] for n, row in enumerate(ROWS[:20])]
    upload(page, sheet([*pairs, ["nobody knows", "n1000"]], ("query", "corpus-id")), "pairs.csv", "#e5-pairs")
    expect(page.locator("#e5-pairs-said")).to_contain_text("pairs.csv: 21 rows")
    page.locator("#e5-measure").click()
    expect(page.locator("#e5-measure-status .e5-done")).to_have_text(
        "Measured 2 settings on 20 queries.", timeout=30_000
    )
    verdict = page.locator("#e5-verdict")
    expect(verdict).to_contain_text("lines 22")
    expect(verdict).to_contain_text("e5-small-v2, no prompt: nDCG@10")
    expect(verdict).to_contain_text("95 % interval")
    expect(page.locator("#e5-measured tbody tr")).to_have_count(2)
    expect(page.locator("#e5-measured-plot .points path")).to_have_count(2)


def test_what_is_wrong_with_a_file_is_a_sentence(open_page):
    page = open_page()
    open_corpus(page)
    page.locator("#e5-embed").click()
    expect(page.locator("#e5-embed-status .e5-error")).to_contain_text("There are no texts yet")
    error = page.locator("#e5-corpus-said .e5-error")
    upload(page, b"PK\x03\x04 and more", "book.csv")
    expect(error).to_contain_text("book.csv is a zip archive or an Excel workbook")
    page.locator("#e5-corpus-file").get_by_label("Clear").click()
    upload(page, "text\ncaf\u00e9\n".encode("cp1252"), "old.csv")
    expect(error).to_contain_text("old.csv is not utf-8")
    page.get_by_text("How the file is read", exact=True).click()
    page.locator("#e5-encoding input").click()
    page.get_by_role("option", name="cp1252").click()
    expect(page.locator("#e5-preview")).to_contain_text("caf\u00e9")
    page.locator("#e5-paste textarea").fill("one\n\nNA\nnull")
    page.locator("#e5-use-paste").click()
    expect(page.locator("#e5-chosen")).to_contain_text("3 texts to embed. Left out: 1 row with an empty text.")
    expect(page.locator("#e5-preview")).to_contain_text("NA")
    embed(page)
    page.locator("#e5-corpus-search").click()
    expect(page.locator("#e5-hits .e5-error")).to_contain_text("There is no query")


def test_a_new_file_leaves_nothing_of_the_one_before(open_page):
    page = open_page()
    open_corpus(page)
    upload(page, sheet(ROWS), "first.csv")
    expect(page.locator("#e5-chosen")).to_contain_text("60 texts")
    page.locator("#e5-text-column input").click()
    page.get_by_role("option", name="subject").click()
    embed(page)
    reload(page)
    open_corpus(page)
    expect(page.locator("#e5-embed-status")).to_contain_text("60 texts of first.csv embedded")
    expect(page.locator("#e5-text-column input")).to_have_value("subject")
    page.locator("#e5-title-column input").click()
    page.get_by_role("option", name="none", exact=True).click()
    expect(page.locator("#e5-embed-status")).to_contain_text("You chose other columns")
    page.locator("#e5-paste textarea").fill("one\ntwo")
    page.locator("#e5-use-paste").click()
    expect(page.locator("#e5-chosen")).to_contain_text("2 texts")
    expect(page.locator("#e5-found")).to_have_count(0)
    expect(page.locator("#e5-embed-status")).not_to_contain_text("first.csv")
    reload(page)
    open_corpus(page)
    expect(page.locator("#e5-corpus-said")).to_contain_text("pasted texts: 2 rows")
    expect(page.locator("#e5-found")).to_have_count(0)


def test_texts_of_one_column_are_embedded_after_a_file_of_several(open_page):
    """The page must not send the columns of the file before, whose choices are no longer to be seen."""
    page = open_page()
    open_corpus(page)
    expect(page.locator("#e5-text-column")).to_be_hidden()
    clear = page.locator("#e5-corpus-file").get_by_label("Clear")
    upload(page, sheet(ROWS, ("_id", "title", "body", "category")), "several.csv")
    expect(page.locator("#e5-chosen")).to_contain_text("60 texts")
    page.locator("#e5-colour-column input").click()
    page.get_by_role("option", name="category").click()
    clear.click()
    upload(page, b"line\none\ntwo", "one.csv")
    expect(page.locator("#e5-chosen")).to_contain_text("2 texts to embed")
    expect(page.locator("#e5-text-column")).to_be_hidden()
    embed(page)
    expect(page.locator("#e5-embed-status")).to_contain_text("2 texts of one.csv")
    clear.click()
    upload(page, sheet(ROWS), "again.csv")
    expect(page.locator("#e5-text-column")).to_be_visible()
    expect(page.locator("#e5-text-column input")).to_have_value("text")
    expect(page.locator("#e5-colour-column input")).to_have_value("none")
    page.locator("#e5-paste textarea").fill("three\nfour\nfive")
    page.locator("#e5-use-paste").click()
    expect(page.locator("#e5-chosen")).to_contain_text("3 texts to embed")
    embed(page)
    expect(page.locator("#e5-embed-status")).to_contain_text("3 texts of pasted texts")


def test_a_result_that_comes_late_is_not_shown_beside_other_texts(open_page, held_up, monkeypatch):
    real = corpus_tab.embed_corpus

    def slow(*arguments):
        found = real(*arguments)
        held_up.wait(20)
        return found

    monkeypatch.setattr(corpus_tab, "embed_corpus", slow)
    page = open_page()
    open_corpus(page)
    page.locator("#e5-paste textarea").fill("one\ntwo\nthree")
    page.locator("#e5-use-paste").click()
    expect(page.locator("#e5-chosen")).to_contain_text("3 texts")
    page.locator("#e5-embed").click()
    expect(page.locator("#e5-embed-stop")).to_be_visible()
    page.locator("#e5-paste textarea").fill("four\nfive")
    page.locator("#e5-use-paste").click()
    expect(page.locator("#e5-chosen")).to_contain_text("2 texts")
    held_up.set()
    expect(page.locator("#e5-embed-status")).to_contain_text("the texts were replaced")
    expect(page.locator("#e5-found")).to_have_count(0)


def test_a_store_that_is_gone_gets_a_new_key(open_page, services):
    page = open_page()
    open_corpus(page)
    services.visitor_stores.forget(page.evaluate("sessionStorage.getItem('e5-shelf')"))
    page.locator("#e5-paste textarea").fill("one\ntwo\nthree")
    page.locator("#e5-use-paste").click()
    expect(page.locator("#e5-chosen")).to_contain_text("3 texts")
    embed(page)


def test_deleting_leaves_nothing_on_the_server(open_page, services):
    page = open_page()
    open_corpus(page)
    before = services.visitor_stores.n_bytes
    upload(page, "\n".join(f"text {n}" for n in range(30)).encode(), "thirty.txt")
    expect(page.locator("#e5-chosen")).to_contain_text("30 texts")
    folder = Path(os.environ.get("GRADIO_TEMP_DIR", tempfile.gettempdir() + "/gradio"))
    assert list(folder.rglob("thirty.txt"))
    embed(page)
    assert services.visitor_stores.n_bytes > before + 30 * 384 * 4
    page.locator("#e5-forget").click()
    expect(page.locator("#e5-embed-status")).to_contain_text("Deleted")
    expect(page.locator("#e5-found")).to_have_count(0)
    assert services.visitor_stores.n_bytes <= before + 10_000
    assert not list(folder.rglob("thirty.txt"))
    reload(page)
    open_corpus(page)
    expect(page.locator("#e5-corpus-said")).to_contain_text("Up to 50,000 rows")


def test_nothing_of_corpus_shuts_people_out_and_texts_stay_texts(open_page):
    page = open_page()
    open_corpus(page)
    check_barriers(page)
    rows = [{"text": text, NASTY[0]: text, "title": text} for text in NASTY]
    upload(page, "\n".join(json.dumps(row) for row in rows).encode(), "<b>nasty.jsonl")
    expect(page.locator("#e5-chosen")).to_contain_text(f"{len(NASTY)} texts")
    page.locator("#e5-colour-column input").click()
    page.get_by_role("option", name=NASTY[0]).click()
    embed(page)
    search(page, NASTY[2])
    expect(page.locator("#e5-hits")).to_contain_text(re.compile("onerror|script"))
    expect(page.locator("#e5-corpus-caption")).to_contain_text("Rings mark")
    point = page.locator("#e5-corpus-map .scatterlayer .points path").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#e5-corpus-point")).to_contain_text("Nearest in all dimensions")
    for title in ("Measure with known answers", "Upload existing embeddings", "How the file is read"):
        page.get_by_text(title).click()
    check_barriers(page)
    assert page.locator("#e5-found img, #e5-found script, #e5-preview img").count() == 0


def test_a_phone_scrolls_down_only_among_a_corpus(open_page):
    page = open_page(390, 844, touch=True)
    open_corpus(page)
    upload(page, sheet(ROWS))
    expect(page.locator("#e5-chosen")).to_contain_text("60 texts")
    embed(page)
    search(page, "stars")
    check_width(page)
