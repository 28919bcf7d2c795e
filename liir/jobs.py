"""What there is to label: a video, or the videos of a folder, and the annotations of each."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from liir.annotations import (
    Annotations,
    load_annotations,
    parse_annotation_option,
)
from liir.errors import InputError
from liir.inputs import naming
from liir.pictures import IMAGE_SUFFIXES, is_stack
from liir.video import VIDEO_SUFFIXES, Video, open_video

_log = logging.getLogger(__name__)

_MASKS = (".png", ".tif", ".tiff", ".bmp")
_TABLES = (".csv", ".json")


@dataclass(frozen=True)
class Job:
    """One video to label.

    Attributes:
        video: Its file, or folder of images.
        annotations: `FRAME=FILE`, `FILE` or `FOLDER` of files.
        out: Folder for its labels.
        near: Where it has no annotation, one of almost its name.
    """

    video: Path
    annotations: tuple[str, ...]
    out: Path
    near: Path | None = None

    def read(
        self, start: int = 0, stop: int | None = None, resize: bool = False
    ) -> tuple[Video, Annotations]:
        """Opens the video and its annotations, and sees that they fit.

        Args:
            start: First frame to label.
            stop: Frame to stop before; None for the end.
            resize: Bring masks of another size to the video's.

        Raises:
            InputError: One of them cannot be used, or no frame is left.
        """
        if not self.annotations:
            raise InputError(
                f"{self.video}: is not annotated: give FRAME=FILE or, for a folder of videos, "
                "a folder of annotations with one of this name"
                + (f"; is it {self.near}?" if self.near else "")
            )
        video = open_video(self.video)
        length = video.length
        end = length if stop is None or length is None else min(stop, length)
        if start < 0 or (end is not None and start >= end) or (stop is not None and start >= stop):
            has = "" if length is None else f"; it has frames 0 to {length - 1}"
            until = "" if stop is None else f" to before frame {stop}"
            raise InputError(f"{self.video}: from frame {start}{until} there is no frame{has}")
        video.require(stop)
        files = [file for option in self.annotations for file in _files(option)]
        given = load_annotations(files, video.size, resize=resize, stems=video.stems)
        _check_span(given, start, stop, length)
        return video, given


def find_jobs(video: Path, annotations: Sequence[str], out: Path) -> list[Job]:
    """The one video; or, where that is a folder of videos, one job for each of them.

    Args:
        video: A video, a folder of images, or a folder of either.
        annotations: What is known of the video; for a folder of videos one folder, with
            annotations of the same names: NAME.png (of frame 0), NAME.csv, NAME.json, or a folder
            NAME of files.
        out: Folder for the labels; of several videos each has its own in there.

    Raises:
        InputError: A folder of videos without a folder of annotations, with images among them, or
            with two of one name; or the labels would be written into what is to be labelled, or
            over an annotation.
    """
    source, target = video.resolve(), out.resolve()
    if source in (target, target / "masks", target / "overlay.mp4"):
        raise InputError(f"{out}: the labels would go into what is labelled; give another --out")
    names = _videos(video) if video.is_dir() else {}
    if not names:
        job = Job(video, tuple(annotations), out)  # if it is nothing, opening it will tell
        _check_apart(job)
        return [job]
    masks = Path(annotations[0]) if len(annotations) == 1 else None
    if masks is None or not masks.is_dir():
        raise InputError(
            f"{video}: holds videos: give one folder with annotations of the same names, such as "
            f"{next(iter(names))}.png, or name one of the videos"
        )
    jobs = [Job(path, _named(name, masks), out / name) for name, path in names.items()]
    strays = _strays(masks, names)
    if not any(job.annotations for job in jobs):
        raise InputError(
            f"{masks}: holds no annotation named like a video of {video}, such as "
            f"{next(iter(names))}.png, .csv, .json or a folder"
        )
    for stray in strays.values():
        _log.warning("%s belongs to no video of %s", stray, video)
    for place, job in enumerate(jobs):
        _check_apart(job)
        near = difflib.get_close_matches(job.out.name, strays, n=1)
        if near and not job.annotations:
            jobs[place] = replace(job, near=strays[near[0]])
    return jobs


def _check_apart(job: Job) -> None:
    """Raises InputError if an annotation lies where results are removed and written anew."""
    out = job.out.resolve()
    results = [out / name for name in ("masks", "soft", "labels.json", "points.csv")]
    for option in job.annotations:
        path = parse_annotation_option(option)[1].resolve()
        if path == out or any(path.is_relative_to(result) for result in results):
            raise InputError(
                f"{path}: lies among the results of {job.out}, which are written anew; "
                "copy it elsewhere, or give another --out"
            )


def _videos(folder: Path) -> dict[str, Path]:
    """The videos of a folder by name; none if it is a folder of images, which is one video."""
    images, videos, folders = [], [], []
    for path in sorted(path for path in folder.iterdir() if path.name[0] != "."):
        if path.is_dir():
            folders += [path] if any(map(_is_image, path.iterdir())) else []
        elif path.suffix.lower() in VIDEO_SUFFIXES or is_stack(path):
            videos.append(path)
        elif _is_image(path):
            images.append(path)
    if images and videos:
        raise InputError(
            f"{folder}: holds videos ({len(videos)}, such as {videos[0].name}) and images "
            f"({len(images)}, such as {images[0].name}): name one of the videos, or put the images "
            "into a folder of their own"
        )
    names: dict[str, Path] = {}
    for path in [] if images else sorted(videos + folders):
        other = names.setdefault(path.name if path.is_dir() else path.stem, path)
        if other is not path:
            raise InputError(f"{folder}: {other.name} and {path.name} share a name; rename one")
    return names


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."


def _named(name: str, folder: Path) -> tuple[str, ...]:
    """Annotations of that name in a folder."""
    masks = [folder / f"{name}{suffix}" for suffix in _MASKS]
    others = [*(folder / f"{name}{suffix}" for suffix in _TABLES), folder / name]
    return (
        *(f"0={path}" for path in masks if path.is_file()),
        *(str(path) for path in others if path.exists()),
    )


def _strays(folder: Path, videos: Collection[str]) -> dict[str, Path]:
    """Annotations of a folder, by name, that are named like none of the videos."""
    found = {}
    for path in sorted(path for path in folder.iterdir() if path.name[0] != "."):
        name = path.name if path.is_dir() else path.stem
        if name not in videos and (path.is_dir() or path.suffix.lower() in (*_MASKS, *_TABLES)):
            found[name] = path
    return found


def _check_span(given: Annotations, start: int, stop: int | None, length: int | None) -> None:
    """Raises InputError unless the annotated frames are there, and none is left out."""
    for frame in given:
        with naming(f"annotation of frame {frame}"):
            if length is not None and frame >= length:
                raise InputError(f"the video has frames 0 to {length - 1}")
            if frame < start:
                raise InputError(f"--start {start} leaves it out")
            if stop is not None and frame >= stop:
                raise InputError(f"--end {stop} leaves it out")


def _files(option: str) -> list[str | Path]:
    """The files of an option, a folder's one by one, as `load_annotations` takes them."""
    frame, path = parse_annotation_option(option)
    if frame is not None or not path.is_dir():
        return [option]
    kinds = (*_MASKS, *_TABLES)
    files = [p for p in path.iterdir() if p.suffix.lower() in kinds and p.name[0] != "."]
    if not files:
        raise InputError(f"{path}: holds no annotation ({', '.join(kinds)})")
    return [*sorted(files)]
