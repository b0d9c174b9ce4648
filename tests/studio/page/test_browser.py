"""The page in a real browser: what a person sees and clicks, and that nothing leaves the machine."""

from __future__ import annotations

import json
import re

import pytest

from e5studio.studio.engine import engine as engine_module
from e5studio.studio.engine.catalog import model_here
from e5studio.studio.why import explanation as explanation_module
from e5studio.studio.why import panel as why_module
from tests.studio.browsing import (
    MARKS,
    NASTY,
    cell,
    check_barriers,
    check_names,
    check_width,
    example,
    expect,
    forget_score,
    middle,
    open_map,
    panel_of,
    reload,
    score,
    take_model,
    tap,
    write,
)
from tests.studio.conftest import OFFLINE, Visit

pytestmark = MARKS


def test_a_person_sees_scores_hovers_picks_and_sorts(page, engine):
    start = page.locator("#e5-start")
    expect(start).to_contain_text("Stand-in This is not E5: English only, and without prompts.")
    start.get_by_text("Why this model?").click()
    expect(start).to_contain_text("The offline copy, because these are tests.")
    score(page)

    cells = page.locator("#e5-heat .textpoint")
    expect(cells).to_have_count(4)
    numbers = [float(text.replace("\N{MINUS SIGN}", "-")) for text in cells.all_text_contents()]
    assert numbers[0] > numbers[1]
    assert numbers[3] > numbers[2]

    with engine.encode_queue.slot():  # who clicks on while the model is busy sees the last pair explained
        page.mouse.click(**cell(page, 1, 1))
        expect(page.locator("#e5-pair")).to_contain_text("Q2")
        page.mouse.click(**cell(page, 0, 0))
        expect(page.locator("#e5-pair")).to_contain_text("Q1")
        expect(page.locator("#e5-pair .e5-progress")).to_be_visible()
    expect(page.locator("#e5-pair .e5-progress")).to_have_count(0)
    expect(page.locator("#e5-pair")).to_contain_text("Q1")
    expect(page.locator("#e5-pair")).not_to_contain_text("Q2")

    page.mouse.move(**cell(page, 1, 1))
    tip = page.locator("#e5-heat .e5-plot-tip")
    expect(tip).to_contain_text("Q2 summit define")
    expect(tip).to_contain_text("P2 Definition of summit")
    expect(tip).to_contain_text(f"{numbers[3]:.1f}")
    page.mouse.move(**cell(page, 0, 1))
    expect(tip).to_contain_text("Q1 how much")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#e5-pair")).to_contain_text("2nd of 2 for Q1")
    expect(page.locator("#e5-pair")).to_contain_text("meetings between the leaders of two or more governments.")

    rows = page.locator("#e5-scores tbody tr[tabindex]")
    expect(rows).to_have_count(4)
    expect(page.locator("#e5-scores .e5-best")).to_have_count(2)
    expect(page.locator("#e5-scores .e5-table-group")).to_have_text([re.compile("^Q1"), re.compile("^Q2")])
    page.get_by_role("button", name="Score", exact=True).last.click()
    expect(page.locator("#e5-scores th").nth(2)).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#e5-scores .e5-table-group")).to_have_count(0)
    shown = [float(t.replace("\N{MINUS SIGN}", "-")) for t in page.locator("#e5-scores .e5-score").all_text_contents()]
    assert shown == sorted(numbers, reverse=True)
    rows.first.click()
    expect(page.locator("#e5-pair")).to_contain_text("The better of two")
    page.get_by_role("button", name="Query", exact=True).click()
    expect(page.locator("#e5-scores .e5-table-group")).to_have_count(2)
    expect(page.locator("#e5-notes")).to_contain_text("In front of queries: nothing")


def draw_a_loop(page):
    """Around the upper half of the map."""
    plot = page.locator("#e5-map .js-plotly-plot")
    plot.hover()
    plot.locator(".modebar-btn[data-title='Lasso Select']").click()
    box = plot.locator(".nsewdrag").bounding_box()
    left, top, right, bottom = box["x"] + 3, box["y"] + 3, box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, top + (bottom - top) / 2), (left, top + (bottom - top) / 2), (left, top)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_the_map_shows_pca_at_once_umap_on_request_in_two_and_three_dimensions_and_a_loop_lists_its_texts(page):
    example(page, "Eight questions")
    score(page)
    open_map(page)
    expect(page.locator("#e5-map-caption")).to_contain_text("PCA shows")
    expect(page.locator("#e5-map .scatterlayer .points path")).to_have_count(16)
    page.locator("#e5-map .textpoint", has_text=re.compile("^Q3$")).wait_for()

    page.locator("#e5-map-method select").select_option("umap")
    expect(page.locator("#e5-map-caption")).to_contain_text("UMAP keeps")
    page.locator("#e5-map-more > button").click()
    page.locator("#e5-map-dims").get_by_text("3D").click()
    expect(page.locator("#e5-map .gl-container canvas").first).to_be_visible()
    page.locator("#e5-map-dims").get_by_text("2D").click()
    page.locator("#e5-map-more > button").click()

    point = page.locator("#e5-map .scatterlayer .points path").first
    point.wait_for()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#e5-map .e5-plot-tip")).to_contain_text("Q1 why is the sky blue")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#e5-map-point")).to_contain_text("why is the sky blue")
    expect(page.locator("#e5-map-point")).to_contain_text("Nearest in all dimensions")
    expect(page.locator("#e5-map-point .e5-near dt")).to_have_count(5)

    page.locator("#e5-map-colour select").select_option("cluster")
    expect(page.locator("#e5-map-caption")).to_contain_text("topics by k-means")
    expect(page.locator("#e5-map .legendtext").first).to_contain_text("1 ")
    page.locator("#e5-map-colour select").select_option("kept")
    expect(page.locator("#e5-map .colorbar")).to_be_visible()
    expect(page.locator("#e5-map-point")).to_contain_text("Nearest in all dimensions")  # another colour keeps it
    page.locator("#e5-map-method select").select_option("axis")
    expect(page.locator("#e5-map-caption")).to_contain_text("from the mean of the queries")
    page.locator("#e5-map-quality summary").click()
    expect(page.locator("#e5-map-quality")).to_contain_text("Trustworthiness")
    check_wheel(page)
    check_barriers(page, panel_of("#e5-map"))

    rows = page.locator("#e5-map-texts tbody tr")
    expect(rows).to_have_count(16)
    draw_a_loop(page)
    chosen = page.locator("#e5-map-chosen tbody tr")
    expect(chosen.first).to_be_visible()
    assert 0 < chosen.count() < 16
    chosen.first.click()
    expect(page.locator("#e5-map-point")).to_contain_text("Nearest in all dimensions")
    page.locator("#e5-map-query").locator("input, textarea").fill("why is the sky blue")
    page.locator("#e5-map-search").click()
    expect(chosen).to_have_count(5)
    expect(page.locator("#e5-map-caption")).to_contain_text("The 5 hits of the search light up")
    chosen.first.click()
    expect(page.locator("#e5-map-point dd").first).to_have_text(chosen.first.locator("td").first.inner_text()[3:])
    page.locator("#e5-map-drop").click()
    expect(page.locator("#e5-map .textpoint", has_text=re.compile("^P3$"))).to_be_visible()  # again
    expect(chosen).to_have_count(0)

    page.get_by_role("tab", name="Scores").click()
    write(page, ["one", "two"], ["three"])
    score(page)
    expect(page.locator("#e5-map-texts tbody tr")).to_have_count(3)  # the map comes while its tab is closed
    open_map(page)
    expect(page.locator("#e5-map .scatterlayer .points path")).to_have_count(3)


