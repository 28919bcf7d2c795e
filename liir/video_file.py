"""Video files through FFmpeg (PyAV): random access to exact frames.

Times are presentation times, so a variable frame rate is kept; the display matrix (phones held
upright) is applied; pixels are taken as they are stored, square or not, and deep ones by their
nominal range. Only local files are opened, whatever a file or a name may say. A file that is cut
short is read no further than asked for by number: its end is not where the recording ended.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from numpy.typing import NDArray

from liir.errors import InputError
from liir.frames import DEFAULT_RATE, Frame, Video
from liir.pictures import Raw, to_rgb
from liir.truncation import is_cut

# Play lists and texts pass for video with FFmpeg, and could make it open other files.
LOCAL_ONLY = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,avi,gif,mpegts,mpeg,flv,asf,ogg,ivf,mxf,nut,dv,"
    "h264,hevc,m4v,mpegvideo,mjpeg,yuv4mpegpipe",
}


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    try:
        # With "file:" before it, a name such as "concat:x" is a name and no protocol.
        container = av.open(f"file:{path.absolute()}", "r", container_options=dict(LOCAL_ONLY))
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{path}: not a video, or cut short ({error.strerror}); copy or record it again"
        ) from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            raise InputError(f"{path}: holds no video stream; give a file with pictures")
        stream.thread_type = av.codec.context.ThreadType.AUTO
        yield container, stream


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet[av.VideoStream]]:
    """Packets that carry data."""
    return (packet for packet in container.demux(stream) if packet.size)


def _upright(raw: Raw, frame: av.VideoFrame) -> Raw:
    """Apply the display matrix: x' = a x + c y, y' = b x + d y, entries 0 or +-1 (in 16.16)."""
    # Not frame.side_data: the frame would hold what holds the frame, and dozens of pictures wait
    # until Python looks for such cycles.
    matrix: Any = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    if matrix is None:
        return raw
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if abs(b) + abs(c) > abs(a) + abs(d):
        raw, a, d = raw.swapaxes(0, 1), c, b
    return raw[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class VideoFile(Video):
    """A video file. A frame's number is the rank of its time among the times of all packets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._decode(None)) as frames:
            first = next((frame for frame in frames if frame is not None), None)
        if first is None:
            raise InputError(f"{path}: not one frame can be decoded; copy or record it again")
        self._first = first.pts
        self._coded = first.width, first.height
        with _opened(path) as (_, stream):
            rate = stream.average_rate or stream.guessed_rate
            self._time_base = stream.time_base or Fraction(1, 90000)
        height, width, _ = self._pixels(first).shape
        super().__init__(path.name, (height, width), float(rate) if rate else None)
        self._cut = is_cut(path)

    @cached_property
    def _index(self) -> tuple[list[int], list[int]] | None:
        """Times of all frames, ascending, and which of them are keyframes; None: cannot tell."""
        times: list[int | None] = []
        keys = set()
        with _opened(self._path) as (container, stream):
            kind = container.format.name
            codec = stream.codec_context.codec.name
            delayed = stream.codec_context.has_b_frames
            doubtful = False
            try:
                for packet in _packets(container, stream):
                    # VP8 has frames that are never shown; a bit in the first byte tells.
                    if packet.is_discard or ("vp8" in codec and not memoryview(packet)[0] & 16):
                        continue
                    # MPEG-4 may pack two frames in a packet and make up for it with an empty one.
                    doubtful |= codec == "mpeg4" and packet.size <= 8
                    times.append(packet.pts)
                    if packet.is_keyframe and kind != "gif":  # a GIF builds on all before
                        keys.add(packet.pts)
            except av.FFmpegError:  # such as a disk that cannot be read
                self._cut = True
        ordered = sorted({time for time in times if time is not None})
        # AVI has no presentation times; FFmpeg makes them up, wrongly for most B-frames.
        doubtful |= kind == "avi" and delayed > 0 and times == ordered
        if len(ordered) != len(times) or doubtful or self._first not in ordered:
            return None
        # Frames that lead the first keyframe lack their references and never come out.
        ordered = ordered[ordered.index(self._first) :]
        return ordered, [rank for rank, time in enumerate(ordered) if time in keys]

    @property
    def length(self) -> int | None:
        """Number of frames; None where the packets have no times to trust."""
        return len(self._index[0]) if self._index else None

    def require(self, stop: int | None) -> None:
        """As `Video.require`."""
        length = self.length
        if not self._cut or (stop is not None and (length is None or stop <= length)):
            return
        left = "its end is missing" if length is None else f"only {length} frames are left"
        raise InputError(
            f"{self._path}: is cut short, {left}; copy or record it again, or stop before "
            f"(--end {'FRAME' if length is None else length})"
        )

    def _chunk_start(self, low: int, high: int) -> int:
        keys = self._index[1] if self._index else []
        return next((key for key in keys[bisect_left(keys, low) :] if key < high), low)

    def _pixels(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        alpha = any(component.is_alpha for component in frame.format.components)
        width, height = self._coded  # a stream may change its size midway; a Video does not
        raw = frame.to_ndarray(format="rgba" if alpha else "rgb24", width=width, height=height)
        return to_rgb(_upright(raw, frame), (0, 1))

    def _decode(self, key: int | None) -> Generator[av.VideoFrame | None, None, None]:
        """Decode from the keyframe at time `key` (None: from the start); None is a failure.

        Yields nothing if the seek ends up behind that keyframe.
        """
        with _opened(self._path) as (container, stream):
            if key is not None:
                with suppress(av.FFmpegError):
                    container.seek(key, stream=stream)
            landed = key is None
            with suppress(av.FFmpegError):  # where a file breaks off, it ends
                for packet in _packets(container, stream):
                    if key is not None and not landed:
                        if not packet.is_keyframe:
                            continue
                        if packet.pts is None or packet.pts > key:
                            return
                        landed = True
                    try:
                        yield from stream.decode(packet)
                    except av.FFmpegError:
                        yield None
            with suppress(av.FFmpegError):
                yield from stream.decode(None)

    def _read(self, start: int, stop: int | None) -> Generator[Frame, None, None]:
        if self._index is None:
            yield from self._counted(start, stop)
            return
        times, keys = self._index
        stop = len(times) if stop is None else min(stop, len(times))
        near = keys[: bisect_right(keys, start)][-2:]
        # A seek that overshoots is mended by one keyframe further back; a stream that recovers
        # more slowly (intra refresh), by decoding from the start.
        for key in [*(times[rank] for rank in reversed(near) if rank), None]:
            due = start
            with closing(self._decode(key)) as frames:
                for rank, frame in self._ranked(frames):
                    if rank < due:
                        continue
                    if key is not None and due == start < rank:
                        break
                    self._skip(range(due, min(rank, stop)))
                    due = rank + 1
                    if rank < stop:
                        yield Frame(rank, float(times[rank] * self._time_base), self._pixels(frame))
                    if due >= stop:
                        return
            if key is None or due > start:
                break
        self._skip(range(due, stop))

    def _ranked(
        self, frames: Iterable[av.VideoFrame | None]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        times = self._index[0] if self._index else []
        for frame in frames:
            if frame is not None and frame.pts is not None:
                rank = bisect_left(times, frame.pts)
                if times[rank : rank + 1] == [frame.pts]:
                    yield rank, frame

    def _counted(self, start: int, stop: int | None) -> Generator[Frame, None, None]:
        """Read a stream whose times are missing or made up: order and rate are all there is."""
        with closing(self._decode(None)) as frames:
            for index, frame in enumerate(frames):
                if stop is not None and index >= stop:
                    return
                if frame is None:
                    self._skip([index])
                elif index >= start:
                    time = index / (self.rate or DEFAULT_RATE)
                    yield Frame(index, time, self._pixels(frame))
