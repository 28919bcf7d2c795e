"""Every source of video as one stream of frames: `open_video`; and back into a file: `VideoWriter`.

Read are mp4, mov, webm, mkv, avi, gif and the like (`liir.video_file`), folders of images,
multi-page TIFFs, arrays and iterators (`liir.pictures`).
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from liir import pictures
from liir.errors import InputError
from liir.frames import Frame, Video
from liir.pictures import Raw
from liir.video_file import VideoFile
from liir.video_writer import VideoWriter

__all__ = ["VIDEO_SUFFIXES", "Frame", "Video", "VideoWriter", "open_video"]

# What is taken for a video when a folder is searched; a file that is named may be called anything.
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".gif", ".mpg"})


def open_video(source: str | Path | Raw | Iterable[Any]) -> Video:
    """Open a video file, a folder of images, an array, or an iterable of frames.

    Args:
        source: path of a file or folder; array (T, H, W), (T, H, W, 3) or (T, H, W, 4); list or
            iterator of frames (H, W), (H, W, 3) or (H, W, 4). bool, uint8, uint16 or float.

    Raises:
        InputError: if it is missing, empty, cut short, no video, or not of these shapes.
    """
    if isinstance(source, np.ndarray):
        return pictures.Stills(pictures.from_array(source))
    if not isinstance(source, str | os.PathLike):
        if isinstance(source, Sequence):
            return pictures.Stills(pictures.from_list(source))
        return pictures.Stream(source)
    video = _open_path(Path(source), source)
    video.path = Path(source)
    return video


def _open_path(path: Path, source: str | os.PathLike[str]) -> Video:
    """As `open_video`; `source` is the path as it was given, which may be an address."""
    if path.is_dir():
        return pictures.Stills(pictures.from_folder(path))
    if not path.exists():
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", str(source)):
            raise InputError(f"{source}: only local files are opened; download it first")
        raise InputError(f"{source}: no such file or folder; check the path")
    if not path.is_file():
        raise InputError(f"{source}: not a regular file; give a video or a folder of images")
    if path.stat().st_size == 0:
        raise InputError(f"{source}: the file is empty; copy or record it again")
    if path.suffix.lower() in pictures.IMAGE_SUFFIXES:
        return pictures.Stills(pictures.from_pages(path))
    return VideoFile(path)
