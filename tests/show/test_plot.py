"""Lines that differ, on white paper; and what is said where matplotlib is not installed."""

import sys

import numpy as np
import pytest

from liir.errors import InputError
from liir.show import plot


def test_lines_differ() -> None:
    styles = [tuple(plot.line(place).items()) for place in range(28)]
    assert len({*styles}) == 28
    assert len({plot.line(place)["color"] for place in range(7)}) == 7


def test_a_figure_has_its_size_and_its_line() -> None:
    pytest.importorskip("matplotlib")
    made = plot.figure(400, 200)
    axes = made.subplots()
    plot.plain(axes, "title")
    axes.plot([0, 1], [0, 1], linewidth=3, **plot.line(0))
    picture = plot.drawn(made)
    assert picture.shape == (200, 400, 3)
    assert (picture[0, 0] == 255).all()
    assert (np.abs(picture.astype(int) - (0x00, 0x72, 0xB2)).max(axis=2) < 5).sum() > 200
    assert plot.handle(8).get_color() == plot.line(8)["color"]


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'liir\[plot\]'"):
        plot.figure(400, 200)
