"""The table of published figures: sound in itself, and held against runs by the same rules alone."""

from __future__ import annotations

from dataclasses import replace

import mteb
import numpy as np
import pytest

from e5studio.evaluation import Evaluation, StsTask, check, evaluate, published, published_scores
from e5studio.models import FOUR_BIT_MODEL, get_model_meta, list_models

E5_SMALL_V2 = "intfloat/e5-small-v2"
OFFLINE = "sentence-transformers/all-MiniLM-L6-v2"
RESULTS = "embeddings-benchmark/results, mteb"


@pytest.fixture(autouse=True)
def _any_number_of_pairs(monkeypatch):
    monkeypatch.setattr(published, "_N_SAMPLES", {})


@pytest.fixture(scope="module")
def measured(encoders):
    """A run of a small checkpoint, as if it were e5-small-v2 on STSBenchmark."""
    pairs = StsTask("STSBenchmark", "test", ("a", "b", "c"), ("b", "summit", "a"), np.array([1.0, 2.0, 0.5]))
    found = evaluate(encoders("e5"), pairs)
    meta = get_model_meta(E5_SMALL_V2)
    return replace(found, spec=replace(found.spec, model=meta.name, revision=meta.revision))


def scored(found: Evaluation, value: float) -> Evaluation:
    return replace(found, scores={**found.scores, found.metric: value})


N_SAMPLES = dict(published._N_SAMPLES)


class TestTable:
    @pytest.mark.parametrize("task", N_SAMPLES)
    def test_sizes_are_those_that_mteb_counted(self, task):
        [counted] = mteb.get_task(task).metadata.descriptive_stats.values()
        assert N_SAMPLES[task] == counted.get("num_queries", counted["num_samples"])

    def test_languages_are_those_that_mteb_means_over(self):
        counts = {task: len(mteb.get_task(task).metadata.eval_langs) for task in published._N_LANGUAGES}
        assert counts == published._N_LANGUAGES

    def test_every_model_is_ours_and_has_a_figure(self):
        unpublished = {FOUR_BIT_MODEL}  # its full weights have figures
        assert {score.model for score in published_scores()} == {meta.name for meta in list_models()} - unpublished

    def test_rows_are_sound(self):
        unsound = [
            score
            for score in published_scores()
            if not 0 < score.value < 1
            or score.rules not in ("authors", "mteb", "both", "other")
            or not score.source
            or len(score.revision) not in (0, 40)
            or (score.source == "model card" and score.revision)
        ]
        assert not unsound

    def test_no_figure_stands_there_twice(self):
        keys = [(s.model, s.task, s.split, s.metric, s.rules, s.revision, s.source) for s in published_scores()]
        assert len(keys) == len(set(keys))

    @pytest.mark.parametrize(
        ("model", "task", "source", "value"),
        [
            # Read off the cards and the results repository by hand.
            ("intfloat/e5-small-v2", "SciFact", "model card", 0.68854),
            ("intfloat/e5-base", "SciFact", "model card", 0.73083),
            ("intfloat/multilingual-e5-small", "STSBenchmark", f"{RESULTS} 1.36.26", 0.83589),
            (
                "sentence-transformers/all-MiniLM-L6-v2",
                "SciFact",
                f"{RESULTS} 1.12.75",
                0.64508,
            ),
            (
                "sentence-transformers/all-MiniLM-L6-v2",
                "STSBenchmark",
                f"{RESULTS} 1.12.75",
                0.82032,
            ),
            ("intfloat/e5-small", "STS13", "model card", 0.818),
            ("intfloat/e5-large-v2", "XQuADRetrieval", f"{RESULTS} 1.18.0", 0.6324),  # the mean of its 12 languages
            ("intfloat/e5-large-unsupervised", "BEIR", "microsoft/unilm, e5/README.md", 0.442),
        ],
    )
    def test_figures(self, model, task, source, value):
        [found] = [s for s in published_scores() if (s.model, s.task, s.source) == (model, task, source)]
        assert found.value == pytest.approx(value, abs=1e-9)


class TestCheck:
    def test_agrees_within_a_thousandth(self, measured):
        card = next(
            s for s in published_scores() if (s.model, s.task, s.rules) == (E5_SMALL_V2, "STSBenchmark", "authors")
        )
        for difference, agrees in ((0.0009, True), (-0.0009, True), (0.0011, False), (-0.0011, False)):
            found = [each for each in check(scored(measured, card.value + difference)) if each.published == card]
            assert found[0].difference == pytest.approx(difference)
            assert found[0].agrees is agrees

    def test_figures_by_other_rules_are_shown_and_not_compared(self, measured):
        compared = {each.published.rules: each.difference is not None for each in check(measured)}
        assert compared == {"authors": True, "mteb": False}

    def test_a_models_own_prompts_alone_are_compared(self, measured):
        for prompts in (
            replace(measured.prompts, kind="none"),
            replace(measured.prompts, instruction_source="given"),
        ):
            assert all(each.difference is None for each in check(replace(measured, prompts=prompts)))

    def test_another_length_is_another_figure(self, measured):
        short = replace(measured, spec=replace(measured.spec, max_tokens=128))
        assert {each.difference for each in check(short)} == {None}
        assert any("512 tokens" in each.obstacle for each in check(short))

    def test_other_data_are_told_by_their_number(self, measured, monkeypatch):
        monkeypatch.setattr(published, "_N_SAMPLES", N_SAMPLES)
        assert all("1,379" in each.obstacle for each in check(measured))

    @pytest.mark.parametrize(("n_languages", "is_compared"), [(12, True), (2, False), (1, False)])
    def test_a_mean_over_languages_is_compared_with_the_mean_over_all(self, measured, n_languages, is_compared):
        of_mteb = {"scores": {"validation": [{"main_score": 0.5}] * n_languages}}
        run = replace(
            measured,
            task="XQuADRetrieval",
            split="validation",
            metric="ndcg_at_10",
            scores={"ndcg_at_10": 0.5},
            sample=None,
            mteb_result=of_mteb,
        )
        [found] = check(run)
        assert (found.difference is not None) is is_compared
        assert ("12 languages" in found.obstacle) is not is_compared
        [of_a_folder] = check(replace(run, mteb_result=None))
        assert of_a_folder.difference is None

    def test_another_metric_is_another_figure(self, measured):
        other = replace(measured, metric="cosine_pearson")
        assert {each.obstacle for each in check(other)} == {"it is cosine_spearman"}

    def test_another_revision_is_another_model(self, measured):
        moved = replace(measured, spec=replace(measured.spec, revision="0" * 40))
        assert {each.published.revision for each in check(moved)} == {""}

    def test_a_folder_of_the_models_name_counts_as_the_model(self, measured):
        local = replace(measured, spec=replace(measured.spec, model="e5-small-v2", revision="sha256:abc"))
        assert len(check(local)) == len(check(measured))

    def test_nothing_published(self, measured):
        assert check(replace(measured, task="mine")) == []
