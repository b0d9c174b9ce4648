"""Other people's clients, unmodified, against a server on a real socket: the encoder's vectors in each role.

The development requirements bring openai, ollama, langchain-openai, haystack-ai and huggingface_hub. Others run where
they are installed (requirements-clients.txt): cohere, litellm, voyageai, langchain-cohere, langchain-ollama,
langchain-nvidia-ai-endpoints, llama-index-embeddings-openai-like, llama-index-embeddings-text-embeddings-inference,
and openai of npm.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from e5studio.server.app import Server, ServerOptions
from e5studio.server.roles import Roles
from e5studio.server.served_models import ServedModels
from tests.server.conftest import as_served, on_a_socket

TEXTS = ["how much protein should a female eat", "the top of a mountain", "good morning"]
LONG = "mountain river " * 600

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::UserWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture(scope="module")
def queries(encoders):
    return encoders("e5").encode_query(TEXTS)


@pytest.fixture(scope="module")
def passages(encoders):
    return encoders("e5").encode_document(TEXTS)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    yield
    gc.collect()  # clients that close nothing: here it is known whose sockets these are


def assert_same(vectors, expected):
    np.testing.assert_allclose(np.array(vectors, np.float32), expected, atol=1e-6)


class TestOpenAI:
    @pytest.fixture
    def client(self, address):
        openai = pytest.importorskip("openai")
        with openai.OpenAI(base_url=address + "/v1", api_key="none", max_retries=0) as made:
            yield made

    def vectors(self, answer):
        return [each.embedding for each in answer.data]

    def test_the_models_name_or_an_extra_field_says_the_role(self, client, queries, passages):
        create = client.embeddings.create
        assert_same(self.vectors(create(model="e5-query", input=TEXTS)), queries)
        assert_same(self.vectors(create(model="own/e5-passage", input=TEXTS)), passages)
        assert_same(self.vectors(create(model="e5", input=TEXTS, extra_body={"input_type": "passage"})), passages)
        assert_same(self.vectors(create(model="e5-query", input=TEXTS[0])), queries[:1])

    def test_its_base64_and_floats_are_the_same_bits(self, client):
        coded = client.embeddings.create(model="e5-query", input=TEXTS)
        plain = client.embeddings.create(model="e5-query", input=TEXTS, encoding_format="float")
        np.testing.assert_array_equal(np.float32(self.vectors(coded)), np.float32(self.vectors(plain)))
        assert coded.usage.prompt_tokens == coded.usage.total_tokens > 0

    def test_errors_are_of_the_right_class_with_their_message(self, client):
        import openai

        create = client.embeddings.create
        for error, said, model, texts in (
            (openai.BadRequestError, "input_type", "e5", TEXTS),
            (openai.NotFoundError, "own/e5", "text-embedding-3-small", TEXTS),
            (openai.BadRequestError, "check_embedding_ctx_length=False", "e5-query", [[1, 2]]),
            (openai.BadRequestError, "empty", "e5-query", ["a", ""]),
        ):
            with pytest.raises(error, match=said):
                create(model=model, input=texts)

    def test_models(self, client):
        assert client.models.list().data[0].id == "own/e5"
        assert client.models.retrieve("own/e5").id == "own/e5"

    async def test_async_from_many_tasks(self, address, queries, encoders):
        openai = pytest.importorskip("openai")
        served = {"e5": encoders("e5"), "multilingual": encoders("multilingual-e5")}
        expected = {
            (name, role): encoder.encode(TEXTS, prompt_name=role)
            for name, encoder in served.items()
            for role in ("query", "passage")
        }
        async with openai.AsyncOpenAI(base_url=address + "/v1", api_key="none") as client:

            async def ask(number):
                (name, role), row = list(expected)[number % 4], number % len(TEXTS)
                answer = await client.embeddings.create(model=f"{name}-{role}", input=[TEXTS[row]])
                assert_same(self.vectors(answer), expected[name, role][row : row + 1])

            await asyncio.gather(*(ask(number) for number in range(48)))


def test_haystack(address, queries, passages):
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.utils import Secret

    options = {"api_base_url": address + "/v1", "api_key": Secret.from_token("none")}
    text = OpenAITextEmbedder(model="e5-query", **options).run(TEXTS[0])
    assert_same([text["embedding"]], queries[:1])
    embedder = OpenAIDocumentEmbedder(model="e5-passage", progress_bar=False, **options)
    documents = embedder.run([Document(content=each) for each in TEXTS])["documents"]
    assert_same([each.embedding for each in documents], passages)


def test_hugging_face(address, encoders, queries, passages, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # as it is for its users
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False, raising=False)
    client = huggingface_hub.InferenceClient(address)
    assert_same(client.feature_extraction(TEXTS[0], prompt_name="query"), queries[:1])
    assert_same(client.feature_extraction(TEXTS, prompt_name="passage", normalize=True, truncate=True), passages)
    scores = client.sentence_similarity(TEXTS[0], other_sentences=TEXTS)
    assert_same(scores, encoders("e5").scores(TEXTS[:1], TEXTS)[0] / 100)


def test_ollama(address, queries, passages):
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=address)
    assert_same(client.embed(model="e5-query", input=TEXTS).embeddings, queries)
    assert_same([client.embeddings(model="e5-passage", prompt=TEXTS[0]).embedding], passages[:1])
    assert client.list().models[0].model == "own/e5"
    assert client.show("e5").capabilities == ["embedding"]
    with pytest.raises(ollama.ResponseError, match="e5-query"):
        client.embed(model="e5", input=TEXTS)


def test_cohere(address, queries, passages):
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="none", base_url=address)
    embed = {"model": "e5", "embedding_types": ["float"]}
    assert_same(client.embed(texts=TEXTS, input_type="search_query", **embed).embeddings.float_, queries)
    assert_same(client.embed(texts=TEXTS, input_type="search_document", **embed).embeddings.float_, passages)
    cut = client.embed(texts=[LONG], input_type="search_query", **embed)
    assert "longer than" in cut.meta.warnings[0]
    first = cohere.Client(api_key="none", base_url=address)
    assert_same(first.embed(model="e5", texts=TEXTS, input_type="search_query").embeddings, queries)


def test_voyage(address, queries, passages):
    client = pytest.importorskip("voyageai").Client(api_key="none", base_url=address + "/v1")
    assert_same(client.embed(TEXTS, model="e5", input_type="query").embeddings, queries)
    assert_same(client.embed(TEXTS, model="e5", input_type="document").embeddings, passages)


_JAVASCRIPT = """
const { OpenAI } = require("openai");
const client = new OpenAI({ baseURL: process.argv[1] + "/v1", apiKey: "none", maxRetries: 0 });
const embed = (options) => client.embeddings.create({ input: JSON.parse(process.argv[2]), ...options });
Promise.all([embed({ model: "e5-query" }), embed({ model: "e5", input_type: "passage" })]).then((answers) =>
  console.log(JSON.stringify(answers.map((answer) => answer.data.map((each) => each.embedding)))));
