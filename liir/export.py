"""Results as files: label and probability images, a COCO document, and tables of points.

Images and documents are written beside their name and then renamed, so that no half-written file
ever bears it. Tables grow row by row: what is finished when a run is interrupted stays. The same
results give the same bytes.
"""

import csv
import io
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import find_objects

from liir import rle
from liir.annotations import VOID
from liir.annotations import voc_palette as voc_palette
from liir.errors import InputError
from liir.files import writing, written


def write_label_png(path: str | Path, labels: NDArray[np.uint8]) -> None:
    """Object ids as a palette PNG in the VOC colours.

    Args:
        path: the file.
        labels: (H, W) uint8 ids; 0 background, 255 void.

    Raises:
        InputError: the file cannot be written.
    """
    with _beside(Path(path)) as file:
        file.write(label_png(labels))


def label_png(labels: NDArray[np.uint8]) -> bytes:
    """The content of that file."""
    assert labels.ndim == 2, labels.shape
    assert labels.dtype == np.uint8, labels.dtype
    image = Image.fromarray(labels)
    image.putpalette(voc_palette().tobytes())  # makes it a palette image, the values untouched
    file = io.BytesIO()
    image.save(file, "PNG", bits=8)  # few ids would else be packed in fewer bits, for some lost
    return file.getvalue()


def write_probability_png(path: str | Path, probability: NDArray[np.floating]) -> None:
    """Probabilities (H, W) in [0, 1] as a grey PNG, 255 for 1; InputError as `write_label_png`."""
    assert probability.ndim == 2, probability.shape
    grey = np.rint(np.clip(np.nan_to_num(probability), 0, 1) * 255).astype(np.uint8)
    with _beside(Path(path)) as file:
        Image.fromarray(grey).save(file, "PNG")


class _Writer:
    """A context manager that closes; also where it is left by an error: what is finished stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError


class CocoWriter(_Writer):
    """One COCO document of all frames: an image a frame, an annotation per frame and object.

    An annotation's `track_id` and `category_id` are the object id; an object that is not in its
    frame has an empty mask. Finished frames wait in a journal beside the document (`.part`, a line
    of JSON each), not in memory, and survive a killed process; `close` makes the document of it.

    Args:
        path: the document, a `.json` file.
        keep: go on from what the journal, else the document, holds of these frames, such as
            `range(120)`; None starts anew.
        names: object id -> what its category is called; "object 3" where it says nothing.

    Raises:
        InputError: a file cannot be written, or the one to go on from is not such a document.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        keep: Container[int] | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._names = names or {}
        self._journal = self.path.with_name(self.path.name + ".part")
        entries = () if keep is None else self._previous(keep)
        with _beside(self._journal) as file:
            file.writelines(map(_line, entries))
        with writing(self._journal):
            self._file = self._journal.open("ab")

    def write(
        self,
        index: int,
        labels: NDArray[np.uint8],
        objects: Mapping[int, float] | Iterable[int] = (),
        *,
        name: str | None = None,
    ) -> None:
        """Add a frame.

        Args:
            index: the frame's; one that is there already is replaced.
            labels: (H, W) uint8 ids; 0 background, 255 void.
            objects: the ids to tell of, also where they are absent, or id -> score in [0, 1].
                Ids in `labels` are always told.
            name: the image's file name; by default `00012.jpg` for frame 12.
        """
        height, width = labels.shape
        image = {
            "id": index,
            "file_name": name or f"{index:05d}.jpg",
            "frame_index": index,
            "width": width,
            "height": height,
        }
        scores = objects if isinstance(objects, Mapping) else dict.fromkeys(objects)
        masks = rle.encode_labels(labels)
        areas = np.bincount(labels.ravel(), minlength=VOID)
        boxes = [None, *find_objects(labels)]
        nothing = rle.encode(np.zeros(labels.shape, np.bool_))
        annotations = []
        for number in sorted({*masks, *scores} - {0, VOID}):
            annotation = {
                "image_id": index,
                "category_id": number,
                "track_id": number,
                "iscrowd": 0,
                "area": int(areas[number]),
                "bbox": _box(boxes[number] if number in masks else None),
                "segmentation": masks.get(number, nothing),
            }
            score = scores.get(number)
            if score is not None:
                annotation["score"] = round(float(score), 4)
            annotations.append(annotation)
        with writing(self._journal):
            self._file.write(_line({"image": image, "annotations": annotations}))
            self._file.flush()

    def close(self) -> None:
        """Write the document, frames in order, and remove the journal."""
        if self._file.closed:
            return
        with writing(self._journal):
            self._file.close()
        # Frames may come in any order (backwards from the first annotation) and twice (corrected).
        places: dict[int, int] = {}
        numbers: set[int] = set()
        for place, entry in _journalled(self._journal):
            places[entry["image"]["frame_index"]] = place
            numbers.update(each["category_id"] for each in entry["annotations"])

        def ordered() -> Iterator[dict[str, Any]]:
            with self._journal.open("rb") as journal:
                for index in sorted(places):
                    journal.seek(places[index])
                    yield json.loads(journal.readline())

        annotations = (each for entry in ordered() for each in entry["annotations"])
        with _beside(self.path) as file:
            file.write(b'{"images":[\n')
            _listed(file, (entry["image"] for entry in ordered()))
            file.write(b'],"annotations":[\n')
            _listed(file, ({"id": i} | each for i, each in enumerate(annotations, start=1)))
            file.write(b'],"categories":[\n')
            named = {number: self._names.get(number, f"object {number}") for number in numbers}
            _listed(file, ({"id": number, "name": named[number]} for number in sorted(numbers)))
            file.write(b"]}\n")
        self._journal.unlink()

    def _previous(self, keep: Container[int]) -> Iterator[dict[str, Any]]:
        """The entries of an earlier run that stay."""
        source = self._journal if self._journal.exists() else self.path
        if not source.exists():
            return
        try:
            if source == self._journal:
                entries: Iterable[dict[str, Any]] = (entry for _, entry in _journalled(source))
            else:
                entries = _entries(json.loads(source.read_bytes()))
            for entry in entries:
                if entry["image"]["frame_index"] in keep:
                    yield entry
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise InputError(
                f"{source}: is not a document of an earlier run to go on from: remove it"
            ) from None


