"""A cold Score looks for the model's files once and reads them once; a warm one does not touch the disk."""

from __future__ import annotations

from collections import Counter

import pytest

from e5studio import file_digest, hub, memory, model_packages
from e5studio.model_pool import ModelPool
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.result import ScoreRequest
from tests.conftest import OFFLINE_MODEL

REQUEST = ScoreRequest(OFFLINE_MODEL, "none", "a cat", "a dog\na mountain")
N_FILES = len(model_packages.package_of(OFFLINE_MODEL).sha256)


@pytest.fixture
def calls(offline_folder, monkeypatch, tmp_path):
    """How often the disk is searched for a model, one of its files is hashed, and its size is judged."""
    counts = Counter()

    def count(module, name, what):
        function = getattr(module, name)

        def counted(*arguments, **options):
            counts[what] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, counted)

    count(model_packages, "find_folder", "look-ups")
    count(hub, "_from_cache", "look-ups")
    count(file_digest.hashlib, "file_digest", "hashes")
    count(memory, "check_fits", "judgements")
    file_digest._read.cache_clear()
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path))  # digests are recorded there
    return counts


def test_a_cold_score_asks_once_and_a_warm_one_not_at_all(calls):
    pool = ModelPool(memory_budget=10**12)
    engine = Engine(pool)
    engine.score(REQUEST)
    assert calls == {"look-ups": 1, "hashes": N_FILES, "judgements": 1}
    calls.clear()
    engine.score(REQUEST)
    assert calls == {}
    pool.clear()
    engine.score(REQUEST)
    assert calls == {"look-ups": 1, "judgements": 1}, "the files are known by their size and time"
    pool.clear()
