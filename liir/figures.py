"""Pictures for people: labels and keypoints over a frame, and sheets of frames.

Legend: H W pixels of a frame, s the whole number by which it is enlarged before drawing.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from liir.annotations import VOID

Picture = NDArray[np.uint8]
Points = Mapping[str, tuple[float, float, float]]

FILL = 96  # opacity of an object's inside, of 255
LEGIBLE = 360  # short side, in pixels, below which contours and names crowd the picture
LONGEST = 4096  # long side, in pixels, of what players of H.264 show
SHEET_WIDTH = 1600
SHEET_GAP = 12
LABEL_GREY = (70, 70, 70)
_POINT_COLOURS = 9  # the first colour of keypoints: told apart from those of the first objects

# Okabe and Ito, "Color Universal Design" (2008), ordered for contrast between neighbours and
# against skin, soil and leaves; the black of the original is invisible on video.
_FIRST = (
    (86, 180, 233),  # sky blue
    (230, 80, 0),  # vermilion
    (240, 228, 66),  # yellow
    (204, 121, 167),  # reddish purple
    (0, 158, 115),  # bluish green
    (0, 114, 178),  # blue
    (230, 159, 0),  # orange
    (245, 245, 245),  # white
)


# Dark to light at an even pace, from blue to yellow: in order for every eye, in grey print too.
_HEAT = (
    (20, 16, 60),
    (68, 42, 138),
    (150, 52, 122),
    (214, 84, 66),
    (244, 158, 44),
    (255, 244, 178),
)


@cache
def colours() -> Picture:
    """(256, 3) uint8 RGB by object id: 0 black, 255 (void) grey, all others distinct.

    The first eight are told apart by colour-blind people too.
    """
    table = np.zeros((256, 3), dtype=np.uint8)
    table[1 : 1 + len(_FIRST)] = _FIRST
    for number in range(1 + len(_FIRST), VOID):
        hue = number * 0.618034 % 1  # golden section: neighbours in number are far apart in hue
        light = (0.62, 0.48, 0.76)[number % 3]
        rgb = colorsys.hls_to_rgb(hue, light, 0.95 - 0.25 * (number // 3 % 2))
        table[number] = [round(255 * value) for value in rgb]
    table[VOID] = 128
    table.setflags(write=False)
    return table


def legible_scale(height: int, width: int) -> int:
    """The whole number by which to enlarge a frame so that its short side has 360 pixels.

    It is less where the long side would then have more than 4096.
    """
    return max(1, min(-(-LEGIBLE // min(height, width)), LONGEST // max(height, width)))


def draw_overlay(
    rgb: Picture,
    labels: Picture | None = None,
    points: Points | None = None,
    *,
    threshold: float = 0.0,
    scale: int = 1,
    order: Sequence[str] = (),
    named: bool = True,
    paints: Mapping[str, int] | None = None,
) -> Picture:
    """Draws labels and keypoints over a frame.

    Objects are tinted and outlined in their colours, void pixels in grey. A keypoint is a ringed
    disc with its name, where there is room for it; an invisible one a faint ring.

    Args:
        rgb: (H, W, 3) uint8.
        labels: (H, W) uint8 object ids; 0 background, 255 void.
        points: Name to (x, y, confidence), in pixels of the frame.
        threshold: Confidence below which a point is invisible.
        scale: Enlarges the picture, s.
        order: Names of all points of the video: each keeps its colour in frames that lack others.
        named: Whether to write names at all.
        paints: Row of `colours` of points; those that are not in it follow from `order`.

    Returns:
        (s H, s W, 3) uint8, a new array.
    """
    height, width = scale * rgb.shape[0], scale * rgb.shape[1]
    picture = Image.fromarray(rgb)
    if scale > 1:
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    if labels is not None and labels.any():
        labels = labels if scale == 1 else _enlarged(labels, scale)
        opacity = np.where(labels > 0, np.uint8(FILL), np.uint8(0))
        opacity[_contours(labels, max(1, round(min(height, width) / 240)))] = 255
        tint = Image.fromarray(labels)
        tint.putpalette(colours().tobytes())
        picture = Image.composite(tint.convert("RGB"), picture, Image.fromarray(opacity))
    canvas = np.array(picture)
    if points:
        names = dict.fromkeys((*order, *points))
        rows = {name: _point_colour(place) for place, name in enumerate(names)} | dict(paints or {})
        placed = [
            (name, scale * x, scale * y, sure >= threshold, colours()[rows[name]])
            for name, (x, y, sure) in points.items()
        ]
        radius = max(3.0, min(height, width) / 100)
        for _, x, y, visible, colour in placed:
            _draw_point(canvas, x, y, radius, colour, visible)
        if named:
            seen = {name: (x, y) for name, x, y, visible, _ in placed if visible}
            canvas = _draw_names(canvas, seen, radius)
    return canvas


def draw_heat(rgb: Picture, heat: NDArray[np.floating]) -> Picture:
    """Lays a map of heat over a frame in darkened grey: the hotter, the lighter.

    Args:
        rgb: (H, W, 3) uint8.
        heat: (H, W) in [0, 1]; where it is 0 the frame is seen alone.

    Returns:
        (H, W, 3) uint8.
    """
    level = np.clip(heat, 0, 1).astype(np.float64)
    stops = np.linspace(0, 1, len(_HEAT))
    scale = np.array(_HEAT, np.float64)
    paint = np.stack([np.interp(level, stops, channel) for channel in scale.T], axis=-1)
    grey = 0.6 * np.asarray(Image.fromarray(rgb).convert("L"), np.float64)[..., None]
    cover = np.minimum(1.0, 4 * level)[..., None]  # soon opaque: colours must not mix with grey
    mixed: Picture = np.rint(grey + cover * (paint - grey)).astype(np.uint8)
    return mixed


def contact_sheet(tiles: Sequence[tuple[Picture, str]], columns: int = 4) -> Picture:
    """Pictures in rows, each with a caption below, at most 1600 pixels wide.

    Args:
        tiles: ((h, w, 3) uint8, caption); they may differ in size. At least one.
        columns: Pictures in a row.

    Returns:
        (H, W, 3) uint8.
    """
    assert tiles, "a sheet of nothing"
    columns = min(columns, len(tiles))
    room = (SHEET_WIDTH - (columns + 1) * SHEET_GAP) // columns
    fitted = [(fit(rgb, room, room), caption) for rgb, caption in tiles]
    width = max(rgb.shape[1] for rgb, _ in fitted)
    height = max(rgb.shape[0] for rgb, _ in fitted)
    font_size = max(11, round(width / 24))
    down, across = height + font_size + 2 * SHEET_GAP, width + SHEET_GAP
    rows = -(-len(fitted) // columns)
    size = (columns * across + SHEET_GAP, rows * down + SHEET_GAP)
    sheet = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for place, (rgb, caption) in enumerate(fitted):
        left = SHEET_GAP + place % columns * across
        top = SHEET_GAP + place // columns * down
        inset = (width - rgb.shape[1]) // 2, (height - rgb.shape[0]) // 2
        sheet.paste(Image.fromarray(rgb), (left + inset[0], top + inset[1]))
        middle = (left + width // 2, top + height + SHEET_GAP // 2)
        draw.text(middle, caption, LABEL_GREY, font(font_size), anchor="ma")
    return np.array(sheet)


def fit(rgb: Picture, width: int, height: int) -> Picture:
    """Shrinks a picture (H, W, 3) uint8 to lie in a box, its shape kept; never enlarges."""
    scale = min(1.0, width / rgb.shape[1], height / rgb.shape[0])
    if scale == 1.0:
        return rgb
    size = max(1, round(scale * rgb.shape[1])), max(1, round(scale * rgb.shape[0]))
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def _point_colour(place: int) -> int:
    return _POINT_COLOURS + place % (VOID - _POINT_COLOURS)


def _enlarged(labels: Picture, scale: int) -> Picture:
    """Labels s times as large with smooth contours: shares are interpolated, the largest wins."""
    height, width = labels.shape
    size = (scale * width, scale * height)
    best = np.zeros(size[::-1], dtype=np.uint8)
    winner = np.zeros_like(best)
    for number in np.flatnonzero(np.bincount(labels.ravel())):
        mask = Image.fromarray((labels == number) * np.uint8(255))
        share = np.asarray(mask.resize(size, Image.Resampling.BICUBIC))
        better = share > best
        best[better] = share[better]
        winner[better] = number
    return winner


def _contours(labels: Picture, width: int) -> NDArray[np.bool_]:
    """Pixels of objects at most `width` from another label."""
    edge = np.zeros(labels.shape, dtype=bool)
    for reach in range(1, width + 1):
        across = labels[:, reach:] != labels[:, :-reach]
        edge[:, reach:] |= across
        edge[:, :-reach] |= across
        down = labels[reach:] != labels[:-reach]
        edge[reach:] |= down
        edge[:-reach] |= down
    return edge & (labels > 0)


def _draw_point(
    canvas: Picture, x: float, y: float, radius: float, colour: Picture, visible: bool
) -> None:
    """A disc with a white ring and a dark rim, or only a faint ring; smooth at sub-pixels."""
    ring, rim = radius * 1.4, radius * 1.7
    left, right = max(0, int(x - rim - 1)), min(canvas.shape[1], int(x + rim + 2))
    top, bottom = max(0, int(y - rim - 1)), min(canvas.shape[0], int(y + rim + 2))
    if left >= right or top >= bottom:
        return
    rows, columns = np.mgrid[top:bottom, left:right] + 0.5
    distance = np.hypot(columns - x, rows - y)[..., None]

    def disc(r: float) -> NDArray[np.float64]:
        cover: NDArray[np.float64] = np.clip(r - distance + 0.5, 0, 1)
        return cover

    if visible:
        layers = [(disc(rim), 0.55, (0, 0, 0)), (disc(ring), 1.0, (255, 255, 255))]
        layers.append((disc(radius), 1.0, tuple(colour)))
    else:
        hollow = radius * 0.65
        layers = [(disc(rim) - disc(hollow), 0.3, (0, 0, 0))]
        layers.append((disc(ring) - disc(radius), 0.6, tuple(colour)))
    patch = canvas[top:bottom, left:right].astype(np.float64)
    for cover, opacity, paint in layers:
        patch += cover * opacity * (np.array(paint) - patch)
    canvas[top:bottom, left:right] = np.rint(patch)


def _draw_names(
    canvas: Picture, places: Mapping[str, tuple[float, float]], radius: float
) -> Picture:
    """Writes each name beside its point, or not at all where it would cover another."""
    height, width = canvas.shape[:2]
    letters = font(max(11, round(min(height, width) / 34)))
    away = radius * 2 + 1
    taken = [(x - away, y - away, x + away, y + away) for x, y in places.values()]
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for name, (x, y) in places.items():
        _, above, across, below = letters.getbbox(name, anchor="lt")
        for box in _beside(x, y, across, below - above, away):
            if box[0] < 1 or box[1] < 1 or box[2] > width - 1 or box[3] > height - 1:
                continue
            if not any(_overlap(box, other) for other in taken):
                corner = (box[0] + 1, box[1] + 1)
                draw.text(
                    corner,
                    name,
                    (255, 255, 255),
                    letters,
                    anchor="lt",
                    stroke_width=2,
                    stroke_fill=(20, 20, 20),
                )
                taken.append(box)
                break
    return np.array(picture)


_Box = tuple[float, float, float, float]  # left, top, right, bottom


def _beside(x: float, y: float, width: float, height: float, away: float) -> Iterator[_Box]:
    """Where a name may stand, the best place first: right, left, above, below."""
    width, height = width + 2, height + 2
    for left, top in (
        (x + away, y - height / 2),
        (x - away - width, y - height / 2),
        (x - width / 2, y - away - height),
        (x - width / 2, y + away),
    ):
        yield left, top, left + width, top + height


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The letters of every picture, `size` pixels high."""
    letters = ImageFont.load_default(size)
    assert isinstance(letters, ImageFont.FreeTypeFont)
    return letters
