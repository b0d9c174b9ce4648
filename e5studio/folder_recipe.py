"""What a folder says about how its model is used, in the files that sentence-transformers writes and reads.

Each field is obeyed or refused: one that would give other vectors than sentence-transformers computes from the same
folder never passes. A field that is not known here is refused unless it is empty, since it may change a vector.
Weights and tokens are no matter of this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from e5studio.errors import ModelFilesError, PromptError
from e5studio.model_json import (
    FETCH_AGAIN,
    NOTHING,
    NULL,
    POSITIVE,
    TEXT,
    TRUTH,
    JsonObject,
    Kind,
    either,
    exactly,
    list_of,
    mapping_to,
    parse,
    read_object,
    shown,
)
from e5studio.models import PROMPT_KINDS, ModelMeta, Pooling, PromptKind
from e5studio.prompts import PromptName, describe_prompts, resolve_prompt, resolve_prompt_name

# The settings of the transformer, under the names that sentence-transformers looks for, in its order.
_TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_MODEL_FILE = "config_sentence_transformers.json"
_POOLING_FILE = "1_Pooling/config.json"
SPEC_FILE = "e5studio.json"
"""Our own word for the prompts, beside sentence-transformers': it has none for a model without prompts."""
FILES = ("modules.json", *_TRANSFORMER_FILES, _MODEL_FILE, _POOLING_FILE, "2_Normalize/config.json", SPEC_FILE)
"""What is read here, but for tokenizer_config.json."""

