"""Unlabelled clips, sampled as pairs of crops.

Sample b of step s is a function of (seed, s, b) alone: nothing has to be stored to go on from any
step, and any number of worker processes gives the same batches.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from liir.errors import InputError
from liir.learning.draws import Draws
from liir.learning.shots import Shot
from liir.presets import TrainingConfig
from liir.video import open_video

_log = logging.getLogger(__name__)

Rgb = NDArray[np.uint8]


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


class Pairs(Dataset[Batch]):
    """Batches of frame pairs; item s is the batch of step s.

    Every slot of the batch stays on one chunk of frames for `reuse` steps, so that a frame
    decoded is used several times. Frames larger than `frame_side` are shrunk to it at once.

    Args:
        shots: Where pairs may come from.
        config: Crop, gap, chunk and seed; mix and draw.
    """

    def __init__(self, shots: Sequence[Shot], config: TrainingConfig) -> None:
        self.config = config
        self.draws = Draws(shots, config)
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
            shot = self.draws.shot(rng)
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
