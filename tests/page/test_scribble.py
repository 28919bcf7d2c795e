"""Strokes that grow."""

import numpy as np
import pytest
import torch

from liir.errors import InputError
from liir.grid import Grid
from liir.page.scribble import BACKGROUND, grow


def test_a_stroke_becomes_its_region_and_background_holds_it_back():
    grid = Grid(32, 64, 32, torch.device("cpu"))
    features = torch.zeros(2, *grid.cells)
    features[0, :, :8], features[1, :, 8:] = 1.0, 1.0
    strokes = np.zeros((32, 64), np.uint8)
    strokes[10:14, 8:12] = 5
    found = grow(features, strokes, grid)
    assert set(np.unique(found)) == {0, 5}
    assert (found[4:28, 2:24] == 5).mean() > 0.9
    assert not found[:, 36:].any()
    strokes[26:30, 2:20] = BACKGROUND
    found = grow(features, strokes, grid)
    assert (found[10:14, 8:12] == 5).all()
    assert not found[26:30, 2:20].any()
    with pytest.raises(InputError, match="scribble"):
        grow(features, np.zeros((32, 64), np.uint8), grid)
