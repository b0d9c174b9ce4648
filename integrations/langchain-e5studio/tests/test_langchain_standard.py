"""LangChain's own tests of embeddings, unmodified, on each kind of model."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from langchain_e5studio import E5Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests


class _Subject:
    """The two properties that the standard tests ask for."""

    params: ClassVar[dict[str, Any]]

    @property
    def embeddings_class(self) -> type[E5Embeddings]:
        return E5Embeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return self.params


@pytest.fixture(autouse=True, scope="class", params=["e5", "instruct", "offline"])
def _params(request, options):
    """Put the options where a property finds them: properties take no fixtures."""
    request.cls.params = options[request.param]


class TestUnit(_Subject, EmbeddingsUnitTests):
    """No variable of the environment configures the class, so `test_init_from_env` has nothing to check."""


class TestIntegration(_Subject, EmbeddingsIntegrationTests):
    pass