def check_wheel(page):
    """The wheel scrolls the page; with Ctrl it zooms the map."""
    page.mouse.move(**middle(page.locator("#e5-map .js-plotly-plot")))
    extent = "document.querySelector('#e5-map .js-plotly-plot')._fullLayout.xaxis.range"
    before, top = page.evaluate(extent), page.evaluate("scrollY")
    page.mouse.wheel(0, 60)
    page.wait_for_function("top => scrollY > top", arg=top)
    assert page.evaluate(extent) == before
    page.keyboard.down("Control")
    page.mouse.wheel(0, -60)
    page.keyboard.up("Control")
    page.wait_for_function(f"before => {extent}[1] - {extent}[0] < before[1] - before[0]", arg=before)


def test_an_error_is_a_sentence_what_was_shown_stays_and_a_download_can_be_stopped(page):
    score(page)
    take_model(page, "intfloat/e5-large-v2")
    page.locator("#e5-score").click()
    error = page.locator("#e5-status .e5-error")
    expect(error).to_contain_text("e5-large-v2 is not on this machine, and the Hub does not answer.")
    expect(error).to_contain_text(f"such as {model_here()}. Showing the previous result.")
    expect(page.locator("#e5-heat .textpoint")).to_have_count(4)

    take_model(page, "intfloat/e5-base-v2")
    page.locator("#e5-score").click()
    expect(error).to_contain_text("Something went wrong inside the Studio (RuntimeError)")
    expect(page.locator("body")).not_to_contain_text("nobody foresaw")
    expect(page.locator("body")).not_to_contain_text("Traceback")

    expect(page.locator("#e5-stop")).to_have_count(0)
    take_model(page, "intfloat/multilingual-e5-base")
    page.locator("#e5-score").click()
    expect(page.locator("#e5-status")).to_contain_text("Downloading multilingual-e5-base")
    page.locator("#e5-stop").click()
    expect(page.locator("#e5-status .e5-hint")).to_contain_text("Stopped.")
    expect(page.locator("#e5-stop")).to_have_count(0)

    write(page, [""], ["a passage"])
    page.locator("#e5-score").click()
    expect(error).to_contain_text("nothing to read in Queries")

    take_model(page, OFFLINE)
    write(page, ["back again"], ["a passage", "", "another"])
    score(page)
    expect(page.locator("#e5-notes")).to_contain_text("line 2 of passages")
    expect(page.locator("#e5-scores")).to_contain_text("P3 another")


def test_the_page_offers_what_the_model_knows(page):
    start = page.locator("#e5-start")
    uses = page.locator("#e5-use label")
    expect(uses).to_have_text(["No prompt"])
    page.locator("#e5-model .e5-models-chosen").click()
    groups = page.locator("#e5-model .e5-model-group legend")
    expect(groups.nth(0)).to_have_text("On this machine")
    expect(groups.nth(1)).to_have_text("Recommended")
    small = page.locator("#e5-model .e5-model", has=page.locator("input[value='intfloat/multilingual-e5-small']"))
    expect(small).to_contain_text("472 MB to download")
    expect(small).to_contain_text("Recommended for 100 languages: fast")
    expect(small).to_contain_text("100 languages · 118 M weights · 384 dimensions")
    expect(page.locator("#e5-model .e5-model:visible .e5-not-here").first).to_be_visible()
    last = page.locator("#e5-model .e5-model").last
    last.scroll_into_view_if_needed()
    last.click(timeout=5_000)  # nothing lies over it
    expect(page.locator("#e5-model .e5-models-chosen")).to_contain_text("e5-mistral-7b-instruct")

    take_model(page, "intfloat/e5-small-v2")
    expect(start).to_contain_text("e5-small-v2 is not on this machine (132 MB to download).")
    expect(start).not_to_contain_text("Stand-in")  # what the page starts with is told beside that model
    expect(uses).to_have_text(["Query → passage", "Symmetric", "No prompt"])
    expect(page.locator("#e5-prompts")).to_contain_text("passages passage:")
    expect(page.locator("#e5-instruction")).to_have_count(0)

    take_model(page, "intfloat/multilingual-e5-large-instruct")
    expect(page.locator("#e5-instruction textarea")).to_have_value(re.compile("^Given a web search query"))
    expect(page.locator("#e5-prompts")).to_contain_text("Instruct: {instruction}↵Query:")
    uses.filter(has_text="Symmetric").click()
    expect(page.locator("#e5-passages")).to_contain_text("Compare with")
    page.get_by_role("button", name="Instruct", exact=True).click()
    expect(page.locator("#e5-passages")).to_contain_text("Passages")
    expect(page.locator("#e5-queries textarea")).to_have_value(re.compile("南瓜的家常做法"))
    score(page)
    expect(page.locator("#e5-notes")).to_contain_text("Given a web search query")


