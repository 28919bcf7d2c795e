"""A strip for each sequence, with the frames that count."""

from pathlib import Path

import numpy as np
from PIL import Image

from liir.figures import colours
from liir.show.results import show_results
from liir.show.takes import Stage, truth


def test_strips_of_masks_and_of_joints(world: Path, tmp_path: Path) -> None:
    masks, joints = Stage("davis2017", world / "data"), Stage("badja", world / "data")
    clips = [masks.clip("one"), masks.clip("two"), joints.clip("one")]
    show_results([(clip, truth(clip)) for clip in clips], tmp_path / "a.png", frames=4)
    with Image.open(tmp_path / "a.png") as image:
        rgb = np.asarray(image)
    near = np.abs(rgb.astype(int) - colours()[1]).max(axis=2) < 25
    thirds = [int(part.sum()) for part in np.array_split(near, 3)]
    assert min(thirds[:2]) > 400
    assert thirds[2] < 100
    tail = np.abs(rgb.astype(int) - colours()[2]).max(axis=2) < 12  # the second point's colour
    assert int(np.array_split(tail, 3)[2].sum()) > 30
