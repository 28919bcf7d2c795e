"""A project's annotations as files: what `liir track --annotation FOLDER` reads.

    project.json            names, colours, settings
    annotations/00040.png   the label image of frame 40; for a folder of images, named as they are
    annotations/absent.json objects said not to be in a frame (COCO, empty masks)
    annotations/points.csv  keypoints that are seen; those that are not stand in project.json

All is written beside its name, then renamed. An id or point that only a file knows joins the list.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from liir import rle
from liir.annotations import read_points
from liir.errors import InputError
from liir.export import write_label_png
from liir.files import writing, written
from liir.inputs import MAX_ID, naming, read_json
from liir.labels import VOID, Labels, Size, read_picture
from liir.page.marks import Marks, Place, Point, State, Thing


def read_state(
    folder: Path, known: Mapping[str, Any], size: Size, stems: list[str] | None
) -> State:
    """The annotations of a project.

    Args:
        folder: Its `annotations/`.
        known: The contents of its project.json.
        size: (H, W) of its video.
        stems: Names of its frames, for a folder of images.

    Raises:
        InputError: A file is damaged, or of another size.
    """
    things = {int(each["id"]): Thing(**each) for each in known.get("objects", [])}
    points = {each["name"]: Point(**each) for each in known.get("points", [])}
    state = State(tuple(things.values()), tuple(points.values()))
    labels: dict[int, Labels] = {}
    absent: dict[int, set[int]] = {}
    places: dict[int, dict[str, Place]] = {}
    for path in sorted(folder.glob("*.png")):
        frame = _frame_of(path.stem, stems)
        if frame is not None:
            with naming(str(path)):
                labels[frame] = read_picture(path)
                if labels[frame].shape != size:
                    raise InputError("is not of the video's size")
    with suppress(FileNotFoundError):
        for frame, ids in _read_absent(folder / "absent.json"):
            absent.setdefault(frame, set()).update(ids)
    if (folder / "points.csv").is_file():
        for frame, given in read_points(folder / "points.csv", size=size).items():
            places[frame] = {name: Place(x, y) for name, (x, y) in given.points.items()}
    for name, unseen in known.get("unseen", {}).items():
        for frame, x, y in unseen:
            places.setdefault(int(frame), {})[name] = Place(float(x), float(y), False)
    for frame in sorted({*labels, *absent, *places}):
        gone = frozenset(absent.get(frame, ()))
        marks = Marks.of(labels.get(frame), gone, places.get(frame))
        state = state.marked(frame, marks)
        for number in sorted(marks.ids | gone):
            if number not in state.ids:
                state, _ = state.with_thing(number=number)
        for name in marks.points:
            if all(point.name != name for point in state.points):
                state = state.with_point(name)
    alias = {int(old): int(new) for old, new in known.get("alias", {}).items()}
    called = {str(old): str(new) for old, new in known.get("called", {}).items()}
    return State(state.things, state.points, state.frames, alias, called)


def write_state(
    folder: Path, old: State | None, new: State, size: Size, name: Callable[[int], str]
) -> None:
    """Writes what differs between two states of a project's annotations.

    Args:
        folder: Its `annotations/`.
        old: What the files say; None to write all.
        new: What they are to say.
        size: (H, W) of its video.
        name: What the file of a frame is called, without suffix.

    Raises:
        InputError: A file cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    before: Mapping[int, Marks] = {} if old is None else old.frames
    for frame in sorted({*before, *new.frames}):
        was, now = before.get(frame, Marks()), new.marks(frame)
        path = folder / f"{name(frame)}.png"
        if now.packed is None:
            path.unlink(missing_ok=True)
        elif was.packed != now.packed or old is None:
            write_label_png(path, now.labels(size))
    if old is None or _absences(old) != _absences(new):
        _write_absent(folder / "absent.json", _absences(new), size)
    if old is None or _seen(old) != _seen(new):
        _write_points(folder / "points.csv", _seen(new))


def describe_state(state: State) -> dict[str, Any]:
    """What project.json says of the annotations."""
    unseen: dict[str, list[list[float]]] = {}
    for frame, marks in state.frames.items():
        for name, place in marks.points.items():
            if not place.visible:
                unseen.setdefault(name, []).append([frame, place.x, place.y])
    return {
        "objects": [asdict(thing) for thing in state.things],
        "points": [asdict(point) for point in state.points],
        "unseen": unseen,
        "alias": {str(old): new for old, new in state.alias.items()},
        "called": dict(state.called),
    }


def _frame_of(stem: str, stems: list[str] | None) -> int | None:
    if stems is not None:
        return stems.index(stem) if stem in stems else None
    return int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 10 else None


def _absences(state: State) -> dict[int, frozenset[int]]:
    """Objects said to be absent, of those that are to be seen somewhere."""
    painted = state.painted
    found = {frame: marks.absent & painted for frame, marks in state.frames.items()}
    return {frame: ids for frame, ids in found.items() if ids}


def _seen(state: State) -> list[tuple[int, str, float, float]]:
    return [
        (frame, name, place.x, place.y)
        for frame, marks in state.frames.items()
        for name, place in marks.points.items()
        if place.visible
    ]


def _write_absent(path: Path, absent: dict[int, frozenset[int]], size: Size) -> None:
    if not absent:
        path.unlink(missing_ok=True)
        return
    nothing = rle.encode(np.zeros(size, np.bool_))
    height, width = size
    document = {
        "images": [
            {"id": frame, "frame_index": frame, "height": height, "width": width}
            for frame in absent
        ],
        "annotations": [
            {"image_id": frame, "track_id": number, "segmentation": nothing}
            for frame, ids in absent.items()
            for number in sorted(ids)
        ],
    }
    with writing(path), written(path) as partial:
        partial.write_text(json.dumps(document, indent=1), "utf-8")


def _read_absent(path: Path) -> list[tuple[int, set[int]]]:
    if not path.is_file():
        raise FileNotFoundError(path)
    document = read_json(path)
    found = []
    try:
        assert isinstance(document, dict)
        frames = {image["id"]: int(image["frame_index"]) for image in document["images"]}
        for each in document["annotations"]:
            number = int(each["track_id"])
            if 0 < number <= MAX_ID and number != VOID:
                found.append((frames[each["image_id"]], {number}))
    except (AssertionError, LookupError, TypeError, ValueError):
        raise InputError(f"{path}: is damaged; remove it") from None
    return found


def _write_points(path: Path, rows: list[tuple[int, str, float, float]]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("frame", "name", "x", "y", "visible"))
    table.writerows((frame, name, f"{x:.2f}", f"{y:.2f}", 1) for frame, name, x, y in rows)
    with writing(path), written(path) as partial:
        partial.write_text(text.getvalue(), "utf-8")
