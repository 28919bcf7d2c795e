"""Predictions as files: checked beforehand, read for scoring.

A folder of predictions holds `SEQUENCE/FRAME.png` (ids, or 0 and 255), named as the frames are, or
`SEQUENCE/points.csv` (frame, name, x, y). Of instances `SEQUENCE/FRAME.txt` says the class and the
score of each: line i `CLASS SCORE` is of id i; as in VIP's own code, both files may lie in
`SEQUENCE/instance_part`.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from liir.annotations import VOID, Labels, read_points
from liir.errors import InputError
from liir.evaluation.layouts import (
    Sequence,
    as_stored,
    content,
    foreground,
    read_map,
    require,
    same_size,
    zero_is_void,
)
from liir.evaluation.parts import class_number

POINTS = "points.csv"
"""Name of a file of predicted points in the folder of its sequence."""

_INSTANCES = "instance_part"


class Prediction(Protocol):
    """What a score reads of a frame; `liir.tracking.Result` is one."""

    @property
    def index(self) -> int:
        """Number of the frame."""

    @property
    def labels(self) -> Labels:
        """(H, W) uint8 ids."""

    @property
    def points(self) -> Mapping[str, tuple[float, float, float]]:
        """Name -> (x, y, confidence), x and y in pixels."""

    @property
    def objects(self) -> Mapping[int, float]:
        """How sure each object is; only instances are ranked by it."""


@dataclass(frozen=True)
class Predicted:
    """The plainest `Prediction`."""

    index: int
    labels: Labels
    points: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    objects: Mapping[int, float] = field(default_factory=dict)
    classes: Mapping[int, int] = field(default_factory=dict)
    """Of instances, where a file says it; else they have the class of the given part."""


def stored(folder: Path, sequence: Sequence) -> Iterator[Predicted]:
    """Predictions for a sequence from files, in order of time; frames without one are left out.

    Args:
        folder: of predictions.
        sequence: what they are predictions for.

    Raises:
        InputError: a file cannot be read, or shows an id that it may not; or all of a sequence's
            show 255 alone where there are several objects.
    """
    here = _folder(folder, sequence)
    if sequence.joints:
        for index, annotation in sorted(read_points(here / POINTS).items()):
            points = {name: (x, y, 1.0) for name, (x, y) in annotation.points.items()}
            yield Predicted(index, np.zeros((1, 1), np.uint8), points)
        return
    everything: set[int] = set()
    for index, stem in enumerate(sequence.stems):
        path = here / f"{stem}.png"
        if not path.is_file():
            continue
        labels, table = read_map(path), path.with_suffix(".txt")
        shown = _shown(labels)
        everything |= shown
        if sequence.instances and table.is_file():
            classes, scores = _ranked(table)
            if lacking := sorted(shown - classes.keys()):
                raise InputError(f"{table}: has no line {lacking[0]}, an id that {path.name} shows")
            yield Predicted(index, labels, objects=scores, classes=classes)
        else:
            yield Predicted(index, _decoded(labels, shown, path, sequence))
    if everything == {VOID} and len(sequence.ids) > 1 and _void_is_background(sequence):
        raise InputError(
            f"{here}: shows 0 and 255 alone, and there are {len(sequence.ids)} objects: "
            f"give each its id ({_listed(sequence.ids)})"
        )


def within(folder: Path, benchmark: str, known: Collection[str]) -> Path:
    """Where predictions lie: in the folder, or in that of the benchmark's name inside it."""
    inner = folder / benchmark
    return inner if inner.is_dir() and benchmark not in known else folder


