"""Folders of public data sets and of predictions for them, read as sequences.

Shapes: H W pixels, T frames. Frame images lie in `JPEGImages/480p/NAME` or `JPEGImages/NAME`, label
maps under the same names in `Annotations`; frame 0 of a sequence is its first image.
"""

import csv
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from liir.annotations import VOID, Annotation, Labels, read_points
from liir.errors import InputError
from liir.video import open_video

Point = tuple[float, float]

POINTS = "points.csv"
"""Name of a file of predicted points in the folder of its sequence."""


def as_stored(labels: Labels) -> Labels:
    """Ids as the file has them: 0 background, 255 void."""
    return labels


def foreground(labels: Labels) -> Labels:
    """Whatever is not background as object 1."""
    result: Labels = (labels != 0).astype(np.uint8)
    return result


def zero_is_void(labels: Labels) -> Labels:
    """Every pixel has a class but those of id 0, of which nothing is known."""
    result: Labels = np.where(labels == 0, np.uint8(VOID), labels)
    return result


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One clip of a benchmark.

    Attributes:
        name: name of its folders.
        folder: folder of the frame images.
        stems: (T,) file names of the frames without ending; the index is the frame's number.
        annotations: what the tracker is given, by frame.
        masks: (T,) ground-truth label maps, empty where the truth is points.
        joints: visible true points in pixels, by frame and name, empty where the truth is masks.
        counted: frames that are scored.
        decode: turns the numbers of a ground-truth file into ids with 255 for void.
    """

    name: str
    folder: Path
    stems: tuple[str, ...]
    annotations: Mapping[int, Annotation]
    masks: tuple[Path, ...] = ()
    joints: Mapping[int, Mapping[str, Point]] = field(default_factory=dict)
    counted: tuple[int, ...]
    decode: Callable[[Labels], Labels] = as_stored

    @property
    def start(self) -> int:
        """Number of the first annotated frame."""
        return min(self.annotations)

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the objects or classes in the first annotation."""
        return self.annotations[self.start].ids

    def truth(self, index: int) -> Labels:
        """Ground truth of a frame: (H, W) uint8 ids, 0 background, 255 void."""
        return self.decode(read_map(self.masks[index]))


