"""One polygon around a mask gives the mask again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from liir.coco import rasterise
from liir.page.contours import polygon


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_there_and_back(mask):
    corners = polygon(mask)
    assert bool(corners) == mask.any()
    if corners:
        assert (rasterise([[float(v) for xy in corners for v in xy]], mask.shape) == mask).all()


@pytest.mark.parametrize(
    ("rows", "corners"),
    [
        (["000", "010", "000"], {(1, 1), (2, 1), (2, 2), (1, 2)}),
        (["11", "11"], {(0, 0), (2, 0), (2, 2), (0, 2)}),
        (["0"], set()),
    ],
)
def test_a_plain_shape_has_no_corner_too_many(rows, corners):
    found = polygon(np.array([[c == "1" for c in row] for row in rows]))
    assert len(found) == len(corners)
    assert set(found) == corners


@pytest.mark.parametrize(
    "rows",
    [
        ["1111", "1001", "1111"],  # a hole
        ["100", "010", "001"],  # parts that meet at corners
        ["101", "000", "101"],  # parts apart
        ["11111", "10001", "10101", "10001", "11111"],  # an island in a hole
    ],
)
def test_holes_and_parts_are_one_polygon(rows):
    mask = np.array([[c == "1" for c in row] for row in rows])
    corners = polygon(mask)
    flat = [float(v) for xy in corners for v in xy]
    assert (rasterise([flat], mask.shape) == mask).all()
    height, width = mask.shape
    assert all(0 <= x <= width and 0 <= y <= height for x, y in corners)
