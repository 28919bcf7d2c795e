"""Smart scribble: strokes grown into regions whose features are like those under them.

Legend: C channels, h w feature cells, H W pixels, S strokes' cells.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from liir.encoder import Model
from liir.errors import InputError
from liir.frames import Frame
from liir.grid import Grid
from liir.labels import VOID, Labels
from liir.matching import normalise

BACKGROUND = VOID
"""The value of strokes that say: none of the objects is here."""

_BEST = 3  # a cell is as like a stroke as its best few cells are
_SEEDS = 400  # cells of a stroke compared with
_FAR = 0.35  # similarity lost over the frame's diagonal: what is near is likelier the same
_KEPT = 8  # frames whose features are kept


class Features:
    """Features of frames asked for lately."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, model: Model, frame: Frame, grid: Grid, source: object) -> Tensor:
        """Features (C, h, w) of unit length, float32; `source` tells videos apart."""
        key = (source, frame.index, grid.picture, id(model))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = normalise(model.encode(grid.resize(frame.rgb)), "cosine").float().cpu()
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found


@torch.inference_mode()
def grow(features: Tensor, strokes: Labels, grid: Grid, reach: float = 0.5) -> Labels:
    """The regions that strokes stand for.

    A cell goes to the stroke that it is most like, if it is like it enough and hangs together with
    it: similarity is split in two by Otsu's threshold (1979), which `reach` moves.

    Args:
        features: (C, h, w), of unit length.
        strokes: (H, W) uint8: object ids where they were scribbled, BACKGROUND where none is, 0
            elsewhere.
        grid: How cells lie in the frame.
        reach: In [0, 1]; 0 keeps to the strokes, 1 takes most of what is at all alike.

    Returns:
        (H, W) uint8, object ids; the strokes themselves are in it.

    Raises:
        InputError: Nothing is scribbled.
    """
    ids = [int(i) for i in np.unique(strokes) if i not in (0, BACKGROUND)]
    if not ids:
        raise InputError("scribble on an object first")
    cells = features.flatten(1).T  # (h w, C)
    planes, near = [], torch.from_numpy(strokes)
    for number in (*ids, BACKGROUND):
        share = grid.to_cells((near == number)[None])[0]
        planes.append(_likeness(cells, share, grid))
    likeness = torch.stack(planes)  # (ids + 1, h, w)
    if not (strokes == BACKGROUND).any():
        likeness[-1] = -1.0
    best = likeness[:-1].amax(0)
    inside = _otsu(best.numpy())
    low, high = float(best.min()), float(best.max())
    ends = (high, inside, low) if high > low else (high, high, high)
    threshold = float(np.interp(reach, (0.0, 0.5, 1.0), ends))
    # At full size, so that edges run between the cells.
    full = grid.to_pixels(likeness)
    winner = full.argmax(0).numpy()
    alike = (full[:-1].amax(0) >= threshold).numpy()
    found = np.zeros(strokes.shape, np.uint8)
    for place, number in enumerate(ids):
        own = strokes == number
        region = (winner == place) & alike | own
        region = ndimage.binary_opening(region, iterations=1) | own
        parts, _ = ndimage.label(region)
        kept = np.unique(parts[own])
        region = ndimage.binary_fill_holes(np.isin(parts, kept[kept > 0]))
        found[region & (found == 0)] = number
    scribbled = (strokes != 0) & (strokes != BACKGROUND)
    found[strokes == BACKGROUND] = 0
    found[scribbled] = strokes[scribbled]
    return found


def _likeness(cells: Tensor, share: Tensor, grid: Grid) -> Tensor:
    """How like each cell is to a stroke, (h, w); -1 where there is no stroke."""
    height, width = grid.cells
    place = share.flatten().nonzero()[:, 0]
    if not len(place):
        return torch.full((height, width), -1.0)
    # Cells that the stroke fills tell more than those that it touches.
    order = share.flatten()[place].argsort(descending=True)
    place = place[order][: 4 * _SEEDS]
    place = place[:: max(1, len(place) // _SEEDS)]
    similarity = cells @ cells[place].T  # (h w, S)
    rows, columns = place // width, place % width
    down = torch.arange(height * width) // width
    along = torch.arange(height * width) % width
    distance = torch.hypot(
        (down[:, None] - rows).float(), (along[:, None] - columns).float()
    ) / float(np.hypot(height, width))
    similarity = similarity.cpu() - _FAR * distance
    return similarity.topk(min(_BEST, len(place)), dim=1).values.mean(1).view(height, width)


def _otsu(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """The threshold that splits values into the two groups farthest apart."""
    counts, edges = np.histogram(values, bins=64)
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total / below - (total[-1] - total) / above
        spread = np.nan_to_num(below * above * gap**2)
    return float(edges[1:][int(spread.argmax())])
