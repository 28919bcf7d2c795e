"""Where training data lies: the places named on the command line, and the videos below them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from liir.errors import InputError
from liir.pictures import IMAGE_SUFFIXES
from liir.video import VIDEO_SUFFIXES

STILLS = "stills:"
"""Before a place: every image below it is a photograph of its own, no frame of a video."""


@dataclass(frozen=True, order=True)
class Source:
    """A video or a photograph to train on.

    Attributes:
        place: Number of the place it was found in, as they are mixed; 0 where they are not.
        path: A video file, a folder of frames, or an image file.
        still: Whether it is a photograph.
    """

    place: int
    path: Path
    still: bool = False


def find_videos(places: Sequence[str | Path], mix: Sequence[float] = ()) -> list[Source]:
    """Lists video files and folders of frames below the given places, sorted; no hidden ones.

    Args:
        places: Videos, or folders of videos or of frames, nested at will; with "stills:" before
            it, an image or a folder of images that have nothing to do with each other.
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
    for number, word in enumerate(map(str, places)):
        still = word.startswith(STILLS)
        place = Path(word.removeprefix(STILLS))
        if not place.exists():
            raise InputError(f"{place}: no such file or folder to train on")
        paths = _images(place.resolve()) if still else _videos(place.resolve())
        below = {Source(number if mix else 0, path, still) for path in paths}
        if not below and (mix or still):
            raise _nothing([word])
        found |= below
    if not found:
        raise _nothing(places)
    return sorted(found)


def _nothing(places: Sequence[str | Path]) -> InputError:
    told = ", ".join(map(str, places))
    wanted = "image" if told.startswith(STILLS) else "video and no folder of images"
    return InputError(f"no {wanted} below {told}; give another folder")


def _videos(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, files in _walked(place):
        if any(file.suffix.lower() in IMAGE_SUFFIXES for file in files):
            yield folder
        yield from (file for file in files if file.suffix.lower() in VIDEO_SUFFIXES)


def _images(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for _, files in _walked(place):
        yield from (file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)


def _walked(place: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder from `place` on, with its files; without what is hidden."""
    for folder, inner, names in os.walk(place):
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield Path(folder), [Path(folder, name) for name in names if not name.startswith(".")]
