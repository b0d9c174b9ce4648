"""LlamaIndex's splitters, given E5Embedding's counter and limit: no chunk is cut, nothing is lost, little is wasted."""

from __future__ import annotations

import statistics
import unicodedata

import pytest
from llama_index.core.node_parser import SentenceSplitter, TokenTextSplitter
from llama_index.core.schema import Document, MetadataMode

from tests.corpus import AWKWARD_TEXTS, PUMPKIN_PASSAGE, TRAINING_TEXT

CHINESE = "".join(character for character in PUMPKIN_PASSAGE if character.isalpha()) * 8
JAPANESE = "昨夜川が増水し朝には橋がなくなっていたが村では誰も驚かなかった検索エンジンは質問を読みます" * 24
THAI = "แม่น้ำเอ่อขึ้นในตอนกลางคืนและตอนเช้าสะพานก็หายไปไม่มีใครในหมู่บ้านแปลกใจ" * 16


def sentences(model, prompt_name="document"):
    """The README's splitter. Its sentence tokenizer's data comes inside llama-index-core: no network is needed."""
    return SentenceSplitter(
        chunk_size=model.max_text_tokens(prompt_name),
        chunk_overlap=0,
        tokenizer=model.tokenize,
        secondary_chunking_regex=r"\s*\S{1,24}|\s+",
    )


def words(model):
    return TokenTextSplitter(chunk_size=model.max_text_tokens(), chunk_overlap=0, tokenizer=model.tokenize)


def plain_sentences(model):
    return SentenceSplitter(chunk_size=model.max_text_tokens(), chunk_overlap=0, tokenizer=model.tokenize)


def letters(text):
    return "".join(text.split())


def fill(model, chunks):
    """The mean share of a chunk that is used, the last one apart."""
    return statistics.mean(model.count_tokens(chunk) / model.max_text_tokens() for chunk in chunks[:-1])


def visible(text):
    return "".join(character for character in letters(text) if unicodedata.category(character) not in ("Cc", "Cf"))


@pytest.fixture(params=["e5", "multilingual-e5", "multilingual-e5-instruct"])
def model(request, embedding, checkpoints):
    return embedding(checkpoints(request.param))


@pytest.fixture(scope="session")
def long_texts(retrieval_set):
    return {
        "abstracts": " ".join(retrieval_set.passages[:60])[:9000],
        "languages": TRAINING_TEXT * 2,
        "recipe": PUMPKIN_PASSAGE * 12,
    }


@pytest.mark.parametrize(("splitter", "filled"), [(sentences, 0.85), (words, 0.95), (plain_sentences, 0.85)])
@pytest.mark.parametrize("name", ["abstracts", "languages", "recipe"])
def test_long_texts(model, long_texts, splitter, filled, name):
    text = long_texts[name]
    chunks = splitter(model).split_text(text)
    assert len(chunks) > 2
    assert model.report(chunks).truncated == ()
    assert letters("".join(chunks)) == letters(text)
    assert fill(model, chunks) > filled


@pytest.mark.parametrize("splitter", [sentences, words, plain_sentences])
@pytest.mark.parametrize("text", [CHINESE, JAPANESE, THAI], ids=["Chinese", "Japanese", "Thai"])
def test_neither_spaces_nor_stops(embedding, checkpoints, splitter, text):
    model = embedding(checkpoints("multilingual-e5"))
    chunks = splitter(model).split_text(text)
    assert model.report(chunks).truncated == ()
    assert letters("".join(chunks)) == letters(text)
    # The others add up single characters, which count up to two tokens where they stand alone.
    assert fill(model, chunks) > (0.9 if splitter is sentences else 0.35)


@pytest.mark.parametrize("splitter", [sentences, words, plain_sentences])
def test_awkward_texts(model, splitter):
    text = " ".join(AWKWARD_TEXTS) * 10
    chunks = splitter(model).split_text(text)
    assert model.report(chunks).truncated == ()
    # The token splitter repeats at a border what counts no token; here that is invisible.
    assert visible("".join(chunks)) == visible(text)


@pytest.mark.parametrize("splitter", [sentences, words, plain_sentences])
@pytest.mark.parametrize(
    "templates", [{}, {"metadata_template": "{value}", "text_template": "{metadata_str} {content}"}]
)
def test_metadata_counts(model, long_texts, splitter, templates):
    document = Document(text=long_texts["abstracts"], metadata={"title": "Of rivers and bridges " * 4}, **templates)
    nodes = splitter(model).get_nodes_from_documents([document])
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
    parts = sentences(model, "query").split_text(TRAINING_TEXT)
    assert model.report(parts, "query").truncated == ()
