"""Tracked labels of a project: what lies in a folder of `liir track`, read while it grows.

Legend: H W pixels of a frame.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import shutil
import threading
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liir.export import CocoWriter, ConfidenceWriter, PointWriter, write_label_png
from liir.files import writing, written
from liir.folder import Folder
from liir.labels import Labels, Size

Tracked = tuple[float, float, bool, float]
"""A tracked point: x, y in pixels, whether it is seen, confidence."""

_VERSIONS = itertools.count(time.time_ns() // 1_000_000)  # also after a restart, each but once

DOUBTFUL = 6
"""Frames marked as worth a correction, at most."""
_FALL = 0.08  # of confidence, that makes a frame worth it


class Results:
    """The labels of a video in a folder; `refresh` reads what has come since.

    Args:
        path: The folder, as `label_video` writes it.
        files: File names of the frames, for a folder of images.

    Attributes:
        confidence: Frame to object id to confidence in [0, 1].
        points: Frame to point name to where it is.
        versions: Frame to a number that is another one whenever it was labelled anew.
    """

    def __init__(self, path: Path, files: list[str] | None) -> None:
        self.folder = Folder(path, files)
        self.confidence: dict[int, dict[int, float]] = {}
        self.points: dict[int, dict[str, Tracked]] = {}
        self.versions: dict[int, int] = {}
        self._read: dict[Path, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def refresh(self) -> bool:
        """Reads new rows of the tables; tells whether there were any.

        The dictionaries are replaced, never changed: another thread may be reading them.
        """
        with self._lock:
            before, version = (self.confidence, self.points), next(_VERSIONS)
            new: set[int] = set()
            rows, fresh = self._rows(self.folder.confidence, 3)
            if rows or fresh:
                sure = {} if fresh else dict(self.confidence)
                for frame, number, value in rows:
                    with suppress(ValueError):
                        here = sure.get(int(frame), {})
                        sure[int(frame)] = {**here, int(number): float(value)}
                        new.add(int(frame))
                self.confidence = sure
            rows, fresh = self._rows(self.folder.points, 6)
            if rows or fresh:
                points = {} if fresh else dict(self.points)
                for frame, name, x, y, seen, value in rows:
                    with suppress(ValueError):
                        place = float(x), float(y), seen == "1", float(value)
                        points[int(frame)] = {**points.get(int(frame), {}), name: place}
                        new.add(int(frame))
                self.points = points
            self.versions = {**self.versions, **dict.fromkeys(new, version)}
            return bool(new) or before != (self.confidence, self.points)

    @property
    def frames(self) -> set[int]:
        """Frames that are labelled."""
        return {*self.confidence, *self.points}

    def labels(self, frame: int, size: Size) -> Labels | None:
        """The label image (H, W) uint8 of a frame, if there is one."""
        path = self.folder.mask(frame)
        if frame not in self.confidence or path.is_symlink():
            return None
        with suppress(OSError, ValueError), Image.open(path) as image:
            if image.size == size[::-1] and image.mode in ("P", "L"):
                return np.array(image)
        return None

    def _rows(self, path: Path, width: int) -> tuple[list[list[str]], bool]:
        """Rows of a table that were not there the last time; whether it is another table now."""
        place, inode = self._read.get(path, (0, 0))
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                fresh = inode != status.st_ino or status.st_size < place
                place = 0 if fresh else place
                file.seek(place)
                text, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            return [], self._read.pop(path, None) is not None
        rows = list(csv.reader(io.StringIO(text.decode("utf-8", "replace"), newline="")))
        self._read[path] = place + len(text) + len(newline), status.st_ino
        return [row for row in rows if len(row) == width and row[0].isdigit()], fresh


def merge(run: Results, into: Results, frames: Iterable[int], size: Size) -> None:
    """Takes some frames of a run into the results, in the place of what is there of them.

    The run stays whole, and each file changes at once: killed at any moment, it can be done again.

    Args:
        run: Where from.
        into: Where to; its folder is made.
        frames: Which.
        size: (H, W) of the video.

    Raises:
        InputError: The results cannot be written.
    """
    run.refresh()
    into.refresh()
    chosen = sorted(set(frames) & run.frames)
    if not chosen:
        return
    target, source = into.folder, run.folder
    target.masks.mkdir(parents=True, exist_ok=True)
    confidence = {**into.confidence, **{f: run.confidence.get(f, {}) for f in chosen}}
    points = {**into.points, **{f: run.points.get(f, {}) for f in chosen}}
    for frame in chosen:
        if frame in run.confidence:
            _place(source.mask(frame), target.mask(frame))
        else:
            target.mask(frame).unlink(missing_ok=True)
    write_tables(target, confidence, points)
    if confidence:
        kept = set(into.confidence) - set(chosen)
        with CocoWriter(target.labels, keep=kept) as coco:
            for frame in chosen:
                labels = into_labels(target, frame, size)
                coco.write(frame, labels, confidence[frame], name=target.picture(frame))
    # Of which job the folder is, and pictures of it: true no more.
    for path in (target.sheet, target.overlay, target.state):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        _place(source.settings, target.settings)
    into.refresh()


def _place(source: Path, target: Path) -> None:
    """Gives a file another name, too, in the place of what is called so."""
    with writing(target), written(target) as partial:
        partial.unlink(missing_ok=True)  # of a process that was killed
        try:
            os.link(source, partial)
        except FileNotFoundError:
            raise
        except OSError:  # no links on that disk
            shutil.copyfile(source, partial)


def into_labels(folder: Folder, frame: int, size: Size) -> Labels:
    """The label image of a frame, all background if there is none; it is then written."""
    with suppress(OSError), Image.open(folder.mask(frame)) as image:
        return np.array(image)
    nothing = np.zeros(size, np.uint8)
    write_label_png(folder.mask(frame), nothing)
    return nothing


class Seen:
    """Whether a point of a frame is seen, by its name."""

    def __init__(self, places: Mapping[str, Tracked]) -> None:
        self.places = places

    def __call__(self, name: str) -> bool:
        """Whether it is."""
        return self.places[name][2]


def write_tables(
    folder: Folder,
    confidence: Mapping[int, Mapping[int, float]],
    points: Mapping[int, Mapping[str, Tracked]],
) -> None:
    """Writes the tables of confidence and of points anew, in the order of frames."""
    if confidence:
        with written(folder.confidence) as path, ConfidenceWriter(path) as sure:
            for frame in sorted(confidence):
                sure.write(frame, confidence[frame])
    else:
        folder.confidence.unlink(missing_ok=True)
    if any(points.values()):
        with written(folder.points) as path, PointWriter(path) as table:
            for frame in sorted(points):
                here = points[frame]
                rows = {name: (x, y, c) for name, (x, y, _, c) in here.items()}
                table.write(frame, rows, Seen(here))
    else:
        folder.points.unlink(missing_ok=True)


def doubtful(confidence: Mapping[int, Mapping[int, float]], annotated: Iterable[int]) -> list[int]:
    """The frames most worth a correction, ascending.

    Where an object has first become less sure than it was after the last annotation; then where
    one is less sure than is usual. A frame stands for those around it, and one that somebody has
    annotated needs no correction. An object that is gone counts in the frame in which it went.

    Args:
        confidence: Frame to object id to confidence.
        annotated: Frames annotated already.
    """
    frames = sorted(confidence)
    if len(frames) < 3:
        return []
    doubt = np.zeros(len(frames))
    last: Mapping[int, float] = {}
    for place, frame in enumerate(frames):
        here = confidence[frame]
        for number, sure in here.items():
            if sure > 0 or last.get(number, 0) > 0:
                doubt[place] = max(doubt[place], 1 - sure)
        last = here
    reach = max(3, len(frames) // 12)
    given = set(annotated)
    for place, frame in enumerate(frames):
        if any(abs(frame - other) <= reach // 2 for other in given):
            doubt[place] = 0
    least = max(_FALL, 1.15 * float(np.median(doubt)))
    found: list[int] = []

    def take(place: int) -> None:
        if len(found) < DOUBTFUL and doubt[place] > 0:
            found.append(frames[place])
            doubt[max(0, place - reach) : place + reach + 1] = 0

    for place in _falls([(frame, confidence[frame]) for frame in frames], given, doubt > 0):
        take(place)
    while len(found) < DOUBTFUL and doubt.max() >= least:
        take(int(doubt.argmax()))
    return sorted(found)


def _falls(
    rows: Sequence[tuple[int, Mapping[int, float]]],
    given: Container[int],
    worth: NDArray[np.bool_],
) -> list[int]:
    """Where each object has first fallen below its best since the annotation before.

    Args:
        rows: Frames with their objects' confidence, ascending.
        given: Annotated frames.
        worth: Which of the rows may be among those found, (rows,).
    """
    best: dict[int, float] = {}
    fallen: set[int] = set()
    found = []
    for place, (frame, here) in enumerate(rows):
        if frame in given:
            best, fallen = {}, set()
            continue
        for number, sure in here.items():
            best[number] = max(sure, best.get(number, 0.0))
            if worth[place] and number not in fallen and sure <= best[number] - _FALL:
                fallen.add(number)
                found.append(place)
    return found
