"""LlamaIndex's splitters, given E5Embedding's counter and limit: no chunk is cut, nothing is lost, little is wasted."""

from __future__ import annotations

import statistics
import unicodedata

import pytest
from llama_index.core.node_parser import SentenceSplitter, TokenTextSplitter
from llama_index.core.schema import Document, MetadataMode

from tests.corpus import AWKWARD_TEXTS, PUMPKIN_PASSAGE, TRAINING_TEXT

SPACELESS = "".join(character for character in PUMPKIN_PASSAGE if character.isalpha()) * 8
THAI = "แม่น้ำเอ่อขึ้นในตอนกลางคืนและตอนเช้าสะพานก็หายไปไม่มีใครในหมู่บ้านแปลกใจ" * 16


def splitter(kind, model):
    # SentenceSplitter's sentence tokenizer comes inside llama-index-core: it needs no network.
    return kind(chunk_size=model.max_text_tokens(), chunk_overlap=0, tokenizer=model.tokenize)


def letters(text):
    return "".join(text.split())


def visible(text):
    return "".join(character for character in letters(text) if unicodedata.category(character) not in ("Cc", "Cf"))


@pytest.fixture(params=["e5", "multilingual-e5", "multilingual-e5-instruct"])
def model(request, embedding, checkpoints):
    return embedding(checkpoints(request.param))


@pytest.fixture(scope="session")
def long_texts(retrieval_set):
    return {
        "abstracts": " ".join(retrieval_set.passages[:60]),
        "languages": TRAINING_TEXT * 4,
        "recipe": PUMPKIN_PASSAGE * 12,
    }


@pytest.mark.parametrize(("kind", "filled"), [(SentenceSplitter, 0.85), (TokenTextSplitter, 0.95)])
@pytest.mark.parametrize("name", ["abstracts", "languages", "recipe"])
def test_long_texts(model, long_texts, kind, filled, name):
    text = long_texts[name]
    chunks = splitter(kind, model).split_text(text)
    assert len(chunks) > 2
    assert model.report(chunks).truncated == ()
    assert letters("".join(chunks)) == letters(text)
    fill = statistics.mean(model.count_tokens(chunk) / model.max_text_tokens() for chunk in chunks[:-1])
    assert fill > filled


@pytest.mark.parametrize("kind", [SentenceSplitter, TokenTextSplitter])
@pytest.mark.parametrize("text", [SPACELESS, THAI], ids=["Chinese", "Thai"])
def test_neither_spaces_nor_stops(model, kind, text):
    chunks = splitter(kind, model).split_text(text)
    assert model.report(chunks).truncated == ()
    assert letters("".join(chunks)) == letters(text)
    # LlamaIndex then adds up single characters, which count up to two tokens each where they stand alone.
    assert all(model.count_tokens(chunk) > model.max_text_tokens() / 3 for chunk in chunks[:-1])


@pytest.mark.parametrize("kind", [SentenceSplitter, TokenTextSplitter])
def test_awkward_texts(model, kind):
    text = " ".join(AWKWARD_TEXTS) * 10
    chunks = splitter(kind, model).split_text(text)
    assert model.report(chunks).truncated == ()
    # The token splitter repeats at a border what counts no token; here that is invisible.
    assert visible("".join(chunks)) == visible(text)


@pytest.mark.parametrize("kind", [SentenceSplitter, TokenTextSplitter])
@pytest.mark.parametrize(
    "templates", [{}, {"metadata_template": "{value}", "text_template": "{metadata_str} {content}"}]
)
def test_metadata_counts(model, long_texts, kind, templates):
    document = Document(text=long_texts["abstracts"], metadata={"title": "Of rivers and bridges " * 4}, **templates)
    nodes = splitter(kind, model).get_nodes_from_documents([document])
    contents = [node.get_content(MetadataMode.EMBED) for node in nodes]
    assert all(content.startswith(("title: Of rivers", "Of rivers")) for content in contents)
    assert model.report(contents).truncated == ()
    assert letters("".join(node.text for node in nodes)) == letters(document.text)


def test_the_default_counter_cuts_what_e5_reads(embedding, e5, long_texts):
    model = embedding(e5)
    chunks = SentenceSplitter().split_text(long_texts["abstracts"])  # 1,024 tokens, as GPT counts
    assert len(model.report(chunks).truncated) > len(chunks) / 2


def test_queries_have_a_limit_of_their_own(embedding, instruct):
    model = embedding(instruct)
    parts = SentenceSplitter(
        chunk_size=model.max_text_tokens("query"), chunk_overlap=0, tokenizer=model.tokenize
    ).split_text(TRAINING_TEXT)
    assert model.report(parts, "query").truncated == ()
