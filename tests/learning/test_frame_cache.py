"""Frames are decoded once, as long as there is room for them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from liir.learning.frame_cache import FrameCache

FRAME = 300  # bytes


class Reader:
    """Frames that say which they are; remembers what was asked for."""

    def __init__(self, length: int = 100) -> None:
        self.length, self.asked = length, []  # type: ignore[var-annotated]

    def __call__(self, start: int, stop: int) -> list[NDArray[np.uint8]]:
        self.asked.append((start, stop))
        return [np.full((10, 10, 3), i, np.uint8) for i in range(start, min(stop, self.length))]


def numbers(frames: list[NDArray[np.uint8]]) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in frames]


def test_only_what_is_missing_is_read() -> None:
    cache, read = FrameCache(100 * FRAME), Reader()
    for start, stop in ((10, 20), (12, 18), (15, 25), (5, 30), (0, 3)):
        assert numbers(cache.frames("a", start, stop, read)) == [*range(start, stop)]
    assert read.asked == [(10, 20), (20, 25), (5, 30), (0, 3)]
    assert cache.size == 28 * FRAME
    cache.frames("b", 10, 12, read)  # of another video
    assert read.asked[-1] == (10, 12)


def test_what_was_used_last_stays_within_the_budget() -> None:
    cache, read = FrameCache(10 * FRAME), Reader()
    for start in (0, 4, 0, 50):
        cache.frames("a", start, start + 4, read)
        assert cache.size <= 10 * FRAME
    assert read.asked == [(0, 4), (4, 8), (50, 54)]
    cache.frames("a", 0, 4, read)
    assert len(read.asked) == 3
    cache.frames("a", 4, 8, read)  # two of these made room
    assert read.asked[3:] == [(4, 6)]


def test_more_than_the_budget_is_read_all_the_same() -> None:
    cache, read = FrameCache(3 * FRAME), Reader()
    assert numbers(cache.frames("a", 0, 9, read)) == [*range(9)]
    assert cache.size == 3 * FRAME


def test_no_budget_keeps_nothing() -> None:
    cache, read = FrameCache(0), Reader()
    for _ in range(2):
        assert numbers(cache.frames("a", 3, 6, read)) == [3, 4, 5]
    assert (read.asked, cache.size) == ([(3, 6), (3, 6)], 0)


@pytest.mark.parametrize("budget", [0, 100 * FRAME])
def test_frames_that_cannot_be_decoded_are_missed(budget: int) -> None:
    cache, read = FrameCache(budget), Reader(length=8)
    assert len(cache.frames("a", 2, 6, read)) == 4
    assert len(cache.frames("a", 4, 10, read)) < 6
    assert len(cache.frames("a", 4, 8, read)) == 4
