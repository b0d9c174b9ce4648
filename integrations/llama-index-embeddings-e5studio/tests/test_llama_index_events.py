"""Listeners hear of E5Embedding's calls what they hear of any embedding of LlamaIndex's, and its limiter is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.e5studio import E5Embedding

from e5studio import E5Encoder, Embedder

TEXTS = ["one", "two words", "three words here", "and then four words", "five"]


class Plain(BaseEmbedding):
    """The core's vectors in LlamaIndex's own base class, none of whose public methods is overridden."""

    _encoder: E5Encoder = PrivateAttr()

    def __init__(self, encoder: E5Encoder, **options: Any) -> None:
        super().__init__(**options)
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        return "E5Embedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._encoder.encode_query(query).tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._encoder.encode_query(query).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._encoder.encode_document(text).tolist()

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._encoder.encode_document(text).tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._encoder.encode_document(texts).tolist()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._encoder.encode_document(texts).tolist()


async def _sync(model, name, argument):
    return getattr(model, name)(argument)


async def _async(model, name, argument):
    return await getattr(model, f"a{name}")(argument)


here = pytest.mark.parametrize("run", [_sync, _async], ids=["sync", "async"])  # in this thread, where spans nest


@pytest.fixture
def pair(embedding, core, e5):
    """Makes an E5Embedding and its plain counterpart with the same settings."""

    def make(**options: Any) -> tuple[E5Embedding, Plain]:
        options.setdefault("embed_batch_size", 2048)
        return embedding(e5, **options), Plain(core(e5), model_name=str(e5.folder), **options)

    return make


class Listener(BaseCallbackHandler):
    """Writes down callback events."""

    def __init__(self, heard: list[Any]) -> None:
        super().__init__([], [])
        self.heard = heard
        self.open: set[str] = set()

    def start_trace(self, trace_id=None):
        pass

    def end_trace(self, trace_id=None, trace_map=None):
        pass

    def on_event_start(self, event_type, payload=None, event_id="", parent_id="", **kwargs):
        self.open.add(event_id)
        self.heard.append(("callback start", event_type, payload))
        return event_id

    def on_event_end(self, event_type, payload=None, event_id="", **kwargs):
        self.open.remove(event_id)
        self.heard.append(("callback end", event_type, _readable(payload)))


def _readable(payload):
    return {key: repr(value) if isinstance(value, Exception) else value for key, value in (payload or {}).items()}


@pytest.fixture
def heard(monkeypatch):
    """All that the root dispatcher's handlers hear, and the callback manager that adds to it."""
    log: list[Any] = []

    class Events(BaseEventHandler):
        @classmethod
        def class_name(cls):
            return "Events"

        def handle(self, event, **kwargs):
            if isinstance(event, EmbeddingStartEvent):
                log.append(("start", event.model_dict, method(event.span_id)))
            elif isinstance(event, EmbeddingEndEvent):
                log.append(("end", event.chunks, event.embeddings, method(event.span_id)))
            else:
                log.append((type(event).__name__, event.model_dump(exclude={"id_", "timestamp", "span_id"})))

    class Spans(BaseSpanHandler):
        def new_span(self, id_, bound_args, instance=None, parent_span_id=None, tags=None, **kwargs):
            log.append(("span", method(id_), dict(bound_args.arguments), method(parent_span_id)))

        def prepare_to_exit_span(self, id_, bound_args, instance=None, result=None, **kwargs):
            log.append(("span done", method(id_), result))

        def prepare_to_drop_span(self, id_, bound_args, instance=None, err=None, **kwargs):
            log.append(("span dropped", method(id_), repr(err)))

    root = get_dispatcher()
    monkeypatch.setattr(root, "event_handlers", [Events()])
    monkeypatch.setattr(root, "span_handlers", [Spans()])
    return log


def method(span_id):
    """A span's name without class and number."""
    return span_id and span_id.split(".", 1)[1].split("-", 1)[0]


CALLS = [
    ("get_query_embedding", TEXTS[0]),
    ("get_text_embedding", TEXTS[0]),
    ("get_text_embedding_batch", TEXTS),
    ("get_text_embedding_batch", []),
    ("get_agg_embedding_from_queries", TEXTS[:2]),
]


async def listen(model, heard, calls, run):
    """What is heard of these calls."""
    listener = Listener(heard)
    model.callback_manager = CallbackManager([listener])
    heard.clear()
    for name, argument in calls:
        await run(model, name, argument)
    assert not listener.open
    return list(heard)


@here
@pytest.mark.parametrize("batch_size", [2048, 2])
@pytest.mark.parametrize("name", [None, "computed", "found"], ids=lambda name: f"cache {name}")
async def test_the_same_events_as_the_base_class(pair, heard, run, batch_size, name):
    # LlamaIndex's cache gives a query the vector of a passage of the same text, so roles are called apart.
    for calls in ([CALLS[0], CALLS[4]], CALLS[1:4]):
        logs = []
        for model in pair(embed_batch_size=batch_size):
            if name:
                model.embeddings_cache = SimpleKVStore()
            if name == "found":
                await listen(model, heard, calls, run)
            logs.append(await listen(model, heard, calls, run))
        ours, plain = logs
        assert ours == plain
        assert {entry[0] for entry in ours} == {"span", "start", "callback start", "callback end", "end", "span done"}


