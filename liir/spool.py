"""Results met backwards and told forwards: on disk in between, so that memory stays flat."""

from __future__ import annotations

import tempfile
import zlib
from dataclasses import replace

import numpy as np
import torch

from liir.errors import InputError
from liir.result import Result
from liir.video import Frame

_NO_PICTURE = np.empty((0, 0, 3), dtype=np.uint8)


class Spool:
    """Results in a temporary file, last in first out; a context manager.

    Only scores and points are kept (the frame is decoded again), compressed and in half
    precision: about 100 KiB a frame of 480 lines.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._waiting: list[tuple[int, int, Result]] = []

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def push(self, result: Result) -> None:
        """Writes a result away.

        Raises:
            InputError: The disk of temporary files is full.
        """
        packed = zlib.compress(result.scores.half().cpu().numpy().tobytes(), level=1)
        light = replace(result, rgb=_NO_PICTURE, scores=torch.empty(0))
        self._waiting.append((self._file.tell(), len(packed), light))
        try:
            self._file.write(packed)
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()}: no room for the labels of frame {result.index}, on "
                f"their way backwards ({error.strerror}); free some or set TMPDIR"
            ) from error

    def pop(self, frame: Frame) -> Result | None:
        """The result of a frame, if there is one: frames come in ascending order.

        A frame may decode in one direction and not in the other: it has no result, or its result
        no frame.
        """
        while self._waiting and self._waiting[-1][2].index < frame.index:
            self._waiting.pop()
        if not self._waiting or self._waiting[-1][2].index > frame.index:
            return None
        at, length, result = self._waiting.pop()
        self._file.seek(at)
        packed = np.frombuffer(zlib.decompress(self._file.read(length)), dtype=np.float16)
        shape = (1 + len(result.ids), *result.grid.cells)
        scores = torch.from_numpy(packed.astype(np.float32)).view(shape)
        return replace(result, rgb=frame.rgb, scores=scores.to(result.grid.device))
