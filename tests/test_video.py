"""`open_video` finds the right reader, and every source keeps the same promises."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import liir.frames
from liir.errors import InputError
from liir.video import Frame, VideoWriter, open_video

COUNT = 12
SIZE = (24, 40)


def pictures() -> np.ndarray:
    """(T, H, W, 3): each frame a grey of its own, with a bright corner that tells up from down."""
    frames = np.repeat(np.arange(COUNT, dtype=np.uint8) * 15 + 10, SIZE[0] * SIZE[1] * 3)
    frames = frames.reshape(COUNT, *SIZE, 3)
    frames[:, :8, :8] = 250
    return frames


def write_mp4(path: Path) -> str | Path:
    with VideoWriter(path / "a.mp4") as writer:
        for rgb in pictures():
            writer.write(rgb)
    return path / "a.mp4"


def write_folder(path: Path) -> str | Path:
    for number, rgb in enumerate(pictures()):
        Image.fromarray(rgb).save(path / f"frame{number}.png")
    return str(path)


def write_stack(path: Path, suffix: str = "tif") -> str | Path:
    first, *rest = map(Image.fromarray, pictures())
    first.save(path / f"a.{suffix}", save_all=True, append_images=rest)
    return path / f"a.{suffix}"


SOURCES: dict[str, Callable[[Path], object]] = {
    "mp4": write_mp4,
    "folder": write_folder,
    "tiff": write_stack,
    "gif": lambda path: write_stack(path, "gif"),
    "array": lambda path: pictures(),
    "grey array": lambda path: pictures()[..., 0],
    "list": lambda path: list(pictures()),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_keeps_the_promises(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = open_video(SOURCES[kind](tmp_path))
    assert video.can_rewind
    assert video.size == SIZE
    assert video.length == COUNT
    full = list(video.frames())
    assert [frame.index for frame in full] == list(range(COUNT))
    assert (np.diff([frame.time for frame in full]) > 0).all()
    for frame, expected in zip(full, pictures(), strict=True):
        assert frame.rgb.dtype == np.uint8
        assert frame.rgb.flags.c_contiguous
        assert np.abs(frame.rgb.astype(int) - expected).max() <= 40  # ringing at the corner
        assert np.abs(frame.rgb[12:, 20:].astype(int) - expected[12:, 20:]).max() <= 6
    for start in range(COUNT + 2):
        assert equal(list(video.frames(start)), full[start:])
        assert equal(list(video.frames(start, start + 2)), full[start : start + 2])
    monkeypatch.setattr(liir.frames, "CHUNK_BYTES", 5 * 3 * SIZE[0] * SIZE[1])
    assert equal(list(video.backwards(COUNT)), full[::-1])
    assert equal(list(video.backwards(9, 2)), full[2:9][::-1])
    assert equal([video.frame(5)], [full[5]])
    assert video.skipped == []


def equal(left: list[Frame], right: list[Frame]) -> bool:
    return len(left) == len(right) and all(
        (a.index, a.time) == (b.index, b.time) and bool((a.rgb == b.rgb).all())
        for a, b in zip(left, right, strict=True)
    )


def test_names_rates_and_stems(tmp_path: Path) -> None:
    mp4 = open_video(write_mp4(tmp_path))
    assert (mp4.name, mp4.rate, mp4.stems) == ("a.mp4", 25.0, None)
    (tmp_path / "clip").mkdir()
    folder = open_video(write_folder(tmp_path / "clip"))
    assert (folder.name, folder.rate) == ("clip", None)
    assert folder.stems == [f"frame{number}" for number in range(COUNT)]
    assert [frame.time for frame in folder.frames(0, 2)] == [0.0, 0.04]


def test_bad_paths_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "none").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    cases = {
        "missing.mp4": "no such file or folder",
        "empty.mp4": "the file is empty",
        "none": "holds no images",
        "pipe": "not a regular file",
        "bad.png": "cannot be read as an image",
    }
    for name, words in cases.items():
        with pytest.raises(InputError, match=f"{name}: {words}") as caught:
            open_video(tmp_path / name)
        assert "\n" not in str(caught.value)
    for address in ("http://localhost/a.mp4", "rtsp://localhost/a", "https://localhost/a.png"):
        with pytest.raises(InputError, match="only local files are opened"):
            open_video(address)


def test_bad_arrays_are_named() -> None:
    image = np.zeros((24, 40, 3), np.uint8)
    with pytest.raises(InputError, match=r"image\[None\]"):
        open_video(image)
    assert open_video(image[None]).length == 1
    for bad in (np.zeros((2, 0, 4, 3), np.uint8), np.zeros((2, 8, 8, 2), np.uint8)):
        with pytest.raises(InputError, match="frame 0"):
            open_video(bad)
    for bad in (np.zeros((0, 8, 8), np.uint8), [], iter(())):
        with pytest.raises(InputError, match="holds no frames"):
            open_video(bad)
    with pytest.raises(InputError, match="frame 0: shape"):
        open_video(["a.png", "b.png"])
    with pytest.raises(InputError, match="complex128"):
        open_video(np.zeros((2, 8, 8), complex))


def test_a_video_knows_where_it_was_opened(tmp_path: Path) -> None:
    array = np.zeros((2, 8, 8, 3), np.uint8)
    assert open_video(array).path is None
    assert open_video(list(array)).path is None
    Image.fromarray(array[0]).save(tmp_path / "0.png")
    assert open_video(tmp_path).path == tmp_path
    assert open_video(str(tmp_path / "0.png")).path == tmp_path / "0.png"
