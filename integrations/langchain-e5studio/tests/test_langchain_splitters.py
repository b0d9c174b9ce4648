"""Chunks measured in the model's own tokens: none is cut, nothing is lost, little room is wasted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from langchain_e5studio import E5Embeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter

from tests.corpus import PUMPKIN_PASSAGE, TRAINING_TEXT

# Between words; and in text without spaces every 24 characters, because the splitter adds up the tokens
# of its pieces, and characters by themselves take up to twice the tokens that they take together.
SEPARATORS = [r"\s+|\S{24}", ""]

JAPANESE = "昨夜川が増水し、朝には橋がなくなっていたが、村では誰も驚かなかった。検索エンジンは質問を読みます。"
THAI = "แม่น้ำเอ่อขึ้นในตอนกลางคืนและตอนเช้าสะพานก็หายไปไม่มีใครในหมู่บ้านแปลกใจ" * 25
CHINESE = "".join(PUMPKIN_PASSAGE.split()) * 8
MODELS = pytest.mark.parametrize("name", ["e5", "instruct", "offline"])


@pytest.fixture(scope="session")
def texts(retrieval_set) -> dict[str, str]:
    """Long texts."""
    english = [passage for passage in retrieval_set.passages if passage.isascii()]
    passages = (english * 60)[:60]
    mixed = [passages[0], CHINESE[:500], passages[1], THAI[:700], passages[2]]
    return {
        "passages": "\n\n".join(passages)[:9000],
        "one line": " ".join(passages)[:9000],
        "many languages": "\n".join([TRAINING_TEXT] * 2),
        "Chinese": CHINESE,
        "Japanese": JAPANESE * 30,
        "Thai": THAI,
        "mixed": "\n".join(mixed * 2),
    }


def split(embeddings: E5Embeddings, text: str, prompt_name: str = "document") -> list[str]:
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=embeddings.max_text_tokens(prompt_name),
        chunk_overlap=0,
        length_function=embeddings.count_tokens,
        separators=SEPARATORS,
        is_separator_regex=True,
        keep_separator=True,
    )
    return splitter.split_text(text)


def without_spaces(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    ("name", "prompt_name"),
    [("e5", "document"), ("instruct", "document"), ("offline", "document"), ("instruct", "query")],  # others: same room
)
def test_no_chunk_is_cut_and_nothing_is_lost(name, prompt_name, make, texts):
    embeddings = make(name)
    for text in texts.values():
        chunks = split(embeddings, text, prompt_name)
        assert embeddings.report(chunks, prompt_name).truncated == ()
        assert without_spaces("".join(chunks)) == without_spaces(text)


@MODELS
def test_no_word_of_ordinary_length_is_cut(name, make, texts):
    words = [word for word in texts["passages"].split() if len(word) <= 24]
    assert [word for chunk in split(make(name), " ".join(words)) for word in chunk.split()] == words


@pytest.mark.parametrize(
    ("name", "text", "least"),
    [
        *[(name, "passages", 0.95) for name in ("e5", "instruct", "offline")],
        *[(name, "one line", 0.95) for name in ("e5", "instruct", "offline")],
        *[(name, "many languages", 0.95) for name in ("e5", "instruct", "offline")],
        *[(name, "Chinese", 0.9) for name in ("e5", "instruct", "offline")],
        # The other vocabularies are English: a run of letters that they don't know is one unknown token.
        *[("instruct", text, 0.9) for text in ("Japanese", "Thai", "mixed")],
    ],
)
def test_chunks_are_well_filled(name, text, least, make, texts):
    embeddings = make(name)
    chunks = split(embeddings, texts[text])
    assert len(chunks) >= 3
    filled = [  # the last one ends where the text does
        embeddings.count_tokens(chunk) / embeddings.max_text_tokens() for chunk in chunks[:-1]
    ]
    assert np.mean(filled) >= least


def test_chunks_leave_room_for_a_longer_instruction(make, texts):
    task = "Given a claim about medicine or biology, find the abstracts that support or refute it"
    embeddings = make("instruct", symmetric=True, instruction=task)
    assert embeddings.max_text_tokens() < make("instruct").max_text_tokens()
    chunks = split(embeddings, texts["passages"])
    assert embeddings.report(chunks).prompt.instruction == task
    assert embeddings.report(chunks).truncated == ()
    embeddings.embed_documents(chunks[:3])  # a warning would be an error


def test_the_readme_shows_these_separators():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert 'separators=[r"\\s+|\\S{24}", ""],' in readme
