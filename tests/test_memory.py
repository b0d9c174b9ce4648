"""A model that would not fit is refused with numbers and a way out."""

from __future__ import annotations

import pytest

from e5studio import memory
from e5studio.errors import OutOfMemoryError


def test_a_machine_has_memory() -> None:
    available = memory.available_bytes()
    assert available is not None
    assert available > 50_000_000


def test_what_fits_is_let_through() -> None:
    memory.check_fits("m", 33_000_000, "float32", 1_000_000_000)


def test_refused_with_both_numbers_and_the_dtype_that_fits() -> None:
    with pytest.raises(OutOfMemoryError, match=r"needs 28\.7 GB of memory in float32, and 20\.0 GB.*bfloat16"):
        memory.check_fits("intfloat/e5-mistral-7b-instruct", 7_111_000_000, "float32", 20_000_000_000)


def test_where_nothing_fits_it_says_so() -> None:
    with pytest.raises(OutOfMemoryError, match="No precision on offer fits"):
        memory.check_fits("m", 7_111_000_000, "float32", 2_000_000_000)


def test_unknown_memory_refuses_nothing() -> None:
    memory.check_fits("m", 7_111_000_000, "float32", None)
