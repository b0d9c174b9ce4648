"""The texts to try are there, whole and different."""

from __future__ import annotations

import pytest

from e5studio.studio.corpus.samples import SAMPLES, sample_table
from e5studio.studio.corpus.selection import pairs_of, query_column
from e5studio.studio.corpus.table_file import choose_columns


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_texts_and_columns_to_colour_and_filter_by(name):
    table = sample_table(name)
    assert 30 < len(table) <= 300
    assert len(set(table.column(table.text_column))) == len(table)
    assert len(table.columns) > 2
    assert not table.bad_rows


def test_the_town_hall_can_be_evaluated_at_once():
    table = sample_table("town_hall")
    pairs = pairs_of(choose_columns(table, table.text_column), table, None, query_column(table), None)
    assert len(pairs) == len(table)
