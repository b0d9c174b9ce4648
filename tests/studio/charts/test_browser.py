"""Figures in a real browser: colours of the theme for tokens, and for nothing else."""

from __future__ import annotations

from e5studio.studio.charts.palette import PALETTES
from tests.studio.browsing import MARKS, check_names, expect, score, write

pytestmark = MARKS

READ = """() => {
    const { _fullLayout: layout, _fullData: [heat, numbers] } = document.querySelector("#e5-heat .js-plotly-plot");
    const scale = heat.colorscale.map(([, colour]) => colour);
    return [layout.font.color, layout.shapes[0].line.color, scale, numbers.textfont.color];
}"""


def test_tokens_become_colours_of_the_theme_and_texts_stay_texts(open_page):
    page = open_page()
    write(page, ["@ink", "@scale:score"], ["@ink", "@no-colour", *["WWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"] * 4])
    score(page)
    expect(page.locator("#e5-heat .ytick").first).to_contain_text("@ink")
    for theme in PALETTES:
        if theme == "dark":
            page.locator(".e5-theme").click()
        palette = PALETTES[theme]
        page.wait_for_function(f"ink => ({READ})()[0] === ink", arg=palette["ink"])
        _, frame, scale, numbers = page.evaluate(READ)
        assert (frame, scale) == (palette["best"], palette["scale"]["score"])
        assert set(numbers) == set(palette["number"])
    with page.expect_download() as saved:
        page.locator("#e5-save-scores").get_by_role("button", name="Save picture as SVG").click()
    picture = saved.value.path().read_text("utf-8")
    assert "fill: rgb(230, 234, 240)" in picture  # the ink of the dark theme
    assert "@ink" in picture
    page.evaluate("picture => { document.body.innerHTML = picture; }", picture)
    check_names(page, "svg")
