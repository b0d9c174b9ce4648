"""Texts of several requests that are tokenised in one call: each gets what it would get alone."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.server.preparation import TextPart, prepared, prepared_together
from e5studio.server.request_errors import RequestError
from tests.fakes import FakeBackend, encoder_over

LONG = "mountain river " * 600


def test_parts_of_several_requests_are_as_alone(e5, encoders):
    other = encoders("multilingual-e5")
    query, document = (e5.resolve_prompt(name) for name in ("query", "document"))
    parts = [
        (e5, TextPart(["how much protein", "summit", "how much protein"], query)),
        (e5, TextPart(["summit", LONG], query)),
        (e5, TextPart(["summit"], document)),
        (other, TextPart(["summit"], other.resolve_prompt("query"))),
        (e5, TextPart([LONG], query, cut="start")),
        (e5, TextPart(["a b c d e f g h i"], query, max_tokens=8)),
    ]
    for (encoder, part), together in zip(parts, prepared_together(parts), strict=True):
        alone = prepared(encoder, part)
        for row, row_alone in zip(together.rows, alone.rows, strict=True):
            np.testing.assert_array_equal(together.batch.select([row]).ids, alone.batch.select([row_alone]).ids)
        assert together.report.truncated == alone.report.truncated
        np.testing.assert_array_equal(together.report.n_tokens, alone.report.n_tokens)


def test_a_bad_text_fails_its_own_request_and_names_itself(e5):
    query = e5.resolve_prompt("query")
    good = TextPart(["summit"], query)
    bad = TextPart(["fine", ""], query, param="texts")
    refused = TextPart([LONG], query, cut="refuse")
    results = prepared_together([(e5, part) for part in (good, bad, refused, good)])
    assert [isinstance(result, RequestError) for result in results] == [False, True, True, False]
    assert [results[1].param, results[2].param] == ["texts.1", "input.0"]
    np.testing.assert_array_equal(results[3].batch.ids, prepared(e5, good).batch.ids)


@pytest.mark.parametrize("n_requests", [1, 12])
def test_like_texts_are_tokenised_in_one_call(n_requests, checkpoints, monkeypatch):
    checkpoint = checkpoints("e5")
    encoder = encoder_over(checkpoint, FakeBackend(checkpoint.meta.embed_dim))
    calls = []
    prepare = type(encoder).prepare
    monkeypatch.setattr(type(encoder), "prepare", lambda *given, **more: calls.append(1) or prepare(*given, **more))
    part = TextPart(["summit"], encoder.resolve_prompt("query"))
    assert len(prepared_together([(encoder, part)] * n_requests)) == n_requests
    assert len(calls) == 1
