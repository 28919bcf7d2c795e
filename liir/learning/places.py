"""Where training data lies: the places named on the command line, and the videos below them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from liir.errors import InputError
from liir.learning.shards import is_shard, shard
from liir.pictures import IMAGE_SUFFIXES, has_palette
from liir.video import VIDEO_SUFFIXES

_log = logging.getLogger(__name__)
LIST_SUFFIXES = frozenset({".txt", ".lst"})
_COPIES = {
    "480p": ("Full-Resolution", "1080p"),
    **{f"{split}_all_frames": (split,) for split in ("train", "valid", "test")},
}
"""Folders of DAVIS and YouTube-VOS, and those beside them that hold the same videos."""
STILLS = "stills:"
"""Before a place: every image below it is a photograph of its own, no frame of a video."""


@dataclass(frozen=True, order=True)
class Source:
    """A video or a photograph to train on.

    Attributes:
        place: Number of the place it was found in, as they are mixed; 0 where they are not.
        path: A video file, a folder of frames, or an image file; or one of these in a shard, as
            if that were a folder.
        still: Whether it is a photograph.
    """

    place: int
    path: Path
    still: bool = False


def find_videos(places: Sequence[str | Path], mix: Sequence[float] = ()) -> list[Source]:
    """Lists video files and folders of frames below the given places, sorted; no hidden ones.

    Left out are folders of labels: those below a folder whose name begins with "annotations", and
    those whose pictures have palettes. Of DAVIS in several sizes the smallest is taken, of
    YouTube-VOS all frames where they are.

    Args:
        places: Videos, shards (.tar), folders of these or of frames, nested at will, or a text
            file that lists such; with "stills:" before it, every image is one by itself, and has
            nothing to do with the others.
        mix: A share for each place, which keeps them apart: what lies in two of them is found
            twice. If empty, all are one place, in which everything is found once.

    Raises:
        InputError: A place does not exist, has nothing below it, has no share, or is a list
            that cannot be read.
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
        paths = _expanded(place.resolve(), still)
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
    return InputError(f"no {wanted} below {told}; give another place")


def _expanded(place: Path, still: bool) -> Iterator[Path]:
    """What a file or folder stands for."""
    if place.suffix.lower() in LIST_SUFFIXES:
        for path in _listed(place):
            if path.suffix.lower() in LIST_SUFFIXES:
                raise InputError(f"{place}: names another list, {path}; give both as places")
            yield from _expanded(path, still)
    elif place.is_dir():
        yield from _walked(place, still)
    elif is_shard(place):
        try:
            held = shard(place)
        except InputError:  # told with the faults of the videos
            yield place
            return
        yield from (place / name for name in (held.images if still else held.clips))
        if held.fault:
            yield place
    else:  # or there is no such file: what a list names may be gone, and is told with the faults
        yield place


def _listed(place: Path) -> Iterator[Path]:
    """The paths of a text file, one a line, from its folder on."""
    try:
        lines = place.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{place}: cannot be read as a list of paths ({error})") from None
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            path = Path(os.path.normpath(place.parent / line))
            # The lists of Kinetics have the class, or the length and the class, after the path.
            plain = Path(re.sub(r"(\s+[0-9]+){1,2}$", "", str(path)))
            yield plain if not path.exists() and plain.exists() else path


def _walked(place: Path, still: bool) -> Iterator[Path]:
    """What lies below a folder."""
    labels: list[Path] = []
    for name, inner, names in os.walk(place):
        folder = Path(name)
        below = [each for each in inner if each.lower().startswith("annotations")]
        labels += (folder / each for each in below)
        copies = {copy for each in inner for copy in _COPIES.get(each, ()) if copy in inner}
        if copies:
            _log.warning(
                "%s: left out %s, the same videos again", folder, ", ".join(sorted(copies))
            )
        left = {*below, *copies}
        inner[:] = [each for each in inner if not each.startswith(".") and each not in left]
        files = [folder / each for each in sorted(names) if not each.startswith(".")]
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        if still:
            yield from images
        elif images and folder != place and has_palette(images[0]):
            labels.append(folder)
        elif images:
            yield folder
        for file in files:
            if is_shard(file):
                yield from _expanded(file, still)
            elif file.suffix.lower() in VIDEO_SUFFIXES and not still:
                yield file
    if labels:
        more = f" and {len(labels) - 1} more" if labels[1:] else ""
        _log.warning("left out as labels: %s%s; name one to train on it", min(labels), more)
