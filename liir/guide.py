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

from liir.grid import Box, Grid

_CONTRAST = 0.01
"""Difference of colours, of 1, that counts for little."""
_STILL = 5e-4
"""Variance of a share in a window where next to nothing ends: it is read linearly."""
_EVEN = 0.05
"""Difference between a cell and those beside it below which nothing ends there."""
_FIRST, _SECOND = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]
"""Every pair of two of the three colours."""

_NOWHERE: Box = (slice(0, 0), slice(0, 0))


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
        core = _extent(cells)
        rows, columns, linear = self.grid.part_to_pixels(share, self._grown(core, self.radius))
        added = torch.zeros_like(linear)
        ends = self._ends(share, cells, core)
        if not _empty(ends):
            box = self._grown(ends, 3 * self.radius + 1)
            planes = share.new_zeros(4, *share.shape)
            planes[:, *box] = self._fit(share[box], box)
            down, across, (*slopes, change) = self.grid.part_to_pixels(
                planes, self._grown(ends, self.radius)
            )
            for slope, colour in zip(slopes, self._pixels[down, across].unbind(-1), strict=True):
                change.addcmul_(slope, _centred(colour))
            top, left = down.start - rows.start, across.start - columns.start
            added[top : top + len(change), left : left + change.shape[1]] = change
        return rows, columns, linear, added

    def _ends(self, share: Tensor, cells: Tensor, core: Box) -> Box:
        """The box of those cells, which lie in a box, where the label ends."""
        if not self.radius or _empty(core):
            return _NOWHERE
        box = self._grown(core, 1)
        part = share[box]
        most_and_least = F.max_pool2d(torch.stack((part, -part)), 3, 1, 1)
        return _extent(cells[box] & (most_and_least.sum(0) > _EVEN), box)

    def _fit(self, share: Tensor, box: Box) -> Tensor:
        """What is added to a share (a, b), as a function of colour: slopes and offset, (4, a, b).

        Those within 2 `radius` of an edge of the box that is none of the frame are not exact.
        """
        colours, mean, factors, count = (planes[:, *box] for planes in self._of_colours)
        products = torch.cat((share[None], (share * share)[None], share * colours))
        centre, square, together = self._around(products, box).split((1, 1, 3))
        together -= centre * mean
        slopes = _solved(factors, together)
        spread = square - centre * centre
        told = (slopes * together).sum(0, keepdim=True)
        # Three colours tell a part of anything, by chance: the adjusted coefficient has less.
        told -= 3 / (count - 4).clamp_min(1) * (spread - told)
        told, spread = self._around(torch.cat((told, spread)), box)
        trust = (told / (spread + _STILL)).clamp(0, 1).sqrt()
        offset = centre - (slopes * mean).sum(0)
        planes = self._around(torch.cat((slopes, offset)), box)
        planes[3] -= share
        return planes.mul_(trust)

    def _around(self, planes: Tensor, box: Box) -> Tensor:
        """Means (n, a, b) over the window of each cell of a box, as far as it lies in the frame.

        Where it does not lie in the box, what is missing counts as zero.
        """
        (down, across), (y, x) = self._windows, box
        return down[y, y] @ (planes @ across[x, x].T)

    def _grown(self, box: Box, reach: int) -> Box:
        """A box so many cells larger on each side, as far as the frame goes."""
        if _empty(box):
            return box
        rows, columns = (
            slice(max(0, cells.start - reach), min(count, cells.stop + reach))
            for cells, count in zip(box, self.grid.cells, strict=True)
        )
        return rows, columns

    @cached_property
    def _windows(self) -> tuple[Tensor, Tensor]:
        """(h, h) and (w, w): each row has equal weights for the cells of a window, of sum 1."""
        down, across = (
            torch.ones(n, n).triu(-self.radius).tril(self.radius) for n in self.grid.cells
        )
        rows, columns = (ones / ones.sum(1, keepdim=True) for ones in (down, across))
        return rows.to(self.grid.device), columns.to(self.grid.device)

    @cached_property
    def _of_colours(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What all labels have in common, (n, h, w) each.

        They are the three colours, their means in the window of each cell, the factors of their
        covariances there, and how many cells it has.
        """
        whole = slice(0, self.grid.cells[0]), slice(0, self.grid.cells[1])
        colours = self._colours
        planes = torch.cat((colours, colours[_FIRST] * colours[_SECOND]))
        mean, pairs = self._around(planes, whole).split((3, 6))
        rows, columns = ((windows > 0).sum(1) for windows in self._windows)
        count = (rows[:, None] * columns)[None]
        return colours, mean, _factors(pairs - mean[_FIRST] * mean[_SECOND]), count

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


def _factors(scatter: Tensor) -> Tensor:
    """L D L^T of the covariances of three colours and a little; L has ones on its diagonal.

    Args:
        scatter: (6, h, w), of the pairs `_FIRST` and `_SECOND`.

    Returns:
        (6, h, w): the three of D, then those of L below the diagonal, by rows.
    """
    rr, rg, rb, gg, gb, bb = scatter
    rr, gg, bb = (variance + _CONTRAST**2 for variance in (rr, gg, bb))
    green, blue = rg / rr, rb / rr
    gg = gg - green * rg
    both = (gb - blue * rg) / gg
    bb = bb - blue * rb - both * both * gg
    return torch.stack((rr, gg, bb, green, blue, both))


def _solved(factors: Tensor, together: Tensor) -> Tensor:
    """Slopes by three colours: written out, as not every device solves small systems.

    Args:
        factors: (6, a, b), as `_factors` gives them.
        together: (3, a, b), the covariances of share and colours.

    Returns:
        (3, a, b).
    """
    rr, gg, bb, green, blue, both = factors
    red = together[0]
    second = together[1] - green * red
    third = (together[2] - blue * red - both * second) / bb
    second = second / gg - both * third
    return torch.stack((red / rr - green * second - blue * third, second, third))


def _centred(colours: Tensor) -> Tensor:
    """Bytes as floats in [-0.5, 0.5]; squares of small numbers keep more digits."""
    return colours / 255 - 0.5


def _extent(cells: Tensor, within: Box = _NOWHERE) -> Box:
    """The box of some cells (a, b), which are those of a box of the frame; empty for none."""
    box = []
    for flags, cells_of in zip((cells.any(1), cells.any(0)), within, strict=True):
        places = flags.nonzero()
        if not len(places):
            return _NOWHERE
        box.append(slice(int(places[0]) + cells_of.start, int(places[-1]) + 1 + cells_of.start))
    return box[0], box[1]


def _empty(box: Box) -> bool:
    return bool(box[0].start == box[0].stop)
