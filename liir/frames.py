"""What a video is to the rest of liir: numbered, timed frames, forwards, backwards, from anywhere.

Memory does not grow with length: a thread decodes `AHEAD` frames ahead, and going backwards
holds at most `CHUNK_BYTES`.
"""

import queue
import threading
from bisect import bisect_left
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liir.errors import InputError

AHEAD = 4  # frames decoded before they are asked for
CHUNK_BYTES = 64 * 2**20
DEFAULT_RATE = 25.0  # frames per second of what carries no times


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: place in presentation order, from 0.
        time: presentation time in seconds, as the file has it.
        rgb: (H, W, 3) uint8, C-contiguous.
    """

    index: int
    time: float
    rgb: NDArray[np.uint8]


class Video:
    """A source of frames; made by `open_video`.

    Attributes:
        name: what to call it in messages and file names.
        size: (H, W) in pixels, upright.
        rate: nominal frames per second; None where the source carries no times (its frames are
            then 1/25 s apart).
        files: file names, for a folder; else None.
        path: file or folder that it was opened from, if it was.
        can_rewind: whether it can be read again, from anywhere; False for an iterator.
        skipped: indices of the frames that failed to decode so far, ascending. The frames after
            them keep their numbers.
    """

    path: Path | None = None
    can_rewind = True

    def __init__(
        self, name: str, size: tuple[int, int], rate: float | None, files: list[str] | None = None
    ) -> None:
        self.name, self.size, self.rate, self.files = name, size, rate, files
        self.skipped: list[int] = []

    @property
    def stems(self) -> list[str] | None:
        """File names without suffix, for a folder; else None."""
        return None if self.files is None else [Path(file).stem for file in self.files]

    @property
    def length(self) -> int | None:
        """Number of frames, or None if only decoding would tell.

        For a file this reads (not decodes) it once, and is remembered.
        """
        return None

    def require(self, stop: int | None) -> None:
        """See that no frame before `stop`, or the end, was lost with the rest of a file.

        Raises:
            InputError: if the file is cut short, and what is left of it ends before `stop`.
        """

    def frames(self, start: int = 0, stop: int | None = None) -> Generator[Frame, None, None]:
        """Yield the frames from `start` to before `stop` or the end.

        Closing the generator stops the thread that decodes ahead.

        Raises:
            InputError: if start < 0, or an iterator has gone past it, or as `require`.
        """
        self.require(stop)
        frames = self._read(self._not_negative(start), stop)
        # An iterator is the caller's: it runs in the caller's thread, no further than asked.
        return _ahead(frames) if self.can_rewind else frames

    def backwards(self, stop: int, start: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames stop-1, stop-2, ..., start.

        Raises:
            InputError: for an iterator, or if start < 0, or as `require`.
        """
        self.require(stop)
        if not self.can_rewind:
            raise InputError(
                f"{self.name}: an iterator cannot go backwards; give a file or an array, "
                "or annotate its first frame"
            )
        return _ahead(self._reversed(self._not_negative(start), stop))

    def frame(self, index: int) -> Frame:
        """Read one frame, decoding no more than from the keyframe before it.

        Raises:
            InputError: if there is no such frame, or it cannot be decoded.
        """
        with closing(self._read(self._not_negative(index), index + 1)) as frames:
            for frame in frames:
                return frame
        raise InputError(f"{self.name}: frame {index} is not there or cannot be decoded")

    def _not_negative(self, index: int) -> int:
        if index < 0:
            raise InputError(f"{self.name}: there is no frame {index}; count from 0")
        return index

    def _read(self, start: int, stop: int | None) -> Generator[Frame, None, None]:
        raise NotImplementedError

    def _chunk_start(self, low: int, high: int) -> int:
        """Where in [low, high) a chunk that ends before `high` best begins."""
        return low

    def _reversed(self, start: int, stop: int) -> Generator[Frame, None, None]:
        height, width = self.size
        room = max(1, CHUNK_BYTES // (3 * height * width))
        high = stop if self.length is None else min(stop, self.length)
        while high > start:
            low = max(start, high - room)
            if low > start:
                low = self._chunk_start(low, high)
            chunk = list(self._read(low, high))
            while chunk:
                yield chunk.pop()
            high = low

    def _skip(self, indices: Iterable[int]) -> None:
        for index in indices:
            at = bisect_left(self.skipped, index)
            if self.skipped[at : at + 1] != [index]:
                self.skipped.insert(at, index)


def _ahead(items: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
    """Run `items` in a thread, at most AHEAD frames before the consumer."""
    ready: queue.SimpleQueue[Frame | BaseException | None] = queue.SimpleQueue()
    slots = threading.Semaphore(AHEAD)
    stopped = threading.Event()

    def work() -> None:
        with closing(items):
            try:
                while slots.acquire() and not stopped.is_set():
                    item = next(items, None)
                    ready.put(item)
                    if item is None:
                        return
            except BaseException as error:
                ready.put(error)

    thread = threading.Thread(target=work, name="liir-video", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            slots.release()
            yield item
    finally:
        stopped.set()
        slots.release()
        thread.join()
