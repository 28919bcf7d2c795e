"""Labels over their video: as a video, as one picture, as a sheet of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from liir.errors import InputError
from liir.figures import LONGEST, Picture, contact_sheet, draw_overlay, fit, legible_scale
from liir.show.labelled import Labelled, Labelling
from liir.show.output import check_apart, suffix, write_png
from liir.show.strips import spread
from liir.video import VideoWriter


def show_overlay(
    labelled: Labelled,
    out: Path,
    *,
    frame: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draws labels over the frames that have them.

    Args:
        labelled: The video and its labels.
        out: An mp4, or a PNG of one frame.
        frame: Which one.
        progress: Called with the number of frames drawn and of all.

    Raises:
        InputError: A PNG without a frame, a frame without labels, or it cannot be written.
    """
    check_apart(out, labelled.source, *labelled.masks.values())
    kind = suffix(out, ".mp4", ".png")
    names = labelled.names

    def draw(labelling: Labelling) -> Picture:
        return fit(_drawn(labelled, names, labelling), LONGEST, LONGEST)

    if kind == ".png":
        if frame is None:
            raise InputError(f"{out}: a picture shows one frame: say which with --frame")
        write_png(out, draw(labelled.frame(frame)))
        return
    if frame is not None:
        raise InputError(f"--frame {frame}: is for a picture; let --out end in .png")
    with VideoWriter(out, rate=labelled.video.rate) as writer:
        with closing(labelled.frames()) as frames:
            for count, labelling in enumerate(frames, 1):
                writer.write(draw(labelling), labelling[0].time)
                if progress is not None:
                    progress(count, len(labelled.span))


def show_sheet(labelled: Labelled, out: Path, *, frames: int = 12, columns: int = 4) -> None:
    """Draws some frames, evenly spread, in rows.

    Args:
        labelled: The video and its labels.
        out: A PNG.
        frames: How many at most.
        columns: In a row.

    Raises:
        InputError: There would be none, or it cannot be written.
    """
    check_apart(out, labelled.source, *labelled.masks.values())
    suffix(out, ".png")
    if frames < 1 or columns < 1:
        raise InputError("a sheet has at least one frame, and one column")
    wanted = spread(labelled.span.start, labelled.span.stop - 1, frames)
    names = labelled.names
    tiles = [
        (_drawn(labelled, names, labelling), f"frame {labelling[0].index}")
        for labelling in labelled.frames()
        if labelling[0].index in wanted
    ]
    write_png(out, contact_sheet(tiles, columns))


def _drawn(labelled: Labelled, names: Sequence[str], labelling: Labelling) -> Picture:
    frame, labels, points = labelling
    return draw_overlay(
        frame.rgb,
        labels,
        points,
        threshold=labelled.threshold,
        scale=legible_scale(*labelled.video.size),
        order=names,
    )
