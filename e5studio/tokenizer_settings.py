"""What a folder says about its tokenizer beside tokenizer.json, compared with it.

transformers and sentence-transformers change a tokenizer by these fields. Here tokenizer.json alone is read, so a
field that contradicts it is refused: the ids would be others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from e5studio.folder_recipe import transformer_settings
from e5studio.model_json import TEXT, TRUTH, JsonObject, Kind, either, list_of, mapping_to, read_object

_SIDE = Kind('"right" or "left"', lambda value: value in ("right", "left"))
_SAVE_AGAIN = "Save the tokenizer again with save_pretrained, so that both say the same."
# Fields of tokenizer_config.json, and the attributes of BERT's normaliser that they set.
_BERT_FIELDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_TOKEN = either(TEXT, Kind("an object with content", lambda v: isinstance(v, dict) and TEXT.accepts(v.get("content"))))
_TOKENS = either(list_of(_TOKEN), mapping_to(_TOKEN))
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_TOKEN_LISTS = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")


def check(tokenizer: Tokenizer, folder: Path) -> None:
    """Refuse settings that give other ids than tokenizer.json.

    Args:
        tokenizer: As read from tokenizer.json, before anything is switched off.
        folder: Holds tokenizer_config.json and the settings of sentence-transformers.

    Raises:
        ModelFilesError: With the file, the field, its value and what tokenizer.json says.
    """
    config = read_object(folder / "tokenizer_config.json")
    _check_truncation(config, tokenizer, folder)
    _check_normalizer(config, tokenizer)
    _check_ends(config, tokenizer)
    for named in (config, read_object(folder / "special_tokens_map.json")):
        _check_added_tokens(named, tokenizer)
    settings = transformer_settings(folder)
    if settings.get("do_lower_case", TRUTH) and not _lowers_case(tokenizer):
        raise settings.refusal(
            "do_lower_case",
            "tokenizer.json keeps capital letters",
            "Put a Lowercase normalizer into tokenizer.json, or write false if the model was trained on capitals.",
        )
    if config.get("split_special_tokens", TRUTH):
        raise config.refusal(
            "split_special_tokens", "[SEP] and its like in a text are one token each here", "Take the field out."
        )


def _check_truncation(config: JsonObject, tokenizer: Tokenizer, folder: Path) -> None:
    side, said_by = config.get("truncation_side", _SIDE), config
    if side is None and tokenizer.truncation is not None:  # transformers takes it from there
        side = str(tokenizer.truncation["direction"]).lower()
        said_by = JsonObject(folder / "tokenizer.json", {"truncation_side": side})
    if side == "left":
        raise said_by.refusal(
            "truncation_side",
            "long texts are cut at their end here",
            'Write "right" if the model was trained on the beginnings of texts.',
        )


def _check_normalizer(config: JsonObject, tokenizer: Tokenizer) -> None:
    normalizer = tokenizer.normalizer
    if not isinstance(normalizer, normalizers.BertNormalizer):
        return
    for field, attribute in _BERT_FIELDS.items():
        stated, actual = config.get(field, TRUTH), getattr(normalizer, attribute)
        effect = normalizer.lowercase if actual is None else actual
        if stated is not None and stated != effect:
            raise config.refusal(field, f"tokenizer.json says {attribute} {str(effect).lower()}", _SAVE_AGAIN)


def _check_ends(config: JsonObject, tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("a", add_special_tokens=True)
    tokens = [token for token, is_read in zip(encoding.tokens, encoding.attention_mask, strict=True) if is_read]
    for field, ends in (("cls_token", tokens[:1]), ("sep_token", tokens[-1:])):
        stated = config.get(field, _TOKEN)
        if stated is not None and ends not in ([], [_content(stated)]):
            raise config.refusal(field, f"tokenizer.json puts {ends[0]!r} there", _SAVE_AGAIN)


def _check_added_tokens(config: JsonObject, tokenizer: Tokenizer) -> None:
    """Refuse tokens that transformers would add, so that a text with one has other ids."""
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    stated = {field: [config.get(field, _TOKEN)] for field in _NAMED_TOKENS}
    for field in _TOKEN_LISTS:
        tokens = config.get(field, _TOKENS) or []
        stated[field] = list(tokens.values()) if isinstance(tokens, dict) else tokens
    for field, tokens in stated.items():
        unknown = [_content(token) for token in tokens if token is not None and _content(token) not in known]
        if unknown:
            raise config.refusal(field, f"tokenizer.json has no special token {unknown[0]!r}", _SAVE_AGAIN)


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _lowers_case(tokenizer: Tokenizer) -> bool:
    normalizer = tokenizer.normalizer
    return normalizer is not None and bool(normalizer.normalize_str("A").strip("\u2581 ") == "a")
