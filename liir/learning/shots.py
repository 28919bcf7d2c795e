"""The shots of a training set: every video looked through once, and what was found remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liir.errors import InputError
from liir.files import writing, written
from liir.learning.places import STILLS, Source
from liir.learning.shards import Member, ScratchError, is_shard, members, open_clip, shard
from liir.pictures import IMAGE_SUFFIXES

_log = logging.getLogger(__name__)
_THUMBNAIL = (32, 24)
_CUT_LEVEL = 20.0
_CUT_RATIO = 4.0
_CUT_REACH = 6
_END_BYTES = 1 << 16
_SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Shot:
    """Frames start..stop-1 of one video, without a cut between them.

    Attributes:
        path: The video.
        start: First frame.
        stop: Frame after the last.
        video: What identifies the video by its content, wherever it lies (`identity`).
        place: As in `Source`.
        offset: Where it lies in its shard, in bytes; None if it lies in none.
    """

    path: str
    start: int
    stop: int
    video: int = field(default=0, compare=False)
    place: int = field(default=0, compare=False)
    offset: int | None = field(default=None, compare=False)

    @property
    def still(self) -> bool:
        """Whether this is a photograph: shots of a video have two frames or more."""
        return self.stop - self.start == 1


@dataclass(frozen=True)
class _Entry:
    """What is remembered of a video.

    Attributes:
        stamp: Size and time of its file, where it lies in that, and whether its cuts were looked
            for: what is remembered holds as long as these do.
        shots: (start, stop) of each.
        video: Its `identity`.
        fault: Why it cannot be read; empty if it can.
    """

    stamp: list[int]
    shots: list[tuple[int, int]]
    video: int
    fault: str


def index_shots(
    sources: Sequence[Source],
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
    cuts: Literal["index", "chunk"] = "index",
) -> tuple[list[Shot], dict[str, str]]:
    """Finds the shots of every video by decoding it once; remembers them in `cache` (JSON).

    Args:
        sources: What `find_videos` returned.
        cache: JSON file; entries of files unchanged in size and time are reused. A damaged one
            is made anew; one that is interrupted keeps what it has found, and one that is killed
            what it had found a minute before.
        progress: Called with (videos done, videos in all).
        cuts: "chunk" takes each video for one shot, which needs no decoding.

    Returns:
        Shots of at least two frames, and photographs; and why each video that cannot be read was
        left out. Photographs are not decoded yet.

    Raises:
        InputError: There is nothing but videos without two frames, or the cache cannot be written.
        ScratchError: As for `open_clip`.
    """
    known = _read_cache(cache)
    shots: dict[tuple[int, str, int], Shot] = {}
    faults: dict[str, str] = {}
    saved = time.monotonic()
    try:
        for done, source in enumerate(sources):
            name = str(source.path.resolve())
            key = f"{STILLS}{name}" if source.still else name
            try:
                stamp, offset = _stamp(source.path)
                stamp.append(source.still or cuts == "index")
                if key not in known or known[key].stamp != stamp:
                    known[key] = _look_through(source, stamp, cuts)
                entry = known[key]
                if entry.fault:
                    faults[name] = entry.fault
                spans = [s for s in entry.shots if source.still or s[1] - s[0] >= 2]
                if not spans and not entry.fault:
                    faults[name] = f"{source.path}: has no two readable frames in a row"
                for start, stop in spans:
                    shots[source.place, key, start] = Shot(
                        name, start, stop, entry.video, source.place, offset
                    )
            except ScratchError:
                raise
            except InputError as error:
                faults[name] = str(error)
            except OSError as error:
                faults[name] = f"{source.path}: {error.strerror}"
            if time.monotonic() - saved > _SAVE_SECONDS:
                _write_cache(cache, known)
                saved = time.monotonic()
            if progress:
                progress(done + 1, len(sources))
    finally:
        _write_cache(cache, known)
    if faults:
        _log.warning(
            "%d of %d videos cannot be used and are left out, such as %s",
            len(faults), len(sources), next(iter(faults.values())),
        )  # fmt: skip
    if not shots:
        raise InputError(
            f"none of the {len(sources)} videos has two readable frames in a row; "
            "training needs moving pictures, or photographs given as stills:FOLDER"
        )
    # By content, not by place: a run can go on where its videos lie elsewhere.
    order = sorted(shots.values(), key=lambda shot: (shot.place, shot.video, shot.path, shot.start))
    return order, faults


def _stamp(path: Path) -> tuple[list[int], int | None]:
    """What changes with a video, and where it lies in its shard."""
    if is_shard(path):
        raise InputError(shard(path).fault or f"{path}: holds no videos")
    found = members(path)
    state = (found[0] if found else path).stat()
    stamp = [state.st_size, state.st_mtime_ns]
    if found is None:
        return stamp, None
    offset = found[1][0].offset
    return [*stamp, offset], offset


def _look_through(source: Source, stamp: list[int], cuts: str) -> _Entry:
    try:
        if source.still:
            spans = [(0, 1)]
        else:
            spans = find_shots(source.path) if cuts == "index" else _whole(source.path)
        return _Entry(stamp, spans, identity(source.path), "")
    except ScratchError:
        raise
    except InputError as error:
        return _Entry(stamp, [], 0, str(error))


def _whole(path: Path) -> list[tuple[int, int]]:
    """A video as one shot; found by decoding if only that tells how long it is."""
    with open_clip(path) as video:
        return find_shots(path) if video.length is None else [(0, video.length)]


def identity(path: Path) -> int:
    """A number for what a video holds: two copies of a file have the same, anything else not.

    Made from the size and both ends of the file; of frames, from both ends of the first of them
    and the sizes of all. It does not matter what they are called, nor whether they lie in a shard.

    Returns:
        A non-negative integer below 2**63.

    Raises:
        InputError: It lies in a shard, but not any more.
    """
    digest = hashlib.sha256()
    found = members(path)
    if found:
        path, files = found
    elif path.is_dir():
        images = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
        files = [Member(image.name, 0, image.stat().st_size) for image in images]
    else:
        files = [Member(path.name, 0, path.stat().st_size)]
    files = sorted(files, key=lambda file: Path(file.name).name)
    first, size = files[0], files[0].size
    digest.update(" ".join(str(file.size) for file in files).encode())
    with (path / first.name if path.is_dir() else path).open("rb") as file:
        for skipped in (0, max(0, size - _END_BYTES)):
            file.seek(first.offset + skipped)
            digest.update(file.read(min(_END_BYTES, size)))
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

    Returns:
        (start, stop) of each shot, in frames.

    Raises:
        InputError: The video cannot be read.
    """
    with open_clip(path) as video:
        return split((frame.index, frame.rgb) for frame in video.frames())


def split(frames: Iterable[tuple[int, NDArray[np.uint8]]]) -> list[tuple[int, int]]:
    """Splits frames at their cuts.

    A cut is a frame whose thumbnail differs from the one before by more than 20 grey levels on
    average and four times more than is usual within six frames around it.

    Args:
        frames: Numbers, ascending, and pictures (H, W, 3).

    Returns:
        (start, stop) of each shot, in frames.
    """
    indices: list[int] = []
    changes: list[float] = []
    before = np.zeros(1, dtype=np.float32)
    for index, rgb in frames:
        small = Image.fromarray(rgb).resize(_THUMBNAIL, Image.Resampling.BOX)
        thumbnail = np.asarray(small, dtype=np.float32)
        indices.append(index)
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
