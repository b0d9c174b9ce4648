"""What is particular with how the vectors lie: spread, directions, texts near everything, languages apart. Pure.

The limits between levels are conventions of this page, each with its reason; the literature that defines the figures
gives none that would hold for every model and set.
"""

from __future__ import annotations

from e5studio.studio.diagnose.diagnosis import MIN_FOR_HUBS, MIN_GROUP, MIN_JUDGED, MIN_QUERIES, Diagnosis, Group, Hubs
from e5studio.studio.diagnose.finding import Finding, Level, count, points
from e5studio.studio.diagnose.tables import groups_table, hubs_table

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
_FEW_NAMED = 4


def spread(found: Diagnosis) -> Finding:
    """The cosines of random pairs; high ones alone are normal for E5, and are said to be."""
    title, pairs, meta = "Scores of random pairs", found.pairs, found.subject.meta
    if not len(pairs.cosines):
        return _too_few(title, "There are no two different texts to compare.")
    steps = pairs.spread / meta.temperature
    if len(pairs.cosines) == 1:
        return _too_few(title, f"The two texts score {points(pairs.mean)}, which says nothing of what is usual.")
    which = "All the" if pairs.is_all else "Drawn at random,"
    said = [
        f"{which} {len(pairs.cosines):,} pairs of different texts score {points(pairs.mean)} on average (cosine "
        f"\N{MULTIPLICATION SIGN} 100), with a standard deviation of {points(pairs.spread)}."
    ]
    if found.subject.queries is not None:
        name = found.subject.searched.name
        said.append(f"These are pairs of {name} with {name}; the {found.subject.queries.name} are not among them.")
    if meta.prompt_kind != "none" and meta.temperature == _E5_TEMPERATURE:
        said.append(
            f"A high mean alone is normal: E5 was trained at a temperature of {meta.temperature}, which leaves the "
            "scores of all texts between about 70 and 100. What counts is how far they are spread."
        )
    said.append(
        f"The spread is {steps:.1f} times the temperature of the model's training ({meta.temperature}); below "
        f"{_LOW_SPREAD:.0f} the model hardly prefers one text to another."
    )
    figure = f"{points(pairs.mean)} \N{PLUS-MINUS SIGN} {points(pairs.spread)}"
    if len(found.kept) < MIN_JUDGED:
        said.append(f"{len(found.kept)} texts are too few to judge by.")
    level: Level = "untold" if len(found.kept) < MIN_JUDGED else _level_of_spread(steps)
    is_low = steps < _LOW_SPREAD
    return Finding(
        level,
        title,
        figure,
        tuple(said),
        "These texts score nearly the same with each other, so that small things may decide an order among them."
        if is_low
        else "One pair scores clearly differently from another, which leaves room for an order. A fixed limit on the "
        "score says little: it would have to follow the mean.",
        "Take off what all texts share (a header, a footer, a form), and check that the prompts are the model's own."
        if is_low
        else "Compare scores with each other, never with a limit from another model or set.",
    )


def directions(found: Diagnosis) -> Finding:
    """In how many directions the texts vary."""
    title, n = "Variety", len(found.kept)
    possible = min(n - 1, found.subject.meta.embed_dim)
    if n < _MIN_FOR_RANK:
        figure = f"{found.effective_rank:.0f} of at most {possible}" if n > 1 else "one text"
        said = f"{count(n, 'different text')} cannot vary in more than {count(max(possible, 0), 'direction')}, so this "
        return Finding(
            "untold",
            title,
            figure,
            (f"{said}says more of their number than of what they hold; {_MIN_FOR_RANK} texts would do.",),
            "Texts that vary in few directions are hard to tell apart.",
            "Ask again with more texts.",
        )
    is_low = found.effective_rank < _LOW_RANK * possible
    return Finding(
        "look" if is_low else "fine",
        title,
        f"{found.effective_rank:.0f} of at most {possible}",
        (
            f"The texts vary in about {found.effective_rank:.0f} independent directions; {possible} are possible. This "
            "is the effective rank: the entropy of the singular values (Roy and Vetterli, 2007) of the vectors "
            "without their mean. A set about one subject has a lower one, which is no fault.",
        ),
        "The texts differ in few ways, so a search has little to tell them apart by."
        if is_low
        else "The texts differ in many ways, which a search can tell them apart by.",
        "See whether most of each text is a form that all share, and embed what is their own."
        if is_low
        else "Nothing is to be done.",
    )


def hubs(found: Diagnosis) -> Finding:
    """Texts that are among the nearest of many others."""
    title, known = "Texts in many lists", found.hubs
    if known is None:
        return _too_few(
            title,
            f"With {count(len(found.kept), 'text')} each is near a large part of all, so nothing stands out; "
            f"{MIN_FOR_HUBS} texts would do.",
        )
    if known.expected < _MIN_MEAN:
        return _too_few_lists(title, known)
    share, times = _largest(known)
    is_hub = times >= _HUB
    said = [
        f"Of the {known.k} texts nearest to each, the most frequent is in {known.counts.max():,} of {known.n_asked:,} "
        f"lists; the mean is {known.expected:.1f}. The skewness of these counts is {known.skewness:.1f} (0 would be "
        f"even, {1 / known.expected**0.5:.1f} pure chance; Radovanović et al., 2010)."
    ]
    if found.is_sampled:
        said.append("The lists are those of texts drawn at random, whose neighbours were looked for among all.")
    return Finding(
        "look" if is_hub else "fine",
        title,
        f"the most frequent in {share:.1%} of lists",
        tuple(said),
        "Such a text comes up beside many others. Where it is what many texts are about, that is right; where it is "
        "not, it pushes better results out. The counts cannot tell which."
        if is_hub
        else f"No text is in {_HUB:.0f} times as many lists as the mean.",
        "Read them: is each near to what it is about? If not, rewrite, split or leave it out; such texts are often "
        "very short, very general, or about many things."
        if is_hub
        else "Nothing is to be done.",
        hubs_table(found, known, _HUB * known.expected, "texts") if is_hub else None,
    )


