"""Annotations: what a person says about a frame, and the files that say it.

Label images (palette or grey), keypoints (CSV, JSON) and COCO documents become `Annotation`s, one a
frame. Whatever a file holds, a reader returns annotations or raises `InputError`.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liir.coco import read_document
from liir.errors import InputError
from liir.inputs import (
    MAX_ID,
    Records,
    frame_number,
    integer,
    listed,
    naming,
    read_json,
    read_table,
    records,
)
from liir.labels import VOID as VOID
from liir.labels import Labels as Labels
from liir.labels import Size, fitted, label_map, read_picture
from liir.labels import voc_palette as voc_palette


@dataclass(frozen=True, eq=False)
class Annotation:
    """What is said about one frame: where objects are, which are not there, where points are.

    Args:
        labels: (H, W) uint8 object ids; 0 background, 255 void (unknown). None for points alone.
        ids: the objects spoken for. Those in `labels` are added by themselves; one that is not in
            `labels` is said to be absent from the frame. Kept sorted.
        points: name -> (x, y) in pixels, x right, y down, pixel centres at +0.5.

    Raises:
        InputError: neither object nor point, or a part has the wrong form.
    """

    labels: Labels | None = None
    ids: tuple[int, ...] = ()
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = {integer(number, "an object id", 1, MAX_ID) for number in self.ids}
        if self.labels is not None:
            if self.labels.dtype != np.uint8 or self.labels.ndim != 2 or not self.labels.size:
                raise InputError(
                    "labels are an array (H, W) of uint8; see as_annotation for others"
                )
            given |= set(np.unique(self.labels).tolist()) - {0, VOID}
        elif given:
            raise InputError("object ids need labels (all zero where the objects are absent)")
        points = {str(name): _point(name, xy) for name, xy in self.points.items()}
        if not given and not points:
            raise InputError("there is no object in it: mark at least one (ids 1 to 254)")
        object.__setattr__(self, "ids", tuple(sorted(given)))
        object.__setattr__(self, "points", points)


Annotations = dict[int, Annotation]  # by frame index


def as_annotation(
    value: Annotation | str | Path | NDArray[np.generic],
    *,
    frame: int | None = None,
    size: Size | None = None,
    resize: bool = False,
) -> Annotation:
    """The annotation of one frame from whatever says it.

    Args:
        value: an annotation; a file; or an array (H, W) of integer ids (0 background, 255 void;
            nothing but 0 and 255 is object 1) or bool (object 1).
        frame: which frame to take from a file that speaks of several.
        size: (H, W) of the video in pixels, if known.
        resize: bring labels of another size to `size` instead of refusing them.

    Raises:
        InputError: the value says nothing usable, or its size is not the video's.
    """
    if isinstance(value, str | Path):
        found = read_annotations(value, size=size, resize=resize, frame=frame)
        if len(found) > 1:
            raise InputError(f"{value}: speaks of frames {listed(found)}, say which one to take")
        return next(iter(found.values()))
    with naming("annotation" if frame is None else f"annotation of frame {frame}"):
        if isinstance(value, np.ndarray):
            return Annotation(fitted(label_map(value), size, resize))
        if not isinstance(value, Annotation):
            raise InputError(f"is a {type(value).__name__}; give a file or an array (H, W) of ids")
        labels = None if value.labels is None else fitted(value.labels, size, resize)
        points = {name: _point(name, xy, size) for name, xy in value.points.items()}
        return Annotation(labels, value.ids, points)


def parse_annotation_option(option: str | Path) -> tuple[int | None, Path]:
    """`12=mask.png` -> (12, mask.png); `points.csv` -> (None, points.csv). A Path is a file."""
    if isinstance(option, str):
        before, sign, file = option.partition("=")
        if sign and re.fullmatch(r"[\s\d.+-]*", before):
            with naming(f"annotation {option!r}"):
                if not file:
                    raise InputError("no file after the '=': write FRAME=FILE")
                return frame_number(before), Path(file)
    return None, Path(option)


def load_annotations(
    options: Sequence[str | Path],
    size: Size | None,
    *,
    resize: bool = False,
    stems: Sequence[str] | None = None,
) -> Annotations:
    """Annotations by frame, from several files together.

    Args:
        options: each `FRAME=FILE` or `FILE` (see `read_annotations`).
        size: (H, W) of the video in pixels, if known.
        resize: bring labels of another size to `size` (nearest neighbour).
        stems: names of the video's frames, if they are images of a folder.

    Raises:
        InputError: a file cannot be used, or two files contradict each other.
    """
    merged: Annotations = {}
    for option in options:
        frame, path = parse_annotation_option(option)
        found = read_annotations(path, size=size, resize=resize, frame=frame, stems=stems)
        for index, new in found.items():
            with naming(f"{path}, frame {index}"):
                merged[index] = _merged(merged[index], new) if index in merged else new
    return dict(sorted(merged.items()))


def check_frames(annotations: Iterable[int], start: int, stop: int | None) -> None:
    """Raise InputError unless every annotated frame is one of those to label, [start, stop)."""
    for index in annotations:
        with naming(f"annotation of frame {index}"):
            frame = frame_number(index)
            if frame < start or (stop is not None and frame >= stop):
                last = "the end" if stop is None else stop - 1
                raise InputError(f"the frames to label are {start} to {last}")


def read_annotations(
    path: str | Path,
    *,
    size: Size | None = None,
    resize: bool = False,
    frame: int | None = None,
    stems: Sequence[str] | None = None,
) -> Annotations:
    """Annotations by frame from one file: CSV, JSON (points or COCO) or a label image.

    A label image is of frame `frame`; without one, of the frame that is named like it among
    `stems` (of a folder of images, whatever their numbers), else of that its name is the number of
    (`00012.png`, as liir writes them), else of frame 0. The other files carry their own frames, a
    COCO document by `stems` likewise; `frame` picks one of them.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        found = read_points(path, size=size)
    elif suffix == ".json":
        with naming(str(path)):
            document = read_json(path)
            if isinstance(document, dict) and "images" in document:
                found = {
                    index: Annotation(fitted(labels, size, resize), tuple(ids))
                    for index, (labels, ids) in sorted(read_document(document, stems).items())
                }
                if not found:
                    raise InputError("holds no annotation")
            else:
                found = _json_points(document, size)
    else:
        if frame is None and path.stem in (stems or ()):
            frame = list(stems or ()).index(path.stem)
        elif frame is None:
            frame = int(path.stem) if re.fullmatch(r"[0-9]{1,9}", path.stem) else 0
        found = {frame: read_labels(path, size=size, resize=resize)}
    if frame is None:
        return found
    if frame not in found:
        raise InputError(f"{path}: says nothing of frame {frame}, only of {listed(found)}")
    return {frame: found[frame]}