def click_cell(page, row, column):
    page.locator("#e5-heat").scroll_into_view_if_needed()
    page.mouse.click(**cell(page, row, column))


def pick(page, row, column):
    click_cell(page, row, column)
    expect(page.locator("#e5-pair .e5-text-of").last).to_contain_text(f"P{column + 1}")
    expect(page.locator("#e5-pair .e5-progress")).to_have_count(0)


def open_word_pairs(page):
    page.get_by_role("button", name="All word pairs").click()
    expect(page.locator("#e5-why-grid .js-plotly-plot")).to_be_visible()


def shares(page):
    """All shares of the grid on the page, added up."""
    return page.evaluate(
        """() => document.querySelector("#e5-why-grid .js-plotly-plot")._fullData[0].z
            .reduce((sum, row) => sum + Array.from(row).reduce((a, b) => a + b, 0), 0)"""
    )


def test_a_person_sees_why_a_pair_scores_as_it_does_and_nothing_of_ours_shuts_people_out(page):
    take_model(page, "intfloat/e5-small-v2")
    write(page, ["summit define", "where do rivers run"], ["The top of a mountain.", "Rivers run through valleys."])
    score(page)
    expect(page.locator("#e5-why")).to_have_count(0)
    pick(page, 1, 1)
    card = page.locator("#e5-pair")
    expect(page.locator("#e5-why")).to_be_in_viewport(ratio=1)
    expect(card).to_contain_text("Rivers run through valleys.")
    expect(card.locator(".e5-verdict")).to_contain_text("for Q2")
    expect(card.locator("[class^='e5-holds-']").first).to_be_visible()
    score_on_screen = float(card.locator("strong").inner_text().replace("\N{MINUS SIGN}", "-"))
    open_word_pairs(page)
    expect(page.locator("#e5-why-high")).to_contain_text("Is this score high?")
    assert shares(page) == pytest.approx(score_on_screen, abs=0.06)  # the screen shows tenths
    expect(page.locator("#e5-why-made")).to_contain_text("not why the model gives it")

    page.get_by_label("Beyond what all texts share").check()
    expect(page.locator("#e5-why-made")).to_contain_text("have in common")
    page.wait_for_function(  # the grid is drawn after the words beside it; it shows another sum then
        """score => {
            const rows = document.querySelector("#e5-why-grid .js-plotly-plot")._fullData[0].z;
            return Math.abs(rows.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0) - score) > 0.5;
        }""",
        arg=score_on_screen,
    )
    check_barriers(page)

    pick(page, 0, 1)
    expect(card).to_contain_text("summit")
    expect(page.locator("#e5-why-read")).to_contain_text("Q1")
    expect(page.locator("#e5-why-grid .js-plotly-plot")).to_be_visible()  # the fold stays open
    expect(page.get_by_label("All of the score")).to_be_checked()


def test_the_matrix_can_be_sorted_a_click_finds_its_texts_and_it_follows_the_theme(page):
    passages = ["Leonardo painted the Mona Lisa.", "A blue sky.", "Boiled eggs."]
    write(page, ["boil an egg", "sky blue", "Mona Lisa"], passages)
    score(page)
    page.locator("#e5-order").get_by_text("Best first").click()
    page.wait_for_function(
        "!document.querySelector('#e5-heat .js-plotly-plot').layout.xaxis.ticktext[0].startsWith('<b>P1</b>')"
    )
    heading = page.locator("#e5-heat .xtick").first.text_content()
    label = heading[:2]
    assert heading[2:].startswith(passages[int(label[1:]) - 1][:5])  # the first words, too
    page.mouse.move(**cell(page, 1, 1))
    page.mouse.move(**cell(page, 0, 0))
    tip = page.locator("#e5-heat .e5-plot-tip-text").nth(1)
    expect(tip).to_have_text(f"{label} {passages[int(label[1:]) - 1]}")
    n_frames = page.locator("#e5-heat .shapelayer path").count()
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#e5-heat .shapelayer path")).to_have_count(n_frames + 1)  # the picked cell is marked
    expect(page.locator("#e5-pair .e5-text-of").nth(1)).to_contain_text(label)
    expect(page.locator("#e5-pair")).to_contain_text("higher than both others")

    plot = page.locator("#e5-heat .js-plotly-plot")
    read = "plot => [plot._fullLayout.font.color, plot._fullData[0].colorscale[0][1]]"
    light = plot.evaluate(read)
    plot.evaluate("plot => { plot.isTheOne = true; }")
    page.locator(".e5-theme").click()
    page.wait_for_function(
        "light => document.querySelector('#e5-heat .js-plotly-plot')._fullLayout.font.color !== light", arg=light[0]
    )
    dark = plot.evaluate(read)
    assert dark[1] != light[1]
    assert plot.evaluate("plot => plot.isTheOne")  # it was not built anew
    page.locator(".e5-theme").click()