_POOLING_MODES: dict[str, Pooling] = {"mean": "mean", "lasttoken": "last_token"}
_POOLING_FLAGS = {  # as releases before 5.4 write the modes
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_NOT_RUN = "E5 Studio computes nothing else: correct the field if the model was trained so, or use another model."

_SIDE = Kind('"right" or "left"', lambda value: value in ("right", "left"))
_ANYTHING = Kind("anything", lambda value: True)
_TRANSFORMER_FIELDS: dict[str, Kind] = {
    "max_seq_length": either(POSITIVE, NULL),
    "do_lower_case": either(TRUTH, NULL),  # `tokenizer_settings` compares it with the tokenizer
    "transformer_task": exactly("feature-extraction"),
    "modality_config": exactly({"text": {"method": "forward", "method_output_name": "last_hidden_state"}}),
    "module_output_name": exactly("token_embeddings"),
    "unpad_inputs": _ANYTHING,  # how rows are laid out, not what they hold
}
_MODEL_FIELDS: dict[str, Kind] = {
    "__version__": _ANYTHING,
    "requirements": _ANYTHING,
    "similarity_fn_name": _ANYTHING,  # how vectors are compared
    "model_type": exactly("SentenceTransformer"),
    "prompts": either(mapping_to(either(TEXT, NULL)), NULL),
    "default_prompt_name": either(TEXT, NULL),
}
_SPEC_FIELDS: dict[str, Kind] = {"prompt_kind": Kind(" or ".join(PROMPT_KINDS), lambda value: value in PROMPT_KINDS)}
_POOLING_FIELDS: dict[str, Kind] = {
    "word_embedding_dimension": POSITIVE,
    "embedding_dimension": POSITIVE,
    "pooling_mode": either(TEXT, list_of(TEXT)),
    "include_prompt": exactly(True),
    **dict.fromkeys(_POOLING_FLAGS, TRUTH),
}
_NORMALIZE_FIELDS: dict[str, Kind] = {
    "module_input_name": exactly("sentence_embedding"),
    "module_output_name": either(exactly("sentence_embedding"), NULL),
}


class StatedLength(NamedTuple):
    """How many tokens a folder says the model reads, and which field says it."""

    n_tokens: int
    file: str
    field: str


@dataclass(frozen=True)
class _Module:
    """A step of sentence-transformers that E5 models have: where its files are, and what they may say."""

    name: str
    path: str
    fields: dict[str, Kind] | None = None


_MODULES = (
    _Module("Transformer", ""),
    _Module("Pooling", "1_Pooling"),
    _Module("Normalize", "2_Normalize", _NORMALIZE_FIELDS),
)


def check(folder: Path, meta: ModelMeta) -> None:
    """Refuse a folder whose recipe is another than the one described, or none of E5.

    Raises:
        ModelFilesError: With the file, the field, its value and what is valid.
    """
    check_modules(folder)
    _check_fields(transformer_settings(folder), _TRANSFORMER_FIELDS)
    _check_length(folder, meta.max_tokens)
    _check_prompts(folder, meta.prompt_kind)
    tokenizer = read_object(folder / "tokenizer_config.json")
    if meta.model_type == "bert" and tokenizer.get("padding_side", _SIDE) == "left":
        raise tokenizer.refusal(
            "padding_side", "BERT counts positions from the left end, padding included", 'Write "right".'
        )


def check_modules(folder: Path) -> None:
    """Refuse a model with steps that are not run here: its vectors would differ.

    Raises:
        ModelFilesError: It is an adapter, or has other steps, another order or other places than E5 models.
    """
    if (folder / "adapter_config.json").is_file():
        raise ModelFilesError(
            f"{folder} holds an adapter (PEFT), not a model. Merge it (merge_and_unload) and save that."
        )
    path = folder / "modules.json"
    if not path.is_file():
        return
    modules = parse(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelFilesError(f"{path} holds no list of modules. {FETCH_AGAIN}")
    names = [_module_name(JsonObject(path, module)) for module in modules]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelFilesError(
            f"{path} says the modules {', '.join(names) or 'are none'}. E5 models have Transformer, Pooling and "
            "perhaps Normalize, in this order; anything else gives other vectors than E5 Studio computes."
        )
    for fields, module in zip(modules, _MODULES, strict=False):
        _check_module(folder, JsonObject(path, fields), module)


def pooling(folder: Path) -> Pooling | None:
    """How tokens become one vector; None where the folder does not say it.

    Raises:
        ModelFilesError: In a way that no E5 model does, or without the prompt's tokens.
    """
    config = read_object(folder / _POOLING_FILE)
    if not config.path.is_file():
        return None
    _check_fields(config, _POOLING_FIELDS)
    stated = config.fields.get("pooling_mode")
    if stated is None:
        flags = {flag: mode for flag, mode in _POOLING_FLAGS.items() if config.fields.get(flag)}
        modes, said = list(flags.values()), ", ".join(flags) or "no pooling mode"
    else:
        modes, said = [stated] if isinstance(stated, str) else stated, f"pooling_mode {shown(stated)}"
    if len(modes) != 1 or modes[0] not in _POOLING_MODES:
        raise ModelFilesError(f"{config.path} says {said}. E5 models pool by mean or last token.")
    return _POOLING_MODES[modes[0]]


def stated_length(folder: Path) -> StatedLength | None:
    """The length that the model was saved with, where the folder says it.

    Before 5.4, sentence-transformers wrote it into its own settings of the transformer; since then it stands in
    tokenizer_config.json alone, as for any tokenizer of transformers.
    """
    settings, tokenizer = transformer_settings(folder), read_object(folder / "tokenizer_config.json")
    for config, field in ((settings, "max_seq_length"), (tokenizer, "model_max_length")):
        n_tokens = config.get(field, POSITIVE)
        if n_tokens is not None:
            return StatedLength(n_tokens, config.path.name, field)
    return None


def transformer_settings(folder: Path) -> JsonObject:
    """The settings of the transformer, from the first of its possible files that holds any."""
    files = [read_object(folder / name) for name in _TRANSFORMER_FILES]
    return next((file for file in files if file.fields), files[0])


def stated_prompt_kind(folder: Path) -> PromptKind | None:
    """The prompt kind that the folder names, or whose prompts it states; None where it states none."""
    named = _named_prompt_kind(folder)
    if named is not None:
        return named
    model = read_object(folder / _MODEL_FILE)
    _check_fields(model, _MODEL_FIELDS)
    if not _stated_prompts(_prompts(model)):
        return None
    return next((kind for kind in PROMPT_KINDS if _contradiction(model, kind) is None), None)


def _check_fields(config: JsonObject, kinds: dict[str, Kind]) -> None:
    for field in config.fields:
        config.need(field, kinds.get(field, NOTHING), advice=_NOT_RUN)


def _check_length(folder: Path, max_tokens: int) -> None:
    stated = stated_length(folder)
    if stated and max_tokens > stated.n_tokens:
        raise ModelFilesError(
            f"{folder / stated.file} says {stated.field} {stated.n_tokens}, the description {max_tokens} tokens. "
            "Correct the ModelMeta; for longer texts than the files say, pass max_tokens= to the encoder."
        )


def _check_prompts(folder: Path, kind: PromptKind) -> None:
    model = read_object(folder / _MODEL_FILE)
    _check_fields(model, _MODEL_FIELDS)
    contradiction = _contradiction(model, kind)
    if contradiction is not None:
        raise model.refusal(*contradiction, _prompt_advice(model))
    named = _named_prompt_kind(folder)
    if named not in (None, kind):
        spec = read_object(folder / SPEC_FILE)
        raise spec.refusal("prompt_kind", f"prompt_kind={kind!r} was given", f"Take prompt_kind={named!r}.")


def _named_prompt_kind(folder: Path) -> PromptKind | None:
    spec = read_object(folder / SPEC_FILE)
    _check_fields(spec, _SPEC_FIELDS)
    kind: PromptKind | None = spec.fields.get("prompt_kind")
    return kind


def _module_name(module: JsonObject) -> str:
    kind = str(module.need("type", TEXT))
    name = kind.rsplit(".", 1)[-1]
    if not kind.startswith("sentence_transformers.") or name not in [module.name for module in _MODULES]:
        known = ", ".join(module.name for module in _MODULES)
        raise ModelFilesError(f"{module.path} names the module {kind!r}. E5 models have {known} only.")
    return name


def _check_module(folder: Path, stated: JsonObject, module: _Module) -> None:
    path = stated.fields.get("path")
    if path != module.path:
        at = "beside it" if module.path == "" else f"in {module.path}"
        raise stated.refusal(
            "path",
            f"the files of {module.name} are read {at}",
            f"Move them there and write {shown(module.path)} into modules.json.",
        )
    if module.fields is not None:
        _check_fields(read_object(folder / module.path / "config.json"), module.fields)


def _prompts(model: JsonObject) -> dict[str, str]:
    return {name: text or "" for name, text in (model.fields.get("prompts") or {}).items()}


def _contradiction(model: JsonObject, kind: PromptKind) -> tuple[str, str] | None:
    """The field that says something else than the prompts of `kind`, and what is wrong with it."""
    prompts = _prompts(model)
    default = model.fields.get("default_prompt_name")
    if default is not None and default not in prompts:
        return "default_prompt_name", f"its prompts are {shown(list(prompts))}"
    given: dict[PromptName, str] = {
        name: resolve_prompt(kind, prompt_name=name).text for name in describe_prompts(kind)
    }
    for name, text in _stated_prompts(prompts).items():
        expected = given[resolve_prompt_name(name)]
        if text != expected:
            return "prompts", f"prompt_kind={kind!r} puts {shown(expected)} before a text for {name!r}"
    if default is not None and prompts[default] not in ("", *given.values()):
        return "default_prompt_name", f"prompt_kind={kind!r} puts {shown(prompts[default])} before no text"
    return None


def _stated_prompts(prompts: dict[str, str]) -> dict[str, str]:
    """The prompts under names that are understood here, and the empty ones that sentence-transformers puts for others.

    Nothing is stated by empty prompts alone: sentence-transformers writes them whatever a model was trained with.
    """
    known = {name: text for name, text in prompts.items() if _meaning(name) is not None}
    if not any(known.values()):
        return {}
    for meaning in describe_prompts("none"):
        texts = [text for name, text in known.items() if _meaning(name) == meaning]
        if not any(texts):
            known.setdefault(meaning, "")
        elif known.get(meaning) == "":
            del known[meaning]  # "passage" says it, and "document" is the place that is always there
    return known


def _meaning(name: str) -> PromptName | None:
    try:
        return resolve_prompt_name(name)
    except PromptError:
        return None


def _prompt_advice(model: JsonObject) -> str:
    fitting = next((kind for kind in PROMPT_KINDS if _contradiction(model, kind) is None), None)
    if fitting is not None:
        return f"Take prompt_kind={fitting!r}."
    return (
        "Correct the field; or empty prompts and default_prompt_name, take prompt_kind='none', and pass each text's "
        "prompt yourself: encode(texts, prompt='...')."
    )
