"""An E5Encoder in place of a SentenceTransformer: the same vectors from the same calls, and no option swallowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.util import mine_hard_negatives

from e5studio.adapters.sentence_transformers import E5SentenceTransformer
from e5studio.errors import (
    E5StudioWarning,
    PromptError,
    PromptWarning,
    TextTypeError,
    TruncationWarning,
    UnsupportedError,
)
from tests.corpus import ORDINARY_TEXTS

TEXTS = list(ORDINARY_TEXTS)


@pytest.fixture(scope="module")
def theirs(e5_folder):
    return SentenceTransformer(e5_folder, device="cpu", prompts={"query": "query: ", "document": "passage: "})


@pytest.fixture
def model(core):
    return E5SentenceTransformer(core)


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt_name": "query"},
        {"prompt_name": "document", "batch_size": 2, "show_progress_bar": False},
        {"prompt": "", "normalize_embeddings": True, "device": "cpu"},
        {"prompt_name": "query", "convert_to_tensor": True},
        {"prompt_name": "query", "convert_to_numpy": False},
        {"prompt_name": "query", "truncate_dim": 8, "normalize_embeddings": True},
        {"prompt_name": "query", "output_value": "token_embeddings"},
    ],
    ids=str,
)
@pytest.mark.parametrize("inputs", [TEXTS, TEXTS[0], np.array(TEXTS), []], ids=["list", "str", "array", "none"])
def test_encode_gives_what_theirs_gives(model, theirs, arguments, inputs):
    ours, expected = model.encode(inputs, **arguments), theirs.encode(inputs, **arguments)
    assert type(ours) is type(expected)
    assert len(ours) == len(expected)
    for row, expected_row in zip(ours, expected, strict=True):
        assert type(row) is type(expected_row)
        assert np.allclose(row, expected_row, atol=1e-5)


@pytest.mark.parametrize("precision", ["binary", "ubinary", "int8", "uint8"])
def test_precision_is_theirs(model, theirs, precision):
    ours, expected = (each.encode_query(TEXTS, precision=precision) for each in (model, theirs))
    assert ours.dtype == expected.dtype
    assert np.abs(ours.astype(int) - expected).max() <= 1  # a bucket's edge


def test_both_sides_choose_their_prompts(model, core):
    assert np.array_equal(model.encode_query(TEXTS), core.encode_query(TEXTS))
    assert np.array_equal(model.encode_document(TEXTS), core.encode_document(TEXTS))
    assert model.prompts == {"query": "query: ", "document": "passage: "}


def test_a_prompt_must_be_chosen(model, core):
    with pytest.raises(PromptError, match="E5SentenceTransformer"):
        model.encode(TEXTS)
    query = core.encode_query(TEXTS)
    assert np.array_equal(E5SentenceTransformer(core, prompt_name="symmetric").encode(TEXTS), query)
    assert np.array_equal(model.encode(TEXTS, task="query"), query)
    default = E5SentenceTransformer(core, prompt_name="document")
    assert default.default_prompt_name == "document"
    assert np.array_equal(default.encode(TEXTS), core.encode_document(TEXTS))
    assert np.array_equal(default.encode(TEXTS, prompt_name="sts"), query)
    with pytest.raises(PromptError, match="Unknown prompt name"):
        model.encode(TEXTS, prompt_name="nonsense")
    with pytest.raises(PromptError, match="stands alone"):
        model.encode(TEXTS, prompt_name="query", prompt="passage: ")


def test_texts_that_carry_their_prompts(core):
    """The cards' own example."""
    carried = [f"query: {text}" for text in TEXTS]
    assert np.array_equal(E5SentenceTransformer(core, prompt="").encode(carried), core.encode_query(TEXTS))


def test_changed_prompts_count(model, core):
    model.prompts["query"] = "passage: "
    assert np.array_equal(model.encode_query(TEXTS), core.encode_document(TEXTS))


