"""Two views of one picture, and where each point of one lies in the other.

The target view is the reference bent, turned, zoomed and lit anew, so that the true flow between
the two is known: a still becomes a clip of two frames.

Legend: S side of a view in pixels, h w feature cells. Places count in pixels of the reference view,
x right, y down; (0, 0) is the middle of its first pixel.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.interpolate import RBFInterpolator
from torch.nn import functional as F

from liir.grid import STRIDE
from liir.presets import TrainingConfig

_KNOTS = 4  # on a side, of the thin plate

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float64]
Colours = NDArray[np.float32]


def two_views(
    frame: Rgb, box: tuple[float, float, float], config: TrainingConfig, rng: np.random.Generator
) -> tuple[Rgb, NDArray[np.float32]]:
    """A crop of a picture, and the same crop changed at random.

    Args:
        frame: (H, W, 3).
        box: Left, top and side of the crop, in pixels of the frame.
        config: Side of the views (`crop`), and how strongly they differ (`view_...`).
        rng: Decides.

    Returns:
        (2, S, S, 3), the target view last; and `correspondence` for it.
    """
    left, top, side = box
    scale = side / config.crop
    places = warp(config, rng)
    target = _sampled(frame, places * scale + (left, top), scale)
    views = (crop(frame, box, config.crop).astype(np.float32), target)
    return np.stack([_lit(view, config, rng) for view in views]), correspondence(places)


def crop(frame: Rgb, box: tuple[float, float, float], size: int) -> Rgb:
    """A square of a frame (H, W, 3), given by left, top and side, as (S, S, 3)."""
    left, top, side = box
    view = (left, top, left + side, top + side)
    image = Image.fromarray(frame)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=view))


def nowhere(size: int) -> NDArray[np.float32]:
    """What `correspondence` gives where nothing is known."""
    cells = -(-size // STRIDE)
    return np.full((cells, cells, 2), np.nan, dtype=np.float32)


def correspondence(places: Floats) -> NDArray[np.float32]:
    """Where each cell of the target lies in the reference view.

    Args:
        places: What `warp` returned.

    Returns:
        (h, w, 2) x, y; NaN for what lies outside the reference view. Cell (j, i) is that of the
        target's pixel (4 j, 4 i).
    """
    size = len(places)
    found = places[::STRIDE, ::STRIDE] - 0.5
    inside = ((found >= 0) & (found <= size - 1)).all(axis=-1, keepdims=True)
    return np.where(inside, found, np.nan).astype(np.float32)


def warp(config: TrainingConfig, rng: np.random.Generator) -> Floats:
    """A random map from the target view to the reference: thin plate, perspective, affine.

    Args:
        config: Side of the views, and how far each of the changes may go.
        rng: Decides.

    Returns:
        (S, S, 2) x, y of where the middle of each target pixel lies in the reference view; unlike
        elsewhere in this file, (0, 0) is the corner of its first pixel.
    """

    def within(limit: float) -> float:
        return float(rng.uniform(-limit, limit))

    size = config.crop
    knots = rng.uniform(-config.view_bend, config.view_bend, (_KNOTS**2, 2))
    bent = _middles(size) + _plate(size) @ knots  # in sides of the view, from its middle
    tilt = np.array([2 * within(config.view_perspective), 2 * within(config.view_perspective)])
    tilted = bent / np.maximum(0.1, 1 + bent @ tilt)[:, None]
    angle = math.radians(within(config.view_rotation))
    zoom = math.exp(within(abs(math.log(config.view_zoom))))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1.0, within(config.view_shear)], [0.0, 1.0]])
    shift = np.array([within(config.view_shift), within(config.view_shift)])
    moved = tilted @ (zoom * turn @ shear).T + shift
    places: Floats = ((moved + 0.5) * size).reshape(size, size, 2)
    return places


@functools.lru_cache(maxsize=2)
def _middles(size: int) -> Floats:
    """Middles of the pixels of a view, (S S, 2) x, y in sides of the view from its middle."""
    line = (np.arange(size) + 0.5) / size - 0.5
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


@functools.lru_cache(maxsize=2)
def _plate(size: int) -> Floats:
    """How far each pixel moves with each knot of a thin plate (Bookstein, 1989), (S S, K K)."""
    line = np.linspace(-0.5, 0.5, _KNOTS)
    knots = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    plate = RBFInterpolator(knots, np.eye(len(knots)), kernel="thin_plate_spline")
    return np.asarray(plate(_middles(size)))


def _sampled(frame: Rgb, places: Floats, scale: float) -> Colours:
    """The frame's colours at some places; beyond its border it is mirrored.

    Args:
        frame: (H, W, 3).
        places: (S, S, 2) x, y in pixels of the frame; (0, 0) is its corner.
        scale: Pixels of the frame between two neighbouring places, about.

    Returns:
        (S, S, 3).
    """
    # Shrunk first by as much as the reference view, which averages; only the part in use.
    ends = np.array(frame.shape[1::-1])
    x, y = places[..., 0], places[..., 1]
    margin = 2 * scale
    low = np.floor((x.min() - margin, y.min() - margin)).clip(0, ends - 1).astype(int)
    high = np.ceil((x.max() + margin, y.max() + margin)).clip(low + 1, ends).astype(int)
    size = [max(1, round(length / scale)) for length in high - low]
    part = Image.fromarray(frame[low[1] : high[1], low[0] : high[0]])
    small = np.array(part.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)
    pixels = torch.from_numpy(small).permute(2, 0, 1)[None]
    at = torch.from_numpy(((places - low) / (high - low) * 2 - 1).astype(np.float32))[None]
    taken = F.grid_sample(pixels, at, padding_mode="reflection", align_corners=False)
    found: Colours = taken[0].permute(1, 2, 0).numpy()
    return found


def _lit(view: Colours, config: TrainingConfig, rng: np.random.Generator) -> Rgb:
    """A view (S, S, 3) in another light: brightness, contrast, tint and saturation."""
    light, colour = config.view_light, config.view_colour
    tint = (1 + rng.uniform(-colour, colour, 3)).astype(np.float32)
    brightness, contrast = 255 * rng.uniform(-light, light) / 2, 1 + rng.uniform(-light, light)
    saturation = 1 + rng.uniform(-colour, colour)
    grey = view.mean(axis=-1, keepdims=True)
    toned = (grey + (view - grey) * saturation) * tint
    shown = (toned - toned.mean()) * contrast + toned.mean() + brightness
    lit: Rgb = np.clip(shown + 0.5, 0, 255).astype(np.uint8)
    return lit
