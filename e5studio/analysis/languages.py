"""The script and the language of a text.

Scripts are counted, letter by letter. Languages are detected by py3langid (Lui and Baldwin, ACL 2012, retrained),
which is rarely certain for texts of one or two words: uncertain texts have no language here.
"""

from __future__ import annotations

import functools
import importlib
import unicodedata
from collections import Counter
from collections.abc import Callable

from e5studio.errors import MissingDependencyError

LanguageFinder = Callable[[str], str | None]

MIN_PROBABILITY = 0.8
"""Below it a text has no language; few short texts reach it."""

_READ_CHARACTERS = 400  # enough for detection, and fast for a corpus of long texts
_MIN_SHARE = 0.5
# What Unicode calls the letters of one writing system by several names.
_ALIASES = {
    "CJK": "Han",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "KATAKANA-HIRAGANA": "Japanese",
    "HALFWIDTH": "Japanese",
    "HANGUL": "Korean",
    "FULLWIDTH": "Latin",
    "MODIFIER": "",  # of any script
}
_NAMES = dict(
    pair.split(":")
    for pair in (
        "af:Afrikaans am:Amharic ar:Arabic az:Azerbaijani be:Belarusian bg:Bulgarian bn:Bengali bs:Bosnian ca:Catalan "
        "cs:Czech cy:Welsh da:Danish de:German el:Greek en:English eo:Esperanto es:Spanish et:Estonian eu:Basque "
        "fa:Persian fi:Finnish fr:French ga:Irish gl:Galician gu:Gujarati he:Hebrew hi:Hindi hr:Croatian hu:Hungarian "
        "hy:Armenian id:Indonesian is:Icelandic it:Italian ja:Japanese ka:Georgian kk:Kazakh km:Khmer kn:Kannada "
        "ko:Korean ku:Kurdish ky:Kyrgyz la:Latin lo:Lao lt:Lithuanian lv:Latvian mg:Malagasy mk:Macedonian "
        "ml:Malayalam mn:Mongolian mr:Marathi ms:Malay mt:Maltese nb:Norwegian ne:Nepali nl:Dutch nn:Nynorsk "
        "no:Norwegian pa:Punjabi pl:Polish ps:Pashto pt:Portuguese ro:Romanian ru:Russian si:Sinhala sk:Slovak "
        "sl:Slovenian sq:Albanian sr:Serbian sv:Swedish sw:Swahili ta:Tamil te:Telugu th:Thai tl:Tagalog tr:Turkish "
        "ug:Uyghur uk:Ukrainian ur:Urdu vi:Vietnamese xh:Xhosa zh:Chinese zu:Zulu"
    ).split()
)


def main_script(text: str) -> str | None:
    """The script of most of a text's letters; None without letters or without a majority.

    Named as Unicode names its letters, such as "Latin" or "Cyrillic"; Kana with or without Han is "Japanese".
    """
    counts: Counter[str] = Counter()
    for character, count in Counter(text[:_READ_CHARACTERS]).items():
        script = _script_of(character)
        if script is not None:
            counts[script] += count
    if counts["Japanese"]:
        counts["Japanese"] += counts.pop("Han", 0)
    if not counts or counts.total() == 0:
        return None
    [(script, count)] = counts.most_common(1)
    return script if count > _MIN_SHARE * counts.total() else None


@functools.cache
def language_finder() -> LanguageFinder:
    """A function from a text to the English name of its language (or ISO 639 code), or None if uncertain.

    The first call takes about a second, in which the model of languages is unpacked.

    Raises:
        MissingDependencyError: py3langid is not installed.
    """
    try:
        langid = importlib.import_module("py3langid.langid")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Telling languages apart needs py3langid. Install it with: pip install py3langid"
        ) from error
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)

    def find(text: str) -> str | None:
        code, probability = identifier.classify(text[:_READ_CHARACTERS])
        return _NAMES.get(code, code) if probability >= MIN_PROBABILITY else None

    return find


@functools.lru_cache(maxsize=65_536)
def _script_of(character: str) -> str | None:
    if not character.isalpha():
        return None
    first = unicodedata.name(character, "").split(" ", 1)[0]
    return _ALIASES.get(first, first.capitalize()) or None
