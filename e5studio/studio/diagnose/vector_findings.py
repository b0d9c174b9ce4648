"""Findings about the vectors: spread, directions, texts near everything, languages apart. Pure.

The limits between levels are conventions of this page, each with its reason; the literature that defines the figures
has none that hold for every model and set.
"""

from __future__ import annotations

from e5studio.studio.diagnose.diagnosis import MIN_FOR_HUBS, MIN_GROUP, MIN_JUDGED, MIN_QUERIES, Diagnosis, Group, Hubs
from e5studio.studio.diagnose.finding import NOTHING_TO_DO, Finding, Level, points
from e5studio.studio.diagnose.tables import groups_table, hubs_table
from e5studio.studio.formatting import count, listed

# In training the cosines are divided by the temperature before the softmax (InfoNCE; Wang et al., 2022, for E5), so
# that one temperature of difference multiplies the odds of two passages by e. A spread of less than one says that the
# model hardly prefers any pair to another; of less than a fifth, that odds stay within e ** 0.2 = 1.2.
_LOW_SPREAD, _NO_SPREAD = 1.0, 0.2
# The model cards of E5 say of this temperature, and of no other, that cosines lie between about 0.7 and 1.0.
_E5_TEMPERATURE = 0.01
# Effective ranks of trained models on mixed texts are a large part of what is possible; RankMe (Garrido et al., ICML
# 2023) compares models by them and warns against reading one alone. So only a tenth is worth a look, and never more.
_LOW_RANK = 0.1
_MIN_FOR_RANK = 100
# In five times as many lists as the mean. The text may stand in them by right, as the middle of a large topic does, and
# a count cannot tell; so it asks for a look and never for more.
_HUB = 5.0
# Below it chance gives some of thousands of texts five times the mean: Poisson counts of mean 5 reach 25 once in
# ten billion, counts of mean 0.6 reach 3 once in forty.
_MIN_MEAN = 5.0
_MANY_QUERIES = 0.5
# Half way from chance to certainty, and half a standard deviation of random pairs: both, for topics alone make either.
_APART_EXCESS, _APART_SPREADS = 0.5, 0.5
_MAX_NAMED = 4

# For each level, unless a finding says otherwise: effect on retrieval, advice.
_LOW_SPREAD_EFFECT = (
    "These texts score nearly the same with each other, so that small things may decide an order among them.",
    "Remove what all texts share (a header, a footer, a form), and check that the prompts are the model's own.",
)
_SPREAD: dict[Level, tuple[str, str]] = {
    "act": _LOW_SPREAD_EFFECT,
    "look": _LOW_SPREAD_EFFECT,
    "fine": (
        "One pair scores clearly differently from another, which leaves room for an order. A fixed limit on the score "
        "says little: it would have to follow the mean.",
        "Compare scores with each other, never with a limit from another model or set.",
    ),
}
_DIRECTIONS: dict[Level, tuple[str, str]] = {
    "look": (
        "The texts differ in few ways, so a search has little to tell them apart by.",
        "See whether most of each text is a form that all share, and embed only the rest.",
    ),
    "fine": ("The texts differ in many ways, by which a search can tell them apart.", NOTHING_TO_DO),
    "unknown": ("Texts that vary in few directions are hard to tell apart.", "Diagnose more texts."),
}
_HUBS: dict[Level, tuple[str, str]] = {
    "look": (
        "Such a text comes up beside many others. Where it is what many texts are about, that is right; where it is "
        "not, it pushes better results out. The counts cannot tell which.",
        "Read them: is each near to what it is about? If not, rewrite, split or leave it out; such texts are often "
        "very short, very general, or about many things.",
    ),
    "fine": (f"No text is in {_HUB:.0f} times as many lists as the mean.", NOTHING_TO_DO),
}
_GROUPS: dict[Level, tuple[str, str]] = {
    "look": (
        "A query in one language finds texts of that language first, even where a better answer is in another.",
        "Search each language by itself or mix the results, or use a multilingual model.",
    ),
    "fine": ("Texts of different languages and scripts lie among each other.", NOTHING_TO_DO),
}
_NO_GROUPS: dict[Level, tuple[str, str, str]] = {  # figure first
    "unknown": (
        "too few texts",
        "Queries find texts of their own language first, whatever they say, where that language lies apart.",
        "Diagnose more texts.",
    ),
    "fine": ("no two groups", "No language or script is large enough to compare with the others.", NOTHING_TO_DO),
}