def test_a_large_matrix_comes_outside_the_event_and_is_whole(page):
    write(page, [f"question {n} {'about' * (n % 3)}" for n in range(40)], [f"answer {n * n}" for n in range(30)])
    with page.expect_response(lambda answer: "/e5studio/downloads/" in answer.url) as told:
        score(page)
    assert told.value.status == 200
    page.wait_for_function("document.querySelector('#e5-heat .js-plotly-plot')?._fullData[0].z.length === 40")
    shape = page.evaluate(
        """() => {
            const z = document.querySelector("#e5-heat .js-plotly-plot")._fullData[0].z;
            return [z.length, z[0].length, z.every((row) => row.every((score) => score > -100.1 && score < 100.1))];
        }"""
    )
    assert shape == [40, 30, True]
    page.mouse.click(**cell(page, 39, 29))
    expect(page.locator("#e5-pair")).to_contain_text("answer 841")

    rows = page.locator("#e5-scores tbody tr[tabindex]")
    page.get_by_role("button", name="Show all 1,200").click()
    assert rows.count() < 1200  # the rest are written when they are nearly in sight
    page.wait_for_function(
        """() => {
            const table = document.querySelector("#e5-scores .e5-table");
            table.scrollTo(0, table.scrollHeight);
            return table.querySelectorAll("tbody tr[tabindex]").length === 1200;
        }"""
    )
    expect(page.locator("#e5-scores table")).to_have_attribute("aria-rowcount", "1201")
    rows.last.click()
    expect(page.locator("#e5-pair")).to_contain_text("question 39")
    page.get_by_role("button", name="Show the first only").click()
    page.wait_for_function("document.querySelectorAll('#e5-scores tbody tr[tabindex]').length <= 120")


def test_numbers_stand_in_cells_that_are_wide_enough_alone(page):
    """And none where a text meets itself."""
    numbers = page.locator("#e5-heat .textpoint", has_text=re.compile("[0-9]"))
    write(page, ["one"], [f"passage {i}" for i in range(60)])
    score(page)
    expect(page.locator("#e5-heat .xtick").first).to_be_visible()
    expect(numbers).to_have_count(0)
    for width in (1440, 600):
        page.set_viewport_size({"width": width, "height": 900})
        check_names(page)
    page.set_viewport_size({"width": 1440, "height": 900})
    write(page, [f"text {n} about {n * n}" for n in range(8)], [])
    score(page)
    expect(numbers).to_have_count(56)
    page.mouse.click(**cell(page, 1, 1))
    page.mouse.move(**cell(page, 2, 1))
    tip = page.locator("#e5-heat .e5-plot-tip")
    expect(tip).to_contain_text("text 2 about 4")
    page.mouse.move(**cell(page, 1, 1))
    expect(tip).to_be_hidden()
    expect(page.locator("#e5-why")).to_be_hidden()

    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("""() => {
        const plot = document.querySelector("#e5-heat .js-plotly-plot");
        const numbers = plot.querySelectorAll(".textpoint");
        const [one, other] = [...numbers].map((number) => number.getBoundingClientRect());
        const isNarrow = plot.clientWidth < 390 && plot._fullLayout.width === plot.clientWidth;
        return isNarrow && (!one || one.right < other.left);
    }""")
    check_names(page)


def saved(page, bar, name):
    with page.expect_download() as download:
        page.locator(bar).get_by_role("button", name=name, exact=True).click()
    return download.value


def test_what_is_seen_can_be_linked_and_saved_and_opened_again(page, open_page, tmp_path):
    example(page, "Eight questions")
    score(page)
    open_map(page)
    caption = page.locator("#e5-map-caption")
    page.locator("#e5-map-method select").select_option("umap")
    expect(caption).to_contain_text("15 neighbours, distance 0.1, seed 0")
    page.locator("#e5-map-more > button").click()
    seed = page.locator("#e5-map-seed input")
    seed.fill("99999999999")
    seed.blur()
    expect(seed).to_have_value("4294967295")  # the largest that there is
    expect(caption).to_contain_text("seed 4294967295")
    expect(page.locator("#e5-map-status .e5-error")).to_have_count(0)
    page.locator("#e5-map-colour select").select_option("best")
    expect(page.locator("#e5-map .colorbar")).to_be_visible()
    assert saved(page, "#e5-save-map", "Save texts and places as CSV").suggested_filename == "e5-map.csv"
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".e5-link-told")).to_contain_text("nothing is stored")

    other = open_page()
    other.evaluate("link => { location.hash = link; }", page.url.partition("#")[2])
    expect(other.locator("#e5-map-caption")).to_contain_text("15 neighbours, distance 0.1, seed 4294967295")
    other.locator("#e5-map-more > button").click()
    expect(other.locator("#e5-map-seed input")).to_have_value("4294967295")
    expect(other.locator("#e5-map-colour select")).to_have_value("best")
    expect(other.locator("#e5-map .colorbar")).to_be_visible()

    page.get_by_role("tab", name="Scores").click()
    page.locator("#e5-order").get_by_text("Groups together").click()
    page.locator("#e5-scores tbody tr").nth(1).click()
    expect(page.locator("#e5-pair [class^='e5-holds-']").first).to_be_visible()
    page.get_by_label("All together").check()
    pair = page.locator("#e5-pair").inner_text()
    table = saved(page, "#e5-save-scores", "Save scores as CSV")
    assert table.suggested_filename == "e5-scores.csv"
    assert table.path().read_text("utf-8-sig").count("why is the sky blue") == 8
    picture = saved(page, "#e5-save-scores", "Save picture as SVG")
    assert picture.suggested_filename == "e5-heat-Cosine-100-with-all-MiniLM-L6-v2.svg"
    words = " ".join(re.findall(r">([^<>]+)<", picture.path().read_text("utf-8")))
    assert "100 with all-MiniLM-L6-v2" in words
    assert "Leonardo da Vinci worked on the portrait of Lisa Gherardini" in words  # no cell has room for it
    assert saved(page, "#e5-save-scores", "Save picture as PNG").path().read_bytes().startswith(b"\x89PNG")
    saved(page, "#e5-save-scores", "Save page as JSON to open here").save_as(tmp_path / "page.json")
    assert saved(page, "#e5-save-scores", "Save page as HTML").suggested_filename == "e5-scores.html"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for form, cells in (("TSV", "\t"), ("Markdown", " | ")):
        page.evaluate("navigator.clipboard.writeText('')")
        page.locator("#e5-scores").get_by_role("button", name=f"Copy the table as {form}").click()
        page.wait_for_function("navigator.clipboard.readText()")
        lines = page.evaluate("navigator.clipboard.readText()").splitlines()
        assert cells.join(["Query", "Passage", "Score"]) in lines[0]
        assert len(lines) == 1 + (form == "Markdown") + page.locator("#e5-scores tbody tr[tabindex]").count()

    forget_score(other)
    other.locator("#e5-link input[type=file]").set_input_files(tmp_path / "page.json")
    expect(other.locator("#e5-status .e5-done")).to_be_visible()
    expect(other.get_by_label("Groups together")).to_be_checked()
    expect(other.get_by_label("All together")).to_be_checked()
    expect(other.locator("#e5-pair [class^='e5-holds-']").first).to_be_visible()
    assert other.locator("#e5-pair").inner_text() == pair
    open_word_pairs(other)
    (tmp_path / "other.json").write_text("{}")
    other.locator("#e5-link input[type=file]").set_input_files(tmp_path / "other.json")
    expect(other.locator("#e5-status .e5-error")).to_contain_text("damaged")


