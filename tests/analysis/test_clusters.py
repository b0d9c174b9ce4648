"""Groups that are there are found and named by their own words; where there are none, none are made up."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.analysis.clusters import cluster_names, find_clusters
from e5studio.errors import NonFiniteError, VectorError


def three_groups(n=20, dim=12, spread=0.15):
    rng = np.random.default_rng(3)
    centres = np.eye(dim)[:3]
    sizes = (2 * n, n, n // 2)
    rows = np.vstack(
        [centre + spread * rng.normal(size=(size, dim)) for centre, size in zip(centres, sizes, strict=True)]
    )
    return rows, np.repeat([0, 1, 2], sizes)


class TestGroups:
    def test_are_found_and_numbered_from_the_largest(self):
        rows, expected = three_groups()
        found = find_clusters(rows)
        np.testing.assert_array_equal(found.labels, expected)
        assert found.n_clusters == 3
        assert found.silhouette > 0.5

    def test_length_of_vectors_does_not_matter(self):
        rows, expected = three_groups()
        np.testing.assert_array_equal(find_clusters(rows * np.linspace(1, 50, len(rows))[:, None]).labels, expected)

    def test_same_seed_same_groups(self):
        rows = np.random.default_rng(0).normal(size=(60, 8))
        np.testing.assert_array_equal(find_clusters(rows).labels, find_clusters(rows).labels)

    def test_number_may_be_given(self):
        rows, _ = three_groups()
        assert find_clusters(rows, n_clusters=5).n_clusters == 5
        assert find_clusters(rows, n_clusters=1).n_clusters == 1

    @pytest.mark.parametrize("rows", [np.empty((0, 3)), np.eye(3)[:1], np.eye(3), np.ones((20, 3))])
    def test_too_few_or_equal_are_one_group(self, rows):
        found = find_clusters(rows)
        assert set(found.labels.tolist()) <= {0}
        assert len(found.labels) == len(rows)
        assert found.silhouette == 0

    def test_noise_has_none(self):
        assert find_clusters(np.random.default_rng(0).normal(size=(120, 32))).n_clusters == 1

    def test_what_all_vectors_share_hides_no_group(self):
        rows, expected = three_groups()
        np.testing.assert_array_equal(find_clusters(rows + 5 * np.ones(rows.shape[1])).labels, expected)

    def test_texts_that_shade_into_each_other_get_as_many_as_come_out_alike(self):
        """A cloud with directions that count, as embeddings of texts have, and no gaps."""
        rng = np.random.default_rng(2)
        rows = rng.normal(size=(400, 32)) * np.r_[np.full(6, 4.0), np.full(26, 0.7)]
        found = find_clusters(rows)
        assert found.n_clusters > 5
        assert found.silhouette < 0.25

    def test_two_different_texts_many_times(self):
        found = find_clusters(np.repeat(np.eye(4)[:2], 6, axis=0))
        assert found.n_clusters <= 2

    def test_more_groups_than_different_vectors(self):
        with pytest.raises(VectorError, match="2 different"):
            find_clusters(np.repeat(np.eye(4)[:2], 6, axis=0), n_clusters=3)

    def test_nan_is_named(self):
        with pytest.raises(NonFiniteError):
            find_clusters([[np.nan, 1.0]] * 6)


class TestNames:
    def test_are_what_a_group_has_and_others_have_not(self):
        texts = [
            "the summit of the mountain",
            "a mountain and its summit",
            "the river in the valley",
            "valley with a river",
        ]
        names = cluster_names(texts, [0, 0, 1, 1], n_words=2)
        assert set(names[0].split(", ")) == {"mountain", "summit"}
        assert set(names[1].split(", ")) == {"river", "valley"}

    def test_function_words_name_nothing_and_content_words_do(self):
        texts = ["what is compound interest", "interest is paid on the interest", "how is it done", "it is done so"]
        assert cluster_names(texts, [0, 0, 1, 1], n_words=1) == ["interest", "done"]

    def test_function_words_of_other_languages_name_nothing(self):
        texts = [
            "der Gipfel und der Berg",
            "der Berg, ein Gipfel und ein Weg",
            "der Fluss und ein Tal",
            "ein Tal und der Fluss",
        ]
        names = cluster_names(texts, [0, 0, 1, 1])
        assert [set(name.split(", ")) for name in names] == [{"gipfel", "berg", "weg"}, {"fluss", "tal"}]

    def test_scripts_without_spaces_are_named_by_pairs_of_characters(self):
        assert cluster_names(["南瓜的家常做法", "南瓜丝"], [0, 0], n_words=1) == ["南瓜"]

    def test_a_word_said_often_in_one_text_counts_once(self):
        texts = ["spam " * 50, "summit view", "summit path"]
        assert cluster_names(texts, [0, 0, 0], n_words=1) == ["summit"]

    def test_nothing_to_name_by(self):
        assert cluster_names(["...", "?"], [0, 1]) == ["", ""]
        assert cluster_names([], []) == []
