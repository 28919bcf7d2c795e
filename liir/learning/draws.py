"""Which shot comes next: places by their shares, videos alike or by their length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from liir.errors import InputError
from liir.learning.shots import Shot
from liir.presets import TrainingConfig


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
        grouped: list[dict[str, list[Shot]]] = [{} for _ in config.mix or (1.0,)]
        for shot in shots:
            grouped[shot.place].setdefault(shot.path, []).append(shot)
        for number, group in enumerate(grouped):
            if not group:
                raise InputError(
                    f"none of the videos of place {number + 1} can be trained on; leave it and "
                    "its share out"
                )
        # One cumulative sum a place of its videos' frames, and one of the shares.
        self._places = [
            (videos, np.cumsum([sum(map(_length, video)) for video in videos]))
            for videos in (list(group.values()) for group in grouped)
        ]
        self._shares = np.cumsum(config.mix)

    def shot(self, rng: np.random.Generator) -> Shot:
        """One shot: a place, a video of it, and one of that by the number of its frames."""
        videos, ends = self._places[_drawn(self._shares, rng) if len(self._places) > 1 else 0]
        video = videos[_drawn(ends, rng) if self.by_length else rng.integers(len(videos))]
        lengths = np.array([_length(shot) for shot in video])
        return video[rng.choice(len(video), p=lengths / lengths.sum())]


def _length(shot: Shot) -> int:
    return shot.stop - shot.start


def _drawn(ends: np.ndarray, rng: np.random.Generator) -> int:
    """A number drawn in proportion to the steps of a cumulative sum."""
    return int(np.searchsorted(ends[:-1], rng.random() * ends[-1], side="right"))
