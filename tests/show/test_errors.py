"""J over time: its numbers, its worst frames, what became of each pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.show.errors import lowest, outcome, show_errors, similarities
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
    # Blue and vermilion lines; frames below, of which those of the truth are right everywhere.
    for rgb in shown.values():
        for line in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
            assert (np.abs(rgb[:440] - line).max(axis=2) < 8).sum() > 200
    missed = [(np.abs(rgb[440:] - (240, 228, 66)).max(axis=2) < 20).sum() for rgb in shown.values()]
    assert missed[0] > 500
    assert missed[1] < 50


def test_joints_have_no_masks(world: Path, tmp_path: Path) -> None:
    clip = Stage("badja", world / "data").clip("one")
    with pytest.raises(InputError, match="one: has joints, and J is of masks"):
        show_errors(clip, [Take("a")], tmp_path / "a.png")