OLD = [f"old text {n} of apples" for n in range(4)], [f"old text {n} of pears" for n in range(4)]
NEW = [f"new text {n} of rivers" for n in range(4)], [f"new text {n} of hills" for n in range(4)]


def test_a_map_and_an_order_that_come_late_are_not_shown_beside_newer_texts(page, held_up):
    write(page, *OLD)
    score(page)
    open_map(page)
    page.locator("#e5-map-method select").select_option("umap")
    expect(page.locator("#e5-map-status")).to_contain_text("Placing the texts")
    page.get_by_role("tab", name="Scores").click()
    page.get_by_label("Groups together").check()  # of the older texts: its turn comes after the map that is held up
    write(page, *NEW)
    score(page)
    expect(page.locator("#e5-heat .ytick").first).to_contain_text("new text")
    page.get_by_role("tab", name="Map").click()
    first = page.locator("#e5-map-texts tbody tr").first
    expect(first).to_contain_text("new text 0")
    expect(page.locator("#e5-map-caption")).to_contain_text("UMAP follows: this is PCA")
    held_up.set()
    expect(page.locator("#e5-map-caption")).to_contain_text("UMAP keeps")
    expect(first).to_contain_text("new text 0")
    rows = saved(page, "#e5-save-map", "Save texts and places as CSV").path().read_text("utf-8-sig")
    assert "new text 0" in rows
    assert "old text" not in rows
    page.locator("#e5-map-colour select").select_option("cluster")  # its turn comes after the late order
    expect(page.locator("#e5-map-caption")).to_contain_text("k-means")
    page.get_by_role("tab", name="Scores").click()
    expect(page.locator("#e5-heat .ytick").first).to_contain_text("new text")
    expect(page.get_by_label("Groups together")).to_be_checked()


