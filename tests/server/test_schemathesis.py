"""schemathesis, which derives requests from the OpenAPI document, finds no answer that the document does not name.

    pip install schemathesis

It is no requirement: test_odd_bodies.py holds the same with requests of our own.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e5studio.server import openapi
from e5studio.server.app import DIALECTS, Server, ServerOptions
from e5studio.server.roles import Roles
from e5studio.server.served_models import ServedModels
from tests.server.conftest import as_served, on_a_socket

schemathesis = pytest.importorskip("schemathesis", reason="it is not installed: pip install schemathesis")

# Not all that a model needs can be said in a schema: its name, its dimensions, two fields that contradict each other.
BEYOND_A_SCHEMA = [pytest.importorskip("schemathesis.specs.openapi.checks").positive_data_acceptance]


SCHEMA = schemathesis.openapi.from_dict(openapi.document(DIALECTS, needs_key=False))


@pytest.fixture(scope="module")
def url(encoders):
    with on_a_socket(Server(ServedModels([as_served(encoders("e5"))]), ServerOptions(roles=Roles("query")))) as made:
        yield made


@pytest.mark.parametrize("operation", [each.ok() for each in SCHEMA.get_all_operations()], ids=lambda each: each.label)
def test_every_answer_is_as_documented(operation, url):
    strategies = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]

    @settings(max_examples=5, suppress_health_check=list(HealthCheck))
    @given(st.one_of(strategies))
    def check(case):
        case.call_and_validate(base_url=url, excluded_checks=BEYOND_A_SCHEMA)

    check()
