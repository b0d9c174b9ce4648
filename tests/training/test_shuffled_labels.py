"""Answers that were shuffled among the queries teach nothing, and no seed is called an improvement."""

from __future__ import annotations

import pytest

from tests.training.conftest import make_pairs, write_pairs


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_shuffled_answers_are_no_gain(seed, run_training, tmp_path):
    rows = make_pairs(200, seed=seed, shuffled=True)
    result = run_training(
        write_pairs(tmp_path / "pairs.jsonl", rows), held_out=0.3, recipe={"n_epochs": 2, "seed": seed}
    )
    [verdict] = result.report.verdicts
    assert verdict.before.n_samples == 60
    assert verdict.word in ("no gain", "worse")


@pytest.mark.long
def test_true_answers_are_a_gain(run_training, tmp_path):
    """The same data before it is shuffled: the test above could not pass by a verdict that never says better."""
    rows = make_pairs(400, seed=1)
    result = run_training(write_pairs(tmp_path / "pairs.jsonl", rows), held_out=0.3, recipe={"n_epochs": 6})
    assert result.report.verdicts[0].word == "better"
