"""Where the results of a video lie: names, which job they are of, and where it stopped."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from liir.annotations import Annotation
from liir.encoder import Model
from liir.errors import InputError
from liir.figures import Points
from liir.files import save_state, writing, written
from liir.presets import TrackingConfig
from liir.tracking import Tracker
from liir.video import Video


class Folder:
    """Where the results of a video lie, and which of what lies there is liir's.

    Args:
        path: The folder.
        files: File names of the frames, after which results are named, and not by number.
        source: Where the video lies, for those who draw the results over it.
    """

    def __init__(self, path: Path, files: list[str] | None, source: Path | None = None) -> None:
        self.path, self.source = path, source
        self.files = files
        stems = None if files is None else [Path(file).stem for file in files]
        # Two pictures may differ in nothing but the suffix: their masks would be one file.
        self.stems = stems if stems is not None and len(set(stems)) == len(stems) else None
        self.masks, self.soft = path / "masks", path / "soft"
        self.labels, self.points = path / "labels.json", path / "points.csv"
        self.confidence, self.sheet = path / "confidence.csv", path / "sheet.png"
        self.overlay = path / "overlay.mp4"
        self.settings, self.state = path / "settings.json", path / "state.pt"

    def name(self, index: int) -> str:
        """What the files of a frame are called."""
        return f"{index:05d}" if self.stems is None else self.stems[index]

    def picture(self, index: int) -> str:
        """What the picture of a frame is called; of a video, what it would be."""
        return f"{self.name(index)}.jpg" if self.files is None else self.files[index]

    def mask(self, index: int) -> Path:
        """The label image of a frame."""
        return self.masks / f"{self.name(index)}.png"

    def present(self) -> tuple[Path, ...]:
        """The results that are there."""
        results = (self.masks, self.soft, self.labels, self.points, self.confidence)
        return tuple(p for p in (*results, self.overlay, self.sheet) if p.exists())

    def admit(self, job: dict[str, Any], resume: bool, force: bool) -> dict[str, Any]:
        """What is stored of an earlier run to go on from; empty to start.

        Raises:
            InputError: Both or none of `resume` and `force` where one is needed, another job, or
                files of the same names that liir did not write.
        """
        if resume and force:
            raise InputError("--resume goes on and --force starts over: give one of them")
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; give a folder for the results")
        if not self.settings.exists():
            if foreign := self.present():
                raise InputError(
                    f"{foreign[0]}: is there, and not from liir track; give another folder"
                )
            return {}
        stored = self._stored()
        if not isinstance(stored.get("job"), dict):
            raise InputError(f"{self.settings}: not from liir track, or damaged; remove it")
        if force:
            return {}
        if not resume:
            raise InputError(
                f"{self.path}: holds results; --resume goes on with them, --force starts over"
            )
        for what in {**job, **stored["job"]}:
            was, now = stored["job"].get(what), job.get(what)
            if was != now:
                raise InputError(
                    f"{self.path}: {_changed(what, was, now)}; "
                    "give the same to go on, or start over with --force"
                )
        return stored

    def store(self, job: dict[str, Any], **finished: Any) -> None:
        """Writes down which job it is and, once it is finished, what came of it."""
        known = {"job": job, "stems": self.stems, "finished": bool(finished), **finished}
        if self.source is not None:
            known["source"] = str(self.source.absolute())
        write_file(self.settings, json.dumps(known, indent=1).encode())

    def save(self, following: int, tracker: dict[str, Any] | None) -> None:
        """Keeps a tracker's state (None: a new one's), and which frame comes next."""
        save_state(self.state, {"next": following, "tracker": tracker})

    def restore(self, tracker: Tracker) -> int | None:
        """Puts a tracker where `save` left it; the next frame, None if nothing is saved."""
        try:
            state = torch.load(self.state, map_location=tracker.model.device, weights_only=True)
            if state["tracker"] is not None:
                tracker.restore(state["tracker"])
            return int(state["next"])
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError):
            return None  # all is computed again, to the same end

    def stored_labels(self, index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W) uint8 labels of a finished frame, as they were written.

        Raises:
            InputError: The file is gone, damaged or of another size.
        """
        path = self.mask(index)
        with suppress(OSError, ValueError), Image.open(path) as image:
            labels = np.array(image)
            if labels.dtype == np.uint8 and labels.shape == size:
                return labels
        raise InputError(f"{path}: is gone or damaged; start over with --force")

    def stored_points(self) -> Iterator[tuple[int, Points]]:
        """(frame, its points) of the finished frames that have any, in order.

        Raises:
            InputError: The file is gone, or not as it was written.
        """
        try:
            with self.points.open(newline="") as file:
                for frame, rows in groupby(csv.DictReader(file), key=lambda row: int(row["frame"])):
                    yield (
                        frame,
                        {
                            r["name"]: (float(r["x"]), float(r["y"]), float(r["confidence"]))
                            for r in rows
                        },
                    )
        except (OSError, KeyError, TypeError, ValueError):
            raise InputError(
                f"{self.points}: is gone or damaged; start over with --force"
            ) from None

    def clear(self) -> None:
        """Removes an earlier run's files, and none that is not liir's."""
        stems = self._stored().get("stems") or []
        for folder in (self.masks, *self.soft.glob("*")):
            for path in folder.glob("*.png"):
                if path.stem in stems or (not stems and re.fullmatch(r"\d{5,}", path.stem)):
                    path.unlink()
        journal = self.labels.with_name(f"{self.labels.name}.part")
        tables = (self.labels, journal, self.points, self.confidence)
        for path in (*tables, self.overlay, self.sheet, self.state):
            path.unlink(missing_ok=True)
        for folder in (*self.soft.glob("*"), self.soft, self.masks):
            with suppress(OSError):  # somebody else's files may lie there
                folder.rmdir()

    @contextmanager
    def writable(self) -> Iterator[None]:
        """Makes the folder and tries it before hours are spent; a new one goes again on error."""
        new = not self.path.exists()
        try:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.path):
                    pass
            yield
        except BaseException:
            if new:
                with suppress(OSError):
                    self.path.rmdir()
            raise

    def _stored(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            stored = json.loads(self.settings.read_bytes())
            if isinstance(stored, dict):
                return stored
        return {}


def _changed(what: str, was: object, now: object) -> str:
    """In words, which part of a job is another than it was; hashes tell a reader nothing."""
    if what == "weights":
        return "the weights of the model have changed"
    if what.startswith("annotation"):
        change = "is missing" if now is None else "is new" if was is None else "has changed"
        return f"the {what} {change}"
    if what == "soft":
        return f"was begun {'with' if was else 'without'} --soft"
    flag = {"stop": "--end "}.get(what, f"--{what} ")
    if what not in ("model", "dtype", "device", "start", "stop", "size"):
        setting = what in {field.name for field in fields(TrackingConfig)}
        flag = f"--set {what}=" if setting else f"{what} "
    if was is None and what == "stop":
        return f"was begun without --end, not with {flag}{now}"
    return f"was begun with {flag}{_word(was)}, not {_word(now)}"


def _word(value: object) -> str:
    """A value as an option takes it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Puts a file in place, whole or not at all.

    Raises:
        InputError: It cannot be written.
    """
    with writing(path), written(path) as partial:
        partial.write_bytes(data)


def describe(
    model: Model,
    video: Video,
    annotations: Mapping[int, Annotation],
    config: TrackingConfig,
    start: int,
    stop: int | None,
    soft: bool,
) -> dict[str, Any]:
    """All that the labels of a job depend on, as it comes back from JSON."""
    try:
        release = version("liir")
    except PackageNotFoundError:  # run from its source folder
        release = "unknown"
    state = model.encoder.state_dict()
    weights = (value.cpu().contiguous().flatten().view(torch.uint8) for value in state.values())
    job = {
        "version": release,
        "video": video.name,
        "frame size": video.size,
        "length": video.length,
        "model": model.name,
        "weights": _digest(value.numpy().tobytes() for value in weights),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        **asdict(config),
        "start": start,
        "stop": stop,
        "soft": soft,
    }
    for frame, given in sorted(annotations.items()):
        labels = b"" if given.labels is None else given.labels.tobytes()
        told = json.dumps([given.ids, list(given.points.items())]).encode()
        job[f"annotation of frame {frame}"] = _digest([labels, told])
    stored: dict[str, Any] = json.loads(json.dumps(job))
    return stored


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:12]
