"""Which shot comes next: places by their shares, videos alike or by length, shards in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liir.errors import InputError
from liir.learning.shards import is_shard
from liir.learning.shots import Shot
from liir.presets import TrainingConfig

Video = list[Shot]
Sums = NDArray[np.int64]


class Draws:
    """Draws shots at random.

    Args:
        shots: What may be drawn.
        config: Shares of the places (`mix`), and what is equally likely within one (`draw`).

    Raises:
        InputError: A place has a share but no shots.
    """

    def __init__(self, shots: Sequence[Shot], config: TrainingConfig) -> None:
        self.by_length = config.draw == "frames"
        grouped: list[dict[str, Video]] = [{} for _ in config.mix or (1.0,)]
        for shot in shots:
            grouped[shot.place].setdefault(f"{shot.path}:{shot.still}", []).append(shot)
        for number, group in enumerate(grouped):
            if not group:
                raise InputError(
                    f"none of the videos of place {number + 1} can be trained on; leave it and "
                    "its share out"
                )
        # One cumulative sum a place of its videos' frames, and one of the shares.
        self._places = [
            (videos, np.cumsum([_frames(video) for video in videos]), Stream(videos, config))
            for videos in (list(group.values()) for group in grouped)
        ]
        self._shares = np.cumsum(config.mix)

    def shot(self, rng: np.random.Generator, number: int, slot: int) -> Shot:
        """One shot: a place, a video of it, and one of that by the number of its frames.

        Args:
            rng: Decides, but for the order within shards.
            number: How many the slot has drawn before.
            slot: The slot of the batch that it is for.
        """
        which = _drawn(self._shares, rng) if len(self._places) > 1 else 0
        videos, ends, stream = self._places[which]
        video = videos[_drawn(ends, rng) if self.by_length else rng.integers(len(videos))]
        if video[0].offset is not None:
            video = stream.video(number, slot)
        lengths = np.array([_length(shot) for shot in video])
        return video[rng.choice(len(video), p=lengths / lengths.sum())]


class Stream:
    """The videos in shards, each slot of the batch reading shards through, one after the other.

    The slots begin evenly spread over all of them. One that comes to the end begins anew, with the
    shards in another order.

    Args:
        videos: Those that lie in shards, and others, which are left out.
        config: Batch, seed; and how often a video comes in one turn (`draw`).
    """

    def __init__(self, videos: Sequence[Video], config: TrainingConfig) -> None:
        self.config = config
        shards: dict[Path, list[Video]] = {}
        for video in videos:
            if video[0].offset is not None:
                shards.setdefault(_shard(video[0]), []).append(video)
        # By content, as shots are, not by the shards' names.
        self._shards = sorted(shards.values(), key=lambda held: min(v[0].video for v in held))
        for held in self._shards:
            held.sort(key=lambda video: video[0].offset or 0)
        self._turns = [np.cumsum([self._often(video) for video in held]) for held in self._shards]
        self._total = sum(int(turns[-1]) for turns in self._turns)
        self._order: tuple[int, NDArray[np.int64], Sums] | None = None

    def video(self, number: int, slot: int) -> Video:
        """The video of a slot that has drawn `number` before."""
        start = slot * self._total // self.config.batch
        passed, turn = divmod(start + number, self._total)
        order, ends = self._ordered(passed)
        rank = int(np.searchsorted(ends, turn, side="right"))
        shard = int(order[rank])
        turn -= int(ends[rank - 1]) if rank else 0
        return self._shards[shard][int(np.searchsorted(self._turns[shard], turn, side="right"))]

    def _often(self, video: Video) -> int:
        whole = self.config.draw == "videos"
        return 1 if whole else max(1, round(_frames(video) / self.config.chunk))

    def _ordered(self, passed: int) -> tuple[NDArray[np.int64], Sums]:
        """The shards' order in that pass, and the cumulative sum of their turns in it."""
        if self._order is None or self._order[0] != passed:
            rng = np.random.default_rng((self.config.seed, 2, passed))
            order = rng.permutation(len(self._shards))
            self._order = passed, order, np.cumsum([self._turns[i][-1] for i in order])
        return self._order[1:]


def _shard(shot: Shot) -> Path:
    return next(folder for folder in Path(shot.path).parents if is_shard(folder))


def _length(shot: Shot) -> int:
    return shot.stop - shot.start


def _frames(video: Video) -> int:
    return sum(map(_length, video))


def _drawn(ends: Sums | NDArray[np.float64], rng: np.random.Generator) -> int:
    """A number drawn in proportion to the steps of a cumulative sum."""
    return int(np.searchsorted(ends[:-1], rng.random() * ends[-1], side="right"))