def test_instruct_models_take_the_instruction(encoders):
    encoder = encoders("multilingual-e5-instruct")
    model = E5SentenceTransformer(encoder, instruction="Find the recipe")
    assert np.array_equal(model.encode_query(TEXTS), encoder.encode_query(TEXTS, instruction="Find the recipe"))
    assert np.array_equal(model.encode_document(TEXTS), encoder.encode_document(TEXTS))
    with pytest.warns(PromptWarning, match="web-search"):
        E5SentenceTransformer(encoder).encode_query(TEXTS)


def test_models_without_prompts_need_no_choice(offline_encoder):
    model = E5SentenceTransformer(offline_encoder)
    assert np.array_equal(model.encode(TEXTS[:3]), offline_encoder.encode(TEXTS[:3]))
    assert (model.max_seq_length, model.get_embedding_dimension()) == (256, 384)


def test_it_says_what_it_is(model, theirs, core):
    assert isinstance(model, SentenceTransformer)
    for name in ("device", "dtype", "max_seq_length", "similarity_fn_name", "default_prompt_name", "prompts"):
        assert getattr(model, name) == getattr(theirs, name), name
    assert model.get_embedding_dimension() == theirs.get_embedding_dimension()
    with pytest.warns(FutureWarning):  # theirs, and their warning
        assert model.get_sentence_embedding_dimension() == core.meta.embed_dim
    with model.truncate_embeddings(8):
        assert model.encode_query(TEXTS).shape == (len(TEXTS), model.get_embedding_dimension()) == (len(TEXTS), 8)


def test_similarity_is_theirs(model, theirs):
    queries, documents = model.encode_query(TEXTS), model.encode_document(TEXTS)
    assert torch.equal(model.similarity(queries, documents), theirs.similarity(queries, documents))
    assert torch.equal(model.similarity_pairwise(queries, documents), theirs.similarity_pairwise(queries, documents))


def test_max_seq_length_can_be_set(core):
    model = E5SentenceTransformer(core)
    model.max_seq_length = 6
    with pytest.warns(TruncationWarning):
        cut, longer = model.encode([TEXTS[0], f"{TEXTS[0]} and more"], prompt="word ")
    assert np.array_equal(cut, longer)
    assert core.spec.max_tokens != 6


@pytest.mark.parametrize("text", ["query: plain", "a line\n", " spaces  ", "<s> </s> <mask>", "naïve ﬁne Ⅷ"])
@pytest.mark.parametrize("name", ["e5", "multilingual-e5", "e5-mistral-instruct"])
def test_tokenizer_is_the_published_one(checkpoints, encoders, name, text):
    model = E5SentenceTransformer(encoders(name), instruction="x" if "instruct" in name else None)
    expected = checkpoints(name).raw_tokenizer().encode(text).ids
    assert model.tokenizer(text)["input_ids"] == expected
    assert model.preprocess([text, ""], prompt=None)["input_ids"].shape == (2, len(expected))


