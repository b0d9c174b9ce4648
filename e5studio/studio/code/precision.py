"""How close the numbers of each target are to those on the page, as measured.

Measured with all-MiniLM-L6-v2 over the 35 texts of the page's examples, every text with every other, on a CPU (AMD,
AVX-512 with bfloat16): the greatest difference of cosine x 100 from the same texts embedded by the page. It is not
known for the weights of E5.
"""

from __future__ import annotations

from typing import Literal

from e5studio.studio.code.state import ScoredState

Family = Literal["e5studio", "transformers", "sentence-transformers"]
"""What computes: E5 Studio itself (its plug-ins and endpoints too), or another library."""

# In float32 at most 0.0001 was measured, and what is printed is rounded to two decimals.
_ROUNDING = 0.01
# E5 Studio's own: a text alone against the same text among others, where rounding differs with the batch.
_OWN = {"bfloat16": 0.2, "float16": 0.02}
_OTHERS: dict[tuple[Family, str], float] = {
    ("transformers", "bfloat16"): 0.4,
    ("transformers", "float16"): 0.03,
    ("transformers", "int8"): 3.0,
    ("sentence-transformers", "bfloat16"): 0.8,
    ("sentence-transformers", "float16"): 0.1,
    ("sentence-transformers", "int8"): 3.0,
}


def tolerance(state: ScoredState, family: Family) -> float:
    """The difference from the page's numbers, in cosine x 100, up to which a target agrees."""
    measured = _OWN.get(state.dtype) if family == "e5studio" else _OTHERS.get((family, state.dtype))
    return measured or _ROUNDING


def computed_dtype(state: ScoredState, family: Family) -> str:
    """The precision of a target."""
    return "float32" if state.dtype == "int8" and family != "e5studio" else state.dtype


def expectation(state: ScoredState, family: Family) -> list[str]:
    """Lines of a comment that say how close the numbers are."""
    n = tolerance(state, family)
    if state.dtype == "float32":
        return [f"Expect the same to {n:g}: the last digit may be rounded the other way."]
    if family == "e5studio" and state.dtype == "int8":
        return [f"Expect the same to {n:g} where the same int8 model is used; each machine makes its own."]
    measured = f"Expect differences up to about {n:g} (measured with all-MiniLM-L6-v2; not known for other models)."
    if state.dtype == "int8":
        return [f"{family} does not compute this int8 model, so this is float32.", measured]
    return [f"{state.dtype} rounds otherwise in another batch or another library.", measured]
