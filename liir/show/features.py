"""What the features of a video look like: their principal components as colours.

Axes and scale are those of the whole video, so that what keeps its colour over time has kept its
features. The first component is lightness, the second runs from blue to yellow, the third from
green to red: the first two are told apart by colour-blind people too.

Legend: C channels, h w cells, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from liir.colour import lab_to_rgb
from liir.encoder import Model
from liir.errors import InputError
from liir.figures import SHEET_GAP, SHEET_WIDTH, Picture, draw_overlay, fit, legible_scale
from liir.grid import Grid
from liir.matching import normalise
from liir.presets import TrackingConfig
from liir.show.output import suffix, write_png
from liir.show.strips import Strip, draw_strips, spread, tile_width
from liir.video import Video, VideoWriter

_FITTED = 16  # frames that the axes are found from
_REACH = ((-0.6, 0.75), (-0.45, 0.55), (-0.4, 0.4))  # of L, b and a, scaled as liir.colour has them


class Axes:
    """Principal axes of features.

    Args:
        features: (N, C) float32, some of them.
    """

    def __init__(self, features: Tensor) -> None:
        self.mean = features.mean(0)
        centred = features - self.mean
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # ascending
        axes = vectors.flip(1)[:, :3]
        # An axis has no direction of its own: its largest entry is to be positive.
        largest = axes.abs().argmax(0, keepdim=True)
        self.axes = axes * axes.gather(0, largest).sign()
        ends = torch.tensor((0.01, 0.99), device=features.device)
        self.low, self.high = torch.quantile(centred @ self.axes, ends, dim=0)

    def colours(self, features: Tensor) -> Picture:
        """Colours (h, w, 3) uint8 of features (C, h, w) float32."""
        place = (features.permute(1, 2, 0) - self.mean) @ self.axes
        share = ((place - self.low) / (self.high - self.low).clamp_min(1e-6)).clamp(0, 1).cpu()
        reach = torch.tensor(_REACH)
        light, blue, green = (reach[:, 0] + share * (reach[:, 1] - reach[:, 0])).unbind(-1)
        rgb = lab_to_rgb(torch.stack((light, green, blue)))
        painted: Picture = (255 * rgb).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return np.ascontiguousarray(painted)


def show_features(
    model: Model,
    video: Video,
    out: Path,
    *,
    config: TrackingConfig,
    frames: int = 6,
    start: int = 0,
    stop: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draws frames above the colours of their features.

    Args:
        model: Makes the features.
        video: The video.
        out: A PNG of some frames, or an mp4 of all.
        config: Similarity, and size of the picture that features are made of.
        frames: How many the PNG has at most.
        start: First frame.
        stop: Frame to stop before; None for the end.
        progress: Called with the number of frames seen and of all.

    Raises:
        InputError: There is no such frame, or it cannot be written.
    """
    kind = suffix(out, ".png", ".mp4")
    if frames < 1:
        raise InputError(f"--frames {frames}: give 1 or more")
    length = video.length
    if length is None:
        length = sum(1 for _ in video.frames())
    end = length if stop is None else min(stop, length)
    if not 0 <= start < end:
        raise InputError(f"{video.name}: from frame {start} on there is none; it has {length}")
    grid = Grid(*video.size, config.size, model.device)

    def features(rgb: Picture) -> Tensor:
        return normalise(model.encode(grid.resize(rgb)).float(), config.similarity)

    some = spread(start, end - 1, frames if kind == ".png" else _FITTED)
    seen = {index: video.frame(index).rgb for index in some}
    maps = {index: features(rgb) for index, rgb in seen.items()}
    axes = Axes(torch.cat([each.flatten(1).T for each in maps.values()])[:: len(maps)])
    if kind == ".png":
        width = tile_width(["features"], len(seen))
        above = [(_fitted(rgb, width), "") for rgb in seen.values()]
        below = [
            (_enlarged(axes.colours(maps[index]), above[place][0]), f"frame {index}")
            for place, index in enumerate(seen)
        ]
        write_png(out, draw_strips([Strip("video", above), Strip("features", below)]))
        return
    room = (SHEET_WIDTH - SHEET_GAP) // 2
    with VideoWriter(out, rate=video.rate) as writer, closing(video.frames(start, end)) as every:
        for count, frame in enumerate(every, 1):
            left = _fitted(frame.rgb, room)
            right = _enlarged(axes.colours(features(frame.rgb)), left)
            gap = np.full((len(left), SHEET_GAP, 3), 255, np.uint8)
            writer.write(np.concatenate((left, gap, right), axis=1), frame.time)
            if progress is not None:
                progress(count, end - start)


def _fitted(rgb: Picture, room: int) -> Picture:
    """A frame at most `room` pixels wide; a small one is enlarged as overlays are."""
    return fit(draw_overlay(rgb, scale=legible_scale(*rgb.shape[:2])), room, room)


def _enlarged(cells: Picture, like: Picture) -> Picture:
    """Colours of cells at the size of a picture, smooth between cells."""
    size = like.shape[1], like.shape[0]
    return np.array(Image.fromarray(cells).resize(size, Image.Resampling.BILINEAR))
