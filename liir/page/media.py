"""The video of a project for the browser: checked, played, and shown frame by frame."""

from __future__ import annotations

import io
import os
import re
import shutil
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image

from liir.errors import InputError
from liir.figures import fit
from liir.files import writing
from liir.frames import DEFAULT_RATE
from liir.inputs import naming
from liir.pictures import IMAGE_SUFFIXES
from liir.video import Video, VideoWriter, open_video
from liir.video_file import LOCAL_ONLY

LONGEST_SIDE = 8192
MOST_PIXELS = 4096 * 4096
MOST_FRAMES = 200_000
PROXY_SIDE = 1280
"""Long side of the video that is made for browsers, in pixels."""
_PLAYED = {"h264": ("yuv420p", "yuvj420p"), "vp8": ("yuv420p",), "vp9": ("yuv420p",)}
_KEY_EVERY = 30  # frames; with fewer keyframes a jump takes too long to decode
_CACHE_BYTES = 64 << 20
_QUALITY = 92


@dataclass(frozen=True)
class Clip:
    """What is known of a project's video.

    Attributes:
        width: W, in pixels.
        height: H.
        length: Number of frames.
        rate: Frames per second of the picture that is played.
        direct: Whether browsers play the file as it is, to the frame.
    """

    width: int
    height: int
    length: int
    rate: float
    direct: bool


def safe_name(name: str, longest: int = 80) -> str:
    """A file name of what a browser says it is called: no folder, nothing but plain characters."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name.replace("\\", "/").rpartition("/")[2])
    stem, dot, suffix = plain.strip(".-").rpartition(".")
    return f"{stem[:longest]}{dot}{suffix[-10:]}" if dot else suffix[:longest]


def examine(path: Path) -> Clip:
    """Looks through a video that may be anything, its size before its pixels.

    Raises:
        InputError: It is no video, or is too large to be one.
    """
    for each in sorted(path.iterdir()) if path.is_dir() else [path]:
        _check_header(each)
    video = open_video(path)
    _check_size(*video.size)
    length = video.length
    if length is None:  # its times tell nothing: counting them does
        length = sum(1 for _ in video.frames())
    if length > MOST_FRAMES:
        raise InputError(f"{video.name}: has {length} frames, over {MOST_FRAMES}: cut it")
    video.require(None)
    rate = _steady_rate(path, length) if path.is_file() else None
    height, width = video.size
    told = rate or video.rate or DEFAULT_RATE
    shown = told if 1 <= told <= 120 else DEFAULT_RATE
    return Clip(width, height, length, shown, rate is not None)


def write_proxy(video: Video, clip: Clip, path: Path, tell: Callable[[int], None]) -> None:
    """Writes a video that browsers play and seek in: frame i at (i / rate) seconds.

    Args:
        video: The source.
        clip: What `examine` said.
        path: The mp4 to write.
        tell: Called with the number of each frame.

    Raises:
        InputError: It cannot be written, or the source not read.
    """
    with VideoWriter(path, rate=clip.rate, seekable=True) as writer:
        for frame in video.frames():
            writer.write(fit(frame.rgb, PROXY_SIDE, PROXY_SIDE), frame.index / clip.rate)
            tell(frame.index)


class Stills:
    """Frames of videos as JPEG; those asked for last are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def frame(self, video: Video, path: Path, index: int) -> bytes:
        """A frame's JPEG, at full size.

        Raises:
            InputError: There is no such frame, or it cannot be decoded.
        """
        with self._lock:
            if (path, index) in self._kept:
                self._kept.move_to_end((path, index))
                return self._kept[path, index]
        rgb = video.frame(index).rgb
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "JPEG", quality=_QUALITY, subsampling=0)
        data = file.getvalue()
        with self._lock:
            if (path, index) not in self._kept:
                self._bytes += len(data)
            self._kept[path, index] = data
            while self._bytes > _CACHE_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return data


def _check_size(height: int, width: int) -> None:
    if max(height, width) > LONGEST_SIDE or height * width > MOST_PIXELS:
        raise InputError(f"is {width}x{height}, too large: shrink it to {LONGEST_SIDE} at most")


def _check_header(path: Path) -> None:
    """Refuses what says that it is too large, before a pixel of it is decoded."""
    with naming(path.name):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # its size is looked at right here
                    with Image.open(path) as image:
                        _check_size(image.height, image.width)
            except Image.DecompressionBombError:
                raise InputError("has too many pixels") from None
            except InputError:
                raise
            except Exception as error:  # Pillow's readers raise almost anything
                raise InputError(f"not an image ({type(error).__name__})") from None
            return
        try:
            with av.open(f"file:{path.absolute()}", container_options=dict(LOCAL_ONLY)) as file:
                for stream in file.streams.video:
                    _check_size(stream.codec_context.height, stream.codec_context.width)
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("not a video that can be read") from None


def _steady_rate(path: Path, length: int) -> float | None:
    """Frames per second, if a browser can play the file and be sure which frame it shows."""
    if path.suffix.lower() not in (".mp4", ".m4v", ".webm"):
        return None
    times, keys = [], 0
    try:
        with av.open(f"file:{path.absolute()}", container_options=dict(LOCAL_ONLY)) as file:
            stream = file.streams.video[0]
            context = stream.codec_context
            if context.pix_fmt not in _PLAYED.get(context.codec.name.removeprefix("lib"), ()):
                return None
            if max(context.width, context.height) > PROXY_SIDE * 3 // 2 or stream.start_time:
                return None
            for packet in file.demux(stream):
                if packet.size and packet.pts is not None and not packet.is_discard:
                    times.append(float(packet.pts * packet.time_base))
                    keys += packet.is_keyframe
    except (av.FFmpegError, OSError, IndexError):
        return None
    if len(times) != length or length < 2 or keys * _KEY_EVERY < length:
        return None
    ordered = np.sort(times)
    step = (ordered[-1] - ordered[0]) / (length - 1)
    off = np.abs(ordered - step * np.arange(length)).max()
    return float(1 / step) if step > 0 and off < step / 4 else None


def move_in(source: Path, target: Path) -> None:
    """Brings a video into a project: a second name for the same bytes, or else a copy.

    Raises:
        InputError: It cannot be written.
    """
    with writing(target):
        if source.is_dir():
            target.mkdir()
            for each in sorted(source.iterdir()):
                if each.suffix.lower() in IMAGE_SUFFIXES and each.name[0] != ".":
                    move_in(each, target / each.name)
            return
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)
