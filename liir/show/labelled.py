"""A video with labels that lie in files: what `liir track` wrote, a folder of masks, a table."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liir.annotations import read_points
from liir.errors import InputError
from liir.evaluation.layouts import read_map
from liir.figures import Points
from liir.folder import Folder
from liir.inputs import naming, read_json
from liir.video import Frame, Video, open_video

Labelling = tuple[Frame, NDArray[np.uint8] | None, Points]
"""A frame, its labels (H, W) if it has any, and its points."""


@dataclass(frozen=True)
class Labelled:
    """A video and the labels of some of its frames.

    Attributes:
        video: The video.
        source: Where it lies.
        masks: Label images by frame.
        points: Keypoints by frame: name to (x, y, confidence).
        threshold: Confidence below which a point is invisible.
    """

    video: Video
    source: Path
    masks: Mapping[int, Path]
    points: Mapping[int, Points]
    threshold: float = 0.0

    @property
    def span(self) -> range:
        """From the first labelled frame to the last."""
        labelled = {*self.masks, *self.points}
        return range(min(labelled), max(labelled) + 1)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all points, in order of their appearance."""
        return tuple(dict.fromkeys(name for points in self.points.values() for name in points))

    def frames(self) -> Generator[Labelling, None, None]:
        """Yields the frames of the span.

        Raises:
            InputError: A label image cannot be read, or is not of the video's size.
        """
        return self._read(self.span.start, self.span.stop)

    def frame(self, index: int) -> Labelling:
        """One frame.

        Raises:
            InputError: It has no labels, or as `frames`.
        """
        if index not in self.masks and index not in self.points:
            first, last = self.span.start, self.span.stop - 1
            raise InputError(
                f"{self.video.name}: frame {index} has no labels; they go from {first} to {last}"
            )
        with closing(self._read(index, index + 1)) as frames:
            return next(frames)

    def _read(self, start: int, stop: int) -> Generator[Labelling, None, None]:
        frame = None
        with closing(self.video.frames(start, stop)) as frames:
            for frame in frames:
                path = self.masks.get(frame.index)
                labels = None if path is None else self._labels(path)
                yield frame, labels, self.points.get(frame.index, {})
        if frame is None:
            raise InputError(
                f"{self.video.name}: ends before frame {start}, which has labels; "
                "is it another video?"
            )

    def _labels(self, path: Path) -> NDArray[np.uint8]:
        labels = read_map(path)
        if labels.shape != self.video.size:
            raise InputError(
                f"{path}: is {labels.shape[1]}x{labels.shape[0]}, "
                f"the frames of {self.video.name} are {self.video.size[1]}x{self.video.size[0]}"
            )
        return labels


def open_labelled(labels: Path, video: Path | None = None) -> Labelled:
    """Brings labels and their video together.

    Args:
        labels: What `liir track` wrote; a folder of label images, named by frame number or like
            the frames of a folder; or a table of points.
        video: The video; None for that which a folder of `liir track` was made of.

    Raises:
        InputError: There are no labels, or not of that video, or the video is not there.
    """
    if not labels.exists():
        raise InputError(f"{labels}: no such file or folder; give what liir track wrote, or masks")
    settings = labels / "settings.json"
    if settings.is_file() and (labels / "masks").exists() | (labels / "points.csv").exists():
        with naming(str(settings)):
            stored = read_json(settings)
            if not isinstance(stored, dict):
                raise InputError("is not as liir track writes it")
        return _tracked(labels, stored, video)
    if video is None:
        raise InputError(f"{labels}: say which video it belongs to, with --video")
    opened = open_video(video)
    if labels.is_dir():
        return Labelled(opened, video, _masks(labels, opened), {})
    return Labelled(opened, video, {}, _table(labels, opened))


def _tracked(path: Path, stored: Mapping[str, object], video: Path | None) -> Labelled:
    source = stored.get("source")
    if video is None and isinstance(source, str):
        video = Path(source)
        if not video.exists():
            raise InputError(f"{path}: its video {video} is not there any more; give --video")
    if video is None:
        raise InputError(f"{path}: say which video it was made of, with --video")
    opened, job = open_video(video), stored.get("job")
    folder = Folder(path, opened.files)
    masks = _masks(folder.masks, opened) if folder.masks.exists() else {}
    points = dict(folder.stored_points()) if folder.points.exists() else {}
    if points:
        _check_last(folder.points, max(points), opened)
    threshold = job.get("point_threshold", 0.0) if isinstance(job, dict) else 0.0
    return Labelled(opened, video, masks, points, float(threshold))


def _masks(folder: Path, video: Video) -> dict[int, Path]:
    """The label images of a folder by frame: named like a frame, or by its number."""
    paths = [path for path in sorted(folder.glob("*.png")) if path.name[0] != "."]
    by_name = {stem: index for index, stem in enumerate(video.stems or ())}
    found = {by_name[path.stem]: path for path in paths if path.stem in by_name}
    if not found:
        found = {int(path.stem): path for path in paths if path.stem.isdecimal()}
    if not paths or not found:
        what = f"{paths[0].name}, which is no frame's name or number" if paths else "no PNG"
        raise InputError(f"{folder}: holds {what}; give a folder of label images of {video.name}")
    _check_last(found[max(found)], max(found), video)
    return found


def _table(path: Path, video: Video) -> dict[int, Points]:
    points = read_points(path, size=video.size)
    _check_last(path, max(points), video)
    return {
        frame: {name: (x, y, 1.0) for name, (x, y) in given.points.items()}
        for frame, given in points.items()
    }


def _check_last(path: Path, last: int, video: Video) -> None:
    """Raises InputError if the last frame with labels, which `path` has, is beyond the video."""
    if video.length is not None and last >= video.length:
        raise InputError(
            f"{path}: speaks of frame {last}, and {video.name} has frames 0 to "
            f"{video.length - 1}; is it another video?"
        )
