"""Labels in files are brought to the frames that they belong to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.export import write_label_png
from liir.show.labelled import open_labelled
from liir.video import open_video

Scene = Callable[[int], tuple[np.ndarray, np.ndarray]]
FRAMES, HEIGHT, WIDTH = 6, 64, 96


def test_masks_by_number_and_by_name(world: Path, scene: Scene) -> None:
    for video in (world / "clip.mp4", world / "data/JPEGImages/one"):
        labelled = open_labelled(world / "masks", video)
        found = list(labelled.frames())
        assert [frame.index for frame, _, _ in found] == [*range(FRAMES)]
        for frame, labels, points in found:
            assert labels is not None
            assert (labels == scene(frame.index)[1]).all()
            assert points == {}


def test_a_table_and_a_span(world: Path) -> None:
    labelled = open_labelled(world / "points.csv", world / "clip.mp4")
    assert labelled.span == range(1, 4)
    found = [(f.index, labels, points) for f, labels, points in labelled.frames()]
    assert found == [
        (1, None, {"nose": (56, 30, 1)}),
        (2, None, {}),
        (3, None, {"nose": (48, 30, 1)}),
    ]
    frame, _, points = labelled.frame(3)
    assert (frame.index, points) == (3, {"nose": (48.0, 30.0, 1.0)})
    with pytest.raises(InputError, match="frame 2 has no labels; they go from 1 to 3"):
        labelled.frame(2)


def test_what_liir_track_wrote(world: Path, run: Callable[..., Any], tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    shutil.copy(world / "clip.mp4", clip)
    out = tmp_path / "out"
    words: list[Any] = ["track", clip, "--model", world / "tiny.safetensors", "--out", out]
    words += ["--annotation", f"1={world}/masks/00001.png", "--annotation", world / "points.csv"]
    assert run(*words, "--start", 1, "--set", "point_threshold=0.3").code == 0
    labelled = open_labelled(out)
    assert labelled.span == range(1, FRAMES)
    assert labelled.threshold == 0.3
    _, labels, points = labelled.frame(4)
    with Image.open(out / "masks/00004.png") as image:
        assert (labels == np.asarray(image)).all()
    told = [line.split(",") for line in (out / "points.csv").read_text().splitlines()]
    row = next(line for line in told if line[0] == "4")
    assert points["nose"][0] == pytest.approx(float(row[2]))
    clip.rename(tmp_path / "moved.mp4")
    with pytest.raises(InputError, match=r"its video .*clip\.mp4 is not there any more; give --vi"):
        open_labelled(out)
    assert open_labelled(out, tmp_path / "moved.mp4").span == labelled.span
    # Folders of earlier releases do not know where their video is.
    settings = json.loads((out / "settings.json").read_text())
    del settings["source"]
    (out / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="say which video it was made of"):
        open_labelled(out)


def test_what_does_not_fit(world: Path, tmp_path: Path, scene: Scene) -> None:
    clip = world / "clip.mp4"
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        open_labelled(tmp_path / "nowhere", clip)
    with pytest.raises(InputError, match="say which video it belongs to, with --video"):
        open_labelled(world / "masks")
    masks = tmp_path / "masks"
    masks.mkdir()
    with pytest.raises(InputError, match="holds no PNG"):
        open_labelled(masks, clip)
    write_label_png(masks / "dog.png", scene(0)[1])
    with pytest.raises(InputError, match=r"holds dog\.png, which is no frame's name or number"):
        open_labelled(masks, clip)
    write_label_png(masks / "00001.png", scene(0)[1][:20])
    with pytest.raises(InputError, match=r"00001\.png: is 96x20, the frames of .* are 96x64"):
        list(open_labelled(masks, clip).frames())
    write_label_png(masks / "00009.png", scene(0)[1])
    message = r"speaks of frame 9, and clip\.mp4 has frames 0 to 5; is it another video"
    with pytest.raises(InputError, match=rf"00009\.png: {message}"):
        open_labelled(masks, clip)
    (tmp_path / "points.csv").write_text("frame,name,x,y\n0,nose,1,1\n9,nose,1,1\n")
    with pytest.raises(InputError, match=rf"points\.csv: {message}"):
        open_labelled(tmp_path / "points.csv", clip)


def test_a_video_that_ends_before_its_labels(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only decoding tells how long it is."""
    monkeypatch.setattr(type(open_video(world / "clip.mp4")), "length", None)
    (tmp_path / "points.csv").write_text("frame,name,x,y\n9,nose,1,1\n")
    labelled = open_labelled(tmp_path / "points.csv", world / "clip.mp4")
    for read in (lambda: labelled.frame(9), lambda: list(labelled.frames())):
        with pytest.raises(InputError, match=r"clip\.mp4: ends before frame 9, which has labels"):
            read()


@pytest.mark.parametrize("text", ["[1]", "{", "null"])
def test_settings_that_liir_track_did_not_write(world: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(InputError, match=r"settings\.json: is not "):
        open_labelled(tmp_path, world / "clip.mp4")
