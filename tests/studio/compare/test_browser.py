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


def compared(page, button):
    before = page.locator("#e5-compare-status").inner_text()
    page.locator(button).click()
    expect(page.locator("#e5-compare-status")).not_to_have_text(before)
    expect(page.locator("#e5-compare-status .e5-done")).to_be_visible()
    expect(page.locator("#e5-compare")).to_be_enabled()


def test_a_person_compares_with_no_prompt_and_looks_closer(page, tmp_path):
    take_model(page, ENGLISH)
    example(page, "Eight questions")
    open_compare(page)
    take_other_model(page, ENGLISH)
    expect(page.locator("#e5-other-use label")).to_have_count(3)
    page.locator("#e5-other-use").get_by_text("No prompt").click()
    page.get_by_label("Passage 1 answers query 1").check()
    compared(page, "#e5-compare")
    said = page.locator("#e5-compare-said")
    expect(said).to_contain_text("e5-small-v2, Query → passage, float32, queries query: , passages passage:")
    expect(said).to_contain_text("e5-small-v2, No prompt, float32, nothing in front")
    expect(said).to_contain_text("Kendall's tau")
    expect(said).to_contain_text("mean reciprocal rank")
    expect(page.locator("#e5-differences .textpoint")).to_have_count(64)
    rows = page.locator("#e5-moves tbody tr")
    expect(rows).to_have_count(64)

    rows.nth(3).click()
    pair = page.locator("#e5-compared-pair")
    expect(pair).to_contain_text("A ")
    query = rows.nth(3).locator("td b").first.inner_text()
    expect(page.locator("#e5-bump-said strong")).to_have_text(query)
    expect(page.locator("#e5-bump .scatterlayer .js-line")).to_have_count(8)
    expect(page.locator("#e5-moved .points path")).to_have_count(8)
    for name in ("a", "b"):
        expect(page.locator(f"#e5-map-{name} .points path")).to_have_count(16)

    with page.expect_download() as saved:
        page.get_by_label("Save all pairs as CSV").click()
    saved.value.save_as(tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == 64

    page.locator("#e5-queries textarea").press_sequentially("x")
    expect(page.locator("#e5-stale-comparison")).to_contain_text(
        "This comparison is of other texts (e5-small-v2, 8 × 8)"
    )


def test_prompts_are_tried_at_one_click_and_what_is_typed_meanwhile_is_not_called_compared(page, held_up, monkeypatch):
    real = compare_tab.try_prompts

    def slow(*arguments, **options):
        assert held_up.wait(20)
        return real(*arguments, **options)

    monkeypatch.setattr(compare_tab, "try_prompts", slow)
    take_model(page, ENGLISH)
    open_compare(page)
    page.locator("#e5-try-prompts").click()
    expect(page.locator("#e5-compare-stop")).to_be_visible()
    page.locator("#e5-queries textarea").press_sequentially("x")
    held_up.set()
    expect(page.locator("#e5-moves .e5-row-best")).to_have_count(1)
    expect(page.locator("#e5-stale-comparison")).to_contain_text(
        "This comparison is of other texts (e5-small-v2, 2 × 2)"
    )
    expect(page.locator("#e5-moves tbody tr")).to_have_count(9)
    expect(page.locator("#e5-differences .hm")).to_have_count(9)
    expect(page.locator("#e5-compare-details")).to_have_count(0)
    page.locator("#e5-differences .js-plotly-plot .nsewdrag").nth(4).click(position={"x": 20, "y": 20})
    expect(page.locator("#e5-compared-pair .e5-near dt")).to_have_count(9)


def test_another_instruction_fills_the_form_and_runs(page):
    open_compare(page)
    page.locator("#e5-try-instruction").click()
    expect(page.locator("#e5-compare-status .e5-error")).to_contain_text("takes no instruction")
    take_model(page, INSTRUCT)
    page.locator("#e5-use").get_by_text("Instruction + query").click()
    compared(page, "#e5-try-instruction")
    expect(page.locator("#e5-other-instruction textarea")).to_have_value(
        "Given a question, retrieve Wikipedia passages that answer the question"
    )
    expect(page.locator("#e5-compare-said")).to_contain_text("Instruct: Given a question, retrieve Wikipedia")
    expect(page.locator("#e5-moved .points path")).to_have_count(2)


def test_precisions_are_compared_and_stay_in_sight_when_the_next_comparison_fails_or_is_stopped(page, monkeypatch):
    score(page)
    open_compare(page)
    compared(page, "#e5-try-precision")
    expect(page.locator("#e5-compare-said")).to_contain_text("No prompt, int8")
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
    expect(page.locator("#e5-differences .textpoint")).to_have_count(4)


def test_nothing_of_compare_shuts_people_out_and_texts_stay_texts(page):
    write(page, NASTY[2:6], NASTY[:2])
    open_compare(page)
    for button, column in (("#e5-try-prompts", "Same best"), ("#e5-try-precision", "Rank A")):
        compared(page, button)
        expect(page.locator("#e5-moves")).to_contain_text(column)
        page.locator("#e5-moves tbody tr").first.click()
        check_barriers(page, panel_of("#e5-compare"))
    expect(page.locator("#e5-compared-pair")).to_contain_text("Q")
    assert page.locator("#e5-compare-details img, #e5-moves img, #e5-compared-pair script").count() == 0
