"""Strips of frames over time, one above the other, each with its name.

Legend: H W pixels of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from liir.figures import (
    LABEL_GREY,
    SHEET_GAP,
    SHEET_WIDTH,
    Picture,
    Points,
    colours,
    draw_overlay,
    fit,
    font,
)

_LETTERS = 22
_INK = (20, 20, 20)


class Strip(NamedTuple):
    """A row of pictures.

    Attributes:
        name: What stands before it; a line break divides its lines.
        tiles: The pictures (H, W, 3) uint8, each with a caption, which may be empty.
    """

    name: str
    tiles: Sequence[tuple[Picture, str]]


def spread(first: int, last: int, count: int) -> list[int]:
    """At most `count` whole numbers from `first` to `last`, evenly spread, both ends included."""
    return sorted({round(place) for place in np.linspace(first, last, count)})


def tile_width(names: Sequence[str], columns: int) -> int:
    """Pixels that each of `columns` pictures may be wide beside these names."""
    return (SHEET_WIDTH - _margin(names) - (columns + 1) * SHEET_GAP) // columns


def draw_tile(
    rgb: Picture,
    labels: Picture | None,
    points: Points,
    width: int,
    *,
    paints: Mapping[str, int] | None = None,
) -> Picture:
    """A labelled frame at the size at which it is shown, so that contours stay crisp.

    Args:
        rgb: (H, W, 3) uint8.
        labels: (H, W) uint8 ids, or None.
        points: Name to (x, y, confidence), in pixels of the frame.
        width: Of the result at most, in pixels; smaller frames are enlarged to half of it or more.
        paints: As in `draw_overlay`.
    """
    height, across = rgb.shape[:2]
    scale = width / across
    if scale > 1:
        scale = float(int(scale))  # whole numbers keep the pixels of small frames alike
    size = max(1, round(across * scale)), max(1, round(height * scale))
    small = np.array(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    if labels is not None:
        labels = np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    placed = {n: (x * scale, y * scale, sure) for n, (x, y, sure) in points.items()}
    return draw_overlay(small, labels, placed, paints=paints)


def draw_strips(strips: Sequence[Strip], legend: Mapping[str, int] | None = None) -> Picture:
    """The strips below each other, at most 1600 pixels wide.

    Args:
        strips: At least one, with at least one picture each.
        legend: Words to write below, each beside a dot of this row of `colours`.

    Returns:
        (H, W, 3) uint8.
    """
    assert strips, "no strip"
    names = [strip.name for strip in strips]
    columns = max(len(strip.tiles) for strip in strips)
    room, margin = tile_width(names, columns), _margin(names)
    rows = [[(fit(rgb, room, 2 * room), text) for rgb, text in strip.tiles] for strip in strips]
    wide = max(rgb.shape[1] for row in rows for rgb, _ in row)
    letters = font(_letters(wide))
    tall = [max(rgb.shape[0] for rgb, _ in row) for row in rows]
    below = [letters.size + SHEET_GAP if any(t for _, t in row) else 0 for row in rows]
    size = (
        margin + columns * (wide + SHEET_GAP) + SHEET_GAP,
        sum(int(t + b) + SHEET_GAP for t, b in zip(tall, below, strict=True))
        + SHEET_GAP
        + (2 * _LETTERS if legend else 0),
    )
    sheet = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    top = SHEET_GAP
    for name, row, height, room_below in zip(names, rows, tall, below, strict=True):
        # The first line is the name, what follows is said of it.
        lines = name.split("\n")
        high = top + height / 2 - (len(lines) - 1) * _LETTERS * 0.6
        for place, line in enumerate(lines):
            at = (SHEET_GAP, high + place * _LETTERS * 1.2)
            draw.text(at, line, LABEL_GREY if place else _INK, font(_LETTERS), anchor="lm")
        for place, (rgb, text) in enumerate(row):
            left = margin + SHEET_GAP + place * (wide + SHEET_GAP)
            inset = (wide - rgb.shape[1]) // 2, (height - rgb.shape[0]) // 2
            sheet.paste(Image.fromarray(rgb), (left + inset[0], top + inset[1]))
            middle = (left + wide // 2, top + height + SHEET_GAP // 3)
            draw.text(middle, text, LABEL_GREY, letters, anchor="ma")
        top += height + int(room_below) + SHEET_GAP
    _write_legend(draw, legend or {}, margin + SHEET_GAP, top)
    return np.array(sheet)


def _write_legend(draw: ImageDraw.ImageDraw, legend: Mapping[str, int], x: float, y: float) -> None:
    """Dots and words in a line, from (x, y) on."""
    radius, y = _LETTERS / 3, y + _LETTERS / 2
    for word, row in legend.items():
        x += _LETTERS
        dot = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(dot, tuple(colours()[row].tolist()), LABEL_GREY)
        draw.text((x + 2 * radius, y), word, LABEL_GREY, font(_LETTERS), anchor="lm")
        x += 2 * _LETTERS + font(_LETTERS).getlength(word)


def _margin(names: Sequence[str]) -> int:
    """Pixels that the names take."""
    lines = [line for name in names for line in name.split("\n")]
    widest = max(font(_LETTERS).getlength(line) for line in lines)
    return SHEET_GAP + round(widest) if widest else 0


def _letters(width: int) -> int:
    """Size of the letters of captions below pictures of a width."""
    return max(13, min(_LETTERS, round(width / 12)))
