"""Where feature cells lie in a video's frame, and how labels go from one to the other.

Features are computed from a picture of its own size (short side `size`); cell (j, i) of liir's
encoder looks at pixel index (4 j, 4 i) of that picture, a point, not the corner of a 4x4 block;
other backbones have cells of their own. Labels and keypoints are read and written at exactly those
points of the frame, whatever the two sizes.

Legend: K label channels, H W pixels of the frame, h w cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Box = tuple[slice, slice]
"""Rows and columns of cells."""

STRIDE = 4
OFFSET = 0.5
"""Where cell 0 looks, in pixels of the picture: the centre of its first pixel."""
_MOST_PIXELS = 1 << 24


@dataclass(frozen=True)
class Grid:
    """The cells of a frame.

    Attributes:
        height: H of the frame, in pixels.
        width: W of the frame, in pixels.
        size: Short side of the picture that features are computed from; 0: the frame's own. A very
            long frame gets a smaller one, so that the picture stays below 16 megapixels.
        device: Where the resampling matrices live.
        stride: Pixels of the picture from one cell to the next.
        offset: Where cell 0 looks, in pixels of the picture from its edge.
    """

    height: int
    width: int
    size: int
    device: torch.device
    stride: int = STRIDE
    offset: float = OFFSET

    @cached_property
    def picture(self) -> tuple[int, int]:
        """(H', W') of the picture that features are computed from."""
        scale = self.size / min(self.height, self.width) if self.size else 1.0
        scale = min(scale, (_MOST_PIXELS / (self.height * self.width)) ** 0.5)
        return max(1, round(self.height * scale)), max(1, round(self.width * scale))

    @cached_property
    def cells(self) -> tuple[int, int]:
        """(h, w)."""
        return -(-self.picture[0] // self.stride), -(-self.picture[1] // self.stride)

    def resize(self, rgb: NDArray[np.uint8]) -> Tensor:
        """The picture, (3, H', W') uint8, of a frame (H, W, 3) uint8."""
        # A copy where the array cannot be written to: torch warns about sharing those.
        picture = torch.from_numpy(rgb if rgb.flags.writeable else rgb.copy()).permute(2, 0, 1)
        picture = picture.to(self.device)
        if picture.shape[1:] == self.picture:
            return picture
        if self.device.type != "cpu":  # antialiased resizing of bytes is a CPU kernel only
            large = F.interpolate(
                picture[None].float(), self.picture, mode="bilinear", antialias=True
            )
            return large[0].round().clamp(0, 255).to(torch.uint8)
        return F.interpolate(picture[None], self.picture, mode="bilinear", antialias=True)[0]

    def to_cells(self, planes: Tensor) -> Tensor:
        """Averages planes over a box one cell wide around each cell's pixel.

        Args:
            planes: (K, H, W), any dtype.

        Returns:
            (K, h, w) float32.
        """
        down, across = self._reading
        return down @ (planes.float() @ across.T)

    def to_pixels(self, cells: Tensor) -> Tensor:
        """Interpolates linearly between cells: (K, h, w) to (K, H, W) float32."""
        down, across = self._writing
        return down @ (cells.float() @ across.T)

    def part_to_pixels(self, planes: Tensor, box: Box) -> tuple[slice, slice, Tensor]:
        """Interpolates planes at the pixels that the cells of a box have a part in.

        Args:
            planes: (h, w), or (K, h, w).
            box: What cells.

        Returns:
            Rows and columns of the frame, and (rows, columns) float32, or (K, rows, columns);
            empty for no cells.
        """
        (rows, y), (columns, x) = (self._pixels_of(axis, cells) for axis, cells in enumerate(box))
        down, across = self._writing
        return rows, columns, down[rows, y] @ (planes[..., y, x].float() @ across[columns, x].T)

    def cell_of(self, x: float, y: float) -> tuple[float, float]:
        """The cell coordinates (column, row), fractional, of a point of the frame in pixels."""
        picture = self.picture
        return (
            (x * picture[1] / self.width - self.offset) / self.stride,
            (y * picture[0] / self.height - self.offset) / self.stride,
        )

    def point_of(self, column: float, row: float) -> tuple[float, float]:
        """The point (x, y) of the frame, in pixels, at fractional cell coordinates."""
        picture = self.picture
        return (
            (column * self.stride + self.offset) * self.width / picture[1],
            (row * self.stride + self.offset) * self.height / picture[0],
        )

    @cached_property
    def _reading(self) -> tuple[Tensor, Tensor]:
        """(h, H) and (w, W): each row a normalised box over the pixels of one cell."""
        return self._box(0), self._box(1)

    @cached_property
    def _writing(self) -> tuple[Tensor, Tensor]:
        """(H, h) and (W, w): each row the two weights of a linear interpolation."""
        return self._hat(0), self._hat(1)

    def _box(self, axis: int) -> Tensor:
        length = (self.height, self.width)[axis]
        scale = length / self.picture[axis]
        cells = torch.arange(self.cells[axis], dtype=torch.float64)
        centre = (self.stride * cells + self.offset) * scale
        reach = max(self.stride * scale, 1.0) / 2
        low, high = (centre - reach)[:, None], (centre + reach)[:, None]
        pixel = torch.arange(length, dtype=torch.float64)
        overlap = (torch.minimum(high, pixel + 1) - torch.maximum(low, pixel)).clamp_min(0)
        return (overlap / overlap.sum(1, keepdim=True)).float().to(self.device)

    def _pixels_of(self, axis: int, cells: slice) -> tuple[slice, slice]:
        """The pixels that some cells have a part in, and all cells that have one in those."""
        places = self._places[axis]
        first = int(torch.searchsorted(places, cells.start - 1.0, right=True))
        stop = int(torch.searchsorted(places, float(cells.stop)))
        if first >= stop:
            return slice(0, 0), slice(0, 0)
        # Cells beyond those have a part in these pixels, too.
        return slice(first, stop), slice(int(places[first]), int(places[stop - 1]) + 2)

    def _hat(self, axis: int) -> Tensor:
        place = self._places[axis]
        cells = torch.arange(self.cells[axis], dtype=torch.float64)
        distance = (place[:, None] - cells).abs()
        return (1 - distance).clamp_min(0).float().to(self.device)

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        """(H,) and (W,) float64: where pixels lie, in cells, rising; on the CPU."""
        return self._place(0), self._place(1)

    def _place(self, axis: int) -> Tensor:
        length, count = (self.height, self.width)[axis], self.cells[axis]
        centre = (torch.arange(length, dtype=torch.float64) + 0.5) * self.picture[axis] / length
        return ((centre - self.offset) / self.stride).clamp(0, count - 1)
