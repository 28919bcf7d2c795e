"""Where, between cells, a label ends: the colours of the frame say it.

Labels are carried by cells, a few pixels apart. Read linearly between them, a label ends somewhere
between two cells, and not where the thing does. A guided filter places it: in a window of cells
the label's share is fitted by least squares as a linear function of colour, and read at each pixel
with the pixel's own colour; a cell takes the mean of all windows that it lies in. Source: He, Sun
and Tang, Guided Image Filtering, PAMI 2013, for colour guides; fitted at cells and read at pixels
as in He and Sun, Fast Guided Filter, arXiv:1505.00996.

Where colours do not tell the label, because a thing has those of what lies behind it, that filter
is but a blur, in which small things drown. So it counts by how well colours tell the label, the
coefficient of multiple correlation, and for the rest shares are read linearly. That is ours.

Legend: h w cells, H W pixels, a b the cells of a box.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from liir.grid import Grid

_CONTRAST = 0.01
"""Difference of colours, of 1, that counts for little."""
_STILL = 5e-4
"""Variance of a share in a window where next to nothing ends: it is read linearly."""
_EVEN = 0.05
"""Difference between a cell and those beside it below which nothing ends there."""
_FIRST, _SECOND = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]
"""Every pair of two of the three colours."""


class Guide:
    """The colours of a frame, for reading shares at its pixels.

    Args:
        rgb: (H, W, 3) uint8.
        grid: How cells lie in the frame.
        radius: Of a window, in cells; 0: shares are read linearly.
    """

    def __init__(self, rgb: NDArray[np.uint8], grid: Grid, radius: int) -> None:
        self.rgb, self.grid, self.radius = rgb, grid, radius

    def read(self, share: Tensor, cells: Tensor) -> tuple[slice, slice, Tensor, Tensor]:
        """A label's share at the pixels in and around some cells.

        Args:
            share: (h, w) in [0, 1].
            cells: (h, w) bool; pixels up to `radius` cells further are read, too.

        Returns:
            Rows and columns of the frame, then (rows, columns) float32 twice: the share read
            linearly, and what colours add to it, which other labels lose. Empty for no cells.
        """
        if not self.radius or not cells.any():
            rows, columns, linear = self.grid.part_to_pixels(share, cells)
            return rows, columns, linear, torch.zeros_like(linear)
        rows, columns, linear = self.grid.part_to_pixels(share, _filled(cells, self.radius))
        added = torch.zeros_like(linear)
        ends = cells & (_most(share) + _most(-share) > _EVEN)
        if ends.any():
            box = _grown(ends, 3 * self.radius + 1)
            planes = share.new_zeros(4, *share.shape)
            planes[:, *box] = self._fit(share[box], self._colours[:, *box])
            down, across, (*slopes, change) = self.grid.part_to_pixels(
                planes, _filled(ends, self.radius)
            )
            for slope, colour in zip(slopes, self._pixels[down, across].unbind(-1), strict=True):
                change.addcmul_(slope, _centred(colour))
            top, left = down.start - rows.start, across.start - columns.start
            added[top : top + len(change), left : left + change.shape[1]] = change
        return rows, columns, linear, added

    def _fit(self, share: Tensor, colours: Tensor) -> Tensor:
        """What is added to a share (a, b), as a function of colour: slopes and offset, (4, a, b).

        Those within 2 `radius` of an edge of the box that is none of the frame are not exact.
        """
        pairs = colours[_FIRST] * colours[_SECOND]
        products = torch.cat((share[None], (share * share)[None], share * colours, colours, pairs))
        centre, square, together, mean, pairs = self._around(products).split((1, 1, 3, 3, 6))
        together -= centre * mean
        slopes = _solved(pairs - mean[_FIRST] * mean[_SECOND], together)
        spread = square - centre * centre
        told = (slopes * together).sum(0, keepdim=True)
        # Three colours tell a part of anything, by chance: the adjusted coefficient has less.
        told -= 3 / (self._count(share) - 4).clamp_min(1) * (spread - told)
        told, spread = self._around(torch.cat((told, spread)))
        trust = (told / (spread + _STILL)).clamp(0, 1).sqrt()
        offset = centre - (slopes * mean).sum(0)
        planes = self._around(torch.cat((slopes, offset)))
        planes[3] -= share
        return planes.mul_(trust)

    def _around(self, planes: Tensor) -> Tensor:
        """Means (n, a, b) over the window of each cell, as far as it lies in the box."""
        side, radius = 2 * self.radius + 1, self.radius
        down = F.avg_pool2d(planes, (side, 1), 1, (radius, 0), count_include_pad=False)
        return F.avg_pool2d(down, (1, side), 1, (0, radius), count_include_pad=False)

    def _count(self, share: Tensor) -> Tensor:
        """Cells (1, a, b) in the window of each."""
        side, ones = 2 * self.radius + 1, torch.ones_like(share)[None]
        return side**2 * F.avg_pool2d(ones, side, 1, self.radius)

    @cached_property
    def _pixels(self) -> Tensor:
        """(H, W, 3) uint8."""
        rgb = self.rgb if self.rgb.flags.writeable else self.rgb.copy()  # as torch wants them
        return torch.from_numpy(rgb).to(self.grid.device)

    @cached_property
    def _colours(self) -> Tensor:
        """(3, h, w), of the pixels that cells look at."""
        picture = self.grid.resize(self.rgb)
        down, across = (
            (self.grid.stride * torch.arange(n) + int(self.grid.offset)).clamp_max(side - 1)
            for n, side in zip(self.grid.cells, self.grid.picture, strict=True)
        )
        return _centred(picture[:, down[:, None], across])


def _solved(scatter: Tensor, together: Tensor) -> Tensor:
    """Slopes by three colours, from their covariances and those with the share.

    Written out (L D L^T), as not every device solves small systems.

    Args:
        scatter: (6, a, b), of the pairs `_FIRST` and `_SECOND`.
        together: (3, a, b).

    Returns:
        (3, a, b).
    """
    rr, rg, rb, gg, gb, bb = scatter
    rr, gg, bb = (variance + _CONTRAST**2 for variance in (rr, gg, bb))
    green, blue = rg / rr, rb / rr
    gg = gg - green * rg
    both = (gb - blue * rg) / gg
    bb = bb - blue * rb - both * both * gg
    red = together[0]
    second = together[1] - green * red
    third = (together[2] - blue * red - both * second) / bb
    second = second / gg - both * third
    return torch.stack((red / rr - green * second - blue * third, second, third))


def _centred(colours: Tensor) -> Tensor:
    """Bytes as floats in [-0.5, 0.5]; squares of small numbers keep more digits."""
    return colours / 255 - 0.5


def _most(share: Tensor) -> Tensor:
    """(h, w), of each cell and those beside it."""
    return F.max_pool2d(share[None], 3, 1, 1)[0]


def _filled(cells: Tensor, reach: int) -> Tensor:
    """(h, w) bool: the box of `_grown`."""
    box = torch.zeros_like(cells)
    box[_grown(cells, reach)] = True
    return box


def _grown(cells: Tensor, reach: int) -> tuple[slice, slice]:
    """The box around some cells (h, w), so many cells larger on each side."""
    box = []
    for flags in (cells.any(1), cells.any(0)):
        places = flags.nonzero()
        first, last = int(places[0]), int(places[-1])
        box.append(slice(max(0, first - reach), min(len(flags), last + 1 + reach)))
    return box[0], box[1]