def read_labels(path: str | Path, *, size: Size | None = None, resize: bool = False) -> Annotation:
    """The annotation that a label image is; see `labels.read_picture`."""
    with naming(str(path)):
        return Annotation(fitted(read_picture(Path(path)), size, resize))


def _merged(one: Annotation, two: Annotation) -> Annotation:
    """Both annotations of one frame; void gives way to what is known."""
    for twice in [*one.ids, *one.points]:
        if twice in two.ids or twice in two.points:
            raise InputError(f"{twice!r} is given by another file too: give each its own id")
    labels = two.labels if one.labels is None else one.labels
    if one.labels is not None and two.labels is not None:
        if one.labels.shape != two.labels.shape:
            raise InputError("is not of the same size as another annotation of the frame")
        known = (two.labels != 0) & (two.labels != VOID)
        clashes = np.count_nonzero(known & (one.labels != 0) & (one.labels != VOID))
        if clashes:
            raise InputError(f"{clashes} pixels belong to an object of another file: cut one back")
        void = (one.labels == 0) & (two.labels == VOID)
        labels = np.where(known | void, two.labels, one.labels)
    return Annotation(labels, one.ids + two.ids, {**one.points, **two.points})


# --- Keypoints


def read_points(
    path: str | Path, *, size: Size | None = None, sequence: str | None = None
) -> Annotations:
    """Keypoints from a CSV: columns frame, name (or joint), x, y and, if there, visible.

    Other columns are ignored, apart from `sequence`: where a file holds several sequences, the
    argument of that name picks one. Points with visible = 0 are left out.
    """
    with naming(str(path)):
        columns, rows = read_table(Path(path))
        if not {"frame", "x", "y"} <= columns or not {"name", "joint"} & columns:
            raise InputError("the first line must name the columns: frame,name,x,y[,visible]")
        return _points(_of_sequence(rows, sequence), size)


