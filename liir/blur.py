"""Maps of cells seen through a Gaussian, for the compactness prior and for keypoints.

Legend: R maps of K channels each, h w cells.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def blur(values: Tensor, spread: float, normal: bool = True) -> Tensor:
    """Label maps seen through a Gaussian.

    Args:
        values: (R, K, h, w).
        spread: Standard deviation, in cells.
        normal: Whether the Gaussian sums to one over the frame; else its peak is one.

    Returns:
        (R, K, h, w).
    """
    factors = taps(spread).tolist()
    reach = len(factors) // 2

    def smooth(planes: Tensor, dim: int) -> Tensor:
        size = planes.shape[dim]
        sides = (reach, reach) if dim == -1 else (0, 0, reach, reach)
        padded = F.pad(planes, sides)
        total = torch.zeros_like(planes)
        for start, factor in enumerate(factors):
            # Few taps: sums of shifted maps take a third of the time of a convolution.
            total.add_(padded.narrow(dim, start, size), alpha=factor)
        return total

    blurred = smooth(smooth(values, -2), -1)
    if normal:
        for dim in (-2, -1):
            ones = values.new_ones(1, values.shape[dim])
            whole = smooth(ones, -1)[0]
            blurred = blurred / (whole[:, None] if dim == -2 else whole)
    return blurred


def taps(spread: float) -> Tensor:
    """(2 reach + 1,): a Gaussian along one axis, as far as it counts."""
    reach = max(1, round(4 * spread))
    return bell(torch.arange(-reach, reach + 1), spread)


def bell(distance: Tensor, spread: Tensor | float) -> Tensor:
    """A Gaussian with a peak of one, so many cells away from it."""
    return torch.exp(-(distance.float() ** 2) / (2 * spread**2))
