"""The Diagnose tab in a real browser, and all tabs on a phone."""

from __future__ import annotations

import pytest

from e5studio.studio.code.targets import TARGETS
from e5studio.studio.diagnose import tab as diagnose_tab
from tests.studio.browsing import MARKS, NASTY, check_barriers, check_width, example, expect, panel_of, score, write
from tests.studio.code.test_browser import take_target
from tests.studio.compare.test_browser import check_in_sight, compared, open_compare
from tests.studio.conftest import wait_at_gate
from tests.studio.corpus.test_browser import ROWS, delete, embed, open_corpus, search, sheet, upload

pytestmark = MARKS

SUBJECTS = ["bees", "stars", "rivers", "letters", "trains", "bread"]
TEXTS = [f"a text about {SUBJECTS[n % 6]} that is found on page {n}" for n in range(58)]
FAULTY = [*TEXTS, TEXTS[0], TEXTS[1].upper(), "summit " * 600]


def open_diagnose(page):
    page.get_by_role("tab", name="Diagnose").click()
    expect(page.locator("#e5-diagnose")).to_be_visible()


def diagnosed(page):
    expect(page.locator("#e5-diagnose-status .e5-done")).to_be_visible(timeout=30_000)
    expect(page.locator("#e5-diagnose")).to_be_enabled()


def finding(page, title):
    return page.locator(".e5-finding", has=page.get_by_role("heading", name=title, exact=True))


def test_a_person_scores_and_reads_what_is_wrong(page):
    write(page, ["a query", "a query", "another"], ["summit " * 600, "a short passage"])
    score(page)
    open_diagnose(page)
    diagnosed(page)
    expect(page.locator("#e5-diagnose-status")).to_contain_text(
        "Diagnosed 3 queries and 2 passages as they were scored"
    )
    expect(page.locator("#e5-diagnosis")).to_contain_text("Act on this: 1")
    expect(page.locator("#e5-diagnosis .e5-words > ul > li")).to_have_count(1)
    expect(finding(page, "Copies")).to_contain_text("none")  # a query that is asked twice takes no place in results
    cut = finding(page, "Texts cut off")
    expect(cut).to_contain_text("1 of 5")
    cut.locator("tbody tr").click()
    expect(cut.locator(".e5-pair dt").last).to_have_text("P1")
    copies = finding(page, "Copies")
    expect(copies.locator("dl")).to_be_hidden()
    copies.locator("summary").click()
    expect(copies.locator("dl")).to_be_visible()
    expect(page.get_by_role("tab", name="Diagnose")).to_have_text("Diagnose (1)")
    unknown = page.locator("#e5-diagnosis details")
    expect(finding(page, "Texts in many lists")).to_have_count(0)  # too few texts: in one line, with its reason
    expect(unknown.locator("li").first).to_be_hidden()
    unknown.locator("summary").click()
    expect(unknown).to_contain_text("Texts in many lists")

    write(page, ["other texts"], ["are scored"])
    score(page)
    expect(page.locator("#e5-diagnose-status")).to_contain_text("Other texts have come since")
    expect(page.locator(".e5-finding:visible")).to_have_count(0)
    page.locator("#e5-diagnose").click()
    diagnosed(page)
    expect(finding(page, "Texts cut off")).to_contain_text("none")


def test_a_corpus_is_diagnosed_and_forgotten(page):
    open_corpus(page)
    upload(page, "\n".join(FAULTY).encode(), "texts.txt")
    expect(page.locator("#e5-chosen")).to_contain_text("61 texts to embed")
    embed(page)
    expect(page.get_by_role("tab", name="Diagnose")).to_have_text("Diagnose (3)", timeout=30_000)  # by itself
    open_diagnose(page)
    diagnosed(page)
    expect(page.locator("#e5-diagnose-status")).to_contain_text("Diagnosed 61 texts of the corpus")
    expect(finding(page, "Copies")).to_contain_text("2 of 61 in 2 groups")
    expect(finding(page, "Copies").locator("tbody tr")).to_have_count(4)
    expect(finding(page, "Texts cut off").locator("tbody tr")).to_contain_text("#61 summit")
    expect(page.locator("#e5-cosines .js-plotly-plot .scatterlayer .js-line")).to_have_count(2)
    expect(page.locator("#e5-hubs .js-plotly-plot .barlayer .point").first).to_be_visible()
    score(page)  # the texts of the left side are others, and not those that are shown
    expect(finding(page, "Copies")).to_be_visible()
    open_corpus(page)
    delete(page)
    open_diagnose(page)
    expect(page.get_by_role("tab", name="Diagnose")).to_have_text("Diagnose")
    expect(page.locator(".e5-finding:visible")).to_have_count(0)
    expect(page.locator("#e5-cosines .js-plotly-plot")).to_be_hidden()
    page.locator("#e5-diagnose").click()
    expect(page.locator("#e5-diagnose-status .e5-error")).to_contain_text("There is no embedded corpus")
    page.locator("#e5-diagnose-source").get_by_text("Texts of the form").click()


