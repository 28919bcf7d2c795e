"""Exact frames from video files: each frame carries its number as bars that survive encoding."""

import gc
from collections.abc import Callable, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import liir.frames
from liir.errors import InputError
from liir.video import Frame, VideoWriter, open_video
from liir.video_file import VideoFile

SIZE = (48, 128)  # H, W
COUNT = 60


def card(number: int) -> np.ndarray:
    """A picture of `number`: eight bars of 16 pixels, white for a bit that is set."""
    bits = (number >> np.arange(8)) & 1
    rgb = np.repeat(bits * 220 + 16, 16)[None, :, None].repeat(SIZE[0], 0).repeat(3, 2)
    return rgb.astype(np.uint8)


def read(rgb: np.ndarray) -> int:
    bars = rgb[8:40].mean(axis=(0, 2)).reshape(8, 16)[:, 4:12].mean(axis=1)
    return int(((bars > 128) << np.arange(8)).sum())


def encode(
    path: Path,
    codec: str,
    *,
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 0,
    times: Sequence[int] = range(COUNT),
    options: dict[str, str] | None = None,
    prepare: Callable[[av.VideoStream], None] = lambda stream: None,
    change: Callable[[av.Packet, int], av.Packet | None] = lambda packet, place: packet,
) -> Path:
    """Write cards 0, 1, ... at `times` in 1/25 s; `change` may alter or drop a packet."""
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"no encoder {codec} in this PyAV")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        prepare(stream)
        packets = []
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(card(number)).reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            packets += stream.encode(frame)
        for place, packet in enumerate(packets + stream.encode(None)):
            if (changed := change(packet, place)) is not None:
                container.mux(changed)
    return path


OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:b-pyramid=normal"}
KINDS = {
    "h264.mp4": {"codec": "libx264", "gop": 50, "b_frames": 3},
    "open.mov": {"codec": "libx264", "b_frames": 3, "options": OPEN_GOP},
    "refresh.mp4": {"codec": "libx264", "options": {"x264-params": "intra-refresh=1"}},
    "h264.mkv": {"codec": "libx264", "b_frames": 3},
    "h264.ts": {"codec": "libx264", "b_frames": 3},
    "h264.avi": {"codec": "libx264", "b_frames": 3},
    "raw.h264": {"codec": "libx264", "b_frames": 3},
    "hevc.mp4": {"codec": "libx265", "b_frames": 3, "options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
    "a.gif": {"codec": "gif", "pix_fmt": "rgb8"},
}
UNTIMED = {"h264.avi", "raw.h264"}  # no presentation times in the file


def same(left: Frame, right: Frame) -> bool:
    return (
        (left.index, left.time) == (right.index, right.time)
        and left.rgb.flags.c_contiguous
        and bool((left.rgb == right.rgb).all())
    )


@pytest.fixture(scope="module", params=KINDS)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / request.param, **KINDS[request.param])


