"""Evaluations -> sentences on the page, as nodes for `widgets.text_tree`."""

from __future__ import annotations

from collections.abc import Sequence

from e5studio.encode_report import NOTEWORTHY_UNKNOWN_SHARE
from e5studio.errors import BackendError, MissingDependencyError
from e5studio.evaluation.verdicts import verdict_of
from e5studio.studio.corpus.corpus import Corpus
from e5studio.studio.corpus.evaluation import MAIN_METRIC, CorpusEvaluation, FailedSetting, SettingResult
from e5studio.studio.corpus.failures import AnswerRanks, Reasons, duel, query_words
from e5studio.studio.engine.error_messages import for_menus, message_for_visitor
from e5studio.studio.formatting import count, fixed, listed, shown, signed
from e5studio.studio.widgets.nodes import Node, hint

_MAX_LISTED = 6
_FEW_COMPARED = 3


def measured(evaluation: CorpusEvaluation, *, is_without_left_out: bool = False) -> list[Node]:
    """How much was measured; whether "without prompts" was left out, for the model has none."""
    n_queries = count(len(evaluation.pairs), "query", "queries")
    nodes: list[Node] = [["p", "e5-done", f"Measured {count(len(evaluation.rows), 'setting')} on {n_queries}."]]
    left_out = "The model of the form has no prompts, so there is no second setting without them."
    return nodes + (hint(left_out) if is_without_left_out else [])


def verdict(evaluation: CorpusEvaluation) -> list[Node]:
    """How the settings compare on these pairs, and how certain that is."""
    nodes: list[Node] = []
    if evaluation.pairs.left_out:
        lines = listed((f"{line:,}" for line in evaluation.pairs.left_out), _MAX_LISTED)
        nodes.append(["p", "e5-warning", f"Left out, without a query or an answer in the corpus: lines {lines}."])
    for row in evaluation.rows:
        if isinstance(row, FailedSetting):
            nodes.append(["p", "e5-error", f"{setting_name(row)}: {_reason(row)}"])
    results = [row for row in evaluation.rows if isinstance(row, SettingResult)]
    if evaluation.baseline is not None and len(results) > 1:
        base = setting_name(evaluation.rows[evaluation.baseline])
        nodes += [["p", "", _difference(row, base)] for row in results if row.difference]
    if len(results) > _FEW_COMPARED:
        nodes.append(["p", "e5-hint", "With so many comparisons, one may look certain by chance alone."])
    if results and results[0].means[MAIN_METRIC].interval is None:
        nodes.append(["p", "e5-hint", "There are too few queries for intervals: differences may be chance."])
    return nodes


def query_label(query: int) -> str:
    """The name of a query of an evaluation."""
    return f"Q{query + 1}"


def query_order(evaluation: CorpusEvaluation, first: int, second: int | None = None) -> list[int]:
    """The queries with the deepest answers first; of two settings those on which they differ, the losses first."""
    one = answers_of(evaluation, first)
    if second is None:
        return [int(query) for query in one.worst_first()]
    duels = duel(one, answers_of(evaluation, second))
    return [int(query) for query in (*duels.losses, *duels.wins)]


def failures(evaluation: CorpusEvaluation, first: int, second: int | None = None) -> list[Node]:
    """How many queries find their answer; of two settings, which wins how often."""
    one = answers_of(evaluation, first)
    n = len(one)
    if second is None:
        n_top, n_ten = one.n_within(1), one.n_within(10)
        counts = f"{n_top:,} find their answer first, {n_ten - n_top:,} among the next nine, {n - n_ten:,} later."
        return hint(f"Of {count(n, 'query', 'queries')}, {counts} The deepest come first; click one to see why.")
    duels = duel(one, answers_of(evaluation, second))
    counts = f"ranks {len(duels.wins):,} answers higher and {len(duels.losses):,} lower; {duels.n_ties:,} stay."
    return hint(f"B, {setting_name(evaluation.rows[second])}, {counts} Its losses come first, then its wins.")


def failure(evaluation: CorpusEvaluation, corpus: Corpus, query: int, indices: Sequence[int]) -> list[Node]:
    """A query, its answer, and the texts that stand above it under each of some settings."""
    nodes: list[Node] = [
        ["p", "", ["span", "e5-label", query_label(query)], " ", shown(evaluation.pairs.queries[query])]
    ]
    for index in indices:
        answers = answers_of(evaluation, index)
        rank, row = int(answers.ranks[query]), int(answers.answers[query])
        above = list(zip(answers.top_rows[query].tolist(), answers.top_scores[query].tolist(), strict=True))[: rank - 1]
        places = [(str(place), each, score) for place, (each, score) in enumerate(above, 1)]
        parts = [
            part
            for place in [*places, (str(rank), row, answers.scores[query])]
            for part in _ranked(corpus, *place, row)
        ]
        nodes += [
            ["h3", "", f"{setting_name(evaluation.rows[index])}: rank {rank:,}"],
            *([["p", "", _why(evaluation, corpus, query, index)]] if rank > 1 else []),
            ["dl", "e5-pair e5-near", *parts],
        ]
    return nodes


