"""Unlabelled clips: found, indexed once, and sampled as pairs of crops.

Sample b of step s is a function of (seed, s, b) alone: nothing has to be stored to go on from any
step, and any number of worker processes gives the same batches.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from liir.errors import InputError
from liir.files import writing, written
from liir.pictures import IMAGE_SUFFIXES
from liir.presets import TrainingConfig
from liir.video import VIDEO_SUFFIXES, open_video

_log = logging.getLogger(__name__)
_THUMBNAIL = (32, 24)
_CUT_LEVEL = 20.0
_CUT_RATIO = 4.0
_CUT_REACH = 6
_END_BYTES = 1 << 16

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """Frames start..stop-1 of one video, without a cut between them.

    Attributes:
        path: The video.
        start: First frame.
        stop: Frame after the last.
        video: What identifies the video by its content, wherever it lies (`identity`).
    """

    path: str
    start: int
    stop: int
    video: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Batch:
    """Pairs of crops.

    Attributes:
        rgb: (B, 2, 3, H, W) uint8; the second frame of a pair is the target.
        window: (B, 4) float32 top, left, height, width of the crop as fractions of its frame.
        dropped: (B,) int64, the colour channel (1: a, 2: b) to hide and rebuild.
        videos: (B,) int64 identity of each pair's video, the same for the same content.
        names: Where each pair comes from, for messages.
    """

    rgb: Tensor
    window: Tensor
    dropped: Tensor
    videos: Tensor
    names: list[str]


def find_videos(folders: Sequence[str | Path]) -> list[Path]:
    """Lists video files and folders of frames below the given places, sorted; no hidden ones.

    Raises:
        InputError: A place does not exist, or there is nothing below any of them.
    """
    found: set[Path] = set()
    for place in map(Path, folders):
        if place.is_file():
            found.add(place)
        elif not place.is_dir():
            raise InputError(f"{place}: no such file or folder to train on")
        for folder, inner, names in os.walk(place):
            inner[:] = [name for name in inner if not name.startswith(".")]
            files = [Path(folder, name) for name in names if not name.startswith(".")]
            if any(file.suffix.lower() in IMAGE_SUFFIXES for file in files):
                found.add(Path(folder))
            found.update(file for file in files if file.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        places = ", ".join(map(str, folders))
        raise InputError(f"no video and no folder of images below {places}; give another folder")
    return sorted(found)


def index_shots(
    videos: Sequence[Path], cache: Path, progress: Callable[[int, int], None] | None = None
) -> list[Shot]:
    """Finds the shots of every video by decoding it once; remembers them in `cache` (JSON).

    Videos that cannot be read are logged and left out.

    Args:
        videos: What `find_videos` returned.
        cache: JSON file; entries of files unchanged in size and time are reused. A damaged one
            is made anew; one that is interrupted keeps what it has found.
        progress: Called with (videos done, videos in all).

    Returns:
        Shots of at least two frames.

    Raises:
        InputError: No video has two frames, or the cache cannot be written.
    """
    known = _read_cache(cache)
    found: dict[str, list[tuple[int, int]]] = {}
    try:
        for done, path in enumerate(videos):
            name = str(path.resolve())
            try:
                state = path.stat()
                stamp = [state.st_size, state.st_mtime_ns]
                if name not in known or known[name][0] != stamp:
                    known[name] = stamp, find_shots(path)
                found[name] = known[name][1]
            except InputError as error:
                _log.warning("left out: %s", error)
                known[name] = stamp, []
            except OSError as error:
                _log.warning("left out: %s: %s", path, error.strerror)
            if progress:
                progress(done + 1, len(videos))
    finally:
        _write_cache(cache, known)
    # By content, not by place: a run can go on where its videos lie elsewhere.
    shots = sorted(
        (
            Shot(name, start, stop, identity(Path(name)))
            for name, spans in found.items()
            for start, stop in spans
            if stop - start >= 2
        ),
        key=lambda shot: (shot.video, shot.path, shot.start),
    )
    if not shots:
        raise InputError(
            f"none of the {len(videos)} videos has two readable frames in a row; "
            "training needs moving pictures"
        )
    return shots


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
    told = json.dumps([(shot.video, shot.start, shot.stop) for shot in shots])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _read_cache(path: Path) -> dict[str, tuple[list[int], list[tuple[int, int]]]]:
    """Name to (stamp, shots); empty where there is none, or it is damaged."""
    try:
        return {
            str(name): (list(entry["stamp"]), [(int(a), int(b)) for a, b in entry["shots"]])
            for name, entry in json.loads(path.read_text("utf-8")).items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s: cannot be read, so the videos are indexed anew: %s", path, error)
        return {}


def _write_cache(path: Path, known: Mapping[str, tuple[list[int], list[tuple[int, int]]]]) -> None:
    entries = {name: {"stamp": stamp, "shots": shots} for name, (stamp, shots) in known.items()}
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


class Pairs(Dataset[Batch]):
    """Batches of frame pairs; item s is the batch of step s.

    Every slot of the batch stays on one chunk of frames for `reuse` steps, so that a frame
    decoded is used several times. Frames larger than `frame_side` are shrunk to it at once.

    Args:
        shots: Where pairs may come from; each video is equally likely.
        config: Crop, gap, chunk and seed.
    """

    def __init__(self, shots: Sequence[Shot], config: TrainingConfig) -> None:
        videos: dict[str, list[Shot]] = {}
        for shot in shots:
            videos.setdefault(shot.path, []).append(shot)
        self.videos = list(videos.values())
        self.config = config
        self._chunks: dict[int, tuple[int, Shot, list[Rgb]]] = {}

    def __getitem__(self, step: int) -> Batch:
        """The batch of that step."""
        crops, windows, dropped, videos, names = [], [], [], [], []
        for slot in range(self.config.batch):
            shot, frames = self._chunk(step, slot)
            rng = np.random.default_rng((self.config.seed, 1, step, slot))
            pair, window, name = self._pair(shot, frames, rng)
            crops.append(pair)
            windows.append(window)
            dropped.append(int(rng.integers(1, 3)))
            videos.append(shot.video)
            names.append(name)
        rgb = torch.from_numpy(np.stack(crops)).permute(0, 1, 4, 2, 3)
        return Batch(rgb, torch.tensor(windows), torch.tensor(dropped), torch.tensor(videos), names)

    def _chunk(self, step: int, slot: int) -> tuple[Shot, list[Rgb]]:
        config = self.config
        number = step // config.reuse
        if slot not in self._chunks or self._chunks[slot][0] != number:
            rng = np.random.default_rng((config.seed, 0, number, slot))
            self._chunks[slot] = (number, *self._decode(rng))
        return self._chunks[slot][1:]

    def _decode(self, rng: np.random.Generator) -> tuple[Shot, list[Rgb]]:
        """Decodes a chunk of a random video; one that fails is logged and another drawn."""
        for _ in range(100):
            shots = self.videos[rng.integers(len(self.videos))]
            lengths = np.array([shot.stop - shot.start for shot in shots])
            shot = shots[rng.choice(len(shots), p=lengths / lengths.sum())]
            length = min(self.config.chunk, shot.stop - shot.start)
            start = int(rng.integers(shot.start, shot.stop - length + 1))
            try:
                video = open_video(shot.path)
                frames = [self._shrunk(f.rgb) for f in video.frames(start, start + length)]
            except InputError as error:
                _log.warning("skipped: %s", error)
                continue
            if len(frames) == length:
                return replace(shot, start=start, stop=start + length), frames
            _log.warning("skipped: %s: frames %d+ are damaged", shot.path, start)
        raise InputError("a hundred clips in a row could not be decoded; check the training data")

    def _shrunk(self, rgb: Rgb) -> Rgb:
        """The frame, or a smaller one of the same shape (H, W, 3)."""
        height, width = rgb.shape[:2]
        scale = self.config.frame_side / min(height, width)
        if scale >= 1:
            return rgb
        size = (round(width * scale), round(height * scale))
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))

    def _pair(
        self, shot: Shot, frames: list[Rgb], rng: np.random.Generator
    ) -> tuple[Rgb, tuple[float, float, float, float], str]:
        """Two frames, one crop for both."""
        config = self.config
        gap = int(rng.integers(1, min(config.gap, len(frames) - 1) + 1))
        first = int(rng.integers(len(frames) - gap))
        order = (first, first + gap) if rng.random() < 0.5 else (first + gap, first)
        height, width = frames[0].shape[:2]
        low, high = config.crop_source
        high = min(high, height, width)
        low = min(low, high)
        # exp(log(n)) may exceed n by a hair.
        side = min(float(np.exp(rng.uniform(np.log(low), np.log(high)))), high)
        top, left = rng.uniform(0, height - side), rng.uniform(0, width - side)
        flip = rng.random() < 0.5
        box = (left, top, left + side, top + side)
        size = (config.crop, config.crop)
        pair = np.stack(
            [
                np.asarray(
                    Image.fromarray(frames[i]).resize(size, Image.Resampling.BILINEAR, box=box)
                )
                for i in order
            ]
        )
        if flip:
            pair = np.ascontiguousarray(pair[:, :, ::-1])
            left = width - side - left  # where the crop lies in the mirrored frame
        window = (top / height, left / width, side / height, side / width)
        name = f"{Path(shot.path).name} frames {shot.start + order[0]}, {shot.start + order[1]}"
        return pair, window, name


class Runs(Dataset[list[Batch]]):
    """The batches of `Pairs`, as many at a time as share their chunks.

    Processes that load whole runs decode each chunk once, however many they are.

    Args:
        pairs: The batches.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __getitem__(self, run: int) -> list[Batch]:
        """The batches of steps run * reuse to before (run + 1) * reuse."""
        reuse = self.pairs.config.reuse
        return [self.pairs[step] for step in range(run * reuse, (run + 1) * reuse)]
