"""Where training data lies: the places named on the command line, and the videos below them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from liir.errors import InputError
from liir.pictures import IMAGE_SUFFIXES
from liir.video import VIDEO_SUFFIXES


@dataclass(frozen=True, order=True)
class Source:
    """A video to train on.

    Attributes:
        place: Number of the place it was found in, as they are mixed; 0 where they are not.
        path: A video file or a folder of frames.
    """

    place: int
    path: Path


def find_videos(places: Sequence[str | Path], mix: Sequence[float] = ()) -> list[Source]:
    """Lists video files and folders of frames below the given places, sorted; no hidden ones.

    Args:
        places: Videos, or folders of videos or of frames, nested at will.
        mix: A share for each place, which keeps them apart: what lies in two of them is found
            twice. If empty, all are one place, in which everything is found once.

    Raises:
        InputError: A place does not exist, has nothing below it, or has no share.
    """
    if mix and len(mix) != len(places):
        raise InputError(
            f"the mix has {len(mix)} shares, but there are {len(places)} places to train on: give "
            "as many"
        )
    found: set[Source] = set()
    for number, place in enumerate(map(Path, places)):
        below = {Source(number if mix else 0, path) for path in _below(place.resolve())}
        if mix and not below:
            raise _nothing([place])
        found |= below
    if not found:
        raise _nothing(places)
    return sorted(found)


def _nothing(places: Sequence[str | Path]) -> InputError:
    told = ", ".join(map(str, places))
    return InputError(f"no video and no folder of images below {told}; give another folder")


def _below(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif not place.is_dir():
        raise InputError(f"{place}: no such file or folder to train on")
    for folder, inner, names in os.walk(place):
        inner[:] = [name for name in inner if not name.startswith(".")]
        files = [Path(folder, name) for name in names if not name.startswith(".")]
        if any(file.suffix.lower() in IMAGE_SUFFIXES for file in files):
            yield Path(folder)
        yield from (file for file in files if file.suffix.lower() in VIDEO_SUFFIXES)
