"""Reading ahead is bounded, stops when told to, and hides nothing; backwards is bounded too."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np
import pytest

import liir.frames
from liir.errors import InputError
from liir.frames import AHEAD, Frame, Video


class Counting(Video):
    """Frames of 1x1 made on demand, which keeps a record of what was made when."""

    def __init__(self, length: int | None, fail_at: int = -1) -> None:
        super().__init__("counting", (1, 1), 25.0)
        self._length, self._fail_at = length, fail_at
        self.made: list[int] = []
        self.spans: list[tuple[int, int | None]] = []
        self.closed = threading.Event()

    @property
    def length(self) -> int | None:
        return self._length

    def _read(self, start: int, stop: int | None) -> Generator[Frame, None, None]:
        self.spans.append((start, stop))
        try:
            index = start
            while (stop is None or index < stop) and index < 1000:
                if index == self._fail_at:
                    raise InputError("broken here")
                self.made.append(index)
                yield Frame(index, index / 25, np.zeros((1, 1, 3), np.uint8))
                index += 1
        finally:
            self.closed.set()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread for thread in threading.enumerate() if thread.name == "liir-video"] == []


def test_never_more_than_a_few_ahead() -> None:
    video = Counting(None)
    with closing(video.frames()) as frames:
        for taken in range(1, 20):
            next(frames)
            time.sleep(0.002)  # as long as it likes to run ahead
            assert len(video.made) <= taken + AHEAD
        deadline = time.monotonic() + 5
        while len(video.made) < 19 + AHEAD and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(video.made) == 19 + AHEAD  # but it does run ahead


def test_closing_stops_thread_and_source() -> None:
    video = Counting(None)
    frames = video.frames()
    next(frames)
    frames.close()
    assert video.closed.is_set()
    made = len(video.made)
    time.sleep(0.01)
    assert len(video.made) == made


def test_a_forgotten_generator_stops_too() -> None:
    video = Counting(None)
    for frame in video.frames():
        if frame.index == 3:
            break
    del frame
    assert video.closed.wait(5)


def test_the_end_ends_it() -> None:
    assert [frame.index for frame in Counting(None).frames(5, 9)] == [5, 6, 7, 8]
    assert list(Counting(None).frames(5, 5)) == []


def test_errors_cross_the_thread_in_their_place() -> None:
    video = Counting(None, fail_at=3)
    frames = video.frames()
    assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="broken here"):
        next(frames)


@pytest.mark.parametrize("room", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("stop", "start"), [(10, 0), (10, 3), (4, 3), (3, 3), (25, 0)])
def test_backwards_is_forwards_reversed(
    monkeypatch: pytest.MonkeyPatch, room: int, stop: int, start: int
) -> None:
    monkeypatch.setattr(liir.frames, "CHUNK_BYTES", 3 * room)
    video = Counting(20)
    back = [frame.index for frame in video.backwards(stop, start)]
    assert back == list(range(start, min(stop, 20)))[::-1]
    assert all(high is not None and high - low <= room for low, high in video.spans)


def test_backwards_begins_chunks_where_the_source_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liir.frames, "CHUNK_BYTES", 3 * 7)
    monkeypatch.setattr(Counting, "_chunk_start", lambda self, low, high: -(-low // 5) * 5)
    video = Counting(20)
    assert [frame.index for frame in video.backwards(18)] == list(range(18))[::-1]
    assert video.spans == [(15, 18), (10, 15), (5, 10), (0, 5)]


def test_frame_reads_one() -> None:
    video = Counting(None)
    assert video.frame(7).index == 7
    assert video.made == [7]
    assert video.closed.is_set()
    with pytest.raises(InputError, match="counting: frame 1000 is not there"):
        video.frame(1000)


def test_negative_numbers_are_refused() -> None:
    video = Counting(20)
    for attempt in (
        lambda: video.frames(-1),
        lambda: video.frame(-1),
        lambda: video.backwards(5, -1),
    ):
        with pytest.raises(InputError, match="no frame -1; count from 0"):
            attempt()


def test_skipped_is_ascending_and_without_repeats() -> None:
    video = Counting(20)
    for indices in ([7], [3, 4], [4, 7], [1]):
        video._skip(indices)
    assert video.skipped == [1, 3, 4, 7]
