"""Clips inside tar files (shards), read where they lie: nothing is unpacked.

A clip has a path as if the shard were a folder: shard.tar/clip.mp4. Frames make a clip if they lie
in one folder of the shard (shard.tar/clip for clip/00000.jpg, ...), or if their names agree up to
the first dot, as webdataset has it (shard.tar/clip for clip.00000.jpg, ...).
"""

from __future__ import annotations

import functools
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from liir.errors import InputError
from liir.frames import Video
from liir.pictures import (
    IMAGE_SUFFIXES,
    Pictures,
    Raw,
    Stills,
    black_and_white,
    checked,
    decode,
    from_folder,
    natural,
    to_rgb,
)
from liir.video import VIDEO_SUFFIXES, open_video


class ScratchError(InputError):
    """There is no room for temporary files: no fault of a video's, and the end of a run."""


_SUFFIXES = (".tar", ".tar.gz", ".tgz")  # compressed ones are told, and left out


@dataclass(frozen=True)
class Member:
    """A file inside a shard.

    Attributes:
        name: Its path there.
        offset: Where its bytes begin.
        size: How many they are.
    """

    name: str
    offset: int
    size: int


def in_shard(path: Path) -> tuple[Path, str] | None:
    """The shard that a path leads into and the name within; None for files and folders."""
    for folder in path.parents:
        if is_shard(folder):
            return folder, path.relative_to(folder).as_posix()
    return None


@dataclass(frozen=True)
class Shard:
    """What lies in a tar file, by name and in its order.

    Attributes:
        clips: Of a video its one file, of frames all of them in natural order.
        images: Every image by itself.
        fault: Why there may have been more; empty if that is all.
    """

    clips: Mapping[str, list[Member]]
    images: Mapping[str, list[Member]]
    fault: str


def is_shard(path: Path) -> bool:
    """Whether a path is that of a shard, by its name."""
    return path.name.lower().endswith(_SUFFIXES) and not path.is_dir()


def shard(path: Path) -> Shard:
    """Looks through a tar file; the last ones are remembered.

    Raises:
        InputError: It is none, or a compressed one, or cannot be read.
    """
    try:
        state = path.stat()
        return _shard(path, (state.st_size, state.st_mtime_ns))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


@functools.lru_cache(maxsize=16)  # as many as a batch has slots, or so
def _shard(path: Path, _: tuple[int, int]) -> Shard:
    clips: dict[str, list[Member]] = {}
    images: dict[str, list[Member]] = {}
    held, fault = _members(path)
    files = [(PurePosixPath(member.name), member) for member in held]
    videos = {name: member for name, member in files if name.suffix.lower() in VIDEO_SUFFIXES}
    clips |= {name.as_posix(): [member] for name, member in videos.items()}
    keys = {name.parent / name.name.partition(".")[0] for name in videos}
    for name, member in files:
        if name.suffix.lower() in IMAGE_SUFFIXES:
            images[name.as_posix()] = [member]
            start, *rest = name.name.split(".")
            key = name.parent / start
            if key not in keys:  # otherwise it is a video's thumbnail
                group = (key if len(rest) > 1 else name.parent).as_posix()
                clips.setdefault(path.stem if group == "." else group, []).append(member)
    return Shard({name: _of_one_kind(files) for name, files in clips.items()}, images, fault)


def members(path: Path) -> tuple[Path, list[Member]] | None:
    """The shard that a clip or image lies in, and its files there; None if it lies in none.

    Raises:
        InputError: There is no such clip, or the shard cannot be read.
    """
    for folder in path.parents:
        if is_shard(folder):
            name, held = path.relative_to(folder).as_posix(), shard(folder)
            files = held.images.get(name) or held.clips.get(name)
            if not files:
                raise InputError(f"{path}: there is no such clip in the shard any more")
            return folder, files
    return None