def query_hubs(found: Diagnosis) -> Finding | None:
    """Passages that are among the nearest of many queries; None where there are no two sides."""
    queries, known = found.subject.queries, found.query_hubs
    if queries is None:
        return None
    title, name = "Answers to everything", found.subject.searched.name
    if known is None:
        return _too_few(
            title,
            f"With {count(len(queries), 'query', 'queries')} and {len(found.kept)} different {name}, chance alone puts "
            f"one first for many; {MIN_QUERIES} of each would do.",
        )
    share, times = _largest(known)
    is_hub = share >= _MANY_QUERIES and times >= _HUB
    return Finding(
        "look" if is_hub else "fine",
        title,
        f"the most frequent for {share:.0%} of {queries.name}",
        (
            f"Of the {count(known.k, 'text')} that each of {known.n_asked:,} different {queries.name} finds first, the "
            f"most frequent is found by {known.counts.max():,}; the mean is {known.expected:.1f}. That is no fault "
            f"where the {queries.name} all ask for the same.",
        ),
        f"It is found for most of the {queries.name}; where it does not answer them, it pushes down what does."
        if is_hub
        else f"What is found depends on which of the {queries.name} is asked.",
        "Read it: does it answer them? If not, rewrite, split or leave it out." if is_hub else "Nothing is to be done.",
        hubs_table(found, known, _MANY_QUERIES * known.n_asked, queries.name) if is_hub else None,
    )


def groups_apart(found: Diagnosis) -> Finding:
    """Languages and scripts whose texts keep to themselves."""
    title, groups = "Languages and scripts", found.groups
    unsaid = (
        () if found.has_languages else ("Languages were not looked at, for py3langid is not installed: scripts alone.",)
    )
    if not groups:
        few = groups is None
        reason = f"Spoken of are groups of {MIN_GROUP} texts beside as many of other known ones; there are none here."
        return Finding(
            "untold" if few else "fine",
            title,
            "too few texts" if few else "no two groups",
            (reason, *unsaid),
            "Texts of a language that lies apart are found by queries of that language first, whatever they say."
            if few
            else "No language or script is large enough to stand against the others.",
            "Ask again with more texts." if few else "Nothing is to be done.",
        )
    apart = [group for group in groups if _is_apart(found, group)]
    # A language says more than its script, and often the two are the same texts.
    told = [group for group in apart if group.kind == "language"] or apart
    names = ", ".join(group.name for group in told[:_FEW_NAMED]) + (" and others" if len(told) > _FEW_NAMED else "")
    said = (
        "A group lies apart where its texts' nearest neighbours are its own at least half way from chance to always, "
        f"and its scores with the others are lower than inside it by at least {points(_gap(found))} (half the standard "
        "deviation of random pairs). Whether the language or the subject sets it apart, these figures cannot tell.",
        "Languages are named only where the text leaves hardly any doubt. Other texts, most short ones among them, are "
        "in no group and are not compared with any.",
        *unsaid,
    )
    return Finding(
        "look" if apart else "fine",
        title,
        f"apart: {names}" if apart else "none apart",
        said,
        "A query in one language finds texts of that language first, even where a better answer is in another."
        if apart
        else "Texts of different languages and scripts lie among each other.",
        "Search each language by itself or mix the results, or take a multilingual model."
        if apart
        else "Nothing is to be done.",
        groups_table(groups, [_is_apart(found, group) for group in groups]),
    )


def _too_few(title: str, said: str) -> Finding:
    retrieval = "Where many texts are searched, this decides whether results can be trusted."
    return Finding("untold", title, "too few texts", (said,), retrieval, "Ask again with more texts.")


def _too_few_lists(title: str, known: Hubs) -> Finding:
    return Finding(
        "untold",
        title,
        "too few lists",
        (
            f"The lists of {known.n_asked:,} of {len(known.counts):,} texts were looked at, drawn at random, so that a "
            f"text is in {known.expected:.1f} on average. Below {_MIN_MEAN:.0f}, chance puts some texts into many "
            "times as many.",
        ),
        "A text that is in many lists may push better results out.",
        "Diagnose a part of these texts: of fewer, more lists are looked at.",
    )


def _level_of_spread(steps: float) -> Level:
    if steps < _NO_SPREAD:
        return "act"
    return "look" if steps < _LOW_SPREAD else "fine"


def _largest(known: Hubs) -> tuple[float, float]:
    """In which share of the lists the most frequent text stands, and how many times the mean that is."""
    largest = int(known.counts.max())
    return largest / known.n_asked, largest / known.expected


def _gap(found: Diagnosis) -> float:
    return _APART_SPREADS * found.pairs.spread


def _is_apart(found: Diagnosis, group: Group) -> bool:
    return group.apart.excess >= _APART_EXCESS and group.apart.within - group.apart.across >= _gap(found)