def test_a_link_that_is_opened_meanwhile_waits_for_its_own_texts(page, held_up, monkeypatch, tmp_path):
    score_matrix = engine_module.score_matrix
    monkeypatch.setattr(engine_module, "score_matrix", lambda *sides: held_up.wait(20) and score_matrix(*sides))
    write(page, *OLD)
    page.locator("#e5-score").click()
    expect(page.locator("#e5-stop")).to_be_visible()
    file = tmp_path / "page.json"
    texts = {"queries": "\n".join(NEW[0]), "passages": "\n".join(NEW[1])}
    view = {"tab": "map", "colour": "best", "cell": {"row": 1, "column": 2}}
    rest = {"model": OFFLINE, "prompt_mode": "none", "instruction": "", "separator": "line", "view": view}
    file.write_text(json.dumps({**texts, **rest}))
    page.locator("#e5-link input[type=file]").set_input_files(file)
    expect(page.locator("#e5-queries textarea")).to_have_value(texts["queries"])
    held_up.set()
    expect(page.get_by_role("tab", name="Map")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#e5-map-texts tbody tr").first).to_contain_text("new text 0")
    expect(page.locator("#e5-map .colorbar")).to_be_visible()
    page.get_by_role("tab", name="Scores").click()
    expect(page.locator("#e5-pair")).to_contain_text("new text 1 of rivers")
    expect(page.locator("#e5-pair")).to_contain_text("new text 2 of hills")


def test_files_that_hold_no_page_get_a_sentence_and_change_no_view(page, tmp_path):
    for name, content in (("large.json", '{"a": "%s"}' % ("x" * 33_000_000)), ("no.json", "{")):
        file = tmp_path / name
        file.write_text(content)
        page.locator("#e5-link input[type=file]").set_input_files(file)
        expect(page.locator("#e5-status .e5-error")).to_contain_text("damaged")
        example(page, "English")
        expect(page.locator("#e5-status .e5-error")).to_have_count(0)
    view = {"tab": "map", "order": "score", "colour": "best"}
    inputs = {"queries": "only one", "passages": "", "model": OFFLINE, "prompt_mode": "none"}
    file.write_text(json.dumps({**inputs, "instruction": "", "separator": "line", "view": view}))
    page.locator("#e5-link input[type=file]").set_input_files(file)
    expect(page.locator("#e5-status .e5-error")).to_contain_text("one text only")
    example(page, "Eight questions")
    score(page)  # the view of texts that could not be scored is forgotten
    expect(page.get_by_label("As written")).to_be_checked()
    expect(page.get_by_role("tab", name="Scores")).to_have_attribute("aria-selected", "true")


def test_a_map_takes_keys_and_says_what_it_cannot_show(page):
    write(page, ["one text", "two texts"], [])
    score(page)
    open_map(page)
    page.locator("#e5-map-texts .e5-table").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#e5-map-point")).to_contain_text("one text")
    menu = page.locator("#e5-map-method")
    expect(menu.get_by_role("option", name="Query–passage axis (needs texts in both boxes)")).to_be_disabled()
    expect(menu.get_by_role("option", name="UMAP (needs 5 texts)")).to_be_disabled()
    expect(page.locator("#e5-map-caption")).to_contain_text("PCA shows")


def test_a_link_carries_the_page_and_wins_over_what_the_tab_had(page, open_page):
    take_model(page, "intfloat/e5-small-v2")
    page.locator("#e5-use label").filter(has_text="Symmetric").click()
    texts = "\n".join(NASTY)
    page.locator("#e5-queries textarea").fill(texts)
    page.locator("#e5-passages textarea").fill("")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".e5-link-told")).to_contain_text("nothing is stored")
    assert "#s=" in page.url

    other = open_page()
    other.locator("#e5-queries textarea").press_sequentially("typed here ")
    other.wait_for_function("sessionStorage.getItem('e5-inputs')?.includes('typed here')")
    other.evaluate("link => history.replaceState(null, '', link)", page.url)
    reload(other)
    expect(other.locator("#e5-status")).to_contain_text("Opened from a link")
    expect(other.locator("#e5-queries textarea")).to_have_value(texts)
    expect(other.locator("#e5-passages textarea")).to_have_value("")
    expect(other.locator(".e5-models-chosen")).to_contain_text("e5-small-v2")
    expect(other.get_by_label("Symmetric")).to_be_checked()
    score(other)

    other.evaluate("location.hash = '#s=AAAA'")
    expect(other.locator("#e5-status .e5-error")).to_contain_text("holds no page of E5 Studio")
    expect(other.locator("#e5-queries textarea")).to_have_value(texts)


def test_a_reload_brings_back_what_was_typed_and_no_older_link(page):
    write(page, ["of the link"], ["an old passage"])
    page.get_by_role("button", name="Copy link").click()
    told = page.locator(".e5-link-told")
    expect(told).to_contain_text("It opens on this computer only")
    assert "#s=" in page.url

    take_model(page, "intfloat/e5-small-v2")
    page.locator("#e5-use label").filter(has_text="Symmetric").click()
    page.get_by_label("Blank lines between texts").check()
    page.locator("#e5-passages textarea").press_sequentially("!")
    expect(told).to_have_text("")
    assert "#" not in page.url
    write(page, NASTY, ["a new passage"])
    page.wait_for_function("sessionStorage.getItem('e5-inputs')?.includes('a new passage')")
    score(page)
    page.get_by_role("tab", name="Map").click()
    caption = page.locator("#e5-map-caption")
    expect(caption).to_contain_text("PCA shows")
    page.locator("#e5-map-method select").select_option("axis")
    expect(caption).not_to_contain_text("PCA shows")
    page.wait_for_function("sessionStorage.getItem('e5-view')?.includes('axis')")
    reload(page)
    expect(page.locator("#e5-status")).to_contain_text("before the reload are back. Press Score")
    expect(page.locator("#e5-queries textarea")).to_have_value("\n".join(NASTY))
    expect(page.locator("#e5-passages textarea")).to_have_value("a new passage")
    expect(page.locator(".e5-models-chosen")).to_contain_text("e5-small-v2")
    expect(page.get_by_label("Symmetric")).to_be_checked()
    expect(page.get_by_label("Blank lines between texts")).to_be_checked()
    score(page)
    expect(page.locator("#e5-map-method select")).to_have_value("axis")
    expect(caption).not_to_contain_text("PCA shows")

    page.get_by_role("button", name="Eight questions").click()
    expect(page.locator("#e5-queries textarea")).to_have_value(re.compile("why is the sky blue"))
    page.wait_for_function("sessionStorage.getItem('e5-inputs')?.includes('sky blue')")


def test_a_tab_that_keeps_nothing_or_nonsense_starts_as_usual(page):
    # What the page still has to write would take its place.
    page.evaluate("sessionStorage.setItem('e5-inputs', '{'); Storage.prototype.setItem = () => {}")
    reload(page)
    expect(page.locator("#e5-status .e5-done")).to_contain_text("2 × 2 with all-MiniLM-L6-v2")  # the first example
    page.evaluate("""() => {
        Storage.prototype.usual = Storage.prototype.setItem;
        Storage.prototype.setItem = () => { throw new DOMException("", "QuotaExceededError"); };
    }""")
    page.locator("#e5-queries textarea").press_sequentially("x")
    score(page)
    assert page.evaluate("sessionStorage.getItem('e5-inputs')") == "{"
    page.evaluate("() => { Storage.prototype.setItem = Storage.prototype.usual; }")


