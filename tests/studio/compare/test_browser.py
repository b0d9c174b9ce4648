"""The Compare tab in a real browser."""

from __future__ import annotations

import csv

from e5studio.backends import resolve_choices
from e5studio.studio.compare import tab as compare_tab
from tests.studio.browsing import MARKS, NASTY, check_barriers, example, expect, panel_of, score, take_model, write
from tests.studio.conftest import ABSENT, ENDLESS, ENGLISH, INSTRUCT

pytestmark = MARKS


def open_compare(page):
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#e5-compare")).to_be_visible()
    page.get_by_label("Passage 1 answers query 1").uncheck()


def take_other_model(page, name):
    page.locator("#e5-other-model .e5-models-chosen").click()
    page.locator("#e5-other-model .e5-model", has=page.locator(f"input[value='{name}']")).click()


def chip(page, title):
    return page.locator("#e5-compare-chips button", has_text=title)


def compared(page, button):
    page.evaluate("document.querySelector('#e5-compare-said .e5-headline')?.remove()")
    button.click()
    expect(page.locator("#e5-compare-said .e5-headline")).to_be_visible()
    expect(page.locator("#e5-compare-status .e5-done")).to_be_visible()
    expect(page.locator("#e5-compare")).to_be_enabled()


def check_in_sight(page):
    expect(page.locator("#e5-compare-said .e5-headline")).to_be_in_viewport(ratio=1)
    expect(page.locator("#e5-ranks .hm")).to_be_in_viewport()


def test_a_person_compares_with_no_prompt_and_looks_closer(page, tmp_path):
    take_model(page, ENGLISH)
    example(page, "Eight questions")
    open_compare(page)
    page.get_by_label("Passage 1 answers query 1").check()
    compared(page, chip(page, "With and without prompts"))
    expect(page.locator("#e5-compare-said .e5-headline")).to_contain_text("Without prompts, ")
    check_in_sight(page)
    expect(page.locator("#e5-other-use input:checked")).to_have_value("none")
    said = page.locator("#e5-compare-said")
    expect(said).to_contain_text("e5-small-v2, Query → passage, float32, torch, queries query: , passages passage:")
    expect(said).to_contain_text("e5-small-v2, No prompt, float32, torch, nothing in front")
    expect(said).to_contain_text("Kendall's tau")
    expect(said).to_contain_text("mean reciprocal rank")
    expect(page.locator("#e5-ranks .textpoint")).to_have_count(64)
    expect(page.locator("#e5-compare-scores")).to_have_count(0)
    rows = page.locator("#e5-firsts tbody tr")
    expect(rows).to_have_count(8)

    rows.nth(3).click()
    expect(page.locator("#e5-compared-pair")).to_contain_text("with prompts")
    query = rows.nth(3).locator("td b").first.inner_text()
    expect(page.locator("#e5-bump-said strong")).to_have_text(query)
    expect(page.locator("#e5-bump .scatterlayer .js-line")).to_have_count(8)
    page.locator("#e5-compare-details").get_by_role("button", name="Both maps").click()
    for name in ("a", "b"):
        expect(page.locator(f"#e5-map-{name} .points path")).to_have_count(16)

    with page.expect_download() as saved:
        page.get_by_label("Save all pairs as CSV").click()
    saved.value.save_as(tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == 64

    page.locator("#e5-ranks-said").get_by_role("button", name="All 9 combinations of prompts").click()
    expect(page.locator("#e5-all-prompts tbody tr")).to_have_count(9)
    expect(page.locator("#e5-all-prompts .e5-row-best")).to_have_count(1)
    check_barriers(page, panel_of("#e5-compare"))
    page.locator("#e5-queries textarea").press_sequentially("x")
    expect(page.locator("#e5-stale-comparison")).to_contain_text(
        "This comparison is of other texts (e5-small-v2, 8 × 8)"
    )


def test_another_instruction_fills_the_form_and_what_is_typed_meanwhile_is_not_called_compared(
    page, held_up, monkeypatch
):
    real = compare_tab.compare

    def slow(*arguments, **options):
        assert held_up.wait(20)
        return real(*arguments, **options)

    monkeypatch.setattr(compare_tab, "compare", slow)
    open_compare(page)
    expect(chip(page, "Another instruction")).to_have_count(0)
    take_model(page, INSTRUCT)
    page.locator("#e5-use").get_by_text("Instruction + query").click()
    chip(page, "Another instruction").click()
    expect(page.locator("#e5-compare-stop")).to_be_visible()
    page.locator("#e5-queries textarea").press_sequentially("x")
    held_up.set()
    expect(page.locator("#e5-compare-said .e5-headline")).to_contain_text("With the other instruction, ")
    expect(page.locator("#e5-stale-comparison")).to_contain_text("This comparison is of other texts")
    expect(page.locator("#e5-other-instruction textarea")).to_have_value(
        "Given a question, retrieve Wikipedia passages that answer the question"
    )
    expect(page.locator("#e5-compare-said")).to_contain_text("Instruct: Given a question, retrieve Wikipedia")


def test_precisions_are_compared_and_stay_in_sight_when_the_next_comparison_fails_or_is_stopped(page, monkeypatch):
    monkeypatch.setattr(compare_tab, "has_int8", lambda: True)
    score(page)
    open_compare(page)
    compared(page, chip(page, "float32 and int8"))
    page.locator("#e5-compare-scores").get_by_role("button", name="Differences of scores").click()
    expect(page.locator("#e5-differences .textpoint")).to_have_count(4)
    page.get_by_role("button", name="Precision and backend").click()
    expect(page.locator("#e5-dtype-b input")).to_have_value("int8")
    page.get_by_label("Passage 1 answers query 1").check()
    status = page.locator("#e5-compare-status")
    expect(status).to_contain_text("Changed since it was compared")

    def refuse(*arguments, **options):
        resolve_choices("torch", device="cpu", dtype="int8")

    with monkeypatch.context() as patch:
        patch.setattr(compare_tab, "compare", refuse)
        page.locator("#e5-compare").click()
        expect(status.locator(".e5-error")).to_contain_text("not in 'int8'. Choose another precision, such as float32.")
        expect(status.locator(".e5-error")).not_to_contain_text("backend=")
    take_other_model(page, ABSENT)
    page.locator("#e5-compare").click()
    expect(status.locator(".e5-error")).to_contain_text("e5-large-v2 is not on this machine")
    take_other_model(page, ENDLESS)
    page.locator("#e5-compare").click()
    expect(status).to_contain_text("B: Downloading multilingual-e5-base")
    page.locator("#e5-compare-stop").click()
    expect(status.locator(".e5-hint")).to_contain_text("Stopped.")
    expect(page.locator("#e5-ranks .textpoint")).to_have_count(4)


def test_nothing_of_compare_shuts_people_out_and_texts_stay_texts(page):
    write(page, NASTY[2:6], NASTY[:2])
    open_compare(page)
    take_other_model(page, ENGLISH)
    compared(page, page.locator("#e5-compare"))
    page.locator("#e5-firsts tbody tr").first.click()
    expect(page.locator("#e5-compared-pair")).to_contain_text("Q")
    check_barriers(page, panel_of("#e5-compare"))
    assert page.locator("#e5-compare-matrix img, #e5-compare-matrix script").count() == 0
