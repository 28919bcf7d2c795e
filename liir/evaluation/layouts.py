"""Folders of public data sets, read as sequences; those of DAVIS's layout, and what all share.

Shapes: H W pixels, T frames. Frame images lie in `JPEGImages/480p/NAME` or `JPEGImages/NAME`, label
maps under the same names in `Annotations`; frame 0 of a sequence is its first image.
"""

import functools
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from liir.annotations import VOID, Annotation, Labels
from liir.errors import InputError
from liir.video import open_video

_log = logging.getLogger(__name__)

Point = tuple[float, float]

HIDDEN = ("test-dev", "test-challenge")
"""Splits of DAVIS-2017 whose truth only a server has."""


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
        folder: the frame images' folder, or a video file.
        stems: (T,) names of the frames without ending; the index is the frame's number.
        annotations: what the tracker is given, by frame.
        masks: ground-truth label maps by frame, of some frames or none.
        joints: visible true points in pixels, by frame and name, empty where the truth is masks.
        counted: frames that are scored.
        hidden: there is no truth to score with: predictions are for a server.
        official: frames whose predictions are kept; None for all.
        groups: what a summary tells apart, by object: seen and unseen, or the class.
        instances: the objects are instances of classes, which `groups` has.
        allowed: ids that predictions may show; None for those in the annotations.
        decode: turns the numbers of a ground-truth file into ids with 255 for void.
    """

    name: str
    folder: Path
    stems: tuple[str, ...]
    annotations: Mapping[int, Annotation]
    masks: Mapping[int, Path] = field(default_factory=dict)
    joints: Mapping[int, Mapping[str, Point]] = field(default_factory=dict)
    counted: tuple[int, ...] = ()
    hidden: bool = False
    official: frozenset[int] | None = None
    groups: Mapping[int, str] = field(default_factory=dict)
    instances: bool = False
    allowed: frozenset[int] | None = None
    decode: Callable[[Labels], Labels] = as_stored

    @property
    def start(self) -> int:
        """Number of the first annotated frame."""
        return min(self.annotations)

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the objects or classes in the annotations."""
        return tuple(sorted({i for each in self.annotations.values() for i in each.ids}))

    def born(self, number: int) -> int:
        """The frame in which an object is given."""
        return min(frame for frame, each in self.annotations.items() if number in each.ids)

    def kept(self, index: int) -> bool:
        """Whether the prediction for a frame is one to keep."""
        return self.official is None or index in self.official

    @property
    def wanted(self) -> tuple[int, ...]:
        """Frames that must have a prediction: those that are scored, or that a server takes."""
        if not self.hidden:
            return self.counted
        return tuple(i for i in range(self.start, len(self.stems)) if self.kept(i))

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
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error})") from error


# --- DAVIS, and folders like it


def davis2016(root: Path, split: str = "val") -> list[Sequence]:
    """Sequences of a DAVIS-2016 list, with everything that moves as object 1.

    Raises:
        InputError: there is no list, or a listed sequence is not there completely.
    """
    lists = [f"ImageSets/480p/{split}.txt", f"ImageSets/2016/{split}.txt", f"ImageSets/{split}.txt"]
    found = [root / name for name in lists if (root / name).is_file()]
    if not found:
        raise InputError(
            f"{root}: no list of DAVIS-2016 sequences: expected {' or '.join(lists)}; "
            f"found {content(root)}"
        )
    return _mask_sequences(root, listed(found[0]), foreground, last=-1)


def davis2017(root: Path, split: str = "val") -> list[Sequence]:
    """Sequences of a DAVIS-2017 list, or of every folder where there is no list of `val`.

    Of test-dev and test-challenge only first frames are annotated; the rest is hidden.

    Raises:
        InputError: a sequence is not there completely, or its first frame shows no object.
    """
    path = root / f"ImageSets/2017/{split}.txt"
    if not path.is_file() and split != "val":
        raise InputError(f"{path}: no such list of sequences; found {content(path.parent)}")
    if path.is_file():
        return _mask_sequences(root, listed(path), as_stored, last=-1, hidden=split in HIDDEN)
    sequences = _mask_sequences(root, None, as_stored, last=-1)
    _say(f"{path}: no such list, every folder is taken ({len(sequences)} sequences)")
    return sequences


@functools.cache
def _say(text: str) -> None:
    """Logs something once, however often a folder is read."""
    _log.warning(text)


def semantic(root: Path) -> list[Sequence]:
    """Every folder as a clip with a class for each pixel; id 0 is void.

    Raises:
        InputError: a sequence is not there completely, or its first frame shows no class.
    """
    return _mask_sequences(root, None, zero_is_void, last=0)