def read_map(path: Path) -> Labels:
    """Read the ids of a palette or grey PNG as they are stored, even where there is no object.

    Args:
        path: a PNG of mode P or L, or of one bit (0 and 1).

    Returns:
        (H, W) uint8.

    Raises:
        InputError: the file is missing, is not an image, or is not one byte a pixel.
    """
    try:
        with Image.open(path) as image:
            stored = str(image.tile[0][3]) if image.tile else image.mode
            if image.mode not in ("P", "L", "1") or stored in ("L;2", "L;4"):  # stretched to 255
                raise InputError(
                    f"{path}: a label map must be a palette or 8-bit grey PNG, "
                    f"this one is of mode {stored}"
                )
            return np.array(image, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as an image ({error})") from error


def davis2016(root: Path) -> list[Sequence]:
    """Sequences of the DAVIS-2016 validation list, with everything that moves as object 1.

    Raises:
        InputError: there is no list, or a listed sequence is not there completely.
    """
    lists = ["ImageSets/480p/val.txt", "ImageSets/2016/val.txt", "ImageSets/val.txt"]
    found = [root / name for name in lists if (root / name).is_file()]
    if not found:
        raise InputError(
            f"{root}: no list of DAVIS-2016 sequences: expected {' or '.join(lists)}; "
            f"found {_content(root)}"
        )
    return _mask_sequences(root, _listed(found[0]), foreground, last=-1)


def davis2017(root: Path) -> list[Sequence]:
    """Sequences of the DAVIS-2017 validation list, or of every folder where there is no list.

    Raises:
        InputError: a sequence is not there completely, or its first frame shows no object.
    """
    path = root / "ImageSets/2017/val.txt"
    names = _listed(path) if path.is_file() else None
    return _mask_sequences(root, names, as_stored, last=-1)


def semantic(root: Path) -> list[Sequence]:
    """Every folder as a clip with a class for each pixel; id 0 is void.

    Raises:
        InputError: a sequence is not there completely, or its first frame shows no class.
    """
    return _mask_sequences(root, None, zero_is_void, last=0)


def badja(root: Path, points: Path) -> list[Sequence]:
    """Sequences with joints in some frames: those visible in the first of them are to be tracked.

    Args:
        root: DAVIS folder; only its images are used.
        points: CSV of sequence, frame, joint, x, y, visible; x and y in pixels of these images.

    Raises:
        InputError: the CSV is malformed, or names a sequence or a frame that `root` lacks.
    """
    images = _base(root, "JPEGImages")
    sequences = []
    for name in _tabulated(points):
        folder, stems, size = _frames(images, name)
        annotations = read_points(points, size=size, sequence=name)
        first, last = min(annotations), max(annotations)
        if last >= len(stems):
            raise InputError(
                f"{points}: {name} has joints in frame {last}, "
                f"but {folder} holds {len(stems)} frames"
            )
        sequences.append(
            Sequence(
                name=name,
                folder=folder,
                stems=stems,
                annotations={first: annotations[first]},
                joints={index: each.points for index, each in annotations.items()},
                counted=tuple(sorted(annotations))[1:],
            )
        )
    return sequences


@dataclass(frozen=True)
class Predicted:
    """What a score needs to know of a frame: the plainest form of a tracker's result."""

    index: int
    labels: Labels
    points: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


def stored(folder: Path, sequence: Sequence) -> Iterator[Predicted]:
    """Predictions for a sequence from files, in order of time; frames without one are left out.

    Args:
        folder: holds SEQUENCE/00000.png (ids, or 0 and 255) for masks, named as the frames are, or
            SEQUENCE/points.csv (frame, name, x, y) for points.
        sequence: what they are predictions for.

    Raises:
        InputError: a file cannot be read, or shows an id that the first frame does not.
    """
    if sequence.joints:
        for index, annotation in sorted(read_points(folder / sequence.name / POINTS).items()):
            points = {name: (x, y, 1.0) for name, (x, y) in annotation.points.items()}
            yield Predicted(index, np.zeros((1, 1), np.uint8), points)
        return
    for index, stem in enumerate(sequence.stems):
        path = folder / sequence.name / f"{stem}.png"
        if path.is_file():
            yield Predicted(index, _predicted(path, sequence))


def check_stored(folder: Path, sequences: Iterable[Sequence], known: Iterable[str]) -> None:
    """See that there is a file for every frame that counts, before anything is scored.

    Args:
        folder: as of `stored`.
        sequences: those to be scored.
        known: names of all sequences of the benchmark.

    Raises:
        InputError: a sequence or a frame is missing, or a folder is of no known sequence.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of predictions")
    found = {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."}
    unlisted = sorted(found - set(known))
    if unlisted:
        raise InputError(
            f"{folder / unlisted[0]}: the benchmark has no sequence of that name "
            f"({len(unlisted)} such); remove the folder or choose another benchmark"
        )
    for sequence in sequences:
        here = folder / sequence.name
        if not here.is_dir():
            raise InputError(
                f"{folder}: no predictions for {sequence.name}; found {_content(folder)}"
            )
        if sequence.joints:
            _require([here / POINTS], f"{here}: tables of points")
        else:
            files = [here / f"{sequence.stems[index]}.png" for index in sequence.counted]
            _require(files, f"{here}: predictions")


def _predicted(path: Path, sequence: Sequence) -> Labels:
    labels = read_map(path)
    shown = set(np.unique(labels).tolist()) - {0}
    if sequence.decode is foreground or (len(sequence.ids) == 1 and shown == {VOID}):
        return np.where(labels != 0, np.uint8(sequence.ids[0]), np.uint8(0))
    extra = sorted(shown - {*sequence.ids, VOID if sequence.decode is zero_is_void else 0})
    if extra:
        raise InputError(
            f"{path}: id {extra[0]} is not in the first annotation, "
            f"which has {', '.join(map(str, sequence.ids))}"
        )
    return labels


def _mask_sequences(
    root: Path,
    names: list[str] | None,
    decode: Callable[[Labels], Labels],
    *,
    last: int,
) -> list[Sequence]:
    images, annotations = _base(root, "JPEGImages"), _base(root, "Annotations")
    if names is None:
        names = sorted(path.name for path in annotations.iterdir() if path.is_dir())
        if not names:
            raise InputError(
                f"{annotations}: expected a folder for each sequence; found {_content(annotations)}"
            )
    sequences = []
    for name in names:
        folder, stems, _ = _frames(images, name)
        masks = tuple(annotations / name / f"{stem}.png" for stem in stems)
        _require(masks, f"{annotations / name}: ground-truth files")
        labels = decode(read_map(masks[0]))
        if not ((labels != 0) & (labels != VOID)).any():
            raise InputError(f"{masks[0]}: the first frame shows no object, nothing can be tracked")
        sequences.append(
            Sequence(
                name=name,
                folder=folder,
                stems=stems,
                annotations={0: Annotation(labels)},
                masks=masks,
                decode=decode,
                counted=tuple(range(1, len(stems) + last)),
            )
        )
    return sequences


def _require(files: Collection[Path], what: str) -> None:
    """Say how many of these files are missing, and which is the first."""
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise InputError(f"{what}: {len(missing)} of {len(files)} missing, first {missing[0]}")


def _base(root: Path, kind: str) -> Path:
    """`root/kind/480p` or `root/kind`: the folder that holds one folder for each sequence."""
    for folder in (root / kind / "480p", root / kind):
        if folder.is_dir():
            return folder
    raise InputError(
        f"{root}: expected a folder {kind} with a folder for each sequence (or {kind}/480p); "
        f"found {_content(root)}"
    )


def _frames(images: Path, name: str) -> tuple[Path, tuple[str, ...], tuple[int, int]]:
    """Folder of a sequence's frames, their stems in the order the tracker sees, and (H, W)."""
    folder = images / name
    if not folder.is_dir():
        raise InputError(f"{images}: no folder for sequence {name}; found {_content(images)}")
    video = open_video(folder)
    return folder, tuple(video.stems or ()), video.size


def _tabulated(path: Path) -> list[str]:
    """Names in the column `sequence` of a table."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names = [row.get("sequence") or "" for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table of joints ({error})") from error
    if not all(names) or not names:
        raise InputError(f"{path}: expected columns sequence, frame, joint, x, y, visible")
    return list(dict.fromkeys(names))


def _listed(path: Path) -> list[str]:
    """Sequence names of a list: one name a line, or one pair of image and mask paths a line."""
    entries = [line.split()[0] for line in path.read_text("utf-8").splitlines() if line.strip()]
    names = [Path(entry).parent.name if "/" in entry else entry for entry in entries]
    if not names:
        raise InputError(f"{path}: the list of sequences is empty")
    return list(dict.fromkeys(names))


def _content(folder: Path) -> str:
    """What a folder holds, in a few words."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) + more) if names else "nothing"