def spread(diagnosis: Diagnosis) -> Finding:
    """The cosines of random pairs; a high mean alone is normal for E5."""
    title, pairs, meta = "Scores of random pairs", diagnosis.pairs, diagnosis.subject.meta
    if not len(pairs.cosines):
        return _too_few(title, "There are no two different texts to compare.")
    if len(pairs.cosines) == 1:
        return _too_few(title, f"The two texts score {points(pairs.mean)}, which does not show what is usual.")
    steps = pairs.spread / meta.temperature
    which = "All the" if pairs.is_all else "Drawn at random,"
    sentences = [
        f"{which} {len(pairs.cosines):,} pairs of different texts score {points(pairs.mean)} on average (cosine "
        f"\N{MULTIPLICATION SIGN} 100), with a standard deviation of {points(pairs.spread)}."
    ]
    if diagnosis.subject.queries is not None:
        name = diagnosis.subject.searched.name
        sentences.append(
            f"These are pairs of {name} with {name}; the {diagnosis.subject.queries.name} are not among them."
        )
    if meta.prompt_kind != "none" and meta.temperature == _E5_TEMPERATURE:
        sentences.append(
            f"A high mean alone is normal: E5 was trained at a temperature of {meta.temperature}, which leaves the "
            "scores of all texts between about 70 and 100. Their spread is what counts."
        )
    sentences.append(
        f"The spread is {steps:.1f} times the temperature of the model's training ({meta.temperature}); below "
        f"{_LOW_SPREAD:.0f} the model hardly prefers one text to another."
    )
    level: Level = "act" if steps < _NO_SPREAD else "look" if steps < _LOW_SPREAD else "fine"
    retrieval, advice = _SPREAD[level]
    if len(diagnosis.distinct) < MIN_JUDGED:
        sentences.append(f"{len(diagnosis.distinct)} texts are too few to judge by.")
        level = "unknown"
    figure = f"{points(pairs.mean)} \N{PLUS-MINUS SIGN} {points(pairs.spread)}"
    return Finding(level, title, figure, tuple(sentences), retrieval, advice)


def directions(diagnosis: Diagnosis) -> Finding:
    """The number of directions in which the texts vary."""
    rank, n = diagnosis.effective_rank, len(diagnosis.distinct)
    possible = min(n - 1, diagnosis.subject.meta.embed_dim)
    figure = f"{rank:.0f} of at most {possible}" if n > 1 else "one text"
    if n < _MIN_FOR_RANK:
        level: Level = "unknown"
        sentence = (
            f"{count(n, 'different text')} cannot vary in more than {count(max(possible, 0), 'direction')}, so this "
            f"figure depends more on their number than on their content; {_MIN_FOR_RANK} texts would do."
        )
    else:
        level = "look" if rank < _LOW_RANK * possible else "fine"
        sentence = (
            f"The texts vary in about {rank:.0f} independent directions; {possible} are possible. This is the "
            "effective rank: the entropy of the singular values (Roy and Vetterli, 2007) of the vectors without their "
            "mean. A set about one subject has a lower one, which is no fault."
        )
    return Finding(level, "Variety", figure, (sentence,), *_DIRECTIONS[level])


def hubs(diagnosis: Diagnosis) -> Finding:
    """Texts that are among the nearest of many others."""
    title, hubs = "Texts in many lists", diagnosis.hubs
    if hubs is None:
        texts = count(len(diagnosis.distinct), "text")
        return _too_few(
            title, f"With {texts} each is near many of them, so none stands out; {MIN_FOR_HUBS} texts would do."
        )
    if hubs.expected < _MIN_MEAN:
        return _too_few_lists(title, hubs)
    share, times = _largest(hubs)
    sentences = [
        f"Of the {hubs.k} texts nearest to each, the most frequent is in {hubs.counts.max():,} of {hubs.n_lists:,} "
        f"lists; the mean is {hubs.expected:.1f}. The skewness of these counts is {hubs.skewness:.1f} (0 would be "
        f"even, {1 / hubs.expected**0.5:.1f} pure chance; Radovanović et al., 2010)."
    ]
    if diagnosis.is_sampled:
        sentences.append("The lists are those of texts drawn at random; their neighbours were searched among all.")
    level: Level = "look" if times >= _HUB else "fine"
    table = hubs_table(diagnosis, hubs, _HUB * hubs.expected, "texts") if level == "look" else None
    return Finding(level, title, f"the most frequent in {share:.1%} of lists", tuple(sentences), *_HUBS[level], table)