def _of_sequence(rows: Records, sequence: str | None) -> Records:
    """The rows of the sequence of that name, or of the only one there is."""
    sequences = set()
    for where, row in rows:
        if sequence is None or row.get("sequence") == sequence:
            sequences.add(row.get("sequence"))
            if len(sequences) > 1:
                raise InputError("holds several sequences: say which one to take")
            yield where, row


def _json_points(document: object, size: Size | None) -> Annotations:
    """Keypoints of JSON: the records of the CSV in a list, or in {"points": [...]}."""
    document = {"points": document} if isinstance(document, list) else document
    if not isinstance(document, dict) or "points" not in document:
        raise InputError("is neither a list of points nor a COCO document (images, annotations)")
    return _points(records(document, "points"), size)


def _points(rows: Records, size: Size | None) -> Annotations:
    """Annotations of keypoint records, each with the words that say where it stands."""
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for where, record in rows:
        with naming(where):
            frame = frame_number(record.get("frame"))
            name = str(record["name"] if "name" in record else record.get("joint", "")).strip()
            if not name or not name.isprintable():
                raise InputError(f"the name {name!r} is empty or cannot be printed")
            if not _visible(record):
                continue
            here = found.setdefault(frame, {})
            if name in here:
                raise InputError(f"point {name!r} stands twice in frame {frame}")
            here[name] = _point(name, (record.get("x"), record.get("y")), size)
    if not found:
        raise InputError("holds no visible point")
    return {frame: Annotation(points=points) for frame, points in sorted(found.items())}


def _visible(record: Mapping[str, object]) -> bool:
    """Whether a record's point counts: not with 0, false or no, nor with nothing in x and y."""
    text = str(record.get("visible", "")).strip().lower()
    if text in ("0", "0.0", "false", "no"):
        return False
    if text == "":
        return not all(str(record.get(key)).strip() in ("", "None") for key in "xy")
    if text in ("1", "1.0", "true", "yes"):
        return True
    raise InputError(f"visible is {text!r:.40}: write 1 or 0")


def _point(name: str, xy: Sequence[object], size: Size | None = None) -> tuple[float, float]:
    """(x, y), checked; one on the far edge of the frame belongs to the last pixel."""
    with naming(f"point {name!r}"):
        try:
            x, y = (float(value) for value in xy)  # type: ignore[arg-type]  # found out right here
        except (TypeError, ValueError, OverflowError):
            comma = any(re.fullmatch(r"\s*-?\d+,\d*\s*", str(value)) for value in xy)
            hint = ": write decimals with a point, 1.5 and not 1,5" if comma else ""
            raise InputError(f"{xy!r:.80} is not a pair of numbers x, y{hint}") from None
        if not (math.isfinite(x) and math.isfinite(y)):
            raise InputError(f"({x}, {y}) is not finite: leave it empty or set visible to 0")
        if size is None:
            return x, y
        height, width = size
        if not (0 <= x <= width and 0 <= y <= height):
            raise InputError(f"({x:g}, {y:g}) lies outside of the frame, {width}x{height} pixels")
        return min(x, width - 1e-3), min(y, height - 1e-3)
