"""What is wrong with single texts: copies, near copies, cut ends, unknown characters, white space. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e5studio.analysis.duplicates import NEAR_SHARE
from e5studio.encode_report import NOTEWORTHY_UNKNOWN_SHARE
from e5studio.studio.diagnose import tables
from e5studio.studio.diagnose.diagnosis import MIN_JUDGED, N_NEIGHBOURS, Diagnosis, Repeats
from e5studio.studio.diagnose.finding import NOTHING_TO_DO, Finding, Level, points
from e5studio.studio.diagnose.tables import copies_table, cut_table, near_table, unknown_table
from e5studio.studio.formatting import count

# A first page of ten results then holds one such text on average.
_MANY = 0.1
_IMPORTED = "These vectors were imported, so it is unknown what the model read."

_COPIES = {
    True: "Copies stand side by side in a list of results, so that one text takes the places of several.",
    False: "No text takes more than one place in a list of results because of copies.",
}
# For each level: effect on retrieval, advice.
_NEAR_COPIES: dict[Level, tuple[str, str]] = {
    # One text of each pair may be needed, so near copies never ask for more than a look.
    "look": (
        "A search that finds one text of a group finds the others right beside it, which say the same.",
        "Where a group says the same, keep its best text; where a small difference matters (a number, a “not”), "
        "know that the scores hardly show it.",
    ),
    "fine": ("No text takes more than one place in a list of results because of near copies.", NOTHING_TO_DO),
    "unknown": (
        "Near copies may stand side by side in a list of results, as copies do.",
        "Diagnose a part of these texts, small enough to search all their neighbours.",
    ),
}


def copies(diagnosis: Diagnosis) -> Finding:
    """Texts that occur more than once; only those that are searched take places in results."""
    searched, repeats = diagnosis.subject.searched, diagnosis.repeats[-1]
    n_repeated = repeats.n_copies + repeats.n_rewritten
    sentences = [_copies_sentence(repeats)]
    if diagnosis.subject.queries is not None:
        sentences.append(
            f"That is of the {searched.name}. The {diagnosis.subject.queries.name} take no place in a list of results; "
            f"of them, {_copies_sentence(diagnosis.repeats[0])}"
        )
    groups = count(len(repeats.groups), "group")
    return Finding(
        _level_of_share(n_repeated, len(searched)),
        "Copies",
        f"{n_repeated:,} of {len(searched):,} in {groups}" if n_repeated else "none",
        tuple(sentences),
        _COPIES[n_repeated > 0],
        _advice_on_copies(repeats),
        copies_table(diagnosis) if any(side.groups for side in diagnosis.repeats) else None,
    )


def near_copies(diagnosis: Diagnosis) -> Finding:
    """Texts that are nearly the same, by a threshold relative to the set itself."""
    title = "Near copies"
    if diagnosis.near is None or diagnosis.threshold is None:
        return Finding(
            "unknown",
            title,
            "too few texts",
            (
                f"Near is relative to what is usual in these texts, and {len(diagnosis.distinct)} different ones do "
                f"not show that; {MIN_JUDGED} would.",
            ),
            "Near copies stand side by side in a list of results, as copies do.",
            "Look at the highest scores yourself.",
        )
    groups = diagnosis.near.groups
    level: Level = "look" if groups else "unknown" if diagnosis.is_sampled else "fine"
    figures: dict[Level, str] = {
        "look": f"{count(sum(map(len, groups)), 'text')} in {count(len(groups), 'group')}",
        "fine": "none",
        "unknown": "none found in a part",
    }
    sentences = (
        f"Near means a cosine \N{MULTIPLICATION SIGN} 100 of {points(diagnosis.threshold, 2)} or more: at most "
        f"{NEAR_SHARE:.0%} of the distance (1 \N{MINUS SIGN} cosine) of two random texts of this set, whose mean is "
        f"{points(diagnosis.pairs.mean)}. No study sets this share, so look at the pairs; the last ones are doubtful.",
        *_chain(groups),
        *_sampled(diagnosis),
    )
    table = near_table(diagnosis) if groups else None
    return Finding(level, title, figures[level], sentences, *_NEAR_COPIES[level], table)


def _chain(groups: Sequence[Sequence[int]]) -> list[str]:
    is_long = groups and len(groups[0]) > N_NEIGHBOURS
    sentence = "A large group is a chain: each text is near the next, and its ends may be further apart."
    return [sentence] if is_long else []


def _sampled(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.is_sampled:
        return []
    share = 1 - (1 - diagnosis.n_sampled / len(diagnosis.distinct)) ** 2
    return [
        f"The neighbours of {diagnosis.n_sampled:,} of {len(diagnosis.distinct):,} texts were searched, drawn at "
        f"random, which finds at most about {share:.0%} of all near pairs."
    ]


def cut_ends(diagnosis: Diagnosis) -> Finding:
    """Texts that are longer than the model reads."""
    title = "Texts cut off"
    stats = [side.read for side in diagnosis.subject.sides if side.read is not None]
    if not stats:
        return _not_read(title, "No search finds what stands after a cut.")
    n_dropped = np.concatenate([each.n_dropped for each in stats])
    n_cut, limit = int(np.count_nonzero(n_dropped)), diagnosis.subject.meta.max_tokens
    if not n_cut:
        longest = max(int(each.n_tokens.max(initial=0)) for each in stats)
        return Finding(
            "fine",
            title,
            "none",
            (f"The model reads {limit:,} tokens (pieces of words) of a text; the longest has {longest:,}.",),
            "Every text was read to its end, so a search can find all of it.",
            NOTHING_TO_DO,
        )
    is_exact = all(side.is_dropped_exact for side in diagnosis.subject.sides if side.read is not None)
    at_least = "" if is_exact else "at least "
    return Finding(
        _level_of_share(n_cut, len(n_dropped)),
        title,
        f"{n_cut:,} of {len(n_dropped):,}",
        (
            f"The model reads the first {limit:,} tokens (pieces of words) of a text and nothing after them; the worst "
            f"loses {at_least}{n_dropped.max():,}.",
        ),
        "The vector ignores the text after the cut: no search can find a text by it.",
        "Split long texts into passages before embedding, or take a model that reads more.",
        cut_table(diagnosis),
    )


def unknown_tokens(diagnosis: Diagnosis) -> Finding:
    """Texts with tokens that the vocabulary lacks."""
    title = "Unknown characters"
    stats = [side.read for side in diagnosis.subject.sides if side.read is not None]
    if not stats:
        return _not_read(title, "A model cannot tell apart what it does not know.")
    shares = np.concatenate([each.unknown_share for each in stats])
    n_unknown, n_any = int((shares >= NOTEWORTHY_UNKNOWN_SHARE).sum()), int((shares > 0).sum())
    if not n_unknown:
        return _few_unknown(diagnosis, title, n_any)
    return Finding(
        _level_of_share(n_unknown, len(shares)),
        title,
        f"{n_unknown:,} of {len(shares):,}",
        (
            f"At least {NOTEWORTHY_UNKNOWN_SHARE:.0%} of each of these texts is unknown to the model: it reads what "
            "its vocabulary lacks as one sign for “unknown”, or leaves it out. That happens to scripts and emoji that "
            "it was not made for, in many models to words of more than 100 characters, and to "
            "\N{REPLACEMENT CHARACTER} (U+FFFD), which a wrong encoding leaves of a letter.",
        ),
        "Such texts lose what sets them apart: they score alike, and a search finds them by the few tokens left.",
        "Use a model made for these languages (the multilingual ones), put spaces into long strings, or read the "
        "source again with the right encoding.",
        unknown_table(diagnosis, NOTEWORTHY_UNKNOWN_SHARE),
    )


def end_spaces(diagnosis: Diagnosis) -> Finding | None:
    """Texts that end in white space, where the model reads it as a token."""
    sides = diagnosis.subject.sides
    n_such = sum(bool(tables.end_spaces(text)) for side in sides for text in side.texts)
    if not n_such or not diagnosis.subject.reads_end_spaces:
        return None
    return Finding(
        "look",
        "White space at the end",
        f"{n_such:,} of {sum(map(len, sides)):,}",
        (
            "This model reads a space or a line break at the end of a text as a token, which changes the vector: with "
            "multilingual-e5-small one line break lowers the cosine of a text with itself to 0.997 (long sentence) or "
            "0.968 (two words). Libraries over transformers 5 leave that token out.",
        ),
        "Texts with and without it are a little further apart than their words are.",
        "Strip the ends of texts and queries before embedding.",
        tables.end_spaces_table(diagnosis),
    )


def _few_unknown(diagnosis: Diagnosis, title: str, n_texts: int) -> Finding:
    figure, sentence = "none", "The model's vocabulary holds every token that it read."
    retrieval = "No character was read as the sign for “unknown”."
    if n_texts:
        figure = f"hardly any, in {count(n_texts, 'text')}"
        sentence = f"{count(n_texts, 'text has', 'texts have')} a few tokens that the model's vocabulary lacks."
        retrieval = "These tokens are hidden from the model, but not the rest of each text."
    table = unknown_table(diagnosis, 0) if n_texts else None
    return Finding("fine", title, figure, (sentence,), retrieval, NOTHING_TO_DO, table)


def _copies_sentence(repeats: Repeats) -> str:
    return (
        f"{count(repeats.n_copies, 'text repeats', 'texts repeat')} an earlier one letter by letter. "
        f"{repeats.n_rewritten:,} more {'is' if repeats.n_rewritten == 1 else 'are'} the same but for upper and lower "
        "case, spaces or the Unicode form of a letter."
    )


def _advice_on_copies(repeats: Repeats) -> str:
    advice = []
    if repeats.n_copies:
        advice.append("Of texts equal letter by letter keep one; no search loses anything by it.")
    if repeats.n_rewritten:
        advice.append(
            "Look at the different spellings before you delete one: a model that tells cases apart reads “IT” and “it” "
            "as two words."
        )
    return " ".join(advice) or NOTHING_TO_DO


def _level_of_share(number: int, of: int) -> Level:
    if not number:
        return "fine"
    return "act" if number >= _MANY * of else "look"


def _not_read(title: str, retrieval: str) -> Finding:
    return Finding("unknown", title, "not known", (_IMPORTED,), retrieval, "Embed the texts here to see it.")
