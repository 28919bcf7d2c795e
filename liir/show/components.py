"""One video, several models: as rows of frames, or playing side by side.

The paper's Figure 1: ground truth, baseline, + position, + inter-video, + compactness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from liir.figures import SHEET_GAP, SHEET_WIDTH, Picture, contact_sheet
from liir.frames import Frame
from liir.show.joints import called, legend, painted
from liir.show.output import suffix, write_png
from liir.show.strips import Strip, draw_strips, draw_tile, tile_width
from liir.show.takes import Clip, Take, chosen, pictures, ranks, scored
from liir.video import VideoWriter, open_video


def show_components(clip: Clip, takes: Sequence[Take], out: Path, *, frames: int = 6) -> None:
    """Draws what each of several models makes of a sequence.

    Args:
        clip: The sequence.
        takes: A row each, from above.
        out: A PNG of some frames, or an mp4 of all.
        frames: How many a row of the PNG has at most.

    Raises:
        InputError: It cannot be written, or would have no frame.
    """
    if suffix(out, ".png", ".mp4") == ".mp4":
        _play(clip, takes, out)
        return
    names = [named(take) for take in takes]
    shown, read = chosen(clip, frames), pictures(clip)
    width = tile_width(names, len(shown))
    rows: list[list[tuple[Picture, str]]] = [[] for _ in takes]
    for index in shown:
        frame = read(index)
        for place, (row, take) in enumerate(zip(rows, takes, strict=True)):
            caption = f"frame {index}" if place == len(takes) - 1 else ""
            row.append((draw(clip, frame, take, width), caption))
    strips = [Strip(name, row) for name, row in zip(names, rows, strict=True)]
    write_png(out, draw_strips(strips, legend(clip)))


def named(take: Take) -> str:
    """Name and score, a line each."""
    return "\n".join(filter(None, (take.name, take.score)))


def draw(clip: Clip, frame: Frame, take: Take, width: int) -> Picture:
    """A frame of a sequence with what a take says of it."""
    labels, points = take.labels.get(frame.index), take.points.get(frame.index, {})
    names = called(clip)
    return draw_tile(
        frame.rgb,
        None if labels is None else ranks(clip)[labels],
        {names.get(name, name): place for name, place in points.items()},
        width,
        paints=painted(clip),
    )


def _play(clip: Clip, takes: Sequence[Take], out: Path) -> None:
    columns = math.ceil(len(takes) ** 0.5)
    width = (SHEET_WIDTH - (columns + 1) * SHEET_GAP) // columns
    video = open_video(clip.folder)
    with VideoWriter(out, rate=video.rate) as writer:
        for frame in video.frames(clip.start, scored(clip)[-1] + 1):
            tiles = [
                (draw(clip, frame, take, width), f"{take.name}   {take.score}".rstrip())
                for take in takes
            ]
            writer.write(contact_sheet(tiles, columns), frame.time)