def test_leaving_sentences_out_can_be_stopped_and_gives_way_to_another_cell_and_score(page, held_up, monkeypatch):
    effects, stop, start_button = (
        page.locator(f"#e5-{name}") for name in ("why-effects", "leave-out-stop", "leave-out")
    )
    card = page.locator("#e5-pair")
    leave_out = why_module.leave_out

    def held(*arguments):
        for place, known in enumerate(leave_out(*arguments)):
            yield known
            assert place or held_up.wait(20)

    def start():
        start_button.click()
        expect(stop).to_be_visible()
        expect(card).to_contain_text("so far")

    monkeypatch.setattr(why_module, "leave_out", held)
    monkeypatch.setattr(explanation_module, "_QUICK", 0)
    story = " ".join(f"The house number {number} stands by the sea." for number in range(8))
    write(page, ["summit define"], ["a summit of the mountain " * 100 + "THE END", story, "another"])
    score(page)
    expect(page.locator("#e5-status .e5-doubtful")).to_contain_text("1 text cut off")
    pick(page, 0, 0)
    expect(card.locator(".e5-warning")).to_contain_text("Cut off")
    expect(card.locator(".e5-unread")).to_contain_text("THE END")
    pick(page, 0, 1)
    expect(start_button).to_have_text("Leave out each sentence")
    start()
    stop.click()
    held_up.set()
    expect(stop).to_have_count(0)
    expect(start_button).to_be_enabled()
    expect(card).to_contain_text("so far")

    held_up.clear()
    start()
    click_cell(page, 0, 2)
    held_up.set()
    expect(card).to_contain_text("another")
    expect(card).not_to_contain_text("so far")
    expect(stop).to_have_count(0)
    start_button.click()  # each word of two short texts
    expect(card).to_contain_text("Orange: without it the score falls")
    expect(stop).to_have_count(0)

    pick(page, 0, 1)
    start_button.click()
    expect(stop).to_have_count(0)
    effects.get_by_role("button", name="Word by word").first.click()
    expect(effects.locator(".e5-text-of")).to_contain_text("The house number")
    held_up.clear()
    start()
    forget_score(page)
    page.locator("#e5-score").click()
    held_up.set()
    expect(page.locator("#e5-status .e5-done")).to_be_visible()
    expect(page.locator("#e5-why")).to_be_hidden()  # it spoke of the result before
    pick(page, 0, 2)


def test_what_was_changed_is_scored_again_by_itself_or_called_stale(page):
    box, stale, done = (
        page.locator("#e5-queries textarea"),
        page.locator("#e5-stale"),
        page.locator("#e5-status .e5-done"),
    )
    plot = page.locator("#e5-heat .js-plotly-plot")

    def delete():
        box.press("Control+a")
        box.press("Backspace")

    write(page, ["one", "two", "three"], ["a passage"])  # a few texts, which need no button
    expect(done).to_contain_text("3 × 1")
    box.focus()
    page.evaluate("""() => {  // where the results are in each frame from now on
        const tabs = document.querySelector("#e5-tabs");
        const look = () => void (tops?.add(tabs.getBoundingClientRect().top), requestAnimationFrame(look));
        window.tops = new Set();
        look();
    }""")
    page.keyboard.insert_text("\npasted")
    expect(done).to_contain_text("4 × 1")
    assert len(page.evaluate("[[...tops], (tops = null)][0]")) == 1
    expect(stale).to_be_hidden()
    delete()  # nothing is left to score, and that is no error while somebody writes
    expect(page.locator("#e5-status .e5-hint")).to_contain_text("nothing to read in Queries")
    expect(stale).to_contain_text("These scores are of other texts (all-MiniLM-L6-v2, 4 × 1).")
    expect(page.locator(".e5-of-scores:has(#e5-heat)")).to_have_css("opacity", "0.45")
    expect(plot).to_be_visible()

    many = [f"text {number}" for number in range(33)]  # which wait for the button
    write(page, many, ["a passage"])
    expect(stale).to_be_visible()
    open_map(page)
    expect(stale).to_be_visible()
    page.keyboard.press("1")
    forget_score(page)
    stale.get_by_role("button", name="Score again").click()
    expect(done).to_contain_text("33 × 1")
    expect(stale).to_be_hidden()

    write(page, ["other texts", "of my own"], ["a passage"])
    box.press("Control+Enter")  # at once: what is typed just before belongs to what is scored
    expect(done).to_contain_text("2 × 1")
    page.wait_for_function("!document.querySelector('#e5-score').disabled")
    take_model(page, "intfloat/e5-small-v2")
    expect(stale).to_contain_text("of another model (all-MiniLM-L6-v2, 2 × 1)")
    take_model(page, OFFLINE)
    expect(stale).to_be_hidden()


def check_runs_nothing(page, url, picture):
    """A saved picture, opened in a tab of its own."""
    page.context.route(url, lambda route: route.fulfill(body=picture, content_type="image/svg+xml"))
    visit = Visit(page.context, url, shows="svg")
    assert "javascript" in visit.page.locator("svg").first.text_content()
    assert visit.page.locator("script, foreignObject, a").count() == 0
    images = visit.page.locator("image").evaluate_all("all => all.map((one) => one.href.baseVal.slice(0, 11))")
    assert set(images) <= {"data:image/"}  # the cells
    visit.page.close()
    page.context.unroute(url)
    assert not visit.faults


