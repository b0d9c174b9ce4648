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
import pytest

from e5studio.studio.corpus import tab as corpus_tab
from tests.studio.browsing import MARKS, NASTY, check_barriers, expect, middle, panel_of, reload, take_model
from tests.studio.conftest import ENGLISH, wait_at_gate

pytestmark = MARKS

SUBJECTS = ["bees", "stars", "rivers", "letters", "trains", "bread"]
ROWS = [[f"n{n}", f"Title {n}", f"a text about {SUBJECTS[n % 6]}, number {n}", SUBJECTS[n % 6]] for n in range(60)]


def sheet(rows, header=("_id", "title", "text", "subject")):
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    return out.getvalue().encode()


def open_corpus(page):
    page.get_by_role("tab", name="Corpus").click()
    expect(page.locator("#e5-embed")).to_be_attached()


def delete(page):
    """Delete what the page has; then the page has the key of an empty store."""
    page.wait_for_function("sessionStorage.getItem('e5-shelf')")
    key = page.evaluate("sessionStorage.getItem('e5-shelf')")
    page.evaluate("document.querySelector('button#e5-forget').click()")  # which is hidden where there is nothing
    page.wait_for_function("key => sessionStorage.getItem('e5-shelf') !== key", arg=key)
    expect(page.locator("#e5-embed-status")).to_contain_text("Deleted")
    expect(page.locator("#e5-found")).to_be_hidden()


@pytest.fixture
def corpus_page(page):
    """The tab without the texts of the test before."""
    open_corpus(page)
    delete(page)
    return page


def upload(page, content, name="papers.csv", where="#e5-corpus-file"):
    page.locator(f"{where} input[type=file]").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": content}
    )


def paste(page, *texts):
    page.locator("#e5-paste textarea").fill("\n".join(texts))
    page.locator("#e5-use-paste").click()