def check_stored(folder: Path, sequences: Collection[Sequence], known: Collection[str]) -> None:
    """See that a folder fits the benchmark, before anything is scored.

    Args:
        folder: as of `stored`.
        sequences: those to be scored.
        known: names of all sequences of the benchmark.

    Raises:
        InputError: a sequence is missing, a folder is of no known one; or as `check_sequences`.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of predictions")
    depth = max(name.count("/") for name in known)
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.glob("/".join(["*"] * (depth + 1)))
        if path.is_dir() and path.name[0] != "."
    }
    unlisted = sorted(found - set(known))
    if unlisted:
        raise InputError(
            f"{folder / unlisted[0]}: the benchmark has no sequence of that name ({len(unlisted)} "
            f"such); expected folders called {_few(known)}: is it another benchmark or --split?"
        )
    missing = [each for each in sequences if not _folder(folder, each).is_dir()]
    if missing:
        first = missing[0]
        file = POINTS if first.joints else f"{first.stems[-1]}.png"
        raise InputError(
            f"{folder}: no predictions for {len(missing)} of {len(sequences)} sequences, "
            f"first {first.name}: expected {first.name}/{file} and the like; "
            f"found {content(folder)}"
        )
    check_sequences(folder, sequences)


def check_sequences(folder: Path, sequences: Collection[Sequence]) -> None:
    """See that sequences are there completely, and that what is there fits.

    Args:
        folder: as of `stored`.
        sequences: those to look at.

    Raises:
        InputError: a frame, a point or a table is missing, files are of another size, a point has
            no known name, or frames are numbered beyond the clip's.
    """
    tables: dict[Path, list[Path]] = {}
    for sequence in sequences:
        here = _folder(folder, sequence)
        if sequence.joints:
            _check_points(here / POINTS, sequence)
            continue
        files = [here / f"{sequence.stems[index]}.png" for index in sequence.wanted]
        _check_maps(here, files, sequence)
        if sequence.instances:
            tables[here] = [file.with_suffix(".txt") for file in files]
    # Without any, parts have the classes of those that were given; half of it is neither.
    if any(table.is_file() for each in tables.values() for table in each):
        for here, each in tables.items():
            require(each, f"{here}: tables of classes and scores")


def _check_maps(here: Path, files: Collection[Path], sequence: Sequence) -> None:
    """See that a sequence's label maps are there, in the frames' size, and of its frames alone."""
    if files and not any(file.is_file() for file in files):
        first = next(iter(files)).name
        raise InputError(
            f"{here}: none of the {len(files)} predictions that count is there, "
            f"first {first}; found {content(here)}"
        )
    require(files, f"{here}: predictions")
    # Frames counted from 1 where they should be from 0 are all there but one, and all wrong.
    ends = (min(sequence.stems), max(sequence.stems))
    beyond = sorted(p.name for p in here.glob("*.png") if not ends[0] <= p.stem <= ends[1])
    if beyond:
        raise InputError(
            f"{here}: {len(beyond)} files are of no frame, first {beyond[0]}: "
            f"frames are called {ends[0]} to {ends[1]}"
        )
    labels = sequence.annotations[sequence.start].labels
    assert labels is not None
    same_size(files, (labels.shape[0], labels.shape[1]))


def _check_points(path: Path, sequence: Sequence) -> None:
    """See that a table has every position that counts, and none of another clip."""
    require([path], f"{path.parent}: tables of points")
    found = {index: each.points for index, each in read_points(path).items()}
    count = len(sequence.stems)
    beyond = [index for index in found if index >= count]
    if beyond:
        raise InputError(
            f"{path}: {len(beyond)} frames are not in the clip, first {beyond[0]}: frames are "
            f"counted from 0 ({sequence.stems[0]}) to {count - 1} ({sequence.stems[-1]})"
        )
    given = sequence.annotations[sequence.start].points
    known = {name for points in (given, *sequence.joints.values()) for name in points}
    strange = sorted({name for points in found.values() for name in points} - known)
    if strange:
        raise InputError(
            f"{path}: {len(strange)} names are of no point of the clip, first {strange[0]}; "
            f"expected {_few(given)}"
        )
    asked = [(i, name) for i in sequence.wanted for name in sequence.joints[i] if name in given]
    lost = [(index, name) for index, name in asked if name not in found.get(index, {})]
    if lost:
        index, name = lost[0]
        raise InputError(
            f"{path}: {len(lost)} of {len(asked)} positions are missing (or visible is 0), "
            f"first {name} in frame {index}"
        )


def _folder(folder: Path, sequence: Sequence) -> Path:
    here = folder / sequence.name
    nested = here / _INSTANCES
    return nested if sequence.instances and nested.is_dir() else here


def _shown(labels: Labels) -> set[int]:
    """The numbers of a label map but 0; counting is many times quicker than np.unique."""
    return set(np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist()) - {0}


def _void_is_background(sequence: Sequence) -> bool:
    """As DAVIS's own code has it, of what is void in a prediction."""
    return sequence.decode is as_stored and sequence.allowed is None


def _decoded(labels: Labels, shown: set[int], path: Path, sequence: Sequence) -> Labels:
    """Ids of a prediction whose numbers are `shown`, as they are scored."""
    if sequence.decode is foreground:
        # One number besides 0, whatever it is; several only where the truth itself has them.
        if len(shown) > 1 and not shown <= _shown(read_map(sequence.masks[sequence.start])):
            raise InputError(
                f"{path}: shows {_listed(shown)}, and one foreground is wanted: give 0 and one "
                "other number, of a soft map those above its threshold"
            )
        return np.where(labels != 0, np.uint8(sequence.ids[0]), np.uint8(0))
    if len(sequence.ids) == 1 and shown == {VOID}:
        return np.where(labels != 0, np.uint8(sequence.ids[0]), np.uint8(0))
    if _void_is_background(sequence):
        labels = np.where(labels == VOID, np.uint8(0), labels)
        shown = shown - {VOID}
    free = sequence.allowed is None or sequence.instances
    allowed = sequence.ids if free else sorted(sequence.allowed or ())
    extra = sorted(shown - {*allowed, VOID if sequence.decode is zero_is_void else 0})
    if extra:
        what = "of those given" if free else "of the classes"
        raise InputError(f"{path}: id {extra[0]} is none {what} ({_listed(allowed)})")
    return labels


def _listed(ids: Collection[int]) -> str:
    """`0 to 19` or `2, 13`; of many that are not in a row the first."""
    low, high = min(ids), max(ids)
    return f"{low} to {high}" if high - low == len(ids) - 1 > 1 else _few(map(str, sorted(ids)))


def _few(names: Iterable[str]) -> str:
    """The first names of many."""
    every = [*names]
    return ", ".join(every[:8]) + (f" and {len(every) - 8} more" if len(every) > 8 else "")


def _ranked(path: Path) -> tuple[dict[int, int], dict[int, float]]:
    """Class and score of each instance."""
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        classes = {i: class_number(row[0]) for i, row in enumerate(rows, 1)}
        scores = {i: float(row[1]) for i, row in enumerate(rows, 1)}
        if odd := [i for i, score in scores.items() if not math.isfinite(score)]:
            raise ValueError(f"line {odd[0]} has no score")
        return classes, scores
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: expected a line 'CLASS SCORE' for each part ({error})"
        ) from error
