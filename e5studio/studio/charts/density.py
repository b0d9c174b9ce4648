"""Lines of equal density under a crowd of points. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from e5studio.similarity import FloatArray
from e5studio.studio.charts.figure import Figure, typed

_CELLS = 60
_ROOM = 0.05
_SIGMA = 2.0  # of the Gaussian that smooths the counts, in cells
_N_LINES = 6


def density_lines(points: FloatArray) -> Figure:
    """A trace of contour lines: how many points lie about each place of a plane.

    Args:
        points: Coordinates, shape (n, 2).
    """
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    extent[extent == 0] = 1.0
    edges = [np.linspace(low[k] - _ROOM * extent[k], low[k] + (1 + _ROOM) * extent[k], _CELLS + 1) for k in (0, 1)]
    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=edges)
    smooth = _smoothed(_smoothed(counts).T)  # rows are y, as plotly takes them
    x, y = ((edge[:-1] + edge[1:]) / 2 for edge in edges)
    step = float(smooth.max()) / (_N_LINES + 1)
    return {
        "type": "contour",
        "x": typed(x.astype(np.float32)),
        "y": typed(y.astype(np.float32)),
        "z": smooth.astype(np.float32).round(4).tolist(),
        "autocontour": False,
        "contours": {"coloring": "none", "start": step, "end": _N_LINES * step, "size": step},
        "line": {"width": 1, "color": "@link", "smoothing": 1},
        "opacity": 0.6,
        "showscale": False,
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _smoothed(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smoothed along the first axis."""
    reach = np.arange(-int(3 * _SIGMA), int(3 * _SIGMA) + 1)
    kernel = np.exp(-0.5 * (reach / _SIGMA) ** 2)
    return np.apply_along_axis(np.convolve, 0, counts, kernel / kernel.sum(), mode="same")