def test_any_start_gives_the_frames_of_a_full_pass(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = open_video(clip)
    full = list(video.frames())
    assert video.length == (None if clip.name in UNTIMED else COUNT)
    assert video.size == SIZE
    assert video.rate == pytest.approx(25)
    assert [frame.index for frame in full] == list(range(COUNT))
    assert [read(frame.rgb) for frame in full] == list(range(COUNT))
    assert np.diff([frame.time for frame in full]) == pytest.approx(0.04, abs=0.0011)
    for start in (1, 11, 12, 13, 24, 35, 47, COUNT - 1):
        part = list(video.frames(start, start + 4))
        assert len(part) == min(4, COUNT - start)
        assert all(map(same, part, full[start:]))
    assert same(video.frame(30), full[30])
    assert list(video.frames(COUNT)) == []

    monkeypatch.setattr(liir.frames, "CHUNK_BYTES", 7 * 3 * SIZE[0] * SIZE[1])
    back = list(video.backwards(41, 3))
    assert len(back) == 38
    assert all(map(same, back, reversed(full[3:41])))
    assert video.skipped == []


def test_a_seek_decodes_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = open_video(encode(tmp_path / "a.mp4", "libx264", gop=12, b_frames=3))
    decoded = []
    decode = VideoFile._decode

    def counting(self: VideoFile, key: int | None) -> object:
        for frame in decode(self, key):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(VideoFile, "_decode", counting)
    assert read(video.frame(50).rgb) == 50
    assert len(decoded) <= 12


def test_variable_frame_rate_and_late_start_keep_their_times(tmp_path: Path) -> None:
    times = [10, 11, 14, 15, 30, 31, 33, 60]
    video = open_video(encode(tmp_path / "a.mkv", "libx264", b_frames=2, times=times))
    frames = list(video.frames())
    assert [frame.time for frame in frames] == pytest.approx([time / 25 for time in times])
    assert video.frame(5).time == frames[5].time


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), lambda a: a),
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),  # a phone held upright: clockwise
        ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
        ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), lambda a: a.transpose(1, 0, 2)),
    ],
)
def test_display_matrix_is_applied(
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    expected: Callable[[np.ndarray], np.ndarray],
) -> None:
    """The matrix of a QuickTime track header: x' = a x + c y, y' = b x + d y."""

    def prepare(stream: av.VideoStream) -> None:
        if not hasattr(stream, "set_display_matrix"):
            pytest.skip("this PyAV cannot write a display matrix")
        a, b, c, d = (65536 * entry for entry in matrix)
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])

    plain = open_video(encode(tmp_path / "plain.mp4", "libx264", times=[0, 1, 2])).frame(1).rgb
    video = open_video(encode(tmp_path / "a.mp4", "libx264", times=[0, 1, 2], prepare=prepare))
    turned = video.frame(1).rgb
    assert video.size == turned.shape[:2]
    assert turned.flags.c_contiguous
    assert (turned == expected(plain)).all()


def replaced(packet: av.Packet, data: bytes) -> av.Packet:
    """The same place in the stream, other contents."""
    new = av.Packet(data)
    new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
    new.stream, new.is_keyframe = packet.stream, packet.is_keyframe
    return new


def test_broken_frames_are_skipped_and_numbers_kept(tmp_path: Path) -> None:
    lost = (20, 21, COUNT - 1)

    def spoil(packet: av.Packet, place: int) -> av.Packet:
        return replaced(packet, bytes(packet.size)) if place in lost else packet

    path = encode(tmp_path / "a.avi", "mjpeg", pix_fmt="yuvj420p", change=spoil)
    video = open_video(path)
    assert video.length == COUNT
    frames = list(video.frames())
    good = [number for number in range(COUNT) if number not in lost]
    assert [frame.index for frame in frames] == good
    assert [read(frame.rgb) for frame in frames] == good
    assert video.skipped == list(lost)
    assert [frame.index for frame in video.frames(20, 23)] == [22]
    assert [frame.index for frame in video.backwards(23, 18)] == [22, 19, 18]
    with pytest.raises(InputError, match=r"a\.avi: frame 20 "):
        video.frame(20)


def test_frames_that_are_never_shown_have_no_number(tmp_path: Path) -> None:
    def hide(packet: av.Packet, place: int) -> av.Packet:
        data = bytearray(bytes(packet))
        data[0] &= ~16  # show_frame of the VP8 frame tag
        return replaced(packet, bytes(data)) if place == 30 else packet

    video = open_video(encode(tmp_path / "a.webm", "libvpx", change=hide))
    numbers = [read(frame.rgb) for frame in video.frames()]
    assert numbers == [number for number in range(COUNT) if number != 30]
    assert video.length == COUNT - 1
    assert read(video.frame(30).rgb) == 31
    assert video.skipped == []


def test_mpeg4_with_placeholders_is_counted(tmp_path: Path) -> None:
    """They come with packed B-frames, where a packet's time is not that of its frame."""
    not_coded = bytes([0, 0, 1, 0xB6, 0x50, 0xCF, 0xFF])  # a P-VOP with vop_coded = 0

    def drop(packet: av.Packet, place: int) -> av.Packet:
        return replaced(packet, not_coded) if place == 30 else packet

    video = open_video(encode(tmp_path / "a.avi", "mpeg4", change=drop))
    frames = list(video.frames())
    assert [frame.index for frame in frames] == list(range(COUNT - 1))
    numbers = [read(frame.rgb) for frame in frames]
    assert numbers[:30] == list(range(30))
    assert numbers[40:] == list(range(41, COUNT))
    assert [read(frame.rgb) for frame in video.backwards(COUNT, 25)] == numbers[:24:-1]
    assert (video.length, video.skipped) == (None, [])


