"""Unlabelled clips, sampled as crops of a target frame and of those it is rebuilt from.

Sample b of step s is a function of (seed, s, b) alone: nothing has to be stored to go on from any
step, and any number of worker processes gives the same batches.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from liir.errors import InputError
from liir.learning.draws import Draws
from liir.learning.frame_cache import FrameCache
from liir.learning.shards import ScratchError, open_clip, open_photograph
from liir.learning.shots import Shot, split
from liir.learning.views import crop, nowhere, two_views
from liir.presets import TrainingConfig

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class Batch:
    """Crops of T frames each, two if nothing else is said.

    Attributes:
        rgb: (B, T, 3, H, W) uint8; the last of the T frames is the target.
        window: (B, 4) float32 top, left, height, width of the crop as fractions of its frame; of
            two views, that of the reference.
        dropped: (B,) int64, the colour channel (1: a, 2: b) to hide and rebuild.
        videos: (B,) int64 identity of each pair's video, the same for the same content.
        names: Where each pair comes from, for messages.
        correspondence: (B, h, w, 2) float32; of two views of one picture, where each cell (stride
            4) of the target lies in the reference: x, y in pixels from the middle of its first.
            NaN for what lies outside it, and throughout for two frames of a video.
        faults: Why, by path, videos that were drawn for it have been left out.
    """

    rgb: Tensor
    window: Tensor
    dropped: Tensor
    videos: Tensor
    names: list[str]
    correspondence: Tensor
    faults: dict[str, str]


class _Pair(NamedTuple):
    """A sample: (T, S, S, 3) and, for it, what `Batch` holds of each."""

    rgb: Rgb
    window: tuple[float, float, float, float]
    name: str
    correspondence: NDArray[np.float32]


class Pairs(Dataset[Batch]):
    """Batches of frame pairs; item s is the batch of step s.

    Every slot of the batch stays on one chunk of frames for `reuse` steps, so that a frame
    decoded is used several times. Frames larger than `frame_side` are shrunk to it at once.

    Args:
        shots: Where pairs may come from.
        config: Crop, gap, chunk and seed; mix and draw.
        slots: Which samples of each batch to make; all, if not given.
    """

    def __init__(
        self, shots: Sequence[Shot], config: TrainingConfig, slots: Sequence[int] | None = None
    ) -> None:
        self.config = config
        self.slots = range(config.batch) if slots is None else slots
        self.draws = Draws(shots, config)
        self._chunks: dict[int, tuple[int, Shot, list[Rgb]]] = {}
        self._faults: dict[str, str] = {}

    def __getitem__(self, step: int) -> Batch:
        """The batch of that step."""
        pairs, dropped, videos = [], [], []
        for slot in self.slots:
            shot, frames = self.chunk(step, slot)
            rng = np.random.default_rng((self.config.seed, 1, step, slot))
            pairs.append(self._pair(shot, frames, rng))
            dropped.append(int(rng.integers(1, 3)))
            videos.append(shot.video)
        return Batch(
            rgb=torch.from_numpy(np.stack([pair.rgb for pair in pairs])).permute(0, 1, 4, 2, 3),
            window=torch.tensor([pair.window for pair in pairs]),
            dropped=torch.tensor(dropped),
            videos=torch.tensor(videos),
            names=[pair.name for pair in pairs],
            correspondence=torch.from_numpy(np.stack([pair.correspondence for pair in pairs])),
            faults={path: self._faults.pop(path) for path in [*self._faults]},
        )

    def chunk(self, step: int, slot: int) -> tuple[Shot, list[Rgb]]:
        """The decoded frames (H, W, 3) that a slot draws from at that step, and what they are."""
        config = self.config
        number = step // config.reuse
        if slot not in self._chunks or self._chunks[slot][0] != number:
            rng = np.random.default_rng((config.seed, 0, number, slot))
            self._chunks[slot] = (number, *self._decode(rng, number, slot))
        return self._chunks[slot][1:]

    def _decode(self, rng: np.random.Generator, number: int, slot: int) -> tuple[Shot, list[Rgb]]:
        """Decodes a chunk of a random video; one that fails is noted and another drawn."""
        for attempt in range(100):
            shot = self.draws.shot(rng, number + attempt, slot)
            length = min(self.config.chunk, shot.stop - shot.start)
            start = int(rng.integers(shot.start, shot.stop - length + 1))
            try:
                frames = self._frames(shot, start, start + length)
            except ScratchError:
                raise
            except InputError as error:
                self._faults[shot.path] = str(error)
                continue
            if len(frames) < length:
                told = f"some of the frames from {start} to {start + length - 1} are damaged"
                self._faults[shot.path] = f"{shot.path}: {told}"
                continue
            if self.config.cuts == "chunk" and not shot.still:
                first, last = max(split(enumerate(frames)), key=lambda span: span[1] - span[0])
                start, frames = start + first, frames[first:last]
            if shot.still or len(frames) > 1:
                return replace(shot, start=start, stop=start + len(frames)), frames
        why = next(iter(self._faults.values()), "there is a cut after every frame")
        raise InputError(f"a hundred clips in a row could not be decoded, such as {why}")

    def _frames(self, shot: Shot, start: int, stop: int) -> list[Rgb]:
        def read(start: int, stop: int) -> list[Rgb]:
            path = Path(shot.path)
            if shot.still:
                return [self._shrunk(open_photograph(path, self.config.frame_side))]
            with open_clip(path) as video:
                return [self._shrunk(frame.rgb) for frame in video.frames(start, stop)]

        return self._cache.frames(shot.path, start, stop, read)

    @functools.cached_property
    def _cache(self) -> FrameCache:
        """Made where it is used: the processes that load share the budget."""
        worker = get_worker_info()
        return FrameCache((self.config.cache_mib << 20) // (worker.num_workers if worker else 1))

    def _shrunk(self, rgb: Rgb) -> Rgb:
        """The frame, or a smaller one of the same shape (H, W, 3)."""
        height, width = rgb.shape[:2]
        scale = self.config.frame_side / min(height, width)
        if scale >= 1:
            return rgb
        size = (round(width * scale), round(height * scale))
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))

    def _pair(self, shot: Shot, frames: list[Rgb], rng: np.random.Generator) -> _Pair:
        """Some frames with one crop for all, or two views of one frame."""
        config = self.config
        if shot.still or (config.view_share and rng.random() < config.view_share):
            order = [int(rng.integers(len(frames)))]
        else:
            gap = int(rng.integers(1, min(config.gap, len(frames) - 1) + 1))
            first = int(rng.integers(len(frames) - gap))
            order = [first, first + gap] if rng.random() < 0.5 else [first + gap, first]
            order[1:1] = self._between(order, rng)
        height, width = frames[0].shape[:2]
        low, high = config.crop_source
        high = min(high, height, width)
        low = min(low, high)
        # exp(log(n)) may exceed n by a hair.
        side = min(float(np.exp(rng.uniform(np.log(low), np.log(high)))), high)
        top, left = rng.uniform(0, height - side), rng.uniform(0, width - side)
        box, flip = (left, top, side), rng.random() < 0.5
        if flip:
            left = width - side - left  # where the crop lies in the mirrored frame
        window = (top / height, left / width, side / height, side / width)
        told = f"{Path(shot.path).name} frame"
        if len(order) == 1:
            frame = frames[order[0]]
            if flip:
                frame, box = frame[:, ::-1], (left, top, side)
            views, places = two_views(frame, box, config, rng)
            views = np.concatenate([views[:1]] * config.references + [views[1:]])
            return _Pair(views, window, f"{told} {shot.start + order[0]}, two views", places)
        boxes = [self._zoomed(box, (height, width), rng) for _ in order[:-1]]
        pictures = zip([frames[i] for i in order], [*boxes, box], strict=True)
        crops = np.stack([crop(frame, own, config.crop) for frame, own in pictures])
        if flip:
            crops = np.ascontiguousarray(crops[:, :, ::-1])
        told += "s " + ", ".join(str(shot.start + i) for i in order)
        return _Pair(crops, window, told, nowhere(config.crop))

    def _zoomed(
        self, box: tuple[float, float, float], size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[float, float, float]:
        """A larger or smaller crop around the same middle, as far as the frame allows."""
        if self.config.zoom == 1:
            return box
        left, top, side = box
        most = abs(np.log(self.config.zoom))
        own = min(side * float(np.exp(rng.uniform(-most, most))), *size)
        left, top = (
            min(max(0.0, start + (side - own) / 2), length - own)
            for start, length in ((left, size[1]), (top, size[0]))
        )
        return left, top, own

    def _between(self, ends: list[int], rng: np.random.Generator) -> list[int]:
        """More references from the farthest one to the target; where none is, it itself."""
        far, target = ends
        step = 1 if target > far else -1
        more = self.config.references - 1
        if not more:
            return []
        inner = rng.permutation(np.arange(far + step, target, step))[:more]
        return [far] * (more - len(inner)) + sorted(map(int, inner), reverse=step < 0)


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
