"""The Code tab in a real browser: the code of the result that is shown, exactly as it is copied and saved."""

from __future__ import annotations

from e5studio.studio.code import tab as code_tab
from e5studio.studio.code.state import state_of
from e5studio.studio.code.targets import TARGETS
from e5studio.studio.engine.result import ScoreRequest
from tests.studio.browsing import (
    MARKS,
    NASTY,
    check_barriers,
    expect,
    panel_of,
    reload,
    score,
    take_model,
    write,
)
from tests.studio.conftest import ENGLISH, OFFLINE

pytestmark = MARKS


def open_code(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("tab", name="Code").click()
    expect(page.locator("#e5-code-status")).to_be_visible()


def take_target(page, target):
    page.locator("#e5-code-target").get_by_label(target.title, exact=True).check()
    expect(page.locator("#e5-code")).to_contain_text(target.file_name)


def copied(page):
    """The code as the Copy button gives it; the editor itself draws only the lines in sight."""
    page.evaluate("navigator.clipboard.writeText('')")
    page.locator("#e5-code").get_by_role("button", name="Copy").click()
    page.wait_for_function("navigator.clipboard.readText()")
    return page.evaluate("navigator.clipboard.readText()")


def code_of(engine, request, address):
    state = state_of(engine.score(request), address)
    return {target.title: target.write(state).strip() for target in TARGETS}


def test_a_person_takes_the_code_of_each_target(page, engine, address):
    open_code(page)
    take_model(page, ENGLISH)
    page.locator("#e5-use").get_by_text("Symmetric").click()
    write(page, NASTY, [*NASTY[::-1], "' \" \\ $(x) !!"])
    score(page)
    expect(page.locator("#e5-code-status .e5-done")).to_contain_text(
        f"{len(NASTY)} × {len(NASTY) + 1} with e5-small-v2, float32 by PyTorch"
    )

    queries, passages = ("\n".join(texts) for texts in (NASTY, [*NASTY[::-1], "' \" \\ $(x) !!"]))
    expected = code_of(engine, ScoreRequest(ENGLISH, "symmetric", queries, passages), address)
    for target in TARGETS:
        take_target(page, target)
        assert copied(page) == expected[target.title]
    with page.expect_download() as saved:
        page.locator("#e5-code a[download]").click()
    assert saved.value.path().read_text("utf-8") == expected[TARGETS[-1].title]
    assert page.locator("#e5-code .cm-content :is(img, script, a)").count() == 0
    expect(page.locator("#e5-code-notes")).to_contain_text(address)


def test_the_code_is_that_of_the_result_and_says_when_the_inputs_changed(page, engine, address, held_up, monkeypatch):
    real = code_tab.state_of

    def slow(result, address):
        assert held_up.wait(20)
        return real(result, address)

    monkeypatch.setattr(code_tab, "state_of", slow)
    stale = page.locator("#e5-stale")
    score(page)
    open_code(page)
    take_model(page, "intfloat/e5-small-v2")  # while the code is written
    held_up.set()
    transformers = TARGETS[1]
    take_target(page, transformers)
    assert "how much protein" in copied(page)
    expect(stale).to_contain_text("of another model (all-MiniLM-L6-v2, 2 × 2)")
    take_model(page, OFFLINE)
    expect(stale).to_be_hidden()

    passages = ["three " * 50 + str(n) for n in range(45)]
    write(page, ["one", "two"], passages)
    score(page)
    expect(page.locator("#e5-code-status .e5-done")).to_contain_text("2 × 45")
    expected = code_of(engine, ScoreRequest(OFFLINE, "none", "one\ntwo", "\n".join(passages)), address)["transformers"]
    assert copied(page) == expected
    expect(page.locator("#e5-code")).to_contain_text(transformers.file_name)
    take_model(page, "intfloat/e5-large-v2")  # which cannot be loaded
    page.locator("#e5-score").click()
    expect(page.locator("#e5-status .e5-error")).to_be_visible()
    expect(stale).to_contain_text("of another model (all-MiniLM-L6-v2, 2 × 45)")
    assert copied(page) == expected


def test_a_link_opens_the_tab_again_and_nothing_of_it_shuts_people_out(page):
    score(page)
    open_code(page)
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_url("**#s=*")
    reload(page)
    expect(page.get_by_role("tab", name="Code")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#e5-code-status .e5-done")).to_be_visible()
    for target in TARGETS[-2:]:  # a shell's colours are others
        take_target(page, target)
        check_barriers(page, panel_of("#e5-code"))
