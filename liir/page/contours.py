"""A mask as one polygon, exactly: its corners are those of pixels.

Parts and holes are joined by bridges of no width, walked there and back, so that the even-odd rule
gives the mask again (`coco.rasterise` does), to the pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def polygon(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The corners (x, y), in pixels, of one polygon around a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        Corners, the last one joined to the first; empty for an empty mask.
    """
    rings = _rings(mask)
    if not rings:
        return []
    joined = list(rings[0])
    for ring in rings[1:]:
        # There by a straight bridge from the first corner of all, once around, and back.
        joined += [joined[0], *ring, ring[0]]
    if len(rings) > 1:
        joined.append(joined[0])
    return joined


def _rings(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """The closed lines between inside and outside, each as its corners; the longest first.

    Every edge of a pixel between inside and outside is walked once, the inside on its right.
    """
    padded = np.pad(mask, 1)
    step: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def add(begins: NDArray[np.intp], dx: int, dy: int, x: int, y: int) -> None:
        for row, column in begins.tolist():
            begin = (column + x, row + y)
            step.setdefault(begin, []).append((begin[0] + dx, begin[1] + dy))

    inside, above, left = padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[1:-1, :-2]
    below, right = padded[2:, 1:-1], padded[1:-1, 2:]
    add(np.argwhere(inside & ~above), 1, 0, 0, 0)  # along the top to the right
    add(np.argwhere(inside & ~right), 0, 1, 1, 0)  # down the right side
    add(np.argwhere(inside & ~below), -1, 0, 1, 1)  # along the bottom to the left
    add(np.argwhere(inside & ~left), 0, -1, 0, 1)  # up the left side
    rings = []
    while step:
        start = next(iter(step))  # the leftmost of a line along the top: a corner
        ring, at, before = [], start, (0, 0)
        while True:
            ways = step[at]
            # Where pixels meet at a corner, turn right: each goes around itself.
            turn = (-before[1], before[0])
            after = (at[0] + turn[0], at[1] + turn[1])
            following = after if after in ways else ways[0]
            ways.remove(following)
            if not ways:
                del step[at]
            heading = (following[0] - at[0], following[1] - at[1])
            if heading != before:
                ring.append(at)
            at, before = following, heading
            if at == start and at not in step:
                break
        rings.append(ring)
    return sorted(rings, key=len, reverse=True)
