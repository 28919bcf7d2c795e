"""Curves on white paper, by matplotlib (extra `plot`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from liir.errors import InputError
from liir.figures import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_DPI = 100
# Okabe and Ito (2008) without what is too light for a line on white.
_LINES = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#000000")
_DASHES = ("-", "--", ":", "-.")


def line(place: int) -> dict[str, str]:
    """Colour and dash of a line by its number: 28 that differ, for colour-blind people too."""
    dash = _DASHES[place // len(_LINES) % len(_DASHES)]
    return {"color": _LINES[place % len(_LINES)], "linestyle": dash}


def figure(width: int, height: int) -> Figure:
    """An empty figure of a size in pixels.

    Raises:
        InputError: Matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "curves need the extra plot, which is not installed: pip install 'liir[plot]'"
        ) from None
    made = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(made)
    return made


def plain(axes: Axes, title: str) -> None:
    """A title on the left, a faint grid, no frame around."""
    axes.set_title(title, loc="left", fontsize=12)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def drawn(made: Figure) -> Picture:
    """The figure as a picture (H, W, 3) uint8."""
    made.canvas.draw()
    pixels = np.asarray(made.canvas.buffer_rgba())  # type: ignore[attr-defined]
    return np.ascontiguousarray(pixels[..., :3])


def handle(place: int) -> Line2D:
    """What a legend shows of a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linewidth=2, **line(place))  # type: ignore[arg-type]
