"""J over time: its numbers, its worst frames, what became of each pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.show.errors import lowest, outcome, show_errors, similarities, tinted, window
from liir.show.takes import Stage, Take, truth

pytest.importorskip("matplotlib")


def test_fate_of_each_pixel() -> None:
    true = np.array([[0, 0, 1, 1, 2, 2, 255, 255]], np.uint8)
    given = np.array([[0, 3, 1, 0, 2, 1, 0, 1]], np.uint8)
    assert outcome(true, given).tolist() == [[0, 2, 1, 3, 1, 3, 0, 0]]


def test_lowest_frames_keep_apart() -> None:
    scores = dict.fromkeys(range(40), 1.0) | {10: 0.1, 11: 0.0, 12: 0.2, 30: 0.5}
    assert lowest(scores, 2) == [11, 30]
    assert lowest({3: 0.5}, 4) == [3]
    assert len(lowest(dict.fromkeys(range(100), 0.5), 4)) == 4


def test_similarities_are_those_of_the_score(world: Path) -> None:
    stage = Stage("davis2017", world / "data")
    clip = stage.clip("one")
    take = stage.take(clip, stage.entry(str(world / "bad"), [clip], pytest.fail))
    found = similarities(clip, take)
    assert [*found] == [1, 2, 3, 4]
    rows = stage.protocol.score(
        clip, stage.entry(str(world / "bad"), [clip], pytest.fail).source(clip)
    )
    for row in rows:
        mean = np.mean([each[int(row.object)] for each in found.values()])
        assert mean == pytest.approx(row.scores["J-Mean"])


def test_an_object_counts_from_the_frame_after_it_is_given_in(late: Path) -> None:
    stage = Stage("youtube-vos", late, split="full")
    clip = stage.clip("a")
    entry = stage.entry("copy", [clip], pytest.fail)
    found = similarities(clip, stage.take(clip, entry))
    assert [[*each] for each in found.values()] == [[1], [1], [1, 2], [1, 2], [1, 2]]
    for row in stage.protocol.score(clip, entry.source(clip)):
        own = [each[int(row.object)] for each in found.values() if int(row.object) in each]
        assert np.mean(own) == pytest.approx(row.scores["J-Mean"])


def test_classes_that_are_new_do_not_count(tmp_path: Path) -> None:
    for folder in ("JPEGImages/a", "Annotations/a"):
        (tmp_path / folder).mkdir(parents=True)
    maps = [np.full((20, 30), 4, np.uint8) for _ in range(3)]
    for index, labels in enumerate(maps):
        labels[:, 15:] = 9
        labels[5:15, 5:10] = 0 if index == 0 else 17
        Image.fromarray(labels).convert("RGB").save(tmp_path / f"JPEGImages/a/{index:05}.jpg")
        Image.fromarray(labels).save(tmp_path / f"Annotations/a/{index:05}.png")
    stage = Stage("semantic", tmp_path)
    clip = stage.clip("a")
    everything = Take("a", {i: np.where(maps[i] == 17, 4, maps[i]) for i in range(3)})
    assert similarities(clip, everything) == {1: {4: 1.0, 9: 1.0}, 2: {4: 1.0, 9: 1.0}}


def test_a_window_has_the_frames_shape_and_all_that_is_shown() -> None:
    shown = np.zeros((100, 200), bool)
    assert shown[window(shown)].shape == (100, 200)
    shown[40:60, 120:130] = True
    rows, columns = window(shown)
    assert (rows, columns) == (slice(37, 62), slice(100, 150))  # 1.25 x as high, as wide as high
    shown[:] = False
    shown[99, 0] = True  # one pixel in a corner: a fifth of the frame
    assert window(shown) == (slice(80, 100), slice(0, 40))
    shown[:] = True
    assert shown[window(shown)].shape == (100, 200)


def test_only_what_became_of_objects_has_a_colour() -> None:
    rgb = np.full((1, 4, 3), (200, 40, 90), np.uint8)
    painted = tinted(rgb, np.array([[0, 1, 2, 3]], np.uint8))[0].astype(int)
    assert painted[0].min() == painted[0].max() < 100
    assert painted[1, 2] > painted[1, 0] + 50  # blue
    assert painted[2, 0] > painted[2, 1] + 50  # vermilion
    assert painted[3, :2].min() > painted[3, 2] + 50  # yellow


def test_figure(world: Path, tmp_path: Path) -> None:
    stage = Stage("davis2017", world / "data")
    clip = stage.clip("one")
    bad = stage.take(clip, stage.entry(str(world / "bad"), [clip], pytest.fail))
    show_errors(clip, [bad], tmp_path / "objects.png")
    show_errors(clip, [truth(clip), bad], tmp_path / "models.png")
    shown = {}
    for name in ("objects", "models"):
        with Image.open(tmp_path / f"{name}.png") as image:
            shown[name] = np.asarray(image).astype(int)
        assert shown[name].shape[1] == 1600
    # Blue and vermilion lines; grey frames below, of which those of the truth are right everywhere.
    for rgb in shown.values():
        for line in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
            assert (np.abs(rgb[:440] - line).max(axis=2) < 8).sum() > 200
    missed = [(rgb[440:, :, 0] - rgb[440:, :, 2] > 90).sum() for rgb in shown.values()]  # yellowish
    assert missed[0] > 5000
    assert missed[1] == 0


def test_joints_have_no_masks(world: Path, tmp_path: Path) -> None:
    clip = Stage("badja", world / "data").clip("one")
    with pytest.raises(InputError, match="one: has joints, and J is of masks"):
        show_errors(clip, [Take("a")], tmp_path / "a.png")