class _Table(_Writer):
    """A CSV that grows by the rows of a frame at a time; its first column is the frame.

    Args:
        path: the file.
        keep: go on from the rows that the file holds of these frames; None starts anew.

    Raises:
        InputError: the file cannot be written, or the one to go on from has other columns.
    """

    columns: tuple[str, ...]

    def __init__(self, path: str | Path, *, keep: Container[int] | None = None) -> None:
        self.path = Path(path)
        rows = [] if keep is None else self._previous(keep)
        with _beside(self.path) as file:
            file.write(_csv([self.columns, *rows]))
        with writing(self.path):
            self._file = self.path.open("ab")

    def close(self) -> None:
        """Close the file."""
        with writing(self.path):
            self._file.close()

    def _append(self, rows: Iterable[Iterable[object]]) -> None:
        with writing(self.path):
            self._file.write(_csv(rows))
            self._file.flush()

    def _previous(self, keep: Container[int]) -> list[list[str]]:
        """The rows of an earlier run that stay; a last line that was cut off does not."""
        if not self.path.exists():
            return []
        try:
            text = self.path.read_bytes().rpartition(b"\n")[0].decode()
            header, *rows = csv.reader(io.StringIO(text, newline=""))
            if tuple(header) == self.columns:
                return [row for row in rows if row and int(row[0]) in keep]
        except (OSError, ValueError, csv.Error):
            pass
        raise InputError(f"{self.path}: is not a table of an earlier run to go on from: remove it")


class PointWriter(_Table):
    """Points as CSV `frame,name,x,y,visible,confidence`, which `read_points` reads again."""

    columns = ("frame", "name", "x", "y", "visible", "confidence")

    def write(
        self,
        index: int,
        points: Mapping[str, tuple[float, float, float]],
        visible: Callable[[str], bool] | None = None,
    ) -> None:
        """Add a frame: name -> (x, y in pixels, confidence); all are visible unless `visible`."""
        self._append(
            (
                index,
                name,
                f"{x:.3f}",
                f"{y:.3f}",
                int(visible is None or visible(name)),
                f"{confidence:.4f}",
            )
            for name, (x, y, confidence) in points.items()
        )


class ConfidenceWriter(_Table):
    """How sure each object is in each frame, as CSV `frame,object,confidence`."""

    columns = ("frame", "object", "confidence")

    def write(self, index: int, objects: Mapping[int, float]) -> None:
        """Add a frame: object id -> confidence in [0, 1]."""
        self._append((index, number, f"{sure:.4f}") for number, sure in sorted(objects.items()))


def _box(place: tuple[slice, slice] | None) -> list[int]:
    """[x, y, width, height] in pixels; zeros where an object is not in the frame."""
    if place is None:
        return [0, 0, 0, 0]
    rows, columns = place
    return [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]


def _line(value: object) -> bytes:
    """JSON on one line."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _listed(file: BinaryIO, values: Iterable[object]) -> None:
    """The inside of a JSON list, a value a line."""
    for place, value in enumerate(values):
        file.write((b"," if place else b"") + _line(value))


def _journalled(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(place in the file, entry) of a journal, up to a last line that was cut off."""
    place = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield place, json.loads(line)
            place += len(line)


def _entries(document: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """A document of ours as the entries of its journal."""
    entries = {image["id"]: {"image": image, "annotations": []} for image in document["images"]}
    for annotation in document["annotations"]:
        del annotation["id"]  # given anew when the document is written
        entries[annotation["image_id"]]["annotations"].append(annotation)
    return entries.values()


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """A file that appears as `path` when all went well; its folder is made."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with written(path) as partial, partial.open("wb") as file:
            yield file