def test_texts_stay_texts_in_every_view_and_in_saved_pictures(page, address):
    write(page, NASTY, reversed(NASTY))
    score(page)
    page.get_by_role("button", name="Show all 81").click()
    rows = page.locator("#e5-scores tbody tr[tabindex]")
    expect(rows).to_have_count(len(NASTY) ** 2)
    for text in NASTY:
        expect(page.locator("#e5-scores .e5-clip").filter(has_text=text).first).to_be_visible()
    labels = page.locator("#e5-heat .ytick")
    expect(labels).to_have_count(len(NASTY))
    expect(labels.nth(0)).to_contain_text("${alert(1)}")
    expect(labels.nth(2)).to_contain_text("<img src=x onerror=alert(")
    page.locator("#e5-heat").scroll_into_view_if_needed()
    page.mouse.move(**cell(page, 2, 3))
    expect(page.locator("#e5-heat .e5-plot-tip")).to_contain_text(NASTY[2])
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#e5-pair .e5-marked").first).to_contain_text(NASTY[2])
    expect(page.locator("#e5-pair .e5-progress")).to_have_count(0)
    expect(page.locator("#e5-pair .e5-marked").first).to_contain_text(NASTY[2])
    expect(page.locator("#e5-heat .xtick").nth(6)).to_contain_text("<img")
    pictures = [saved(page, "#e5-save-scores", "Save picture as SVG").path().read_text("utf-8")]
    open_map(page)
    for text in NASTY:
        expect(page.locator("#e5-map-texts .e5-clip").filter(has_text=text).first).to_be_visible()
    page.locator("#e5-map-colour select").select_option("cluster")
    expect(page.locator("#e5-map .legendtext").first).to_contain_text("javascript")
    assert page.locator("img[src='x'], a[href*='example.com']").count() == 0

    pictures.append(saved(page, "#e5-save-map", "Save picture as SVG").path().read_text("utf-8"))
    for picture in pictures:
        check_runs_nothing(page, f"{address}saved.svg", picture)


def test_the_keyboard_reaches_everything(page):
    box = page.locator("#e5-queries textarea")
    box.fill("a question\nanother one")
    box.press("Control+Enter")
    expect(page.locator("#e5-status .e5-done")).to_contain_text("2 × 2")
    plot = page.locator("#e5-heat .e5-plot-drawing")
    expect(plot).to_have_attribute("aria-label", re.compile("^Heat map of 2 queries by 2 passages"))
    plot.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#e5-heat .e5-plot-tip")).to_contain_text("Q1 a question")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#e5-heat .e5-plot-tip")).to_contain_text("Q2 another one")
    page.keyboard.press("Enter")
    expect(page.locator("#e5-pair")).to_contain_text("another one")

    page.locator("#e5-model .e5-models-chosen").focus()
    page.keyboard.press("Enter")
    page.locator(".e5-model input:checked").focus()
    for name in ("multilingual-e5-small (4-bit)", "e5-mistral-7b-instruct"):
        page.keyboard.press("ArrowUp")
        expect(page.locator("#e5-model .e5-models-chosen")).to_contain_text(name)
    expect(page.locator("#e5-use label").first).to_have_text("Instruction + query")
    page.keyboard.press("Enter")
    expect(page.locator(".e5-models-list")).to_be_hidden()

    page.locator("#e5-scale .e5-term").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".e5-card")).to_contain_text("no percentage of likeness")
    page.keyboard.press("Escape")
    expect(page.locator(".e5-card")).to_be_hidden()
    expect(page.locator("#e5-scale .e5-term").first).to_be_focused()
    page.get_by_role("button", name="Guide").press("Enter")
    expect(page.get_by_role("dialog", name="The Studio in a minute")).to_be_visible()
    check_barriers(page, ".e5-guide")
    page.keyboard.press("Escape")
    expect(page.locator(".e5-guide")).to_be_hidden()

    page.keyboard.press("2")
    expect(page.get_by_role("tab", name="Map")).to_have_attribute("aria-selected", "true")
    page.wait_for_url("**#tab=map")
    page.go_back()
    expect(page.get_by_role("tab", name="Scores")).to_have_attribute("aria-selected", "true")
    box.press("End")
    box.press("2")  # where somebody writes, a number is a number
    expect(page.get_by_role("tab", name="Scores")).to_have_attribute("aria-selected", "true")
    expect(box).to_have_value(re.compile("2"))


def test_an_open_page_says_that_it_is_open(shared_visit):
    """Gradio's own connection for that is never made again once it broke."""
    page = shared_visit().page
    with page.expect_response("**/e5studio/present/*") as answered:
        page.evaluate("window.asking = setInterval(() => dispatchEvent(new Event('online')), 200)")
    page.evaluate("clearInterval(window.asking)")
    assert answered.value.status == 204


def test_the_bar_with_the_score_button_covers_nothing_that_cannot_be_scrolled_clear_of_it(page):
    for height in (700, 900, 1000):
        page.set_viewport_size({"width": 1440, "height": height})
        # Asked again while the page is still being laid out, which moves both.
        page.wait_for_function(
            """() => {
                window.scrollTo(0, document.documentElement.scrollHeight);
                const [texts, bar] = ["#e5-separator", "#e5-actions"].map((id) => document.querySelector(id));
                return texts && bar && texts.getBoundingClientRect().bottom <= bar.getBoundingClientRect().top;
            }"""
        )


def test_a_phone_scrolls_down_only(open_page):
    page = open_page(390, 844, touch=True)
    check_width(page)
    expect(page.locator("#e5-score")).to_be_in_viewport()
    expect(page.locator("#e5-heat .textpoint")).to_have_count(4)  # the example, in sight at once
    expect(page.locator("#e5-heat")).to_be_in_viewport(ratio=0.9)
    check_width(page)
    tap(page, **middle(page.locator(".e5-fold")))
    picker = page.locator("#e5-model .e5-models-chosen")
    tap(page, **middle(picker))
    expect(page.locator("#e5-model .e5-models-list")).to_be_visible()
    check_width(page)
    tap(page, **middle(picker))
    expect(page.locator("#e5-model .e5-models-list")).to_be_hidden()
    example(page, "Eight questions")
    score(page)
    check_width(page)
    expect(page.locator("#e5-heat .textpoint")).to_have_count(64)
    expect(page.locator("#e5-heat")).to_be_in_viewport(ratio=0.5)
    point = cell(page, 0, 0)
    page.evaluate("y => window.scrollBy(0, y - 300)", point["y"])
    tap(page, **cell(page, 0, 0))
    expect(page.locator("#e5-pair")).to_contain_text("why is the sky blue")
    expect(page.locator("#e5-pair .e5-verdict")).to_be_in_viewport()
    open_map(page)
    check_width(page)