def reasons(evaluation: CorpusEvaluation, corpus: Corpus, query: int, index: int) -> Reasons | None:
    """Why another text comes first for a query under a setting; None where the answer does."""
    answers, row = answers_of(evaluation, index), evaluation.rows[index]
    assert isinstance(row, SettingResult)  # as `results_of` gives the indices
    if answers.ranks[query] == 1:
        return None
    answer = int(answers.answers[query])
    text, above = corpus.document(answer), corpus.document(int(answers.top_rows[query, 0]))
    return Reasons(
        is_copy=text.split() == above.split(),
        is_near=bool(answers.likeness[query, 0] >= answers.near),
        n_dropped=int(row.n_dropped[answer]),
        unknown_share=float(row.unknown_shares[query]),
        words=query_words(evaluation.pairs.queries[query], above, text, corpus.common_words),
    )


def reasons_in_short(why: Reasons | None) -> str:
    """The reasons in a few words, the plainest first."""
    if why is None:
        return ""
    parts = [
        "copy of the answer" if why.is_copy else "near copy of the answer" if why.is_near else "",
        "answer cut" if why.n_dropped else "",
        "unknown words" if why.unknown_share >= NOTEWORTHY_UNKNOWN_SHARE else "",
        "words of the query" if why.words else "",
    ]
    return ", ".join(part for part in parts if part)


def _why(evaluation: CorpusEvaluation, corpus: Corpus, query: int, index: int) -> str:
    """What can be seen of why the answer is not first; ends with the settings under which it is."""
    why, answers = reasons(evaluation, corpus, query, index), answers_of(evaluation, index)
    assert why is not None  # as the rank is not 1
    behind = float(answers.top_scores[query, 0] - answers.scores[query])
    sentences = [f"The first is {fixed(behind)} points ahead of the answer."]
    if why.is_copy:
        sentences.append("It has the same text: only the ids tell it from the answer.")
    elif why.is_near:
        sentences.append(
            f"It is nearly the same text as the answer (cosine {fixed(100 * answers.likeness[query, 0])})."
        )
    if why.n_dropped:
        sentences.append(f"The model does not read the last {count(why.n_dropped, 'token')} of the answer.")
    if why.unknown_share >= NOTEWORTHY_UNKNOWN_SHARE:
        sentences.append(f"Of the query's tokens, {why.unknown_share:.0%} are unknown to the model.")
    if why.words:
        words = listed(f"“{shown(word, 40)}”" for word in why.words)
        sentences.append(f"It has words of the query that the answer lacks: {words}.")
    if len(sentences) == 1:
        sentences.append(
            "It is no copy, nothing was cut, and no rare word of the query tells the two apart: only the vectors do."
        )
    better = [name for other, name in results_of(evaluation).items() if answers_of(evaluation, other).ranks[query] == 1]
    if better:
        sentences.append(f"The answer comes first under: {'; '.join(better)}.")
    return " ".join(sentences)


def _ranked(corpus: Corpus, place: str, row: int, score: float, answer: int) -> list[Node]:
    label: Node = ["span", "e5-label", f"{place} · {corpus.label(row)}"]
    mark: list[Node] = [["b", "e5-answer", "answer "]] if row == answer else []
    return [["dt", "", label, ["b", "", fixed(score)]], ["dd", "", *mark, shown(corpus.document(row), 600)]]


def results_of(evaluation: CorpusEvaluation) -> dict[int, str]:
    """Index of each setting that was measured -> its name."""
    rows = enumerate(evaluation.rows)
    return {index: setting_name(row) for index, row in rows if isinstance(row, SettingResult)}


def answers_of(evaluation: CorpusEvaluation, index: int) -> AnswerRanks:
    """Where the answers stand under one of `results_of`."""
    row = evaluation.rows[index]
    assert isinstance(row, SettingResult)  # as `results_of` gives the indices
    return row.answers


def _reason(row: FailedSetting) -> str:
    """Why a setting failed, with what a visitor can do."""
    if isinstance(row.error, BackendError | MissingDependencyError):
        return message_for_visitor(for_menus(row.error, row.setting.dtype))
    return message_for_visitor(row.error)


def setting_name(row: SettingResult | FailedSetting) -> str:
    """The setting of a row in a few words."""
    setting, meta = row.setting, row.meta
    parts = [meta.short_name if meta else shown(setting.model, 60)]
    if setting.prompt_mode != "retrieval" and meta and meta.prompt_kind != "none":
        parts.append("no prompt" if setting.prompt_mode == "none" else "symmetric")
    if setting.instruction:
        parts.append(f"“{shown(setting.instruction, 60)}”")
    if setting.dtype != "auto":
        parts.append(setting.dtype)
    return ", ".join(parts)


def _difference(row: SettingResult, base: str) -> str:
    difference = row.difference
    assert difference is not None  # as the caller checks
    change = f"{setting_name(row)}: nDCG@10 {signed(difference.difference, 4)} from {base}"
    if difference.interval is None:
        return f"{change}; too few queries to say whether that is chance."
    low, high = difference.interval.low, difference.interval.high
    certainty = "may well be chance" if verdict_of(difference) == "no gain" else "hardly chance"
    ends = f"{signed(low, 4)} to {signed(high, 4)}"
    return f"{change} (95 % interval {ends}, p {difference.p_value:.3f}): {certainty}."