async def test_what_is_told(pair, heard, call):
    model, _ = pair(embed_batch_size=3)
    listener = Listener(heard)
    model.callback_manager = CallbackManager([listener])
    rows = await call(model, "get_text_embedding_batch", TEXTS)
    payload = {"class_name": "E5Embedding", "model_name": model.model_name, "embed_batch_size": 3}
    starts = [entry for entry in heard if entry[0] == "callback start"]
    assert starts == [("callback start", CBEventType.EMBEDDING, {EventPayload.SERIALIZED: payload})] * 2
    assert [entry[1] for entry in heard if entry[0] == "start"] == [payload] * 2
    groups = [(TEXTS[:3], rows[:3]), (TEXTS[3:], rows[3:])]
    assert [entry[1:3] for entry in heard if entry[0] == "end"] == groups
    ends = [entry[2] for entry in heard if entry[0] == "callback end"]
    assert [(end[EventPayload.CHUNKS], end[EventPayload.EMBEDDINGS]) for end in ends] == groups


@pytest.mark.parametrize("name", [name for name, _ in CALLS[:3]])
async def test_one_span_for_a_public_call(pair, heard, call, name):
    model, _ = pair()
    await call(model, name, TEXTS if name.endswith("batch") else TEXTS[0])
    spans = [entry[1] for entry in heard if entry[0] == "span"]
    assert len([span for span in spans if span.removeprefix("a") == name]) == 1


@here
@pytest.mark.parametrize("called", CALLS[:3], ids=lambda called: called[0])
async def test_a_failure_is_told_as_the_base_class_tells_it(pair, heard, monkeypatch, run, called):
    def fail(self, *arguments, **options):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(Embedder, "embed", fail)
    monkeypatch.setattr(E5Encoder, "_encode", fail)
    logs = []
    for model in pair():
        model.callback_manager = CallbackManager([Listener(heard)])
        heard.clear()
        with pytest.raises(RuntimeError, match="the device is gone"):
            await run(model, *called)
        logs.append([_without_class(entry) for entry in heard])
    assert logs[0] == logs[1]


def _without_class(entry):
    if entry[0] == "SpanDropEvent":
        return entry[0], entry[1]["err_str"]
    return entry


class Limiter(BaseRateLimiter):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.n_asked = 0

    def acquire(self, num_tokens: int = 0) -> None:
        self.n_asked += 1

    async def async_acquire(self, num_tokens: int = 0) -> None:
        await asyncio.sleep(0)
        self.n_asked += 1


async def asked(model, call, name, argument):
    """How often a call asks the limiter."""
    model.rate_limiter = Limiter()
    await call(model, name, argument)
    return model.rate_limiter.n_asked


@pytest.mark.parametrize(("called", "n_groups"), list(zip(CALLS, [1, 1, 3, 0, 2], strict=True)))
async def test_the_limiter_is_asked_as_often_as_by_the_base_class(pair, call, called, n_groups):
    model, plain = pair(embed_batch_size=2)
    assert await asked(model, call, *called) == await asked(plain, call, *called) == n_groups


@pytest.mark.parametrize("name", ["get_query_embedding", "get_text_embedding"])
async def test_a_text_found_in_the_cache_asks_no_limiter(pair, call, name):
    counts = []
    for model in pair(embeddings_cache=None):
        model.embeddings_cache = SimpleKVStore()
        counts.append([await asked(model, call, name, "a text") for _ in range(2)])
    assert counts == [[1, 0], [1, 0]]


async def test_a_cached_batch_asks_the_limiter(pair):
    model, plain = pair(embed_batch_size=2)
    model.embeddings_cache, plain.embeddings_cache = SimpleKVStore(), SimpleKVStore()
    for texts in (TEXTS[:4], TEXTS, TEXTS):
        counts = [await asked(one, _sync, "get_text_embedding_batch", texts) for one in (model, plain)]
        assert counts == [len(texts[::2])] * 2


async def test_an_async_cached_batch_asks_the_limiter_for_what_is_missing(pair):
    model, plain = pair(embed_batch_size=2)
    model.embeddings_cache, plain.embeddings_cache = SimpleKVStore(), SimpleKVStore()
    expected = [2, 1, 0]  # groups with a text that is not in the cache
    for texts, n_missing in zip((TEXTS[:4], TEXTS, TEXTS), expected, strict=True):
        assert await asked(model, _async, "get_text_embedding_batch", texts) == n_missing
        assert await asked(plain, _async, "get_text_embedding_batch", texts) == 0  # the base class forgets it
