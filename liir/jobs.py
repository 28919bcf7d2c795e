"""What there is to label: a video, or the videos of a folder, and the annotations of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from liir.annotations import (
    Annotations,
    check_frames,
    load_annotations,
    parse_annotation_option,
)
from liir.errors import InputError
from liir.pictures import IMAGE_SUFFIXES
from liir.video import VIDEO_SUFFIXES, Video, open_video

_MASKS = (".png", ".tif", ".tiff", ".bmp")
_TABLES = (".csv", ".json")


@dataclass(frozen=True)
class Job:
    """One video to label.

    Attributes:
        video: Its file, or folder of images.
        annotations: `FRAME=FILE`, `FILE` or `FOLDER` of files.
        out: Folder for its labels.
    """

    video: Path
    annotations: tuple[str, ...]
    out: Path

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
            )
        video = open_video(self.video)
        length = video.length
        end = length if stop is None or length is None else min(stop, length)
        if start < 0 or (end is not None and start >= end) or (stop is not None and start >= stop):
            has = "" if length is None else f"; it has frames 0 to {length - 1}"
            until = "" if stop is None else f" to before frame {stop}"
            raise InputError(f"{self.video}: from frame {start}{until} there is no frame{has}")
        files = [file for option in self.annotations for file in _files(option, video)]
        given = load_annotations(files, video.size, resize=resize)
        check_frames(given, start, stop if length is None else end)
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
        InputError: A folder of videos without a folder of annotations, or two videos of one name.
    """
    if not video.is_dir() or _has_images(video):
        return [Job(video, tuple(annotations), out)]
    names: dict[str, Path] = {}
    for path in sorted(video.iterdir()):
        if path.name[0] == "." or not (
            _has_images(path) if path.is_dir() else path.suffix.lower() in VIDEO_SUFFIXES
        ):
            continue
        other = names.setdefault(path.name if path.is_dir() else path.stem, path)
        if other is not path:
            raise InputError(f"{video}: {other.name} and {path.name} share a name; rename one")
    if not names:
        return [Job(video, tuple(annotations), out)]  # which will be told to hold nothing
    masks = Path(annotations[0]) if len(annotations) == 1 else None
    if masks is None or not masks.is_dir():
        raise InputError(
            f"{video}: holds videos: give one folder with annotations of the same names, such as "
            f"{next(iter(names))}.png, or name one of the videos"
        )
    jobs = [Job(path, _named(name, masks), out / name) for name, path in names.items()]
    if not any(job.annotations for job in jobs):
        raise InputError(
            f"{masks}: holds no annotation named like a video of {video}, such as "
            f"{next(iter(names))}.png, .csv, .json or a folder"
        )
    return jobs


def _has_images(folder: Path) -> bool:
    return any(p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "." for p in folder.iterdir())


def _named(name: str, folder: Path) -> tuple[str, ...]:
    """Annotations of that name in a folder."""
    masks = [folder / f"{name}{suffix}" for suffix in _MASKS]
    others = [*(folder / f"{name}{suffix}" for suffix in _TABLES), folder / name]
    return (
        *(f"0={path}" for path in masks if path.is_file()),
        *(str(path) for path in others if path.exists()),
    )


def _files(option: str, video: Video) -> Iterator[str | Path]:
    """The files of an option, a folder's one by one, as `load_annotations` takes them.

    For a folder of images, a mask named like one of them is of that image, whatever its place.
    """
    frame, path = parse_annotation_option(option)
    if frame is not None:
        yield option
        return
    files = [path]
    if path.is_dir():
        kinds = (*_MASKS, *_TABLES)
        files = [p for p in path.iterdir() if p.suffix.lower() in kinds and p.name[0] != "."]
        if not files:
            raise InputError(f"{path}: holds no annotation ({', '.join(kinds)})")
    for file in sorted(files):
        if video.stems and file.suffix.lower() in _MASKS and file.stem in video.stems:
            yield f"{video.stems.index(file.stem)}={file}"
        else:
            yield file
