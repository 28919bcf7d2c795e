"""Where tracking fails: J of every frame over time, and the worst frames.

Legend: H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liir.annotations import VOID
from liir.errors import InputError
from liir.evaluation.layouts import zero_is_void
from liir.evaluation.metrics import region_similarity
from liir.figures import SHEET_GAP, SHEET_WIDTH, Picture, colours
from liir.show import plot
from liir.show.output import suffix, write_png
from liir.show.strips import Strip, draw_strips, tile_width
from liir.show.takes import Clip, Take, pictures

# Ids whose colours stand for what became of a pixel.
_RIGHT, _WRONG, _MISSED = 1, 2, 3
LEGEND = "blue: right, yellow: missed, orange: too much"
_WORST = 4
_GREY, _FILL = 0.75, 0.65  # how bright the frame is, and how opaque what lies over it
_MARGIN = 1.25  # the window's sides, of those of what it shows
_LEAST = 0.2  # the window's height at least, of the frame's


def show_errors(clip: Clip, takes: Sequence[Take], out: Path) -> None:
    """Draws J over time, and the worst frames of the first of several models.

    A line is the mean over objects; those of one model alone have a line each.

    Args:
        clip: The sequence.
        takes: What was predicted for it.
        out: A PNG.

    Raises:
        InputError: The sequence has joints, matplotlib is not installed, or it cannot be written.
    """
    suffix(out, ".png")
    if clip.joints:
        raise InputError(f"{clip.name}: has joints, and J is of masks; try liir show results")
    if not clip.counted:
        raise InputError(f"{clip.name}: its truth is hidden; try liir show results")
    scores = [similarities(clip, take) for take in takes]
    means = [{i: float(np.mean([*each.values()])) for i, each in s.items()} for s in scores]
    lines: dict[str, Mapping[int, float]] = {}
    if len(takes) == 1 and len(clip.ids) > 1:
        for number in clip.ids:
            lines[f"id {number}"] = {i: e[number] for i, e in scores[0].items() if number in e}
    else:
        for take, mean in zip(takes, means, strict=True):
            lines[take.name] = mean
    worst = lowest(means[0], _WORST)
    title = f"{clip.name}: J over time; below, the worst frames of {takes[0].name}"
    curve = _curves(title, lines, means[0], worst)
    read = pictures(clip)
    width = tile_width([""], len(worst))
    tiles: list[tuple[Picture, str]] = []
    for index in worst:
        fate = outcome(counted(clip, index), takes[0].labels[index])
        caption = f"frame {index}, J {100 * means[0][index]:.1f}"
        rgb, part = tinted(read(index).rgb, fate), window(fate > 0)
        tiles.append((_sized(rgb[part], width), caption))
    below = draw_strips([Strip("", tiles)])
    across = max(curve.shape[1], below.shape[1])
    parts = [_widened(part, across) for part in (curve, below)]
    write_png(out, np.concatenate(parts))


def similarities(clip: Clip, take: Take) -> dict[int, dict[int, float]]:
    """J of each object, by frame in which it is scored and object, void left out."""
    found = {}
    for index in clip.counted:
        truth, given = counted(clip, index), take.labels[index]
        void = truth == VOID
        found[index] = {
            number: region_similarity(truth == number, given == number, void)
            for number in clip.ids
            if index > clip.born(number)
        }
    return found


def counted(clip: Clip, index: int) -> Picture:
    """Ground truth (H, W) of a frame with 255 for what does not count.

    In class maps that is what is new since the first frame, too: nobody was told of it.
    """
    truth = clip.truth(index)
    if clip.decode is zero_is_void:
        truth = np.where(np.isin(truth, clip.ids), truth, np.uint8(VOID))
    return truth


def lowest(scores: Mapping[int, float], count: int) -> list[int]:
    """The frames with the lowest scores, in order of time, no two of them close together."""
    apart = max(1, len(scores) // (2 * count))
    found: list[int] = []
    for index in sorted(scores, key=lambda i: (scores[i], i)):
        if all(abs(index - other) >= apart for other in found):
            found.append(index)
        if len(found) == count:
            break
    return sorted(found)


def outcome(truth: Picture, given: Picture) -> Picture:
    """What became of each pixel, (H, W) uint8: 0 background, 1 right, 2 too much, 3 missed.

    A pixel of one object that is given to another is missed.
    """
    fate = np.zeros_like(truth)
    shown = truth != VOID
    fate[(truth == given) & (truth != 0) & shown] = _RIGHT
    fate[(given != 0) & (truth == 0)] = _WRONG
    fate[(truth != 0) & (given != truth) & shown] = _MISSED
    return fate


def tinted(rgb: Picture, fate: Picture) -> Picture:
    """A frame (H, W, 3) in grey under the colours of what became of its pixels (H, W)."""
    grey = _GREY * np.asarray(Image.fromarray(rgb).convert("L"), np.float64)[..., None]
    cover = np.where(fate > 0, _FILL, 0.0)[..., None]
    mixed: Picture = np.rint(grey + cover * (colours()[fate] - grey)).astype(np.uint8)
    return mixed


def window(shown: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns around what a mask (H, W) shows, of the frame's own shape; else all."""
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    if not rows.size:
        return slice(None), slice(None)
    spans = [(int(places[0]), int(places[-1]) + 1) for places in (rows, columns)]
    shares = [(end - start) / size for (start, end), size in zip(spans, shown.shape, strict=True)]
    scale = min(1.0, max(_LEAST, _MARGIN * max(shares)))
    parts = []
    for (start, end), size in zip(spans, shown.shape, strict=True):
        length = max(1, round(scale * size))
        first = min(max(0, (start + end - length) // 2), size - length)
        parts.append(slice(first, first + length))
    return parts[0], parts[1]


def _sized(rgb: Picture, width: int) -> Picture:
    """A picture at a width, its shape kept."""
    height = max(1, round(rgb.shape[0] * width / rgb.shape[1]))
    return np.array(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))


def _curves(
    title: str,
    lines: Mapping[str, Mapping[int, float]],
    mean: Mapping[int, float],
    worst: Sequence[int],
) -> Picture:
    made = plot.figure(SHEET_WIDTH, 440 + 20 * (len(lines) // 8))
    axes = made.subplots()
    plot.plain(axes, title)
    if mean not in lines.values():  # each object has a line
        values = [100 * score for score in mean.values()]
        axes.plot([*mean], values, color="#999999", linewidth=5, alpha=0.5, label="mean of all")
    for place, (name, scores) in enumerate(lines.items()):
        values = [100 * score for score in scores.values()]
        label = f"{name}, mean {np.mean(values):.1f}"
        axes.plot([*scores], values, label=label, linewidth=1.8, **plot.line(place))  # type: ignore[arg-type]
    marks = [100 * mean[index] for index in worst]
    axes.scatter([*worst], marks, 60, facecolors="none", edgecolors="black", zorder=3)
    axes.set_ylim(0, 103)
    axes.set_xlabel(f"frame; ringed: shown below ({LEGEND})")
    axes.set_ylabel("J, %")
    made.legend(loc="outside lower center", frameon=False, ncols=8)
    return plot.drawn(made)


def _widened(picture: Picture, width: int) -> Picture:
    """A picture in the middle of a white strip of that width."""
    room = width - picture.shape[1]
    sides = ((0, SHEET_GAP // 2), (room // 2, room - room // 2), (0, 0))
    return np.pad(picture, sides, constant_values=255)