@pytest.fixture
def slow(monkeypatch, held_up):
    real = diagnose_tab.diagnose

    def slow_diagnose(subject, tell):
        wait_at_gate(lambda: tell(0.5, "Finding the neighbours of each text"))
        return real(subject, tell)

    monkeypatch.setattr(diagnose_tab, "diagnose", slow_diagnose)
    return held_up


def test_a_diagnosis_can_be_stopped_and_texts_that_are_scored_meanwhile_leave_no_old_findings(page, slow):
    score(page)
    page.locator("body").press("5")
    expect(page.locator("#e5-diagnose-status")).to_contain_text("Finding the neighbours of each text… 50%")
    page.locator("#e5-diagnose-stop").click()
    expect(page.locator("#e5-diagnose-status .e5-hint")).to_contain_text("Stopped.")
    expect(page.locator(".e5-finding:visible")).to_have_count(0)

    page.locator("#e5-diagnose").click()
    expect(page.locator("#e5-diagnose-stop")).to_be_visible()
    write(page, ["other texts"], ["are scored"])
    page.locator("#e5-score").click()
    expect(page.locator("#e5-status")).to_contain_text("Scored 1 × 1")
    slow.set()
    expect(page.locator("#e5-diagnose-status")).to_contain_text("Other texts have come since")
    expect(page.locator(".e5-finding:visible")).to_have_count(0)


def test_nothing_of_it_shuts_people_out_and_texts_stay_texts(page):
    texts = [*NASTY, *NASTY, "summit " * 600, *TEXTS[:30]]
    write(page, texts, [])
    score(page)
    open_diagnose(page)
    diagnosed(page)
    copies = finding(page, "Copies")
    expect(copies.locator("tbody tr")).to_have_count(2 * len(NASTY))
    copies.locator("tbody tr", has_text="onerror").first.click()
    expect(copies.locator(".e5-pair dd").last).to_have_text("<img src=x onerror=alert(1)>")
    for each in page.locator(".e5-finding summary").all():
        each.click()
    check_barriers(page, panel_of("#e5-diagnose"))
    assert page.locator(".e5-finding img, .e5-finding script, #e5-diagnosis img").count() == 0


def test_a_phone_shows_all_tabs_and_scrolls_down_only(open_page):
    page = open_page(390, 844, touch=True)
    for name in ("Scores", "Map", "Compare", "Corpus", "Diagnose", "Code"):
        expect(page.get_by_role("tab", name=name)).to_be_visible()
    example(page, "Eight questions")
    score(page)
    page.get_by_role("tab", name="Code").click()
    for target in TARGETS:
        take_target(page, target)
        check_width(page)
        assert page.evaluate("(box => box.scrollWidth - box.clientWidth)(document.querySelector('.cm-scroller'))") == 0
    open_compare(page)
    compared(page, page.locator("#e5-compare"))
    check_in_sight(page)
    check_width(page)
    open_corpus(page)
    upload(page, sheet(ROWS))
    expect(page.locator("#e5-chosen")).to_contain_text("60 texts")
    embed(page)
    search(page, "stars")
    check_width(page)
    write(page, FAULTY, [])
    score(page)
    open_diagnose(page)
    diagnosed(page)
    expect(page.locator("#e5-cosines .js-plotly-plot")).to_be_visible()
    check_width(page)
