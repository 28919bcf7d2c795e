"""The clip that benchmarks label: textured discs crossing a panning texture, made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liir.annotations import Annotation
from liir.video import VideoWriter

MOST = 64
_SIDE = 8  # discs start in a grid of so many by so many


def make_clip(
    path: Path, frames: int, size: tuple[int, int] = (480, 854), objects: int = 1, seed: int = 0
) -> Annotation:
    """Writes a video (H.264).

    Args:
        path: Where to.
        frames: Its length.
        size: (H, W) of its frames, even numbers.
        objects: Discs, 1 to 64.
        seed: Another gives another texture.

    Returns:
        The labels of frame 0.
    """
    height, width = size
    rng = np.random.default_rng(seed)
    block = max(2, height // 60)
    coarse = rng.integers(0, 256, (-(-height // block), -(-2 * width // block), 3), dtype=np.uint8)
    scene = coarse.repeat(block, 0).repeat(block, 1)[:height]
    labels = np.zeros(size, dtype=np.uint8)
    with VideoWriter(path, rate=25.0) as writer:
        for t in range(frames):
            shift = int(width * (0.5 + 0.4 * np.sin(t / 40)))
            picture = scene[:, shift : shift + width].copy()
            for number in range(objects):
                rows, columns, disc = _disc(t, number, objects, size)
                inside = picture[rows, columns]
                inside[disc] = 255 - np.roll(scene, 7 * number, axis=1)[rows, columns][disc]
                if t == 0:
                    labels[rows, columns][disc] = 1 + number
            writer.write(picture, t / 25)
    return Annotation(labels)


def _disc(
    t: int, number: int, objects: int, size: tuple[int, int]
) -> tuple[slice, slice, NDArray[np.bool_]]:
    """Rows and columns of an object's box in a frame, and its pixels there."""
    height, width = size
    if objects == 1:
        centre, radius = (0.5, 0.5), 0.19 * height
    else:
        place = number * (_SIDE**2 // objects)
        centre = ((place // _SIDE + 0.5) / _SIDE, (place % _SIDE + 0.5) / _SIDE)
        radius = 0.05 * height
    reach = 0.3 if objects == 1 else 0.03
    y = height * (centre[0] + reach * 2 / 3 * np.cos(t / 25 + number))
    x = width * (centre[1] + reach * np.sin(t / 30 + number))
    top, left = max(0, int(y - radius)), max(0, int(x - radius))
    rows = slice(top, min(height, int(y + radius) + 2))
    columns = slice(left, min(width, int(x + radius) + 2))
    down, right = np.mgrid[rows, columns]
    return rows, columns, (down - y) ** 2 + (right - x) ** 2 < radius**2
