"""What is written is what a reader gets back: pictures, colours, times."""

from pathlib import Path

import av
import numpy as np
import pytest

from liir.errors import InputError
from liir.video import VideoWriter, open_video


def flat(value: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def written(path: Path, times: list[float | None], **options: float) -> list[float]:
    with VideoWriter(path, **options) as writer:
        for number, time in enumerate(times):
            writer.write(flat(20 * number), time)
    frames = list(open_video(path).frames())
    shades = [float(frame.rgb.mean()) for frame in frames]
    assert shades == pytest.approx([20 * number for number in range(len(times))], abs=2)
    return [frame.time for frame in frames]


def test_times_survive_and_start_at_zero(tmp_path: Path) -> None:
    times = [7.0, 7.04, 7.09, 7.5, 7.501, 9.0]
    expected = [time - 7 for time in times]
    assert written(tmp_path / "a.mp4", times) == pytest.approx(expected, abs=1e-5)
    shifted = [time + 2.5 for time in expected]
    assert written(tmp_path / "b.mp4", times, start=2.5) == pytest.approx(shifted, abs=1e-5)


def test_without_times_the_rate_counts(tmp_path: Path) -> None:
    assert written(tmp_path / "a.mp4", [None] * 3) == pytest.approx([0, 0.04, 0.08])
    ntsc = 30000 / 1001
    assert written(tmp_path / "b.mp4", [None] * 4, rate=ntsc) == pytest.approx(
        [index / ntsc for index in range(4)], abs=1e-5
    )
    lapse = written(tmp_path / "d.mp4", [None] * 2, rate=1 / 600)
    assert lapse == pytest.approx([0, 600])
    assert written(tmp_path / "c.mp4", [3.0, None, None], rate=10) == pytest.approx([0, 0.1, 0.2])


def test_times_that_do_not_advance_keep_the_order(tmp_path: Path) -> None:
    times = written(tmp_path / "a.mp4", [0.0, 0.1, 0.1, 0.05, 0.3])
    assert times == pytest.approx([0, 0.1, 0.1, 0.1, 0.3], abs=1e-4)
    assert (np.diff(times) > 0).all()


def test_colours_come_back(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 100, 50)]
    with VideoWriter(tmp_path / "a.mp4", crf=5) as writer:
        for colour in colours:
            writer.write(np.full((32, 32, 3), colour, np.uint8))
    for frame, colour in zip(open_video(tmp_path / "a.mp4").frames(), colours, strict=True):
        assert frame.rgb.reshape(-1, 3).mean(0) == pytest.approx(colour, abs=3)


def test_odd_sizes_grow_by_repetition(tmp_path: Path) -> None:
    rgb = flat(40, 33, 47)
    rgb[-1], rgb[:, -1] = 200, 200
    with VideoWriter(tmp_path / "a.mp4", crf=1) as writer:
        writer.write(rgb)
    read = open_video(tmp_path / "a.mp4").frame(0).rgb
    assert read.shape == (34, 48, 3)
    assert np.abs(read.astype(int) - np.pad(rgb, ((0, 1), (0, 1), (0, 0)), "edge")).max() < 12


def test_is_what_browsers_play(tmp_path: Path) -> None:
    written(tmp_path / "a.mp4", [None] * 3)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


def test_crf_trades_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes = []
    for crf in (10, 40):
        with VideoWriter(tmp_path / "a.mp4", crf=crf) as writer:
            writer.write(noise)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the old one")
    seen = []

    def write_and_break() -> None:
        with VideoWriter(path) as writer:
            for number in range(100):  # more than the encoder holds back
                writer.write(flat(number))
            seen.extend(entry.name for entry in tmp_path.iterdir())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_break()
    assert sorted(seen) == [".a.mp4.partial.mp4", "a.mp4"]
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the old one"
    with pytest.raises(InputError, match="no frame was written"), VideoWriter(path):
        pass
    assert list(tmp_path.iterdir()) == [path]
    with VideoWriter(path) as writer:
        writer.write(flat(1))
    assert list(tmp_path.iterdir()) == [path]
    assert open_video(path).length == 1


def test_bad_input_is_named(tmp_path: Path) -> None:
    for name, words in {"a.avi": "end in .mp4", "no/a.mp4": "no folder"}.items():
        with pytest.raises(InputError, match=words):
            VideoWriter(tmp_path / name)
    (tmp_path / "d.mp4").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        VideoWriter(tmp_path / "d.mp4")
    with pytest.raises(InputError, match="crf is 60"):
        VideoWriter(tmp_path / "a.mp4", crf=60)
    with pytest.raises(InputError, match="rate is 0"):
        VideoWriter(tmp_path / "a.mp4", rate=0)
    bad = {
        "float64": flat(1) / 255,
        r"\(32, 48\)": flat(1)[..., 0],
        "40x32 pixels after frames of 48x32": flat(1, width=40),
    }
    for words, rgb in bad.items():
        writer = VideoWriter(tmp_path / "a.mp4")
        writer.write(flat(0))
        with pytest.raises(InputError, match=words):
            writer.write(rgb)
        with pytest.raises(InputError, match="time is nan"):
            writer.write(flat(0), float("nan"))
        writer.abort()
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.mp4"]
