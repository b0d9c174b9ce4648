"""What the tests of the page do in a browser, as a person would; the fixtures that open it are in conftest."""

from __future__ import annotations

import importlib.resources
import threading
from pathlib import Path

import pytest

from tests.studio.small_models import OFFLINE

MARKS = [
    pytest.mark.browser,
    # Gradio leaves event loops and sockets to the garbage collector, and uses options that pandas 3 deprecates.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
    pytest.mark.usefixtures("gradio_litter"),
]

PATIENCE = 40_000
"""Milliseconds. A busy machine is slow, and waits only where something is wrong."""

# What takes long in earnest waits here while a test holds it up.
GATE = threading.Event()
GATE.set()

NASTY = [
    "${alert(1)}",
    "{{x}} {{{y}}}",
    "<img src=x onerror=alert(1)>",
    "`${alert(1)}` and $\\href{javascript:alert(1)}{x}$",
    "C:\\users \\x3cscript\\x3e",
    "</script><script>alert(1)</script>",
    "<b>bold</b> &amp; <a href='https://example.com'>link</a>",
    "\u202eright to left\u202c עברית",
    "[a](javascript:alert(1)) ![b](https://example.com/b.png)",
]


def expect(locator):
    from playwright.sync_api import expect as expect_

    expect_.set_options(timeout=PATIENCE)
    return expect_(locator)


def unfold(page):
    """Opens the form, which is a bar on a phone."""
    bar = page.locator(".e5-fold")
    if bar.is_visible() and bar.get_attribute("aria-expanded") == "false":
        bar.click()


def write(page, queries, passages):
    unfold(page)
    page.locator("#e5-queries textarea").fill("\n".join(queries))
    page.locator("#e5-passages textarea").fill("\n".join(passages))


def as_new(page):
    """Brings back the texts, the model and the view that a page starts with."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.mouse.move(0, 0)
    page.get_by_role("tab", name="Scores").click()
    if OFFLINE.rsplit("/", 1)[-1] not in page.locator("#e5-model .e5-models-chosen").inner_text():
        take_model(page, OFFLINE)
    forget_choices(page)
    queries = page.locator("#e5-queries textarea")
    queries.fill("of another visit")
    example(page, "English")
    expect(queries).not_to_have_value("of another visit")
    forget_score(page)


def forget_choices(page):
    """Take back the order of the matrix, and the method and the colours of the map, which the next result keeps."""
    order = page.locator("#e5-order").get_by_text("As written")
    if order.is_visible():
        order.click()
    page.evaluate(
        """() => {
            for (const [name, value] of [["method", "pca"], ["colour", "role"]]) {
                const menu = document.querySelector(`#e5-map-${name} select`);
                if (!menu || menu.value === value) continue;
                menu.value = value;
                menu.dispatchEvent(new Event("change"));
            }
        }"""
    )


def forget_score(page):
    """Have nobody take what is said of the score before for the next one's."""
    page.evaluate("document.querySelector('#e5-status .e5-done')?.classList.remove('e5-done')")


def score(page):
    forget_score(page)
    page.locator("#e5-score").click()
    page.locator("#e5-status .e5-done").wait_for()  # looks at each frame, where `expect` would look again in a second
    page.locator("#e5-score:enabled").wait_for()


LEAVING = set()
"""Pages that are being left: Gradio then writes into the console that its streams are cut off."""


def reload(page):
    LEAVING.add(page)
    page.reload()
    page.locator("#e5-score").wait_for()
    LEAVING.discard(page)


def example(page, title):
    """Takes an example, which is scored at once where its model is on this machine."""
    unfold(page)
    forget_score(page)
    page.get_by_role("button", name=title, exact=True).click()
    page.locator("#e5-status .e5-done, #e5-status .e5-hint:has-text('Press Score')").wait_for()


def take_model(page, name):
    unfold(page)
    page.locator("#e5-model .e5-models-chosen").click()
    page.locator("#e5-model .e5-model", has=page.locator(f"input[value='{name}']")).click()
    expect(page.locator("#e5-model .e5-models-chosen")).to_contain_text(name.split("/")[-1])


def open_map(page):
    page.get_by_role("tab", name="Map").click()
    expect(page.locator("#e5-map .js-plotly-plot")).to_be_visible()


def cell(page, row, column):
    """The middle of a cell of the heat map, on the screen, once it has its size."""
    page.wait_for_function(
        """() => {
            const plot = document.querySelector("#e5-heat .js-plotly-plot");
            return plot && Number(plot.dataset.fitted) === plot.clientWidth;
        }"""
    )
    place = page.evaluate(
        """([row, column]) => {
            const plot = document.querySelector("#e5-heat .js-plotly-plot");
            const { xaxis, yaxis } = plot._fullLayout;
            const frame = plot.getBoundingClientRect();
            return [frame.left + xaxis._offset + xaxis.d2p(column), frame.top + yaxis._offset + yaxis.d2p(row)];
        }""",
        [row, column],
    )
    return {"x": place[0], "y": place[1]}


def check_names(page, figure="#e5-heat"):
    """The names of columns come to stand apart from each other."""
    page.wait_for_function(
        """figure => {
            const names = [...document.querySelectorAll(`${figure} .xtick text`)];
            const boxes = names.map((name) => name.getBoundingClientRect()).sort((one, other) => one.left - other.left);
            return boxes.length > 1 && boxes.slice(1).every((box, index) => box.left > boxes[index].right + 1);
        }""",
        arg=figure,
    )


def middle(locator):
    """The middle of an element, on the screen."""
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    return {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}


def tap(page, x, y):
    """A finger on the screen."""
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()


def panel_of(inside):
    """Selects the panel of the tab that holds an element."""
    return f"[role='tabpanel']:has({inside})"


def check_barriers(page, within="html"):
    """axe-core finds no serious violation, in light and, of what differs there, in dark.

    Args:
        page: The page.
        within: Selects what is looked at. The whole page takes seconds, and has its own test.
    """
    assert page.locator(within).count() == 1
    if not page.evaluate("'axe' in window"):
        axe = next(Path(str(importlib.resources.files("axe_playwright_python"))).glob("axe.min.js"))
        page.evaluate(axe.read_text(encoding="utf-8"))
    for options in ({}, {"runOnly": ["color-contrast"]}):
        page.wait_for_function(
            "document.getAnimations().every((each) => each.playState !== 'running'"
            " || each.effect.getComputedTiming().endTime === Infinity)"
        )
        options = {"resultTypes": ["violations"], **options}
        violations = page.evaluate(
            "async ([within, options]) => (await axe.run(within, options)).violations", [within, options]
        )
        grave = [each for each in violations if each["impact"] in ("serious", "critical")]
        assert not [(each["id"], [node["html"] for node in each["nodes"]]) for each in grave]
        page.evaluate("document.body.classList.toggle('dark')")


def check_width(page):
    """A phone scrolls down only."""
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
