"""Takes the pictures of the Studio that the README and these pages show, with the offline model.

    python docs/take_pictures.py

Needs Chromium on the PATH and `pip install playwright`. Run it after every change of the page's looks.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import pathlib
import shutil
import statistics
import tarfile
import zipfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

from playwright.sync_api import Page, sync_playwright

from e5studio.default_model import ModelChoice
from e5studio.model_pool import ModelPool
from e5studio.models import FOUR_BIT_MODEL
from e5studio.studio.engine.engine import Engine
from e5studio.studio.launch import launch_app
from e5studio.studio.page.app import build_app
from e5studio.studio.services import Services
from e5studio.studio.serving.gradio_import import set_up_gradio

HERE = Path(__file__).parent


def score(page: Page, example: str) -> None:
    """Take an example and score it."""
    page.locator("#e5-status .e5-done").wait_for()  # the example that the page opens with
    page.evaluate("document.querySelector('#e5-status .e5-done').classList.remove('e5-done')")
    page.get_by_role("button", name=example, exact=True).click()
    page.locator("#e5-status .e5-done").wait_for()


def pick_first_cell(page: Page) -> None:
    """Click the cell of the first query and the first passage."""
    page.wait_for_function(
        "() => { const p = document.querySelector('#e5-heat .js-plotly-plot');"
        " return p && p._fullLayout && p._fullLayout.width === p.clientWidth; }"
    )
    place = page.evaluate(
        "() => { const p = document.querySelector('#e5-heat .js-plotly-plot'); const { xaxis, yaxis } = p._fullLayout;"
        " const frame = p.getBoundingClientRect();"
        " return [frame.left + xaxis._offset + xaxis.d2p(0), frame.top + yaxis._offset + yaxis.d2p(0)]; }"
    )
    page.mouse.click(*place)
    page.locator("#e5-pair [class^='e5-holds-']").first.wait_for()
    page.mouse.move(0, 0)


def take_all(page: Page) -> None:
    """The page after scoring, a score explained, and the map."""
    score(page, "Eight questions")
    page.locator("#e5-heat .textpoint").first.wait_for()
    page.screenshot(path=HERE / "studio.png")
    pick_first_cell(page)
    page.locator("#e5-why").screenshot(path=HERE / "why.png")
    page.get_by_role("tab", name="Map").click()
    page.locator("#e5-map-colour select").select_option("cluster")
    page.wait_for_function("document.querySelector('#e5-map-caption').textContent.includes('topics by k-means')")
    page.wait_for_timeout(500)
    page.locator("#e5-results").screenshot(path=HERE / "map.png")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#e5-compare-chips button").first.click()
    page.locator("#e5-compare-status .e5-done").wait_for(timeout=300_000)
    page.locator("#e5-bump .js-plotly-plot").wait_for()
    page.wait_for_timeout(500)
    page.locator("#e5-results").screenshot(path=HERE / "compare.png")
    take_corpus(page)


def take_corpus(page: Page) -> None:
    """The documentation of Python's own modules, searched and on a map."""
    page.get_by_role("tab", name="Corpus").click()
    page.locator("#e5-corpus-file input[type=file]").set_input_files(
        {"name": "docstrings.csv", "mimeType": "text/csv", "buffer": docstrings()}
    )
    page.locator("#e5-chosen p").wait_for()
    page.locator("#e5-embed").click()
    page.locator("#e5-corpus-map .js-plotly-plot").wait_for(timeout=300_000)
    page.locator("#e5-corpus-query input").fill("how do I read a file line by line?")
    page.locator("#e5-corpus-search").click()
    page.wait_for_function("document.querySelector('#e5-hits').textContent.includes('Orange')")
    page.wait_for_function("document.querySelector('#e5-corpus-map-caption').textContent.includes('light up')")
    page.wait_for_timeout(500)
    page.locator("#e5-found").screenshot(path=HERE / "corpus.png")
    page.get_by_role("tab", name="Diagnose").click()
    page.locator("#e5-diagnose-status .e5-done", has_text="of the corpus").wait_for(timeout=60_000)
    page.wait_for_timeout(500)
    page.locator("#e5-results").screenshot(path=HERE / "diagnose.png")
    page.get_by_role("tab", name="Code").click()
    page.locator("#e5-code-target").get_by_text("transformers", exact=True).click()
    page.locator("#e5-code .cm-content").get_by_text("import AutoModel").wait_for()
    page.locator("#e5-results").screenshot(path=HERE / "code.png")


def docstrings() -> bytes:
    """What some modules of the standard library say of their functions and classes, as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["name", "text", "module"])
    for module in (csv, io, json, os, pathlib, shutil, statistics, tarfile, zipfile):
        for name, thing in sorted(vars(module).items()):
            text = inspect.getdoc(thing) if callable(thing) and not name.startswith("_") else None
            if text:
                writer.writerow([name, text, module.__name__])
    return out.getvalue().encode()


def main() -> None:
    """Start the Studio, take the pictures, stop it."""
    set_up_gradio()
    services = Services(Engine(ModelPool()))
    demo = build_app(services, ModelChoice(FOUR_BIT_MODEL, "4-bit weights from an installed package"))
    address = launch_app(demo, services, wait=False, quiet=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address)
        page.locator("#e5-score").wait_for()
        take_all(page)
        browser.close()
    demo.close()


if __name__ == "__main__":
    main()
