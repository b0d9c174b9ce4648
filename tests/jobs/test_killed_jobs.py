"""Jobs whose workers are killed at random moments end with the bytes of a run that nothing disturbed.

`benchmarks/jobs.py` does the same with more kills of a larger job.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.mark.parametrize("n_workers", [pytest.param(1, marks=pytest.mark.long), 3])
def test_none_lost_none_twice(checkpoints, tmp_path, n_workers):
    pytest.importorskip("pyarrow")
    arguments = [3, 400, n_workers, 64, tmp_path, checkpoints("e5").folder]
    command = [sys.executable, "-W", "error", "-m", "tests.jobs.killing", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "E5STUDIO_THREADS": "1"}
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    counts = json.loads(ended.stdout)
    assert counts["kills"] + counts["kills_after_the_end"] == 3
    assert counts["shards_begun_again"] <= counts["kills"]
