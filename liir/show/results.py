"""Several sequences, one model: a strip of frames over time for each (the paper's Figures 2 to 5).

Objects, parts and keypoints alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from liir.show.components import draw, named
from liir.show.joints import legend
from liir.show.output import suffix, write_png
from liir.show.strips import Strip, draw_strips, tile_width
from liir.show.takes import Clip, Take, chosen, pictures


def show_results(takes: Sequence[tuple[Clip, Take]], out: Path, *, frames: int = 6) -> None:
    """Draws a strip for each sequence.

    Args:
        takes: Sequences and what was predicted for them; the take's name stands before the strip.
        out: A PNG.
        frames: In a strip at most; the first is the annotated one.

    Raises:
        InputError: It cannot be written, or would have no frame.
    """
    suffix(out, ".png")
    names = [named(take) for _, take in takes]
    shown = [chosen(clip, frames) for clip, _ in takes]
    width = tile_width(names, max(map(len, shown)))
    strips = []
    for (clip, take), name, indices in zip(takes, names, shown, strict=True):
        read = pictures(clip)
        tiles = [(draw(clip, read(index), take, width), f"frame {index}") for index in indices]
        strips.append(Strip(name, tiles))
    sides = {word: row for clip, _ in takes for word, row in legend(clip).items()}
    write_png(out, draw_strips(strips, sides))