def read(path: Path, member: Member) -> bytes:
    """The bytes of a file in a shard.

    Raises:
        InputError: The shard ends before, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(member.offset)
            data = file.read(member.size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) < member.size:
        raise InputError(f"{path}/{member.name}: the shard is cut short; copy it again")
    return data


@contextmanager
def open_clip(path: Path) -> Iterator[Video]:
    """Opens a video file, a folder of frames, or a clip inside a shard.

    Raises:
        InputError: As for `open_video`; of a folder, only as its frames are read.
        ScratchError: A video file inside a shard cannot be copied out of it.
    """
    found = members(path)
    if found is None:
        yield Stills(from_folder(path, check=False)) if path.is_dir() else open_video(path)
    elif PurePosixPath(found[1][0].name).suffix.lower() in IMAGE_SUFFIXES:
        yield Stills(_frames(path, *found))
    else:
        with _copied(path, read(found[0], found[1][0])) as copy:
            try:
                yield open_video(copy)
            except InputError as error:
                raise InputError(str(error).replace(str(copy), str(path))) from None


@contextmanager
def _copied(path: Path, data: bytes) -> Iterator[Path]:
    """A file of the clip alone, for FFmpeg wants one that it can seek in; it is small."""
    with ExitStack() as stack:
        try:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="liir-"))
            copy = Path(scratch, path.name)
            copy.write_bytes(data)
        except OSError as error:
            raise ScratchError(
                f"{path}: no room for a copy of it in {tempfile.tempdir} ({error.strerror}); make "
                "some, or name another folder in TMPDIR"
            ) from None
        yield copy


def open_photograph(path: Path, side: int) -> NDArray[np.uint8]:
    """Reads an image file, or an image inside a shard.

    Args:
        path: The image.
        side: As for `pictures.decode`.

    Returns:
        (H, W, 3).

    Raises:
        InputError: It cannot be read.
    """
    found = members(path)
    file = BytesIO(read(found[0], found[1][0])) if found else path
    raw = checked(decode(file, str(path), side), str(path))
    return to_rgb(raw, black_and_white([raw]))


def _members(path: Path) -> tuple[list[Member], str]:
    """The regular files of a shard, but for hidden ones; and why these may not be all."""
    found = []
    whole = False
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                name = PurePosixPath(info.name.lstrip("/"))
                if info.isreg() and not any(part.startswith(".") for part in name.parts):
                    found.append(Member(name.as_posix(), info.offset_data, info.size))
            whole = _ends(path, tar.offset)
    except tarfile.ReadError as error:
        if not found:
            raise InputError(
                f"{path}: not a plain tar file ({error}); decompress it if it is compressed"
            ) from None
    last = f" after {found[-1].name}" if found else ""
    return found, "" if whole else f"{path}: damaged or cut short{last}; copy it again"


def _ends(path: Path, offset: int) -> bool:
    """Whether the shard really ends there, by two blocks of zeros, and nothing but zeros follows.

    Where a header is damaged, `tarfile` ends as well.
    """
    with path.open("rb") as file:
        file.seek(offset)
        rest = file.read(2 * tarfile.BLOCKSIZE)
        whole = len(rest) == 2 * tarfile.BLOCKSIZE
        while whole and rest:
            whole = not any(rest)
            rest = file.read(1 << 20)
    return whole


def _of_one_kind(files: list[Member]) -> list[Member]:
    """The frames of a clip in natural order: labels beside them have another suffix."""
    suffixes = [PurePosixPath(file.name).suffix.lower() for file in files]
    kind = Counter(suffixes).most_common(1)[0][0]
    frames = [file for file, suffix in zip(files, suffixes, strict=True) if suffix == kind]
    return sorted(frames, key=lambda file: natural(Path(file.name)))


def _frames(path: Path, holder: Path, files: list[Member]) -> Pictures:
    def label(index: int) -> str:
        return f"{holder}/{files[index].name}"

    def load(index: int) -> Raw:
        return decode(BytesIO(read(holder, files[index])), label(index))

    return Pictures(path.name, len(files), lambda: nullcontext(load), label)