def _mask_sequences(
    root: Path,
    names: list[str] | None,
    decode: Callable[[Labels], Labels],
    *,
    last: int,
    hidden: bool = False,
) -> list[Sequence]:
    images, annotations = base(root, "JPEGImages"), base(root, "Annotations")
    if names is None:
        names = sorted(path.name for path in annotations.iterdir() if path.is_dir())
        if not names:
            raise InputError(
                f"{annotations}: expected a folder for each sequence; found {content(annotations)}"
            )
    sequences = []
    for name in names:
        folder, stems, size = frames(images, name)
        if decode is not zero_is_void:
            _no_gaps(folder, stems)
        shown = 1 if hidden else len(stems)
        masks = {i: annotations / name / f"{stem}.png" for i, stem in enumerate(stems[:shown])}
        require(masks.values(), f"{annotations / name}: ground-truth files")
        no_strangers(annotations / name, stems, f"{folder}: no frames for label maps")
        same_size([masks[0]], size)
        labels = decode(read_map(masks[0]))
        sequences.append(
            Sequence(
                name=name,
                folder=folder,
                stems=stems,
                annotations={0: first_annotation(labels, masks[0])},
                masks=masks,
                hidden=hidden,
                decode=decode,
                counted=() if hidden else tuple(range(1, len(stems) + last)),
            )
        )
    return sequences


def _no_gaps(folder: Path, stems: tuple[str, ...]) -> None:
    """See that no frame of DAVIS is gone together with its mask: the others' scores would differ.

    Names that are no numbers tell nothing; numbers may go up by more than one, but evenly.
    """
    if len(stems) < 2 or not all(stem.isdecimal() for stem in stems):
        return
    numbers = [int(stem) for stem in stems]
    step = max(1, min(b - a for a, b in itertools.pairwise(numbers)))
    gone = sorted({*range(numbers[0], numbers[-1], step)} - {*numbers})
    if gone:
        first = f"{gone[0]:0{len(stems[0])}}"
        raise InputError(f"{folder}: {len(gone)} frames missing between others, first {first}")


# --- What the readers of all data sets share


def first_annotation(labels: Labels, path: Path) -> Annotation:
    """The annotation of a first frame; InputError where it shows no object."""
    if not ((labels != 0) & (labels != VOID)).any():
        raise InputError(f"{path}: the first frame shows no object, nothing can be tracked")
    return Annotation(labels)


def same_size(paths: Collection[Path], size: tuple[int, int]) -> None:
    """See that label maps are as large as the frames, (H, W); else InputError."""
    others = []
    for path in paths:
        try:
            with Image.open(path) as image:
                width, height = image.size
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{path}: cannot be read as an image ({error})") from error
        if (height, width) != size:
            others.append((path, f"{width}x{height}"))
    if others:
        path, found = others[0]
        count = f" ({len(others)} of {len(paths)} are of another size)" if len(paths) > 1 else ""
        raise InputError(f"{path}: has {found} pixels, the frames {size[1]}x{size[0]}{count}")


def require(files: Collection[Path], what: str) -> None:
    """Say how many of these files are missing, and which is the first."""
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise InputError(f"{what}: {len(missing)} of {len(files)} missing, first {missing[0]}")


def no_strangers(folder: Path, stems: Iterable[str], what: str) -> None:
    """Say which PNGs of a folder are of no frame."""
    strange = sorted({path.stem for path in folder.glob("*.png")} - {*stems})
    if strange:
        raise InputError(f"{what}: {len(strange)} missing, first {strange[0]}")


def base(root: Path, kind: str) -> Path:
    """`root/kind/480p` or `root/kind`: the folder that holds one folder for each sequence."""
    for folder in (root / kind / "480p", root / kind):
        if folder.is_dir():
            return folder
    raise InputError(
        f"{root}: expected a folder {kind} with a folder for each sequence (or {kind}/480p); "
        f"found {content(root)}"
    )


def frames(images: Path, name: str) -> tuple[Path, tuple[str, ...], tuple[int, int]]:
    """Folder of a sequence's frames, their stems in the order the tracker sees, and (H, W)."""
    folder = images / name
    if not folder.is_dir():
        raise InputError(f"{images}: no folder for sequence {name}; found {content(images)}")
    video = open_video(folder)
    return folder, tuple(video.stems or ()), video.size


def listed(path: Path) -> list[str]:
    """Sequence names of a list: one name a line, or one pair of image and mask paths a line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of sequences ({error})") from error
    entries = [line.split()[0] for line in lines if line.strip()]
    names = [Path(entry).parent.name if "/" in entry else entry for entry in entries]
    if not names:
        raise InputError(f"{path}: the list of sequences is empty")
    return list(dict.fromkeys(names))


def content(folder: Path) -> str:
    """What a folder holds, in a few words."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) + more) if names else "nothing"
