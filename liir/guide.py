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


class Guide:
    """The colours of a frame, and how they vary around each cell.

    Args:
        rgb: (H, W, 3) uint8.
        grid: How cells lie in the frame.
        radius: Of a window, in cells; 0: shares are read linearly.
    """

    def __init__(self, rgb: NDArray[np.uint8], grid: Grid, radius: int) -> None:
        self.rgb, self.grid, self.radius = rgb, grid, radius

    def to_pixels(self, share: Tensor, cells: Tensor) -> tuple[slice, slice, Tensor]:
        """A label's share at the pixels in and around some cells.

        Args:
            share: (h, w) in [0, 1].
            cells: (h, w) bool; pixels `radius` cells further are read, too.

        Returns:
            Rows and columns of the frame, and (rows, columns) float32, hardly outside [0, 1];
            empty for no cells.
        """
        if not self.radius or not cells.any():
            return self.grid.part_to_pixels(share, cells)
        near, box = _grown(cells, self.radius), _grown(cells, 3 * self.radius + 1)
        asked = torch.zeros_like(cells)
        asked[near] = True
        planes = share.new_zeros(4, *share.shape)
        planes[:, *box] = self._fit(share[box], box)
        rows, columns, (*slopes, total) = self.grid.part_to_pixels(planes, asked)
        for slope, colour in zip(slopes, self._pixels[rows, columns].unbind(-1), strict=True):
            total.addcmul_(slope, _centred(colour))
        return rows, columns, total

    def _fit(self, share: Tensor, box: tuple[slice, slice]) -> Tensor:
        """A share (a, b) as a function of colour: three slopes and an offset, (4, a, b).

        Those within 2 `radius` of an edge of the box that is none of the frame are not exact.
        """
        colours, mean = self._colours[:, *box], self._mean[:, *box]
        products = self._around(torch.cat((share[None], (share * share)[None], share * colours)))
        centre, square, together = products[0], products[1], products[2:] - products[0] * mean
        slopes = (self._inverse[:, :, *box] * together).sum(1)
        spread = square - centre * centre
        told = (slopes * together).sum(0)
        told = told - self._luck[box] * (spread - told)
        told, spread = self._around(torch.stack((told, spread)))
        trust = (told / (spread + _STILL)).clamp(0, 1).sqrt()
        offset = centre - (slopes * mean).sum(0)
        planes: Tensor = trust * self._around(torch.cat((slopes, offset[None])))
        planes[3] += (1 - trust) * share
        return planes

    def _around(self, planes: Tensor) -> Tensor:
        """Means (n, a, b) over the window of each cell, as far as it lies in the box."""
        side, radius = 2 * self.radius + 1, self.radius
        down = F.avg_pool2d(planes, (side, 1), 1, (radius, 0), count_include_pad=False)
        return F.avg_pool2d(down, (1, side), 1, (0, radius), count_include_pad=False)

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

    @cached_property
    def _mean(self) -> Tensor:
        """(3, h, w)."""
        return self._around(self._colours)

    @cached_property
    def _luck(self) -> Tensor:
        """(h, w): what three colours tell of anything, by chance, for each part they do not."""
        ones = torch.ones(1, *self.grid.cells, device=self.grid.device)
        side, radius = 2 * self.radius + 1, self.radius
        count = F.avg_pool2d(ones, side, 1, radius, divisor_override=1)[0]
        return 3 / (count - 4).clamp_min(1)

    @cached_property
    def _inverse(self) -> Tensor:
        """(3, 3, h, w), of the covariance of colours in the window of each cell."""
        pairs = self._colours[:, None] * self._colours  # (3, 3, h, w)
        means = self._around(pairs.flatten(0, 1)).view_as(pairs)
        spread = (means - self._mean[:, None] * self._mean).permute(2, 3, 0, 1)
        floor = _CONTRAST**2 * torch.eye(3, device=spread.device)
        inverse: Tensor = torch.linalg.inv(spread + floor)
        return inverse.permute(2, 3, 0, 1).contiguous()


def _centred(colours: Tensor) -> Tensor:
    """Bytes as floats in [-0.5, 0.5]; squares of small numbers keep more digits."""
    return colours / 255 - 0.5


def _grown(cells: Tensor, reach: int) -> tuple[slice, slice]:
    """The box around some cells (h, w), so many cells larger on each side."""
    box = []
    for flags in (cells.any(1), cells.any(0)):
        places = flags.nonzero()
        first, last = int(places[0]), int(places[-1])
        box.append(slice(max(0, first - reach), min(len(flags), last + 1 + reach)))
    return box[0], box[1]
