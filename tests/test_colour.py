"""Lab against published values, and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from liir.colour import lab_to_rgb, rgb_to_lab

# CIE L*a*b* under D65 of 8-bit sRGB colours, as in Lindbloom's calculator and the CSS Color 4
# tables; two decimals.
KNOWN = {
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.74, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (255, 255, 0): (97.14, -21.55, 94.48),
    (0, 255, 255): (91.11, -48.09, -14.13),
    (255, 0, 255): (60.32, 98.23, -60.82),
    (128, 128, 128): (53.59, 0.0, 0.0),
}
PICTURES = hnp.arrays(
    np.uint8,
    st.tuples(st.just(3), st.integers(1, 6), st.integers(1, 6)),
    elements=st.integers(0, 255),
)


def plain(lab: Tensor) -> Tensor:
    """(3, 1, 1) scaled to (3,) in the usual units."""
    return lab[:, 0, 0] * torch.tensor([50.0, 127.0, 127.0]) + torch.tensor([50.0, 0.0, 0.0])


@pytest.mark.parametrize("rgb", KNOWN)
def test_known_values(rgb: tuple[int, int, int], device: torch.device) -> None:
    lab = rgb_to_lab(torch.tensor(rgb, dtype=torch.uint8, device=device)[:, None, None]).cpu()
    torch.testing.assert_close(plain(lab), torch.tensor(KNOWN[rgb]), atol=0.03, rtol=0)


def test_grey_has_no_colour_and_rises() -> None:
    grey = torch.arange(256, dtype=torch.uint8)[None, None].expand(3, 1, -1)
    lightness, a, b = rgb_to_lab(grey)
    assert a.abs().max() < 1e-5
    assert b.abs().max() < 1e-5
    assert (lightness.diff() > 0).all()  # also across the linear foot of both curves
    assert lightness.min() == pytest.approx(-1, abs=1e-6)
    assert lightness.max() == pytest.approx(1, abs=1e-6)


@given(PICTURES)
def test_there_and_back(picture: np.ndarray) -> None:
    rgb = torch.from_numpy(picture)
    back = lab_to_rgb(rgb_to_lab(rgb)) * 255
    assert (back - rgb).abs().max() < 0.1
    exact = lab_to_rgb(rgb_to_lab(rgb.double() / 255)) * 255
    assert (exact - rgb).abs().max() < 1e-4  # the foot of the curve at 0 takes its share


@given(PICTURES)
def test_bytes_equal_floats(picture: np.ndarray) -> None:
    rgb = torch.from_numpy(picture)
    torch.testing.assert_close(rgb_to_lab(rgb), rgb_to_lab(rgb.float() / 255), atol=2e-6, rtol=0)


def test_stays_within_about_one() -> None:
    corner = torch.tensor([0, 64, 128, 192, 255], dtype=torch.uint8)
    lab = rgb_to_lab(torch.cartesian_prod(corner, corner, corner).T[:, None])
    assert lab.abs().max() <= 1.0001


def test_leading_dimensions_and_dtypes() -> None:
    rgb = torch.randint(256, (2, 4, 3, 5, 7), dtype=torch.uint8)
    lab = rgb_to_lab(rgb)
    assert lab.shape == rgb.shape
    assert lab.dtype == torch.float32
    torch.testing.assert_close(lab[1, 2], rgb_to_lab(rgb[1, 2]), atol=1e-6, rtol=0)
    assert lab_to_rgb(lab).shape == rgb.shape
    assert rgb_to_lab(rgb.double() / 255).dtype == torch.float64


def test_colours_beyond_the_gamut_are_clipped() -> None:
    wild = 3 * torch.randn(3, 8, 8)
    rgb = lab_to_rgb(wild)
    assert rgb.isfinite().all()
    assert rgb.min() >= 0
    assert rgb.max() <= 1


def test_gradients() -> None:
    rgb = torch.tensor([0.02, 0.4, 0.9, 0.001, 0.6, 0.3], dtype=torch.float64)
    rgb = rgb.view(3, 1, 2).requires_grad_()
    assert torch.autograd.gradcheck(rgb_to_lab, rgb)
    assert torch.autograd.gradcheck(lab_to_rgb, rgb_to_lab(rgb.detach()).requires_grad_())
