"""docs/reliability.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
CASES = re.findall(r"^\| (F\d\d) \| .* \| (.+) \|$", TABLE, re.MULTILINE)


def test_no_case_is_missing():
    assert [number for number, _ in CASES] == [f"F{number:02}" for number in range(1, 42)]


@pytest.mark.parametrize(("number", "tests"), CASES)
def test_its_tests_exist(number, tests):
    files = re.findall(r"`(tests/[^`]+\.py)`: ((?:`\w+`(?:, )?)+)", tests)
    assert files
    for path, names in files:
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"def {name}\(", source), f"{path} has no {name}"
