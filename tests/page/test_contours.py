"""One polygon around a mask gives the mask again."""

import numpy as np
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