@pytest.mark.parametrize("b_frames", [0, 3])
def test_what_an_edit_list_cuts_off_has_no_number(tmp_path: Path, b_frames: int) -> None:
    times = range(-5, COUNT - 5)  # mp4 keeps what comes before 0 out of sight
    video = open_video(encode(tmp_path / "a.mp4", "libx264", b_frames=b_frames, times=times))
    frames = list(video.frames())
    assert [read(frame.rgb) for frame in frames] == list(range(5, COUNT))
    assert [frame.index for frame in frames] == list(range(COUNT - 5))
    assert frames[0].time == 0
    assert video.length == COUNT - 5
    for start in (0, 3, 7, 20):
        assert same(video.frame(start), frames[start])
    assert video.skipped == []


def test_numbers_start_at_the_first_frame_that_can_be_shown(tmp_path: Path) -> None:
    """A recording that starts in the middle of an open group: its leading frames are lost."""
    whole = encode(tmp_path / "whole.ts", "libx264", b_frames=3, options=OPEN_GOP)
    cut = tmp_path / "cut.ts"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in [p for p in source.demux(stream) if p.size][10:]:
            packet.stream = copy
            target.mux(packet)
    video = open_video(cut)
    frames = list(video.frames())
    numbers = [read(frame.rgb) for frame in frames]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert numbers == list(range(numbers[0], COUNT))
    assert video.length == len(frames)
    assert video.skipped == []


def test_a_frame_that_was_read_is_gone(tmp_path: Path) -> None:
    """Without waiting for Python to look for cycles: pictures are large."""
    path = tmp_path / "clip.mp4"
    with VideoWriter(path) as writer:
        for value in range(40):
            writer.write(np.full((32, 32, 3), value, dtype=np.uint8))
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in open_video(path).frames()) == 40
        held = [each for each in gc.get_objects() if type(each) is av.VideoFrame]
    finally:
        gc.enable()
    assert len(held) < 5


def test_alpha_lies_over_black(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "bgra"
        rgba = np.full((16, 32, 4), 200, np.uint8)
        rgba[:, 16:, 3] = 0
        rgba[:, :16, 3] = 255
        frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="bgra")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    rgb = open_video(tmp_path / "a.mkv").frame(0).rgb
    assert (rgb[:, :16] == 200).all()
    assert (rgb[:, 16:] == 0).all()


def test_a_name_is_never_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(tmp_path / "concat:a%03d.mp4", "libx264", times=range(3))
    monkeypatch.chdir(tmp_path)
    assert open_video("concat:a%03d.mp4").length == 3
    for address in ("http://localhost/a.mp4", "concat:a.mp4|b.mp4", "pipe:0", "file:a.mp4"):
        with pytest.raises(InputError, match="only local files"):
            open_video(address)


def test_playlists_and_texts_are_no_videos(tmp_path: Path) -> None:
    encode(tmp_path / "a.ts", "libx264", times=range(3))
    texts = {
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n",
        "list.ffconcat": "ffconcat version 1.0\nfile 'a.ts'\n",
        "note.txt": "not a video\n" * 500,
        "note.mp4": "not a video\n" * 500,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=rf"{name}: not a video") as caught:
            open_video(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_cut_short_and_pictureless_files_are_named(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", "libx264").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index was at the end
    with pytest.raises(InputError, match=r"cut\.mp4: not a video, or cut short"):
        open_video(tmp_path / "cut.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts = 44100, 0
        container.mux([*stream.encode(sound), *stream.encode(None)])
    with pytest.raises(InputError, match=r"sound\.mp4: holds no video stream"):
        open_video(tmp_path / "sound.mp4")
    encode(tmp_path / "none.avi", "mjpeg", pix_fmt="yuvj420p", change=lambda packet, place: None)
    with pytest.raises(InputError, match=r"none\.avi: "):
        open_video(tmp_path / "none.avi")


def test_a_real_clip(data_root: Path) -> None:
    video = open_video(data_root / "unlabelled/misc/cutie__examples__example.mp4")
    length = video.length
    assert length is not None
    tail = list(video.frames(length - 9))
    assert len(tail) == 9
    with closing(video.backwards(length)) as back:
        assert all(same(next(back), frame) for frame in reversed(tail))
    assert tail[0].rgb.shape == (*video.size, 3)
    assert np.ptp(tail[0].rgb) > 100
