"""The end of a cut file is never taken for that of the recording."""

from pathlib import Path

import av
import numpy as np
import pytest

import liir.video_file
from liir.errors import InputError
from liir.truncation import is_cut
from liir.video import VideoWriter, open_video

COUNT = 40
CODECS = {
    "front.mp4": "",  # by VideoWriter: its index is at the front
    "a.mp4": "libx264",
    "a.mkv": "libx264",
    "a.webm": "libvpx",
    "a.avi": "mjpeg",
    "untimed.avi": "libx264",
}


def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (COUNT, 32, 48, 3), dtype=np.uint8)


def encode(path: Path) -> Path:
    codec = CODECS[path.name]
    if not codec:
        with VideoWriter(path) as writer:
            for rgb in frames():
                writer.write(rgb)
        return path
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"no encoder {codec} in this PyAV")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 48, 32
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.max_b_frames = 3 if codec == "libx264" else 0
        for rgb in frames():
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


def shortened(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("share", [0.6, 0.9])
@pytest.mark.parametrize("name", ["front.mp4", "a.mkv", "a.webm", "a.avi"])
def test_more_than_is_left_is_refused_and_what_is_left_can_be_had(
    tmp_path: Path, name: str, share: float
) -> None:
    path = encode(tmp_path / name)
    whole = list(open_video(path).frames())
    assert len(whole) == COUNT
    video = open_video(shortened(path, share))
    left = video.length
    assert left is not None
    assert 10 < left < COUNT
    for ask in (video.frames, lambda: video.frames(0, left + 1), lambda: video.backwards(COUNT)):
        with pytest.raises(InputError, match=rf"is cut short, only {left} frames .*--end {left}"):
            ask()
    found = list(video.frames(0, left))
    assert sorted([frame.index for frame in found] + video.skipped) == list(range(left))
    assert len(video.skipped) < 5
    for frame in found[: left - 5]:  # the last may be spoilt where the file ends
        assert (frame.rgb == whole[frame.index].rgb).all()


def test_a_cut_file_without_times_is_told_too(tmp_path: Path) -> None:
    video = open_video(shortened(encode(tmp_path / "untimed.avi"), 0.6))
    assert video.length is None
    with pytest.raises(InputError, match=r"is cut short, its end is missing.*--end FRAME"):
        video.frames()
    assert len(list(video.frames(0, 15))) == 15


@pytest.mark.parametrize("name", CODECS)
def test_what_follows_the_last_part_of_a_file_cuts_nothing_short(tmp_path: Path, name: str) -> None:
    """Cameras append data of their own."""
    path = encode(tmp_path / name)
    whole = path.read_bytes()
    for tail in (b"", b"\0" * 40, b"x", b"\x7f\xff\xff\xffmine", b"\xff" * 99):
        path.write_bytes(whole + tail)
        assert not is_cut(path)
    path.write_bytes(whole[:-1])
    assert is_cut(path)


def test_streams_that_do_not_know_their_length_are_whole(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv")
    data = bytearray(path.read_bytes())
    place = data.index(b"\x18\x53\x80\x67") + 4
    data[place : place + 8] = b"\x01" + b"\xff" * 7
    path.write_bytes(data)
    assert len(list(open_video(path).frames())) == COUNT


def test_a_disk_that_cannot_be_read_cuts_a_file_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = liir.video_file._packets

    def failing(*args: object) -> object:
        for place, packet in enumerate(packets(*args)):
            if place == 30:
                raise av.error.OSError(5, "Input/output error")
            yield packet

    video = open_video(encode(tmp_path / "a.webm"))
    monkeypatch.setattr(liir.video_file, "_packets", failing)
    with pytest.raises(InputError, match="is cut short, only 30 frames are left"):
        video.frames()
    assert [frame.index for frame in video.frames(0, 30)] == list(range(30))


def test_real_files_are_whole(data_root: Path) -> None:
    videos = sorted(data_root.rglob("*.mp4")) + sorted(data_root.rglob("*.mkv"))
    assert [path for path in videos if is_cut(path)] == []
