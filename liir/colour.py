"""RGB <-> CIE Lab, scaled to about [-1, 1], in which liir's networks see and rebuild colour.

sRGB primaries and transfer curve (IEC 61966-2-1), white point D65, CIE 1976 L*a*b*.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rows sum to the D65 white point (0.95047, 1, 1.08883).
_RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)
_EPSILON = (6 / 29) ** 3
_SLOPE = (29 / 6) ** 2 / 3
_LAB_SCALE = (50.0, 127.0, 127.0)
_LAB_SHIFT = (50.0, 0.0, 0.0)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Converts sRGB to scaled Lab.

    Args:
        rgb: (..., 3, H, W), uint8 in 0..255 or floating point in [0, 1].

    Returns:
        (..., 3, H, W), float32 (or the input's floating dtype): (L - 50) / 50, a / 127, b / 127.
        sRGB reaches L 0..100, a -86.2..98.3, b -107.9..94.5.
    """
    if not rgb.is_floating_point():
        linear = _linear_table(rgb.device)[rgb.long()]
    else:
        linear = _decode_gamma(rgb)
    matrix = linear.new_tensor(_RGB_TO_XYZ) / linear.new_tensor(_WHITE)[:, None]
    xyz = torch.einsum("ij,...jhw->...ihw", matrix, linear)
    f = torch.where(xyz > _EPSILON, xyz.clamp_min(_EPSILON).pow(1 / 3), _SLOPE * xyz + 4 / 29)
    x, y, z = f.unbind(-3)
    lightness = (116 * y - 16 - _LAB_SHIFT[0]) / _LAB_SCALE[0]
    return torch.stack(
        (lightness, 500 * (x - y) / _LAB_SCALE[1], 200 * (y - z) / _LAB_SCALE[2]), dim=-3
    )


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Converts scaled Lab back to sRGB; the inverse of `rgb_to_lab` within the gamut.

    Args:
        lab: (..., 3, H, W), float32 or float64, scaled as `rgb_to_lab` returns it.

    Returns:
        (..., 3, H, W), same dtype, in [0, 1]; colours outside the gamut are clipped.
    """
    lightness, a, b = lab.unbind(-3)
    y = (lightness * _LAB_SCALE[0] + _LAB_SHIFT[0] + 16) / 116
    f = torch.stack((y + a * _LAB_SCALE[1] / 500, y, y - b * _LAB_SCALE[2] / 200), dim=-3)
    xyz = torch.where(f > 6 / 29, f**3, (f - 4 / 29) / _SLOPE)
    matrix = lab.new_tensor(_RGB_TO_XYZ) / lab.new_tensor(_WHITE)[:, None]
    linear = torch.einsum("ij,...jhw->...ihw", torch.linalg.inv(matrix), xyz).clamp(0, 1)
    return torch.where(
        linear > 0.0031308, 1.055 * linear.clamp_min(1e-8).pow(1 / 2.4) - 0.055, 12.92 * linear
    )


def _decode_gamma(rgb: Tensor) -> Tensor:
    return torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp_min(0).pow(2.4), rgb / 12.92)


def _linear_table(device: torch.device) -> Tensor:
    """The transfer curve at the 256 values a byte can take, (256,) float32."""
    return _decode_gamma(torch.arange(256, device=device, dtype=torch.float32) / 255)
