"""Labels over their video: every frame, one frame, a sheet."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.figures import colours
from liir.show.labelled import open_labelled
from liir.show.overlay import show_overlay, show_sheet
from liir.video import open_video

FRAMES, HEIGHT, WIDTH = 6, 64, 96


def far(rgb: np.ndarray) -> float:
    """How far pixels are from the colour of object 1."""
    return float(np.abs(rgb.astype(int) - colours()[1]).mean())


def test_an_overlay_plays_as_its_video_does(world: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    out = tmp_path / "overlay.mp4"
    labelled = open_labelled(world / "masks", world / "clip.mp4")
    show_overlay(labelled, out, progress=lambda *at: told.append(at))
    assert told == [(i, FRAMES) for i in range(1, FRAMES + 1)]
    video, source = open_video(out), open_video(world / "clip.mp4")
    scale = video.size[0] // HEIGHT
    assert video.size == (scale * HEIGHT, scale * WIDTH)
    for frame, original in zip(video.frames(), source.frames(), strict=True):
        assert frame.time == pytest.approx(original.time, abs=1e-3)
        left = scale * (40 - 4 * frame.index)
        # The contour is on the object's edge and not a few pixels beside it.
        rows = frame.rgb[scale * 20 : scale * 36]
        assert far(rows[:, left : left + 2]) < 30
        assert far(rows[:, left - 4 : left - 2]) > 40
        assert far(rows[:, left + 5 : left + 7]) > 40


def test_one_frame_is_a_picture(world: Path, tmp_path: Path) -> None:
    labelled = open_labelled(world / "masks", world / "clip.mp4")
    show_overlay(labelled, tmp_path / "a.png", frame=5)
    with Image.open(tmp_path / "a.png") as image:
        rgb = np.asarray(image)
    scale = rgb.shape[0] // HEIGHT
    assert far(rgb[scale * 20 : scale * 36, scale * 20 : scale * 20 + 2]) == 0
    with pytest.raises(InputError, match="say which with --frame"):
        show_overlay(labelled, tmp_path / "b.png")
    with pytest.raises(InputError, match="--frame 5: is for a picture"):
        show_overlay(labelled, tmp_path / "b.mp4", frame=5)
    with pytest.raises(InputError, match="frame 9 has no labels"):
        show_overlay(labelled, tmp_path / "b.png", frame=9)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_sheet_has_its_frames(world: Path, tmp_path: Path) -> None:
    labelled = open_labelled(world / "masks", world / "clip.mp4")
    show_sheet(labelled, tmp_path / "a.png", frames=3, columns=3)
    show_sheet(labelled, tmp_path / "b.png", frames=6, columns=3)
    with Image.open(tmp_path / "a.png") as few, Image.open(tmp_path / "b.png") as many:
        assert few.width == many.width
        assert many.height > 1.8 * few.height
        small = np.asarray(few)
    near = np.abs(small.astype(int) - colours()[1]).max(axis=2) < 30
    assert near.sum() > 3 * 150
    for bad in ({"frames": 0}, {"columns": 0}):
        with pytest.raises(InputError, match="at least one frame"):
            show_sheet(labelled, tmp_path / "c.png", **bad)


def test_what_is_drawn_stays(world: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    shutil.copy(world / "clip.mp4", clip)
    before = clip.read_bytes()
    labelled = open_labelled(world / "masks", clip)
    with pytest.raises(InputError, match=r"clip\.mp4: lies in what is drawn"):
        show_overlay(labelled, clip)
    with pytest.raises(InputError, match=r"00005\.png: lies in what is drawn"):
        show_overlay(labelled, world / "masks" / "00005.png", frame=5)
    assert clip.read_bytes() == before
