"""Every label of the page has its Chinese one, and no other."""

from __future__ import annotations

import json
import re

import pytest

from e5studio.studio.engine.catalog import ModelChoice
from e5studio.studio.engine.prompt_modes import uses_of, wording
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.form.examples import EXAMPLES
from e5studio.studio.map.placing import MapSettings, place_texts
from e5studio.studio.map.table import map_table
from e5studio.studio.page.app import build_app
from e5studio.studio.scores.table import score_table
from e5studio.studio.widgets.labels import CHINESE
from tests.studio.conftest import ENGLISH, OFFLINE

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("gradio_litter"),
]


@pytest.fixture(scope="module")
def keys(handlers):
    """What Gradio is told to translate."""
    config = json.dumps(build_app(handlers, ModelChoice(OFFLINE, "a test")).get_config_file(), default=str)
    marks = re.findall(r'"key\\*": \\*"([^"\\]+)', config)
    return {json.loads(f'"{mark}"') for mark in marks if mark[0].isupper() or mark[0].isdigit()}


def test_what_gradio_shows_is_known(keys):
    assert len(keys) > 30
    assert keys <= set(CHINESE)


def test_what_changes_with_the_model_is_known(handlers):
    shown = {example.title for example in EXAMPLES}
    for kind in ("query_passage", "instruct", "none"):
        for choice in uses_of(kind):
            names = wording(choice.use)
            shown |= {choice.label, names.left, names.right, names.right_hint or "Queries"}
    result = handlers.score(ScoreRequest(ENGLISH, "retrieval", "a\nb", "c"))
    for table in (score_table(result), map_table(result, place_texts(result, MapSettings()))):
        shown |= {column["title"] for column in table["columns"]} - {"Softmax"}
    assert shown <= set(CHINESE)


@pytest.mark.parametrize("english", CHINESE)
def test_keys_are_no_paths_and_values_are_chinese(english):
    assert "." not in english  # Gradio would look for a label inside another
    assert re.search("[\u4e00-\u9fff]", CHINESE[english])