def query_hubs(diagnosis: Diagnosis) -> Finding | None:
    """Passages that are among the nearest of many queries; None where there are no two sides."""
    queries, hubs = diagnosis.subject.queries, diagnosis.query_hubs
    if queries is None:
        return None
    title, name = "Hub passages", diagnosis.subject.searched.name
    if hubs is None:
        return _too_few(
            title,
            f"With {count(len(queries), 'query', 'queries')} and {len(diagnosis.distinct)} different {name}, chance "
            f"alone puts one first for many; {MIN_QUERIES} of each would do.",
        )
    share, times = _largest(hubs)
    is_hub = share >= _MANY_QUERIES and times >= _HUB
    sentence = (
        f"Of the {count(hubs.k, 'text')} that each of {hubs.n_lists:,} different {queries.name} finds first, the most "
        f"frequent is found by {hubs.counts.max():,}; the mean is {hubs.expected:.1f}. That is no fault where the "
        f"{queries.name} all ask for the same."
    )
    if is_hub:
        retrieval = f"Most of the {queries.name} find it; where it does not answer them, it pushes down what does."
        advice = "Read it: does it answer them? If not, rewrite, split or leave it out."
    else:
        retrieval, advice = f"Different {queries.name} find different texts.", NOTHING_TO_DO
    return Finding(
        "look" if is_hub else "fine",
        title,
        f"the most frequent for {share:.0%} of {queries.name}",
        (sentence,),
        retrieval,
        advice,
        hubs_table(diagnosis, hubs, _MANY_QUERIES * hubs.n_lists, queries.name) if is_hub else None,
    )


def groups_apart(diagnosis: Diagnosis) -> Finding:
    """Languages and scripts whose texts lie apart from the others."""
    title, groups = "Languages and scripts", diagnosis.groups
    missing = () if diagnosis.has_languages else ("py3langid is not installed, so only scripts were compared.",)
    if not groups:
        reason = f"A group needs {MIN_GROUP} texts beside as many of other known groups; there are none here."
        level: Level = "unknown" if groups is None else "fine"
        figure, retrieval, advice = _NO_GROUPS[level]
        return Finding(level, title, figure, (reason, *missing), retrieval, advice)
    is_apart = [_is_apart(diagnosis, group) for group in groups]
    apart = [group for group, is_one in zip(groups, is_apart, strict=True) if is_one]
    # A language says more than its script, and often the two are the same texts.
    named = [group.name for group in apart if group.kind == "language"] or [group.name for group in apart]
    level = "look" if apart else "fine"
    sentences = (
        "A group lies apart where its texts' nearest neighbours are its own at least half way from chance to always, "
        f"and its scores with the others are lower than inside it by at least {points(_gap(diagnosis))} (half the "
        "standard deviation of random pairs). These figures cannot tell whether the language or the subject sets it "
        "apart.",
        "Only texts whose language is nearly certain are in a group. Others, most short texts among them, are not "
        "compared.",
        *missing,
    )
    figure = f"apart: {listed(named, _MAX_NAMED)}" if apart else "none apart"
    return Finding(level, title, figure, sentences, *_GROUPS[level], groups_table(groups, is_apart))


def _too_few(title: str, sentence: str) -> Finding:
    retrieval = "In a search over many texts, this decides whether results can be trusted."
    return Finding("unknown", title, "too few texts", (sentence,), retrieval, "Diagnose more texts.")


def _too_few_lists(title: str, hubs: Hubs) -> Finding:
    return Finding(
        "unknown",
        title,
        "too few lists",
        (
            f"The lists of {hubs.n_lists:,} of {len(hubs.counts):,} texts were searched, drawn at random, so that a "
            f"text is in {hubs.expected:.1f} on average. Below {_MIN_MEAN:.0f}, chance puts some texts into many "
            "times as many.",
        ),
        "A text that is in many lists may push better results out.",
        "Diagnose a part of these texts: with fewer texts, more lists are searched.",
    )


def _largest(hubs: Hubs) -> tuple[float, float]:
    """The count of the most frequent text, as a share of all lists and as a multiple of the mean."""
    largest = int(hubs.counts.max())
    return largest / hubs.n_lists, largest / hubs.expected


def _gap(diagnosis: Diagnosis) -> float:
    return _APART_SPREADS * diagnosis.pairs.spread


def _is_apart(diagnosis: Diagnosis, group: Group) -> bool:
    return group.apart.excess >= _APART_EXCESS and group.apart.within - group.apart.across >= _gap(diagnosis)
