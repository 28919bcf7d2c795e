"""Where a pixel's mass goes in each of its references, with and without the compactness prior.

Legend: R references, C channels, h w cells, H W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from liir.affinity import blocks, mass, row
from liir.compactness import condensed
from liir.encoder import Model
from liir.errors import InputError
from liir.figures import Picture, draw_heat, draw_overlay
from liir.grid import Grid
from liir.matching import normalise
from liir.memory import Memory, Reference
from liir.presets import TrackingConfig
from liir.show.output import suffix, write_png
from liir.show.strips import Strip, draw_strips, draw_tile, tile_width
from liir.video import Video

_ENLARGED = 320  # pixels that a window should have on the page


class Row(NamedTuple):
    """Where the mass of one pixel goes.

    Attributes:
        cell: (row, column) of the pixel.
        plain: (R, h, w) mass without the prior.
        fitted: (R, h, w) with it.
    """

    cell: tuple[int, int]
    plain: Tensor
    fitted: Tensor


def references(frame: int, annotated: int, config: TrackingConfig) -> dict[int, int]:
    """The frames that a frame is matched with, when one frame is annotated, and their windows.

    Returns:
        Frame number to radius, in cells.

    Raises:
        InputError: It is the annotated frame itself.
    """
    if frame == annotated:
        raise InputError(f"frame {frame} is the annotated one, which is matched with no other")
    way = 1 if frame > annotated else -1
    memory, nothing = Memory(config), torch.empty(0)
    for step in range(abs(frame - annotated)):
        memory.add(Reference(step, nothing, nothing, nothing, step == 0))
    found = memory.references(abs(frame - annotated))
    radii = memory.radii(found)
    if config.topk is None:
        radii = [config.radius] * len(found)
    return {annotated + way * r.step: n for r, n in zip(found, radii, strict=True)}


def rows(
    query: Tensor,
    keys: Tensor,
    cell: tuple[int, int],
    radii: Sequence[int],
    config: TrackingConfig,
) -> Row:
    """The mass of one cell, as tracking deals it out.

    Args:
        query: (C, h, w) features, normalised for the similarity.
        keys: (R, C, h, w), likewise.
        cell: (row, column).
        radii: Of the window in each reference, in cells.
        config: Top-k, temperature; Gaussians, 2 if it has none.
    """
    found = row(
        query,
        keys,
        cell,
        radius=radii,
        topk=config.topk,
        temperature=config.temperature,
    )
    count, size = len(keys), (query.shape[1], query.shape[2])
    prior = replace(config, gaussians=config.gaussians or 2)
    fit = condensed(found, count, size, prior)
    plain, fitted = (mass(tally, count, size, query.device) for tally in (found.tally, fit))
    return Row(cell, plain, fitted)


def show_affinity(
    model: Model,
    video: Video,
    out: Path,
    *,
    frame: int,
    places: Sequence[tuple[float, float]],
    config: TrackingConfig,
    annotated: int = 0,
) -> None:
    """Draws two strips for each pixel: the references without and with the prior.

    Args:
        model: Makes the features.
        video: The video.
        out: A PNG.
        frame: Frame of the pixels.
        places: (x, y) of each, in pixels of the frame.
        config: How it is matched.
        annotated: The annotated frame.

    Raises:
        InputError: There is no such frame or pixel, or it cannot be written.
    """
    suffix(out, ".png")
    height, width = video.size
    for x, y in places:
        if not (0 <= x <= width and 0 <= y <= height):
            raise InputError(f"--at {x:g},{y:g}: lies outside of the frame, {width}x{height}")
    if not places:
        raise InputError("say which pixel: --at X,Y")
    grid = Grid(height, width, config.size, model.device, model.stride, model.offset)
    wanted = references(frame, annotated, config)
    seen = {index: grid.resize(video.frame(index).rgb) for index in (frame, *wanted)}
    maps = {i: normalise(model.encode(each), config.similarity) for i, each in seen.items()}
    keys = torch.stack([maps[index] for index in wanted])
    shots = {i: np.ascontiguousarray(s.permute(1, 2, 0).cpu().numpy()) for i, s in seen.items()}
    strips: list[Strip] = []
    for x, y in places:
        column, line = grid.cell_of(x, y)
        cell = (
            min(max(round(line), 0), grid.cells[0] - 1),
            min(max(round(column), 0), grid.cells[1] - 1),
        )
        found = rows(maps[frame], keys, cell, list(wanted.values()), config)
        strips += _strips(found, shots, frame, wanted, config, grid)
    write_png(out, draw_strips(strips))


def _strips(
    found: Row,
    shots: dict[int, Picture],
    frame: int,
    wanted: dict[int, int],
    config: TrackingConfig,
    grid: Grid,
) -> list[Strip]:
    """Around one cell: the query, then each reference under its mass."""
    shot, gaussians = shots[frame], config.gaussians or 2
    names = ("without\nthe prior", f"with the prior\n{gaussians} Gaussians")
    cut = _Window(found.cell, max(wanted.values()), grid)
    most = float(torch.maximum(found.plain, found.fitted).max())
    y, x = (grid.stride * c + grid.offset for c in found.cell)
    width = tile_width(names, 1 + len(wanted))
    whole = draw_tile(shot, None, {"": (x, y, 1.0)}, width)
    near = draw_overlay(cut.picture(shot), points={"": (*cut.place(x, y), 1.0)})
    queries = ((whole, f"frame {frame}"), (near, "around the pixel"))
    strips = []
    for name, query, maps in zip(names, queries, (found.plain, found.fitted), strict=True):
        tiles = [query]
        for index, each in zip(wanted, maps, strict=True):
            share = (each.cpu() / most).clamp_min(0).sqrt()
            heat = blocks(share, *grid.picture, grid.stride, grid.offset).numpy()
            shown = draw_heat(cut.picture(shots[index]), cut.heat(heat))
            tiles.append((shown, f"frame {index}: {100 * float(each.sum()):.0f} %"))
        strips.append(Strip(name, tiles))
    return strips


class _Window:
    """The search window around a cell, cut out of pictures and enlarged.

    Args:
        cell: (row, column).
        radius: Of the window, in cells.
        grid: How the cells lie in the pictures.
    """

    def __init__(self, cell: tuple[int, int], radius: int, grid: Grid) -> None:
        stride = grid.stride
        before = math.floor(grid.offset - stride / 2)  # where cell 0 begins
        self.top, self.left = (max(0, before + stride * (c - radius)) for c in cell)
        ends = (before + stride * (c + radius + 1) for c in cell)
        self.bottom, self.right = (min(s, end) for s, end in zip(grid.picture, ends, strict=True))
        self.zoom = max(1, round(_ENLARGED / (stride * (2 * radius + 1))))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture is in the window."""
        return self.zoom * (x - self.left), self.zoom * (y - self.top)

    def picture(self, rgb: Picture) -> Picture:
        """The window of (H, W, 3) uint8."""
        part = Image.fromarray(np.ascontiguousarray(self._part(rgb)))
        size = (self.zoom * part.width, self.zoom * part.height)
        return np.array(part.resize(size, Image.Resampling.BICUBIC))

    def heat(self, level: NDArray[np.float32]) -> NDArray[np.float32]:
        """The window of (H, W), cells with sharp edges."""
        return self._part(level).repeat(self.zoom, 0).repeat(self.zoom, 1)

    def _part(self, plane: NDArray[Any]) -> NDArray[Any]:
        return plane[self.top : self.bottom, self.left : self.right]
