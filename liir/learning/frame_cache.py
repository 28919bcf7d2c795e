"""Decoded frames kept under a byte budget, so that a small data set is decoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]


class FrameCache:
    """The frames used last.

    Args:
        budget: Bytes that they may take; 0 keeps none.
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.size = budget, 0
        self._kept: OrderedDict[tuple[str, int], Rgb] = OrderedDict()

    def frames(
        self, path: str, start: int, stop: int, read: Callable[[int, int], list[Rgb]]
    ) -> list[Rgb]:
        """The frames start..stop-1 of a video.

        Args:
            path: The video.
            start: First frame.
            stop: Frame after the last.
            read: Decodes frames from the first to before the second number, (H, W, 3) each.

        Returns:
            All of them; fewer if some cannot be decoded.
        """
        if not self.budget:
            return read(start, stop)
        missing = [i for i in range(start, stop) if (path, i) not in self._kept]
        if missing:
            fresh = read(missing[0], missing[-1] + 1)
            if len(fresh) <= missing[-1] - missing[0]:
                return fresh
            for i, frame in enumerate(fresh, missing[0]):
                if (path, i) not in self._kept:
                    self._kept[path, i] = frame
                    self.size += frame.nbytes
        found = []
        for i in range(start, stop):
            self._kept.move_to_end((path, i))
            found.append(self._kept[path, i])
        while self.size > self.budget:
            self.size -= self._kept.popitem(last=False)[1].nbytes
        return found