def choose(page, menu, option):
    page.locator(f"{menu} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def unfold(page, title):
    part = page.locator("button.label-wrap", has_text=title)
    if "open" not in part.get_attribute("class").split():
        part.click()


def embed(page):
    page.locator("#e5-embed").click()
    expect(page.locator("#e5-embed-status .e5-done")).to_be_attached(timeout=30_000)  # on a phone the bar says it
    expect(page.locator("#e5-corpus-map .js-plotly-plot")).to_be_visible(timeout=30_000)


def search(page, query):
    page.locator("#e5-corpus-query input").fill(query)
    page.locator("#e5-corpus-search").click()
    expect(page.locator("#e5-hits")).to_contain_text("Orange words carry")


def measure(page):
    """Measure with twenty pairs and one whose answer is not there."""
    page.locator("#e5-section").get_by_text("Evaluate").click()
    pairs = [[f"question about {row[3]} number {n}", row[0]] for n, row in enumerate(ROWS[:20])]
    upload(page, sheet([*pairs, ["nobody knows", "n1000"]], ("query", "corpus-id")), "pairs.csv", "#e5-pairs")
    expect(page.locator("#e5-pairs-said")).to_contain_text("pairs.csv: 21 rows")
    page.locator("#e5-variants").get_by_label("Without prompts").check()
    page.locator("#e5-measure").click()
    done = page.locator("#e5-measure-status .e5-done")
    expect(done).to_have_text("Measured 2 settings on 20 queries.", timeout=30_000)


def test_a_person_brings_a_file_embeds_searches_looks_at_the_map_and_measures(corpus_page, tmp_path, encoders):
    page = corpus_page
    take_model(page, ENGLISH)
    upload(page, sheet([*ROWS, ["broken", "row"], ["n99", "Empty", " ", "none"]]))
    expect(page.locator("#e5-corpus-said")).to_contain_text("papers.csv: 61 rows, 4 columns.")
    expect(page.locator("#e5-chosen")).to_contain_text("60 texts to embed. Left out: 1 row with an empty text, 1 row")
    expect(page.locator("#e5-preview tbody tr")).to_have_count(5)
    expect(page.locator("#e5-title-column input")).to_have_value("title")
    embed(page)
    expect(page.locator("#e5-setup")).to_be_hidden()
    expect(page.locator("#e5-corpus-line")).to_have_text("papers.csv · 60 texts · e5-small-v2")
    page.locator("#e5-corpus-map-colour select").select_option("column:subject")
    expect(page.locator("#e5-embed-status")).to_contain_text("60 texts of papers.csv embedded with e5-small-v2")
    expect(page.locator("#e5-corpus-map .legendtext").first).to_be_visible()
    expect(page.locator("#e5-corpus-map .scatterlayer .points path")).to_have_count(60)
    expect(page.locator("#e5-corpus-map-caption")).to_contain_text("PCA shows")

    search(page, "who sends letters")
    wanted = encoders("e5")
    documents = wanted.encode_document([f"{title} {text}" for _, title, text, _ in ROWS])
    scores = 100 * wanted.encode_query(["who sends letters"]) @ documents.T
    best = int(scores[0].argmax())
    first = page.locator("#e5-hits .e5-hit").first
    expect(first).to_contain_text(f"{scores[0, best]:.1f}".replace("-", "\N{MINUS SIGN}"))
    expect(first).to_contain_text(f"#{best + 2}")
    expect(first).to_contain_text(f"_id n{best}")  # the other cells of its row
    expect(page.locator("#e5-hits .e5-hit")).to_have_count(10)
    expect(page.locator("#e5-corpus-map-caption")).to_contain_text("The 10 hits of the search light up")
    in_sight(page, "#e5-hits .e5-hit", "#e5-corpus-map .js-plotly-plot")
    page.get_by_role("button", name="Show ten more").click()
    expect(page.locator("#e5-hits .e5-hit")).to_have_count(20)
    page.locator("#e5-corpus-map-colour select").select_option("score")
    expect(page.locator("#e5-corpus-map .colorbar")).to_be_visible()
    first.get_by_role("button", name=re.compile("More like")).click()
    expect(page.locator("#e5-hits")).to_contain_text(f"Most like #{best + 2}")
    page.locator("#e5-corpus-filter select").select_option(label="bees (10)")
    expect(page.locator("#e5-hits .e5-hit", has_text="subject bees")).to_have_count(
        page.locator("#e5-hits .e5-hit").count()
    )
    page.locator("#e5-hits .e5-hit").first.click()
    expect(page.locator("#e5-corpus-map-point")).to_contain_text("Nearest in all dimensions")
    page.locator("#e5-corpus-map-method select").select_option("umap")
    expect(page.locator("#e5-corpus-map-caption")).to_contain_text("UMAP keeps", timeout=60_000)

    with page.expect_download() as saved:
        page.locator("#e5-save-corpus").get_by_label("Save vectors as Parquet").click()
    saved.value.save_as(tmp_path / "vectors.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "vectors.parquet")
    np.testing.assert_allclose(np.stack(table["vector"].to_pylist()), documents, atol=1e-5)
    page.locator("#e5-change").click()
    unfold(page, "Upload existing embeddings")
    upload(page, (tmp_path / "vectors.parquet").read_bytes(), "vectors.parquet", "#e5-bring-file")
    expect(page.locator("#e5-embed-status")).to_contain_text("60 texts of papers.csv embedded with e5-small-v2.")
    search(page, "who sends letters")
    expect(page.locator("#e5-hits .e5-hit").first).to_contain_text(f"#{best + 2}")

    measure(page)
    expect(page.locator("#e5-verdict")).to_contain_text("lines 22")
    expect(page.locator("#e5-verdict")).to_contain_text("e5-small-v2, no prompt: nDCG@10")
    expect(page.locator("#e5-verdict")).to_contain_text("95 % interval")
    expect(page.locator("#e5-measured tbody tr")).to_have_count(2)
    expect(page.locator("#e5-measured-plot .points path")).to_have_count(2)
    expect(page.locator("#e5-measured tbody tr").first).to_be_in_viewport()  # without a scroll
    expect(page.locator("#e5-failed-query")).to_contain_text("rank")  # of the first that fails, without a click


def in_sight(page, *selectors):
    """Nobody has to scroll to see them, at least to their half."""
    page.evaluate("scrollTo(0, 0)")
    for selector in selectors:
        box = page.locator(selector).first.bounding_box()
        assert box["y"] + box["height"] / 2 < page.viewport_size["height"], selector


DROP = """([name, text]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], name));
    const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
    return document.querySelector("h1").dispatchEvent(event);
}"""


def test_a_file_dropped_anywhere_goes_to_the_corpus(corpus_page):
    page = corpus_page
    page.get_by_role("tab", name="Scores").click()
    assert not page.evaluate(DROP, ["dropped.csv", "text\none\ntwo\n"])  # the browser does not open it
    expect(page.locator("#e5-corpus-said")).to_contain_text("dropped.csv: 2 rows")


def test_stop_reload_go_on_and_delete(corpus_page, services, held_up, monkeypatch):
    """What was embedded before a reload is not embedded again, and what is deleted is nowhere any more."""
    page = corpus_page
    embedded = []
    real = corpus_tab.embed_corpus

    def slow(engine, corpus, setting, store, on_progress):
        def report(progress):
            if progress.n_done:
                embedded.append(progress.n_done)
            if progress.n_done:
                wait_at_gate(lambda: on_progress(progress))
            else:
                on_progress(progress)

        return real(engine, corpus, setting, store, report)

    monkeypatch.setattr(corpus_tab, "embed_corpus", slow)
    n_bytes = services.visitor_stores.n_bytes
    rows = [[f"Title {n}", "short", f"sentence {n}" + " and more" * (n % 30)] for n in range(60)]
    upload(page, sheet(rows, ("title", "text", "note")), "first.csv")
    expect(page.locator("#e5-chosen")).to_contain_text("60 texts to embed")
    choose(page, "#e5-text-column", "note")
    page.locator("#e5-embed").click()
    expect(page.locator("#e5-embed-status")).to_contain_text("of 60 texts")
    page.locator("#e5-embed-stop").click()
    expect(page.locator("#e5-embed-status .e5-hint")).to_contain_text("Stopped. Vectors computed so far stay")
    held_up.set()
    before = max(embedded)
    assert 0 < before < 60

    reload(page)
    open_corpus(page)
    expect(page.locator("#e5-corpus-line")).to_have_text("first.csv · 60 rows · not embedded yet")
    expect(page.locator("#e5-embed-status")).to_contain_text("not computed again")
    embed(page)
    expect(page.locator("#e5-embed-status")).to_contain_text(f"{before} vectors were known already.")
    search(page, "sentence 7")
    page.locator("#e5-corpus-map-colour select").select_option("tokens")
    page.wait_for_function("sessionStorage.getItem('e5-corpus-view')?.includes('tokens')")

    reload(page)
    open_corpus(page)
    expect(page.locator("#e5-corpus-query input")).to_have_value("sentence 7")
    expect(page.locator("#e5-hits .e5-hit")).to_have_count(10)
    expect(page.locator("#e5-corpus-map-colour select")).to_have_value("tokens")
    expect(page.locator("#e5-embed-status")).to_contain_text("60 texts of first.csv embedded")
    page.locator("#e5-change").click()
    expect(page.locator("#e5-text-column input")).to_have_value("note")
    expect(page.locator("#e5-corpus-map .js-plotly-plot")).to_be_visible()
    choose(page, "#e5-title-column", "none")
    expect(page.locator("#e5-embed-status")).to_contain_text("You chose other columns")
    folder = Path(os.environ.get("GRADIO_TEMP_DIR", tempfile.gettempdir() + "/gradio"))
    assert list(folder.rglob("first.csv"))
    assert services.visitor_stores.n_bytes > n_bytes + 60 * 384 * 4
    delete(page)
    assert services.visitor_stores.n_bytes <= n_bytes + 10_000
    assert not list(folder.rglob("first.csv"))
    reload(page)
    open_corpus(page)
    expect(page.locator("#e5-corpus-said")).to_contain_text("Up to 50,000 rows")
    expect(page.locator("#e5-found")).to_be_hidden()


def test_what_is_wrong_with_a_file_is_a_sentence(corpus_page):
    page = corpus_page
    expect(page.locator("#e5-embed")).to_be_disabled()
    error = page.locator("#e5-corpus-said .e5-error")
    clear = page.locator("#e5-corpus-file").get_by_label("Clear")
    upload(page, b"PK\x03\x04 and more", "book.csv")
    expect(error).to_contain_text("book.csv is a zip archive or an Excel workbook")
    clear.click()
    upload(page, "text\ncaf\u00e9\n".encode("cp1252"), "old.csv")
    expect(error).to_contain_text("old.csv is not utf-8")
    unfold(page, "How the file is read")
    choose(page, "#e5-encoding", "cp1252")
    expect(page.locator("#e5-preview")).to_contain_text("caf\u00e9")
    clear.click()
    choose(page, "#e5-encoding", "UTF-8, or as the file says")
    paste(page, "one", "", "NA", "null")
    expect(page.locator("#e5-chosen")).to_contain_text("3 texts to embed. Left out: 1 row with an empty text.")
    expect(page.locator("#e5-preview")).to_contain_text("NA")
    embed(page)
    page.locator("#e5-corpus-search").click()
    expect(page.locator("#e5-hits .e5-error")).to_contain_text("There is no query")


def test_new_texts_leave_nothing_of_those_before(corpus_page, services, held_up, monkeypatch):
    """The page must not send the columns of the file before, whose choices are no longer to be seen."""
    real = corpus_tab.embed_corpus

    def slow(*arguments):
        found = real(*arguments)
        held_up.wait(20)
        return found

    monkeypatch.setattr(corpus_tab, "embed_corpus", slow)
    held_up.set()
    page = corpus_page
    expect(page.locator("#e5-text-column")).to_be_hidden()
    clear = page.locator("#e5-corpus-file").get_by_label("Clear")
    upload(page, sheet(ROWS, ("_id", "title", "body", "category")), "several.csv")
    expect(page.locator("#e5-chosen")).to_contain_text("60 texts")
    choose(page, "#e5-title-column", "category")
    clear.click()
    upload(page, b"line\none\ntwo", "one.csv")
    expect(page.locator("#e5-chosen")).to_contain_text("2 texts to embed")
    expect(page.locator("#e5-text-column")).to_be_hidden()
    embed(page)
    expect(page.locator("#e5-embed-status")).to_contain_text("2 texts of one.csv")
    page.locator("#e5-change").click()
    clear.click()
    upload(page, sheet(ROWS), "again.csv")
    expect(page.locator("#e5-text-column")).to_be_visible()
    expect(page.locator("#e5-text-column input")).to_have_value("text")
    expect(page.locator("#e5-title-column input")).to_have_value("title")
    expect(page.locator("#e5-found")).to_be_hidden()
    expect(page.locator("#e5-embed-status")).not_to_contain_text("one.csv")

    held_up.clear()
    page.locator("#e5-embed").click()
    expect(page.locator("#e5-embed-stop")).to_be_visible()
    paste(page, "three", "four", "five")
    expect(page.locator("#e5-chosen")).to_contain_text("3 texts")
    held_up.set()
    expect(page.locator("#e5-embed-status")).to_contain_text("the texts were replaced")
    expect(page.locator("#e5-found")).to_be_hidden()

    services.visitor_stores.forget(page.evaluate("sessionStorage.getItem('e5-shelf')"))  # as an hour later
    paste(page, "six", "seven")
    expect(page.locator("#e5-chosen")).to_contain_text("2 texts to embed")
    embed(page)
    expect(page.locator("#e5-embed-status")).to_contain_text("2 texts of pasted texts")


def test_nothing_of_corpus_shuts_people_out_and_texts_stay_texts(corpus_page):
    page = corpus_page
    check_barriers(page, panel_of("#e5-embed"))
    rows = [{"text": text, NASTY[0]: text, "title": text} for text in NASTY]
    upload(page, "\n".join(json.dumps(row) for row in rows).encode(), "<b>nasty.jsonl")
    expect(page.locator("#e5-chosen")).to_contain_text(f"{len(NASTY)} texts")
    embed(page)
    page.locator("#e5-corpus-map-colour select").select_option(f"column:{NASTY[0]}")
    search(page, NASTY[2])
    expect(page.locator("#e5-hits")).to_contain_text(re.compile("onerror|script"))
    expect(page.locator("#e5-corpus-map-caption")).to_contain_text("light up")
    page.mouse.click(**middle(page.locator("#e5-corpus-map .scatterlayer .points path").first))
    expect(page.locator("#e5-corpus-map-point")).to_contain_text("Nearest in all dimensions")
    check_barriers(page, panel_of("#e5-embed"))
    page.locator("#e5-section").get_by_text("Evaluate").click()
    page.locator("#e5-change").click()
    for title in ("Upload existing embeddings", "How the file is read"):
        unfold(page, title)
    check_barriers(page, panel_of("#e5-embed"))
    assert page.locator("#e5-found img, #e5-found script, #e5-preview img").count() == 0
