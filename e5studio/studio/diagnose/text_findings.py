"""What is wrong with single texts: copies, near copies, cut ends, unknown characters. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.duplicates import NEAR_SHARE
from e5studio.studio.diagnose.diagnosis import MIN_JUDGED, N_NEIGHBOURS, Diagnosis, Repeats
from e5studio.studio.diagnose.finding import Finding, Level, count, points
from e5studio.studio.diagnose.subject import TextSide
from e5studio.studio.diagnose.tables import copies_table, cut_table, near_table, unknown_table

# A first page of ten results then holds one such text on average.
_MANY = 0.1
# The share that the Scores tab speaks of too; less is a name or a sign in an ordinary text.
_UNKNOWN_WORTH_SAYING = 0.05
_BROUGHT = "These vectors were brought, so nobody saw what the model read."


def copies(found: Diagnosis) -> Finding:
    """Texts that stand there more than once; only those that are searched take places in results."""
    searched, repeats = found.subject.searched, found.repeats[-1]
    n_again = repeats.n_copies + repeats.n_rewritten
    said = [_said_of_copies(repeats)]
    if found.subject.queries is not None:
        said.append(
            f"That is of the {searched.name}. The {found.subject.queries.name} take no place in a list of results; "
            f"of them, {_said_of_copies(found.repeats[0])}"
        )
    return Finding(
        _level_of_share(n_again, len(searched)),
        "Copies",
        f"{n_again:,} of {len(searched):,} in {count(len(repeats.groups), 'group')}" if n_again else "none",
        tuple(said),
        "Copies stand side by side in a list of results, so that one text takes the places of several."
        if n_again
        else "No text takes more than one place in a list of results for being there twice.",
        _advice_on_copies(repeats),
        copies_table(found) if any(side.groups for side in found.repeats) else None,
    )


def near_copies(found: Diagnosis) -> Finding:
    """Texts that are nearly the same, measured by the set itself."""
    title = "Near copies"
    if found.near is None or found.threshold is None:
        return Finding(
            "untold",
            title,
            "too few texts",
            (
                f"What counts as near is measured by what is usual in these texts, and {len(found.kept)} different "
                f"ones do not show that; {MIN_JUDGED} would.",
            ),
            "Near copies stand side by side in a list of results, as copies do.",
            "Look at the highest scores yourself.",
        )
    groups = found.near.groups
    n_near = sum(map(len, groups))
    said = [
        f"Near means a cosine \N{MULTIPLICATION SIGN} 100 of {points(found.threshold, 2)} or more: at most "
        f"{NEAR_SHARE:.0%} of the distance (1 \N{MINUS SIGN} cosine) of two random texts of this set, whose mean is "
        f"{points(found.pairs.mean)}. No study sets this share, so look at the pairs; the last ones are the doubtful."
    ]
    if groups and len(groups[0]) > N_NEIGHBOURS:
        said.append("A large group is a chain: each text is near the next, and its ends may be further apart.")
    if found.is_sampled:
        share = 1 - (1 - found.n_asked / len(found.kept)) ** 2
        said.append(
            f"The neighbours of {found.n_asked:,} of {len(found.kept):,} texts were looked at, drawn at random, which "
            f"finds at most about {share:.0%} of all near pairs."
        )
    if found.is_sampled and not groups:
        return Finding(
            "untold",
            title,
            "none found in a part",
            tuple(said),
            "Near copies may stand side by side in a list of results, as copies do.",
            "Diagnose a part of these texts, small enough for all their neighbours to be looked at.",
        )
    return Finding(
        # As for copies, but one of each pair may be wanted, so this never asks for more than a look.
        "look" if groups else "fine",
        title,
        f"{count(n_near, 'text')} in {count(len(groups), 'group')}" if groups else "none",
        tuple(said),
        "A search that finds one of a group finds the others right beside it, which say the same."
        if groups
        else "No text takes more than one place in a list of results by a cosine as near as that.",
        "Where a group says the same, keep its best text; where a small difference matters (a number, a "
        "“not”), know that the scores hardly show it."
        if groups
        else "Nothing is to be done.",
        near_table(found) if groups else None,
    )


def cut_ends(found: Diagnosis) -> Finding:
    """Texts that are longer than the model reads."""
    title = "Texts cut off"
    sides = [side for side in found.subject.sides if side.read is not None]
    if not sides:
        return _not_read(title, "What stands after a cut cannot be found.", "Embed the texts here to see it.")
    n_cut = sum(int(np.count_nonzero(_dropped(side))) for side in sides)
    n_texts, limit = sum(map(len, sides)), found.subject.meta.max_tokens
    if not n_cut:
        longest = max(int(_tokens(side).max(initial=0)) for side in sides)
        return Finding(
            "fine",
            title,
            "none",
            (f"The model reads {limit:,} tokens (pieces of words) of a text; the longest has {longest:,}.",),
            "Every text was read to its end, so all of it can be found.",
            "Nothing is to be done.",
        )
    worst = max(int(_dropped(side).max(initial=0)) for side in sides)
    at_least = "" if all(side.is_dropped_exact for side in sides) else "at least "
    return Finding(
        _level_of_share(n_cut, n_texts),
        title,
        f"{n_cut:,} of {n_texts:,}",
        (
            f"The model reads the first {limit:,} tokens (pieces of words) of a text and nothing after them; the worst "
            f"loses {at_least}{worst:,}.",
        ),
        "What stands after the cut is not in the vector: no search can find a text by it.",
        "Split long texts into passages before embedding, or take a model that reads more.",
        cut_table(found),
    )


def unknown_tokens(found: Diagnosis) -> Finding:
    """Texts with tokens that the vocabulary lacks."""
    title = "Unknown characters"
    sides = [side for side in found.subject.sides if side.read is not None]
    if not sides:
        return _not_read(title, "What a model does not know it cannot tell apart.", "Embed the texts here to see it.")
    shares = np.concatenate([_unknown(side) for side in sides])
    n_unknown, n_any = int((shares >= _UNKNOWN_WORTH_SAYING).sum()), int((shares > 0).sum())
    if not n_unknown:
        said = f"{count(n_any, 'text has', 'texts have')} a few tokens that the model's vocabulary lacks." * (n_any > 0)
        return Finding(
            "fine",
            title,
            "none" if not n_any else f"hardly any, in {count(n_any, 'text')}",
            (said or "The model's vocabulary holds every token that it read.",),
            "What stands at these tokens is hidden from the model, and the rest of each text is not."
            if n_any
            else "No character was read as the sign for “unknown”.",
            "Nothing is to be done.",
            unknown_table(found, 0) if n_any else None,
        )
    return Finding(
        _level_of_share(n_unknown, len(shares)),
        title,
        f"{n_unknown:,} of {len(shares):,}",
        (
            f"At least {_UNKNOWN_WORTH_SAYING:.0%} of the tokens of these texts are not in the model's vocabulary; it "
            "reads each as the same sign for “unknown”. That happens to scripts and emoji it was not made "
            "for, and in many models to words of more than 100 characters.",
        ),
        "Such texts lose what sets them apart: they score alike, and are found by what little is left.",
        "Take a model made for these languages (the multilingual ones), or put spaces into what is no word.",
        unknown_table(found, _UNKNOWN_WORTH_SAYING),
    )


def _said_of_copies(repeats: Repeats) -> str:
    return (
        f"{count(repeats.n_copies, 'text repeats', 'texts repeat')} an earlier one letter by letter. "
        f"{repeats.n_rewritten:,} more {'is' if repeats.n_rewritten == 1 else 'are'} the same but for upper and lower "
        "case, spaces or the Unicode form of a letter."
    )


def _advice_on_copies(repeats: Repeats) -> str:
    advice = []
    if repeats.n_copies:
        advice.append("Keep one of each letter by letter before embedding; no search loses anything by it.")
    if repeats.n_rewritten:
        advice.append(
            "Look at those that differ in how they are written before one goes: a model that tells cases apart reads "
            "“IT” and “it” as two words."
        )
    return " ".join(advice) or "Nothing is to be done."


def _level_of_share(number: int, of: int) -> Level:
    if not number:
        return "fine"
    return "act" if number >= _MANY * of else "look"


def _not_read(title: str, retrieval: str, advice: str) -> Finding:
    return Finding("untold", title, "not known", (_BROUGHT,), retrieval, advice)


def _dropped(side: TextSide) -> NDArray[np.int32]:
    return np.empty(0, np.int32) if side.read is None else side.read.n_dropped


def _tokens(side: TextSide) -> NDArray[np.int32]:
    return np.empty(0, np.int32) if side.read is None else side.read.n_tokens


def _unknown(side: TextSide) -> NDArray[np.float32]:
    return np.empty(0, np.float32) if side.read is None else side.read.unknown_share
