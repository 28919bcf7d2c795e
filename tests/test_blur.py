"""Blurring against a convolution, and what it keeps."""

import pytest
import torch
from torch.nn import functional as F

from liir.blur import bell, blur, taps


@pytest.mark.parametrize("spread", [0.42, 1.0, 2.4])
def test_as_a_convolution_with_the_gaussian(spread):
    maps = torch.rand(2, 3, 14, 17)
    one = taps(spread)
    weight = (one[:, None] * one).expand(3, 1, len(one), len(one))
    expected = F.conv2d(maps, weight, padding=len(one) // 2, groups=3)
    torch.testing.assert_close(blur(maps, spread, normal=False), expected)


@pytest.mark.parametrize("spread", [0.42, 2.4])
def test_a_constant_stays_what_it_is_up_to_the_border(spread):
    maps = torch.full((1, 1, 5, 9), 0.3)
    torch.testing.assert_close(blur(maps, spread), maps)
    assert float(blur(maps, spread, normal=False)[0, 0, 0, 0]) < float(
        blur(maps, spread, normal=False)[0, 0, 2, 4]
    )


def test_taps_hold_the_gaussian():
    one = taps(1.3)
    assert len(one) == 11
    assert float(one[5]) == 1.0
    torch.testing.assert_close(one, one.flip(0))
    assert float(one[0]) < 1e-3
    torch.testing.assert_close(bell(torch.tensor(1.3), 1.3), torch.tensor(0.5).exp() ** -1)