def test_empty_texts_are_embedded_with_a_warning(model, theirs):
    """BERTopic embeds the words of a topic, and pads short topics with empty ones."""
    with pytest.warns(E5StudioWarning, match="at 1"):
        vectors = model.encode(["a word", "", "another"], prompt_name="query")
    assert np.allclose(vectors, theirs.encode(["a word", "", "another"], prompt_name="query"), atol=2e-6)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda model: model.encode(TEXTS, prompt="", pool={}), "pool"),
        (lambda model: model.encode(TEXTS, prompt="", chunk_size=4), "chunk_size"),
        (lambda model: model.encode(TEXTS, prompt="", device="meta"), "device='meta'"),
        (lambda model: model.encode(TEXTS, prompt="", device=["cpu", "cpu"]), "device"),
        (lambda model: model.encode(TEXTS, prompt="", output_value=None), "output_value=None"),
        (lambda model: model.start_multi_process_pool(), "start_multi_process_pool"),
        (lambda model: model.half(), "float16"),
        (lambda model: model.to("meta"), "meta"),
        (lambda model: model.train(), "train"),
        (lambda model: model.fit([]), "fit"),
        (lambda model: model({}), "forward"),
        (lambda model: list(model.parameters()), "named_parameters"),
        (lambda model: model.state_dict(), "state_dict"),
        (lambda model: model.save_pretrained("nowhere"), "save_pretrained"),
        (lambda model: model.push_to_hub("nobody/nothing"), "push_to_hub"),
        (lambda model: E5SentenceTransformer(model.encoder, dtype="bfloat16"), "dtype"),
        (lambda model: E5SentenceTransformer("e5-small-v2", trust_remote_code=True), "trust_remote_code"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(model, call, named):
    with pytest.raises(UnsupportedError, match=named):
        call(model)


def test_harmless_moves_are_allowed(model):
    assert model.eval().to("cpu").float() is model


def test_unknown_options_and_wrong_inputs_are_refused(model):
    with pytest.raises(TypeError, match="max_length"):
        model.encode(TEXTS, prompt="", max_length=10)
    with pytest.raises(TextTypeError, match="tuple"):
        model.encode([("a", "pair")], prompt="")
    with pytest.raises(ValueError, match="batch_size"):
        model.encode(TEXTS, prompt="", batch_size=0)
    with pytest.raises(ValueError, match="int4"):
        model.encode(TEXTS, prompt="", precision="int4")


def test_a_loss_over_it_has_nothing_to_train(model):
    with pytest.raises(UnsupportedError, match="train and save it there"):
        torch.optim.SGD(MultipleNegativesRankingLoss(model).model.parameters(), lr=1e-3)


def test_evaluators(core, theirs):
    model = E5SentenceTransformer(core, prompt_name="symmetric")
    queries = {f"q{row}": text for row, text in enumerate(TEXTS)}
    corpus = {f"d{row}": text for row, text in enumerate(TEXTS)}
    relevant = {f"q{row}": {f"d{row}"} for row in range(len(TEXTS))}
    retrieval = InformationRetrievalEvaluator(queries, corpus, relevant, name="t", write_csv=False)
    assert retrieval(model) == pytest.approx(retrieval(theirs), abs=1e-6)
    similarity = EmbeddingSimilarityEvaluator(TEXTS, TEXTS[::-1], np.linspace(0, 1, len(TEXTS)), write_csv=False)
    theirs_with_prompt = SentenceTransformer(
        str(core.files.folder), device="cpu", prompts={"query": "query: "}, default_prompt_name="query"
    )
    assert similarity(model) == pytest.approx(similarity(theirs_with_prompt), abs=1e-6)


def test_mining_and_search(core, theirs, tmp_path):
    model = E5SentenceTransformer(core, prompt_name="symmetric")
    pairs = util.paraphrase_mining(model, TEXTS)
    expected = util.paraphrase_mining(theirs, TEXTS, prompt_name="query")
    assert np.allclose([pair[0] for pair in pairs], [pair[0] for pair in expected], atol=1e-5)
    hits = util.semantic_search(model.encode_query(TEXTS), model.encode_document(TEXTS), top_k=1)
    assert len(hits) == len(TEXTS)

    dataset = Dataset.from_dict({"query": TEXTS, "answer": TEXTS[::-1]})
    options = {"num_negatives": 1, "verbose": False, "range_max": 3}
    assert mine_hard_negatives(dataset, model, **options)[:] == mine_hard_negatives(dataset, theirs, **options)[:]


def test_vectors_that_mining_stores_are_not_another_models(core, tmp_path):
    """Its cache knows a model by `base_model`, which theirs leave empty for a local folder."""
    dataset = Dataset.from_dict({"query": TEXTS, "answer": TEXTS[::-1]})
    options = {"num_negatives": 1, "verbose": False, "range_max": 3, "cache_folder": str(tmp_path)}
    short = E5SentenceTransformer(core)
    for model in (E5SentenceTransformer(core), E5SentenceTransformer(core), short):
        mine_hard_negatives(dataset, model, **options)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    short.max_seq_length = 8
    with pytest.warns(TruncationWarning):
        mine_hard_negatives(dataset, short, **options)
    assert len(list(tmp_path.glob("*.npy"))) == 4
