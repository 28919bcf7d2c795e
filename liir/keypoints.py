"""Keypoints as label channels: drawn as blobs on the cells, read back with sub-cell precision.

Legend: h w feature cells, N points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from liir.blur import blur
from liir.grid import Grid

_REACH = 2
"""Cells around a peak whose centre of mass is the point."""


def draw_blob(x: float, y: float, sigma: float, grid: Grid) -> Tensor:
    """A Gaussian of height one around a point.

    Args:
        x: In pixels of the frame.
        y: In pixels of the frame.
        sigma: Standard deviation, in cells.
        grid: How cells lie in the frame.

    Returns:
        (h, w) float32 in [0, 1].
    """
    height, width = grid.cells
    column, row = grid.cell_of(x, y)
    rows = torch.arange(height, device=grid.device) - row
    columns = torch.arange(width, device=grid.device) - column
    return torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * sigma**2))


def read_points(blobs: Tensor, sigma: float, grid: Grid) -> list[tuple[float, float, float]]:
    """Where each blob is: the centre of mass of the 5x5 cells around the best place for it.

    That is where a blob as it was drawn fits best: of several peaks the one with the most around
    it, not the one with the highest cell.

    Args:
        blobs: (N, h, w) scores in [0, 1].
        sigma: Of the blobs as they were drawn, in cells.
        grid: How cells lie in the frame.

    Returns:
        (x, y, confidence) of each: pixels of the frame, inside it; how much of the blob's mass
        is still within those cells, in [0, 1]. A blob that blurs keeps most of it, one that
        falls apart does not.
    """
    points = []
    blobs = blobs.float().cpu()
    for blob, fit in zip(blobs, blur(blobs[None], sigma, normal=False)[0], strict=True):
        row, column = divmod(int(fit.argmax()), blob.shape[1])
        top, left = max(0, row - _REACH), max(0, column - _REACH)
        window = (slice(top, row + _REACH + 1), slice(left, column + _REACH + 1))
        near = blob[window]
        # Squared scores: the peak's flat skirt would pull the centre towards the window's middle.
        mass = near.square().clamp_min(1e-12)
        rows = torch.arange(top, top + near.shape[0])
        columns = torch.arange(left, left + near.shape[1])
        y = float((mass.sum(1) * rows).sum() / mass.sum())
        x = float((mass.sum(0) * columns).sum() / mass.sum())
        x, y = grid.point_of(x, y)
        x, y = min(max(x, 0.0), grid.width), min(max(y, 0.0), grid.height)
        drawn = draw_blob(x, y, sigma, grid).cpu()[window]
        points.append((x, y, min(1.0, float(near.sum() / drawn.sum()))))
    return points