"""


def test_openai_of_npm(address, queries, passages):
    """Where NODE_PATH has the package."""
    if (
        shutil.which("node") is None
        or subprocess.run(["node", "-e", 'require.resolve("openai")'], stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("Node.js or its package openai is not installed")
    command = ["node", "-e", _JAVASCRIPT, address, json.dumps(TEXTS)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    of_queries, of_passages = json.loads(answer.stdout)
    assert_same(of_queries, queries)
    assert_same(of_passages, passages)


def test_litellm(address, queries, passages):
    litellm = pytest.importorskip("litellm")
    options = {"api_base": address + "/v1", "api_key": "none", "encoding_format": "float"}
    answer = litellm.embedding(model="openai/e5", input=TEXTS, input_type="query", **options)
    assert_same([each["embedding"] for each in answer.data], queries)
    answer = litellm.embedding(model="openai/e5-passage", input=TEXTS, **options)
    assert_same([each["embedding"] for each in answer.data], passages)


@pytest.mark.parametrize(
    ("package", "name"),
    [("langchain_cohere", "CohereEmbeddings"), ("langchain_nvidia_ai_endpoints", "NVIDIAEmbeddings")],
)
def test_langchain_classes_that_say_the_role_by_method(address, queries, passages, package, name):
    embeddings = getattr(pytest.importorskip(package), name)
    if name == "CohereEmbeddings":
        made = embeddings(model="e5", base_url=address, cohere_api_key="none")
    else:
        made = embeddings(model="own/e5", base_url=address + "/v1", api_key="none")
    assert_same(made.embed_documents(TEXTS), passages)
    assert_same([made.embed_query(TEXTS[0])], queries[:1])


def test_langchain_openai(address, queries, passages):
    openai = pytest.importorskip("langchain_openai").OpenAIEmbeddings
    options = {"base_url": address + "/v1", "api_key": "none", "check_embedding_ctx_length": False}
    assert_same(openai(model="e5-passage", **options).embed_documents(TEXTS), passages)
    assert_same([openai(model="e5-query", **options).embed_query(TEXTS[0])], queries[:1])


def test_langchain_ollama(address, passages):
    ollama = pytest.importorskip("langchain_ollama").OllamaEmbeddings
    assert_same(ollama(model="e5-passage", base_url=address).embed_documents(TEXTS), passages)


def test_llama_index_tei(encoders, passages):
    client = pytest.importorskip("llama_index.embeddings.text_embeddings_inference").TextEmbeddingsInference
    server = Server(ServedModels([as_served(encoders("e5"))]), ServerOptions(roles=Roles("document")))
    with on_a_socket(server) as address:
        assert_same(client(model_name="e5", base_url=address).get_text_embedding_batch(TEXTS), passages)


def test_llama_index(address, passages):
    like = pytest.importorskip("llama_index.embeddings.openai_like").OpenAILikeEmbedding
    made = like(model_name="e5-passage", api_base=address + "/v1", api_key="none")
    assert_same(made.get_text_embedding_batch(TEXTS), passages)
