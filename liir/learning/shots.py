"""The shots of a training set: every video looked through once, and what was found remembered."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from liir.errors import InputError
from liir.files import writing, written
from liir.learning.places import Source
from liir.pictures import IMAGE_SUFFIXES
from liir.video import open_video

_log = logging.getLogger(__name__)
_THUMBNAIL = (32, 24)
_CUT_LEVEL = 20.0
_CUT_RATIO = 4.0
_CUT_REACH = 6
_END_BYTES = 1 << 16


@dataclass(frozen=True)
class Shot:
    """Frames start..stop-1 of one video, without a cut between them.

    Attributes:
        path: The video.
        start: First frame.
        stop: Frame after the last.
        video: What identifies the video by its content, wherever it lies (`identity`).
        place: As in `Source`.
    """

    path: str
    start: int
    stop: int
    video: int = field(default=0, compare=False)
    place: int = field(default=0, compare=False)


@dataclass(frozen=True)
class _Entry:
    """What is remembered of a video.

    Attributes:
        stamp: Size and time of its file: what is remembered holds as long as they do.
        shots: (start, stop) of each.
        video: Its `identity`.
        fault: Why it cannot be read; empty if it can.
    """

    stamp: list[int]
    shots: list[tuple[int, int]]
    video: int
    fault: str


def index_shots(
    sources: Sequence[Source], cache: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Shot], dict[str, str]]:
    """Finds the shots of every video by decoding it once; remembers them in `cache` (JSON).

    Args:
        sources: What `find_videos` returned.
        cache: JSON file; entries of files unchanged in size and time are reused. A damaged one
            is made anew; one that is interrupted keeps what it has found.
        progress: Called with (videos done, videos in all).

    Returns:
        Shots of at least two frames, and why each video that cannot be read was left out.

    Raises:
        InputError: No video has two frames, or the cache cannot be written.
    """
    known = _read_cache(cache)
    shots: dict[tuple[int, str, int], Shot] = {}
    faults: dict[str, str] = {}
    try:
        for done, source in enumerate(sources):
            name = str(source.path.resolve())
            try:
                state = source.path.stat()
                stamp = [state.st_size, state.st_mtime_ns]
                if name not in known or known[name].stamp != stamp:
                    known[name] = _look_through(source.path, stamp)
                if known[name].fault:
                    faults[name] = known[name].fault
                for start, stop in known[name].shots:
                    shot = Shot(name, start, stop, known[name].video, source.place)
                    if stop - start >= 2:
                        shots[shot.place, name, start] = shot
            except OSError as error:
                faults[name] = f"{source.path}: {error.strerror}"
            if progress:
                progress(done + 1, len(sources))
    finally:
        _write_cache(cache, known)
    if faults:
        _log.warning(
            "%d of %d videos cannot be read and are left out, such as %s",
            len(faults), len(sources), next(iter(faults.values())),
        )  # fmt: skip
    if not shots:
        raise InputError(
            f"none of the {len(sources)} videos has two readable frames in a row; "
            "training needs moving pictures"
        )
    # By content, not by place: a run can go on where its videos lie elsewhere.
    order = sorted(shots.values(), key=lambda shot: (shot.place, shot.video, shot.path, shot.start))
    return order, faults


def _look_through(path: Path, stamp: list[int]) -> _Entry:
    try:
        return _Entry(stamp, find_shots(path), identity(path), "")
    except InputError as error:
        return _Entry(stamp, [], 0, str(error))


def identity(path: Path) -> int:
    """A number for what a video holds: two copies of a file have the same, anything else not.

    Made from the size and both ends of the file; of a folder, from those of its images' names
    and its first image.

    Returns:
        A non-negative integer below 2**63.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        digest.update("\n".join(p.name for p in files).encode())
        path = files[0]
    with path.open("rb") as file:
        digest.update(str(path.stat().st_size).encode())
        digest.update(file.read(_END_BYTES))
        file.seek(max(0, path.stat().st_size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def digest(shots: Sequence[Shot]) -> str:
    """What tells one set of shots from another, wherever their files lie."""
    mixed = any(shot.place for shot in shots)
    told = [(shot.video, shot.start, shot.stop, *([shot.place] if mixed else ())) for shot in shots]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _read_cache(path: Path) -> dict[str, _Entry]:
    """Entries by the video's name; empty where there is no cache, or it is damaged."""
    try:
        return {
            str(name): _Entry(
                list(entry["stamp"]),
                [(int(a), int(b)) for a, b in entry["shots"]],
                int(entry["video"]),
                str(entry["fault"]),
            )
            for name, entry in json.loads(path.read_text("utf-8")).items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s: cannot be read, so the videos are indexed anew: %s", path, error)
        return {}


def _write_cache(path: Path, known: Mapping[str, _Entry]) -> None:
    entries = {name: asdict(entry) for name, entry in known.items()}
    with writing(path), written(path) as partial:
        partial.write_text(json.dumps(entries), "utf-8")


def find_shots(path: Path) -> list[tuple[int, int]]:
    """Splits a video at its cuts.

    A cut is a frame whose thumbnail differs from the one before by more than 20 grey levels on
    average and four times more than is usual within six frames around it.

    Returns:
        (start, stop) of each shot, in frames.

    Raises:
        InputError: The video cannot be read.
    """
    indices: list[int] = []
    changes: list[float] = []
    before = np.zeros(1, dtype=np.float32)
    for frame in open_video(path).frames():
        small = Image.fromarray(frame.rgb).resize(_THUMBNAIL, Image.Resampling.BOX)
        thumbnail = np.asarray(small, dtype=np.float32)
        indices.append(frame.index)
        changes.append(float(np.abs(thumbnail - before).mean()))
        before = thumbnail
    if not indices:
        return []
    change = np.array(changes)
    cuts = [0]
    for i in range(1, len(indices)):
        near = change[max(1, i - _CUT_REACH) : i + _CUT_REACH + 1]
        usual = float(np.median(near))
        sudden = change[i] > _CUT_LEVEL and change[i] > _CUT_RATIO * usual
        # A frame that failed to decode breaks the run: what lies between is unknown.
        if sudden or indices[i] != indices[i - 1] + 1:
            cuts.append(i)
    cuts.append(len(indices))
    return [(indices[a], indices[b - 1] + 1) for a, b in pairwise(cuts)]
