"""A row for each model, in order; or all playing side by side."""

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.annotations import Annotation
from liir.figures import colours
from liir.show.components import show_components
from liir.show.takes import Stage, Take, truth
from liir.video import open_video


def whole(folder: Path) -> tuple[Stage, Take]:
    stage = Stage("davis2017", folder / "data")
    return stage, truth(stage.clip("one"))


def contours(rgb: np.ndarray) -> np.ndarray:
    """Places (n, 2) of the contour's colour of object 1."""
    return np.argwhere(np.abs(rgb.astype(int) - colours()[1]).max(axis=2) < 25)


def test_rows_from_above(world: Path, tmp_path: Path) -> None:
    stage, true = whole(world)
    clip = stage.clip("one")
    nothing = Take("nothing", {i: np.zeros((64, 96), np.uint8) for i in range(6)})
    show_components(clip, [true, nothing], tmp_path / "a.png", frames=4)
    show_components(clip, [nothing, true], tmp_path / "b.png", frames=4)
    for name, low, high in (("a", 0.0, 0.5), ("b", 0.5, 1.0)):
        with Image.open(tmp_path / f"{name}.png") as image:
            rgb = np.asarray(image)
        found = contours(rgb)[:, 0] / len(rgb)
        assert len(found) > 400
        assert low <= found.min() <= found.max() <= high


def test_a_video_has_all_frames_of_all(world: Path, tmp_path: Path) -> None:
    stage, true = whole(world)
    clip = stage.clip("one")
    takes = [true, Take("a"), Take("b", score="J&F 1.0")]
    show_components(clip, takes, tmp_path / "a.mp4")
    frames = [frame.rgb for frame in open_video(tmp_path / "a.mp4").frames()]
    assert len(frames) == 5  # to the last that is scored
    moved = [np.median(contours(rgb)[:, 1]) for rgb in frames]
    assert all(a > b for a, b in pairwise(moved))
    assert all(contours(rgb)[:, 0].max() < len(rgb) / 2 for rgb in frames)


def test_a_video_of_hidden_truth(late: Path, tmp_path: Path) -> None:
    stage = Stage("youtube-vos", late)
    clip = stage.clip("a")
    take = stage.take(clip, stage.entry("copy", [clip], pytest.fail))
    show_components(clip, [truth(clip), take], tmp_path / "a.mp4")
    assert len([*open_video(tmp_path / "a.mp4").frames()]) == 6


def test_sparse_ids_have_the_first_colours(world: Path, tmp_path: Path) -> None:
    stage, true = whole(world)
    clip = stage.clip("one")
    first = 90 * clip.truth(0)
    sparse = dataclasses.replace(clip, annotations={0: Annotation(first)})
    take = Take("sparse", {i: 90 * labels for i, labels in true.labels.items()})
    show_components(sparse, [take], tmp_path / "a.png", frames=2)
    show_components(clip, [dataclasses.replace(true, name="sparse")], tmp_path / "b.png", frames=2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_take_may_lack_frames(world: Path, tmp_path: Path) -> None:
    stage, _ = whole(world)
    show_components(stage.clip("one"), [Take("empty")], tmp_path / "a.png", frames=2)
    with Image.open(tmp_path / "a.png") as image:
        assert len(contours(np.asarray(image))) == pytest.approx(0, abs=40)
