"""How long a person waits in the Studio, in a headless Chromium: from the click to the picture.

    PYTHONPATH=. python benchmarks/studio.py

Times a 64 x 64 matrix whose texts were read before, the same after an edit of one passage, a pair explained, and a
256 x 256 matrix, with the offline copy. Needs Chromium on the PATH and playwright. Maps: `projection.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.machine import describe_machine
from e5studio.default_model import ModelChoice
from e5studio.model_pool import ModelPool
from e5studio.models import OFFLINE_MODEL
from e5studio.studio.engine.engine import Engine
from e5studio.studio.launch import launch_app
from e5studio.studio.page.app import build_app
from e5studio.studio.services import Services
from e5studio.studio.serving.gradio_import import set_up_gradio

ROUNDS = 7
_WORDS = (
    "river mountain summit valley bridge harbour winter engine garden letter window silver market doctor planet"
).split()

# Presses a button and waits until the plot has been drawn anew; milliseconds.
_UNTIL_DRAWN = """([press, plot]) => new Promise((resolve) => {
  const drawing = () => document.querySelector(plot + " .e5-plot-drawing");
  const before = drawing()?.dataset.drawn;
  const start = performance.now();
  const look = () => {
    const now = drawing()?.dataset.drawn;
    if (now && now !== before) requestAnimationFrame(() => resolve(performance.now() - start));
    else requestAnimationFrame(look);
  };
  document.querySelector(press).click();
  look();
})"""


def texts(count: int, seed: int) -> list[str]:
    """Different short texts."""
    random = np.random.default_rng(seed)
    return [f"{' '.join(random.choice(_WORDS, 8))} {number}" for number in range(count)]


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, best and worst."""
    values = {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
    return {name: round(value, 3) for name, value in values.items()}


def waits(action: Callable[[], float]) -> dict[str, float]:
    """An action's times over all rounds; its first round is not counted."""
    action()
    return spread([action() for _ in range(ROUNDS)])


def write(page: Page, queries: list[str], passages: list[str]) -> None:
    """Fill both boxes."""
    page.locator("#e5-queries textarea").fill("\n".join(queries))
    page.locator("#e5-passages textarea").fill("\n".join(passages))
    page.locator("#e5-queries textarea").focus()  # both boxes have sent what they hold
    page.wait_for_timeout(300)


def until_drawn(page: Page, press: str, plot: str) -> float:
    """Seconds from a click to the picture."""
    page.locator("#e5-score:not([disabled])").wait_for()  # the map of the round before is there too
    return float(page.evaluate(_UNTIL_DRAWN, [press, plot])) / 1000


def measure_page(page: Page) -> dict[str, dict[str, float]]:
    """All waits of the page."""
    queries, passages = texts(64, 0), texts(64, 1)
    found = {}
    write(page, queries, passages)
    found["64 x 64, vectors known"] = waits(lambda: until_drawn(page, "#e5-score", "#e5-heat"))
    edits = iter(range(10_000))

    def edit() -> float:
        write(page, queries, [*passages[:-1], f"an edited passage {next(edits)}"])
        return until_drawn(page, "#e5-score", "#e5-heat")

    found["64 x 64, one passage edited"] = waits(edit)
    page.locator("#e5-scores tbody tr[tabindex]").first.click()
    page.get_by_role("button", name="All word pairs").click()
    rows = iter(range(1, 10_000))
    found["a pair explained"] = waits(
        lambda: until_drawn(page, f":nth-child({next(rows)} of #e5-scores tbody tr[tabindex])", "#e5-why-grid")
    )
    write(page, texts(256, 2), texts(256, 3))
    found["256 x 256, vectors known"] = waits(lambda: until_drawn(page, "#e5-score", "#e5-heat"))
    return found


def main() -> None:
    """Measure, print a table and write results/studio.json."""
    set_up_gradio()
    services = Services(Engine(ModelPool()))
    demo = build_app(services, ModelChoice(OFFLINE_MODEL, "to measure"))
    address = launch_app(demo, services, wait=False, quiet=True)
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(address)
        page.locator("#e5-score").wait_for()
        found = measure_page(page)
        browser.close()
    demo.close()
    for name, row in found.items():
        print(f"{name:30} {row}")
    result = {
        "machine": describe_machine("gradio", "plotly", "playwright", "openvino", "torch"),
        "rounds": ROUNDS,
        "seconds from the click to the picture": found,
    }
    Path(__file__).with_name("results").joinpath("studio.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
