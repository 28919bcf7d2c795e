"""Annotations from files that other programs wrote, for the frames of a project.

Those that `liir track --annotation` reads (label images, COCO, keypoint CSV), and what the page
exports beside them: zips of masks or of YOLO texts, CVAT's XML, TIFFs of labels.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Sized
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from liir.annotations import Annotation, Annotations, read_annotations
from liir.coco import rasterise
from liir.errors import InputError
from liir.inputs import MAX_ID, frame_number, integer, naming
from liir.labels import Labels, Size
from liir.page.marks import Marks, Place, State
from liir.page.project import Project

_MOST_ENTRIES = 20_000
_MOST_BYTES = 500_000_000  # unpacked, of a zip
_MOST_PIXELS = 4_000_000_000  # of all frames of a file together: a byte each in memory

Names = dict[int, str]
Read = tuple[Annotations, Names]


def read_file(path: Path, project: Project, frame: int) -> Read:
    """Annotations by frame, and names of objects, that a file holds.

    Args:
        path: The file; its suffix tells the kind.
        project: For which project.
        frame: What a label image without a number in its name is of.

    Raises:
        InputError: It cannot be used.
    """
    size, suffix = project.size, path.suffix.lower()
    if suffix == ".zip":
        return _read_zip(path, project, frame)
    if suffix == ".xml":
        return _read_cvat(path, project)
    if suffix == ".txt":
        with naming(path.name):
            return {frame: _yolo(path.read_text("utf-8", "replace"), size)}, {}
    if suffix in (".tif", ".tiff"):
        pages = _pages(path)
        if pages > 1:
            return _read_stack(path, pages, size), {}
    if suffix in (".csv", ".json"):
        return read_annotations(path, size=size, stems=project.stems), {}
    number = _frame_of(path.stem, project)
    return read_annotations(path, size=size, frame=frame if number is None else number), {}


def take_in(project: Project, found: Annotations, names: Names) -> list[int]:
    """Puts annotations in the place of what the project has on those frames; its frames.

    Raises:
        InputError: A frame is not there, or there are too many objects.
    """
    with project.lock:
        state: State = project.state
        for frame, given in sorted(found.items()):
            with naming(f"frame {frame}"):
                project.check_frame(frame)
            for number in given.ids:
                if number not in state.ids:
                    state, _ = state.with_thing(names.get(number, ""), number)
            for name in given.points:
                if all(point.name != name for point in state.points):
                    state = state.with_point(name)
            before = state.marks(frame)
            points = dict(before.points)
            points |= {n: Place(round(x, 2), round(y, 2)) for n, (x, y) in given.points.items()}
            marks = replace(before, points=points)
            if given.labels is not None:
                present = set(np.unique(given.labels).tolist())
                absent = frozenset(set(given.ids) - present)
                marks = Marks.of(given.labels, absent, points)
            state = state.marked(frame, marks)
        project.change(state)
    return sorted(found)


def _check_room(frames: Sized, size: Size) -> None:
    if len(frames) * size[0] * size[1] > _MOST_PIXELS:
        raise InputError("labels too many frames for the memory: import it in parts")


def _frame_of(stem: str, project: Project) -> int | None:
    """The frame a file is named after."""
    if project.stems is not None and stem in project.stems:
        return project.stems.index(stem)
    return int(stem) if re.fullmatch(r"[0-9]{1,9}", stem) else None


def _pages(path: Path) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("TIFF",)) as image:
                return int(getattr(image, "n_frames", 1))
    except Exception as error:  # Pillow's readers raise almost anything
        raise InputError(f"{path.name}: is not a TIFF ({type(error).__name__})") from None


def _read_stack(path: Path, pages: int, size: Size) -> Annotations:
    """Page i is frame i; pages of nothing but background say nothing."""
    found: Annotations = {}
    with naming(path.name):
        if pages > _MOST_ENTRIES:
            raise InputError(f"holds more than {_MOST_ENTRIES} pages: give a zip of PNGs")
        try:
            with Image.open(path, formats=("TIFF",)) as image:
                for page in range(pages):
                    image.seek(page)
                    if image.size != size[::-1]:
                        raise InputError(f"page {page} is not of the video's size")
                    labels = np.asarray(image)
                    if labels.ndim != 2 or labels.min() < 0 or labels.max() > 255:
                        raise InputError(f"page {page} does not hold ids from 0 to {MAX_ID}")
                    if labels.any():
                        found[page] = Annotation(labels.astype(np.uint8))
                        _check_room(found, size)
        except InputError:
            raise
        except Exception as error:  # as above
            raise InputError(f"cannot be read ({type(error).__name__})") from None
        if not found:
            raise InputError("holds no object on any page")
    return found


def _read_zip(path: Path, project: Project, frame: int) -> Read:
    """Masks, or texts of YOLO, named after their frames; names are never paths here."""
    found: Annotations = {}
    names: Names = {}
    left = _MOST_BYTES
    with naming(path.name):
        try:
            with zipfile.ZipFile(path) as archive:
                if len(archive.infolist()) > _MOST_ENTRIES:
                    raise InputError(f"holds more than {_MOST_ENTRIES} files: import it in parts")
                for entry in archive.infolist():
                    inside = PurePosixPath(entry.filename.replace("\\", "/"))
                    kind = inside.suffix.lower()
                    if entry.is_dir() or kind not in (".png", ".txt", ".yaml"):
                        continue
                    left -= entry.file_size
                    if left < 0:
                        raise InputError(f"unpacks to more than {_MOST_BYTES // 1_000_000} MB")
                    with archive.open(entry) as file:
                        data = file.read(entry.file_size + 1)
                    if inside.name in ("objects.txt", "data.yaml"):
                        names |= _names(data.decode("utf-8", "replace"), inside.name)
                        continue
                    number = _frame_of(inside.stem, project)
                    with naming(inside.name):
                        given = _entry(data, kind, path.with_name("entry"), project.size)
                    if given is not None:
                        found[frame if number is None else number] = given
                        _check_room(found, project.size)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            raise InputError(f"cannot be unpacked ({error})") from None
        if not found:
            raise InputError("holds no mask (PNG) and no YOLO text named after a frame")
    return found, names


def _entry(data: bytes, kind: str, scratch: Path, size: Size) -> Annotation | None:
    if kind == ".txt":
        text = data.decode("utf-8", "replace")
        return _yolo(text, size) if text.strip() else None
    path = scratch.with_suffix(".png")
    path.write_bytes(data)
    try:
        with Image.open(path, formats=("PNG",)) as image:
            # Its size before its pixels; a wrong one is told below.
            if image.size == size[::-1] and image.getextrema() == (0, 0):
                return None
        return read_annotations(path, size=size, frame=0)[0]
    except InputError as error:
        raise InputError(str(error).partition(": ")[2] or str(error)) from None
    except Image.DecompressionBombError:
        raise InputError("has too many pixels") from None
    except Exception as error:  # Pillow's readers raise almost anything
        raise InputError(f"is not a PNG ({type(error).__name__})") from None
    finally:
        path.unlink()


def _names(text: str, file: str) -> Names:
    """Names by id: `1<tab>dog`, or of a YOLO data.yaml `0: dog`, whose classes count from 0."""
    sign, first = ("\t", 0) if file == "objects.txt" else (":", 1)
    found = {}
    for line in text.splitlines():
        number, _, name = line.strip().partition(sign)
        name = name.strip().strip("\"'")
        if re.fullmatch(r"[0-9]{1,3}", number) and name and name.isprintable():
            found[int(number) + first] = name[:100]
    return found


def _yolo(text: str, size: Size) -> Annotation:
    """Lines of class and corners, as shares of the sides; class 0 is object 1."""
    height, width = size
    labels = np.zeros(size, np.uint8)
    for place, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        with naming(f"line {place}"):
            try:
                number = int(words[0]) + 1
                shares = [float(word) for word in words[1:]]
            except ValueError:
                raise InputError("is not a class and corners, as numbers") from None
            integer(number, "the class plus one", 1, MAX_ID)
            # Corners of pixels, written with six decimals, are whole numbers again.
            sides = (width, height)
            corners = [_snapped(value * sides[i % 2]) for i, value in enumerate(shares)]
            labels[rasterise([corners], size)] = number
    return Annotation(labels)


def _snapped(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < 0.02 else value


def _read_cvat(path: Path, project: Project) -> Read:
    """The tracks of CVAT for video 1.1: polygons and points."""
    size = project.size
    with naming(path.name):
        text = path.read_text("utf-8", "replace")
        if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
            raise InputError("declares entities, which no export of CVAT does")
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise InputError(f"is not XML ({error})") from None
        labels: dict[int, Labels] = {}
        points: dict[int, dict[str, tuple[float, float]]] = {}
        ids: dict[str, int] = {}
        for track in root.iter("track"):
            name = (track.get("label") or "object")[:100]
            for shape in track:
                if shape.get("outside") == "1" or shape.tag not in ("polygon", "points", "mask"):
                    continue
                if shape.tag == "mask":
                    raise InputError("holds masks: export it with polygons")
                frame = project.check_frame(frame_number(shape.get("frame")))
                corners = _corners(shape.get("points") or "")
                if shape.tag == "points":
                    if shape.get("occluded") != "1":
                        points.setdefault(frame, {})[name] = (corners[0], corners[1])
                    continue
                number = ids.setdefault(name, len(ids) + 1)
                integer(number, "the number of objects", 1, MAX_ID)
                if frame not in labels:
                    labels[frame] = np.zeros(size, np.uint8)
                    _check_room(labels, size)
                here = labels[frame]
                here[rasterise([corners], size)] = number
        found = {
            frame: Annotation(labels.get(frame), points=points.get(frame, {}))
            for frame in sorted({*labels, *points})
        }
        if not found:
            raise InputError("holds no track of polygons or points")
        return found, {number: name for name, number in ids.items()}


def _corners(text: str) -> list[float]:
    try:
        corners = [float(value) for pair in text.split(";") for value in pair.split(",")]
    except ValueError:
        corners = []
    if len(corners) < 2 or len(corners) % 2:
        raise InputError(f"{text!r:.40} is not a list of points")
    return corners
