"""Which texts come next: every text once, like lengths together, queries ahead of bulk, nobody starved."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from e5studio.batching import Limits, TokenBatch
from e5studio.server.batch_queue import BatchQueue, Job

LIMITS = Limits(token_budget=64)


def job(lengths, model="a", limits=LIMITS):
    ids = np.concatenate([np.full(length, number, np.int32) for number, length in enumerate(lengths)])
    return Job(model, limits, TokenBatch(ids, np.array(lengths, np.int32)), np.empty((len(lengths), 1), np.float32))


def drained(queue):
    steps = []
    while (step := queue.next()) is not None:
        steps.append(step)
    return steps


def jobs_of(step):
    return [each for each, _ in step.parts]


LENGTHS = st.lists(st.integers(1, 80), min_size=1, max_size=40)


@settings(max_examples=30)
@given(st.lists(st.tuples(LENGTHS, st.sampled_from("ab")), min_size=1, max_size=12), st.integers(0, 250))
def test_every_text_is_computed_once_in_batches_of_one_model_within_the_budget(requests, shape_cost):
    queue = BatchQueue()
    limits = Limits(token_budget=64, overhead=20, shape_cost=shape_cost)
    jobs = [job(lengths, model, limits) for lengths, model in requests]
    for each in jobs:
        queue.put(each)
    rows = {id(each): [] for each in jobs}
    for step in drained(queue):
        batch = step.batch()
        assert len(batch) == 1 or len(batch) * batch.lengths.max() <= 64 + 80
        expected = np.concatenate([part.batch.lengths[indices] for part, indices in step.parts])
        np.testing.assert_array_equal(batch.lengths, expected)
        for part, indices in step.parts:
            assert part.model == step.model
            rows[id(part)] += indices.tolist()
    for each in jobs:
        assert sorted(rows[id(each)]) == list(range(len(each.batch)))
    assert len(queue) == 0


def test_texts_of_several_requests_share_a_batch():
    queue = BatchQueue()
    jobs = [job([5]) for _ in range(8)]
    for each in jobs:
        queue.put(each)
    [step] = drained(queue)
    assert jobs_of(step) == jobs


def test_a_query_waits_for_one_batch_of_the_bulk():
    queue = BatchQueue()
    bulk, query = job([60] * 20), job([5])
    queue.put(bulk)
    assert jobs_of(queue.next()) == [bulk]
    queue.put(query)
    assert jobs_of(queue.next()) == [query]


def test_a_stream_of_queries_leaves_every_other_batch_to_the_bulk():
    queue = BatchQueue()
    bulk = job([60] * 10)
    queue.put(bulk)
    n_bulk = 0
    for _ in range(20):
        queue.put(job([5]))
        n_bulk += jobs_of(queue.next()) == [bulk]
    assert n_bulk == 10


def test_a_long_request_does_not_hold_up_those_behind_it():
    queue = BatchQueue()
    long, later = job([60] * 500), job([60] * 3)
    queue.put(long)
    queue.next()
    queue.put(later)
    n_steps = next(number for number, step in enumerate(drained(queue), 1) if later in jobs_of(step))
    assert n_steps < 40


def test_another_model_has_its_turn_between_the_windows_of_a_long_request():
    queue = BatchQueue()
    queue.put(job([60] * 500))
    queue.next()
    queue.put(job([60] * 3, "b"))
    assert "b" in [queue.next().model for _ in range(20)]


def test_what_was_dropped_is_not_computed():
    queue = BatchQueue()
    kept, begun, waiting = job([60] * 3), job([60] * 3), job([60] * 3)
    queue.put(kept)
    queue.put(begun)
    queue.next()
    queue.put(waiting)
    begun.is_dropped = waiting.is_dropped = True
    assert {id(each) for step in drained(queue) for each in jobs_of(step)} == {id(kept)}
