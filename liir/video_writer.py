"""Frames into an H.264 file that keeps the times of its source."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.container
import numpy as np
from numpy.typing import NDArray

from liir.errors import InputError
from liir.frames import DEFAULT_RATE

TICKS = 90000  # time base: whole for 24, 25, 30, 50, 60 and 30000/1001 frames per second
BT709 = 1  # FFmpeg's number for it, as matrix, primaries and transfer curve alike
LIMITED = 1  # luma in 16..235, as every player expects


class VideoWriter:
    """Writes an mp4: H.264, yuv420p, BT.709, index at the front so that browsers start at once.

    The file appears under its name once it is whole; until then it is `.<name>.partial.mp4`
    beside it, removed if the `with` block raises. Odd sizes are padded to even ones by repeating
    the last row or column.

        with VideoWriter("out.mp4", rate=video.rate) as writer:
            for frame in video.frames():
                writer.write(frame.rgb, frame.time)

    Args:
        path: file to write: .mp4, .m4v or .mov.
        rate: frames per second of frames written without a time; 25 if None.
        crf: quality, from 0 (lossless but for the colour format) to 51 (worst).
        start: time of the first frame in the file, in seconds; the others keep their distance.
        seekable: a keyframe every 12 frames, each frame decoded from those before it alone: any of
            them is shown at once, for a larger file.

    Raises:
        InputError: if nothing can be written there.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rate: float | None = None,
        crf: int = 18,
        start: float = 0.0,
        seekable: bool = False,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
            raise InputError(f"{path}: an mp4 is written; let the name end in .mp4")
        if not self.path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {self.path.parent}; make it first")
        if self.path.is_dir():
            raise InputError(f"{path}: is a folder; give the name of a file")
        if not 0 <= crf <= 51:
            raise InputError(f"{path}: crf is {crf}; give 0 (best) to 51 (smallest file)")
        if rate is not None and not 1e-4 <= rate <= 1e4:
            raise InputError(f"{path}: rate is {rate}; give frames per second, 0.0001 to 10000")
        self._partial = self.path.with_name(f".{self.path.name}.partial.mp4")
        self._step = Fraction(rate or DEFAULT_RATE).limit_denominator(100_000)
        self._crf, self._start, self._seekable = crf, start, seekable
        self._size = (0, 0)
        self._first = self._time = 0.0
        self._ticks = -1
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None

    def write(self, rgb: NDArray[np.uint8], time: float | None = None) -> None:
        """Append a frame.

        Args:
            rgb: (H, W, 3) uint8, the same size each time.
            time: seconds; None is 1/rate after the frame before. A time that is not later than
                the last becomes the next tick of 1/90000 s.

        Raises:
            InputError: if the frame is not of that form or size, or the time is not finite.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
            raise InputError(
                f"{self.path}: frame of shape {rgb.shape}, type {rgb.dtype}; give (H, W, 3) uint8"
            )
        if time is not None and not math.isfinite(time):
            raise InputError(f"{self.path}: time is {time}; give seconds, or none at all")
        if self._stream is None:
            self._first = self._time = time or 0.0
            self._open(rgb.shape[0], rgb.shape[1])
        else:
            self._time = self._time + float(1 / self._step) if time is None else time
        if rgb.shape[:2] != self._size:
            raise InputError(
                f"{self.path}: frame of {rgb.shape[1]}x{rgb.shape[0]} pixels after frames of "
                f"{self._size[1]}x{self._size[0]}; write them to files of their own"
            )
        ticks = round((self._time - self._first + self._start) * TICKS)
        self._ticks = max(ticks, self._ticks + 1)
        self._encode(rgb)

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            InputError: if no frame was written.
        """
        if self._container is None or self._stream is None:
            raise InputError(f"{self.path}: no frame was written, so there is no file")
        with self._named():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            os.replace(self._partial, self.path)
        self._container = None

    def abort(self) -> None:
        """Drop what was written."""
        if self._container is not None:
            with suppress(av.FFmpegError, OSError):
                self._container.close()
            self._container = None
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()

    def _open(self, height: int, width: int) -> None:
        self._size = height, width
        options = {"movflags": "+faststart"}
        with self._named():
            self._container = av.open(
                f"file:{self._partial.absolute()}", "w", format="mp4", container_options=options
            )
        stream = self._container.add_stream("libx264", rate=self._step)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(self._crf), "preset": "veryfast"}
        if self._seekable:
            stream.options |= {"g": "12", "bf": "0"}
        context: Any = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        # Untagged, players guess: BT.601 or BT.709 by height, and colours shift.
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        self._stream = stream

    def _encode(self, rgb: NDArray[np.uint8]) -> None:
        assert self._container is not None
        assert self._stream is not None
        height, width = self._size
        even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = self._ticks, Fraction(1, TICKS)
        with self._named():
            self._container.mux(self._stream.encode(frame))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which file it is that the disk, or the encoder, refuses."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from error
