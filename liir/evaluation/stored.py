"""Predictions as files: read for scoring, checked beforehand, written while a model runs.

A folder of predictions holds `SEQUENCE/FRAME.png` (ids, or 0 and 255), named as the frames are, or
`SEQUENCE/points.csv` (frame, name, x, y). Of instances `SEQUENCE/FRAME.txt` says the class and the
score of each: line i `CLASS SCORE` is of id i; as in VIP's own code, both files may lie in
`SEQUENCE/instance_part`.
"""

import os
import shutil
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
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
    zero_is_void,
)
from liir.evaluation.parts import CLASSES
from liir.export import PointWriter, write_label_png
from liir.files import writing, written

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
        InputError: a file cannot be read, or shows an id that it may not.
    """
    here = _folder(folder, sequence)
    if sequence.joints:
        for index, annotation in sorted(read_points(here / POINTS).items()):
            points = {name: (x, y, 1.0) for name, (x, y) in annotation.points.items()}
            yield Predicted(index, np.zeros((1, 1), np.uint8), points)
        return
    for index, stem in enumerate(sequence.stems):
        path = here / f"{stem}.png"
        if not path.is_file():
            continue
        labels = _predicted(path, sequence)
        table = path.with_suffix(".txt")
        if sequence.instances and table.is_file():
            classes, scores = _ranked(table)
            yield Predicted(index, labels, objects=scores, classes=classes)
        else:
            yield Predicted(index, labels)


def check_stored(folder: Path, sequences: Collection[Sequence], known: Collection[str]) -> None:
    """See that there is a file for every frame that counts, before anything is scored.

    Args:
        folder: as of `stored`.
        sequences: those to be scored.
        known: names of all sequences of the benchmark.

    Raises:
        InputError: a sequence or a frame is missing, a folder is of no known sequence, or files are
            numbered beyond the frames.
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
            f"{folder / unlisted[0]}: the benchmark has no sequence of that name "
            f"({len(unlisted)} such); remove the folder or choose another benchmark"
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
    for sequence in sequences:
        here = _folder(folder, sequence)
        if sequence.joints:
            require([here / POINTS], f"{here}: tables of points")
            continue
        files = [here / f"{sequence.stems[index]}.png" for index in sequence.counted]
        if files and not any(file.is_file() for file in files):
            raise InputError(
                f"{here}: none of the {len(files)} predictions that count is there, "
                f"first {files[0].name}; found {content(here)}"
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


def keeping(
    sequence: Sequence, predictions: Iterable[Prediction], folder: Path
) -> Iterator[Prediction]:
    """Pass predictions on and write them; the sequence's folder appears when all are written."""
    partial = folder / f".{sequence.name.replace('/', '-')}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with PointWriter(partial / POINTS) if sequence.joints else nullcontext() as table:
        for prediction in predictions:
            yield prediction
            if not sequence.kept(prediction.index):
                continue
            if table is not None:
                table.write(prediction.index, prediction.points)
                continue
            path = partial / f"{sequence.stems[prediction.index]}.png"
            write_label_png(path, prediction.labels)
            if sequence.instances:
                _write_ranks(path.with_suffix(".txt"), sequence, prediction.objects)
    (folder / sequence.name).parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, folder / sequence.name)


def packed(folder: Path, sequences: Collection[Sequence], archive: Path, top: str) -> None:
    """One zip of the official frames' label maps, as evaluation servers take it.

    Args:
        folder: of predictions, complete.
        sequences: those to pack.
        archive: the file to write.
        top: folder inside the archive above those of the sequences; "" for none.

    Raises:
        InputError: a prediction is missing, or the file cannot be written.
    """
    with writing(archive), written(archive) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:  # PNGs are packed already
            for sequence in sequences:
                here = folder / sequence.name
                indices = range(sequence.start, len(sequence.stems))
                paths = [here / f"{sequence.stems[i]}.png" for i in indices if sequence.kept(i)]
                require(paths, f"{here}: predictions")
                for path in paths:
                    file.write(path, f"{top}/{sequence.name}/{path.name}".lstrip("/"))


def _folder(folder: Path, sequence: Sequence) -> Path:
    here = folder / sequence.name
    nested = here / _INSTANCES
    return nested if sequence.instances and nested.is_dir() else here


def _predicted(path: Path, sequence: Sequence) -> Labels:
    labels = read_map(path)
    # Counting is many times quicker than np.unique.
    shown = set(np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist()) - {0}
    if sequence.decode is foreground or (len(sequence.ids) == 1 and shown == {VOID}):
        return np.where(labels != 0, np.uint8(sequence.ids[0]), np.uint8(0))
    if sequence.decode is as_stored and sequence.allowed is None:
        # As DAVIS's own code has it: what is void in a prediction is background.
        labels = np.where(labels == VOID, np.uint8(0), labels)
        shown.discard(VOID)
    allowed = {*sequence.ids} if sequence.allowed is None else {*sequence.allowed}
    extra = sorted(shown - allowed - {VOID if sequence.decode is zero_is_void else 0})
    if extra:
        raise InputError(
            f"{path}: id {extra[0]} is not in the first annotation, "
            f"which has {', '.join(map(str, sequence.ids))}"
        )
    return labels


def _ranked(path: Path) -> tuple[dict[int, int], dict[int, float]]:
    """Class and score of each instance."""
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        classes = {i: int(row[0]) for i, row in enumerate(rows, 1)}
        return classes, {i: float(row[1]) for i, row in enumerate(rows, 1)}
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: expected a line 'CLASS SCORE' for each part ({error})"
        ) from error


def _write_ranks(path: Path, sequence: Sequence, objects: Mapping[int, float]) -> None:
    last = max(sequence.ids)
    lines = []
    for number in range(1, last + 1):
        kind = CLASSES.index(sequence.groups[number]) if number in sequence.groups else 0
        lines.append(f"{kind} {objects.get(number, 0.0):.6f}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
