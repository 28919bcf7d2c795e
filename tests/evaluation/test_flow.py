"""Labels carried along optical flow."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from liir.annotations import Annotation
from liir.errors import InputError
from liir.evaluation.flow import warped
from liir.evaluation.layouts import Sequence

SIZE, STEP = (96, 160), (3, 2)  # H W; pixels right and down a frame


@pytest.fixture
def clip(tmp_path: Path) -> Sequence:
    """A textured scene that moves by STEP; a square and two points on it, one of them leaves."""
    scene = ndimage.gaussian_filter(
        np.random.default_rng(0).uniform(0, 255, (150, 220, 3)), (2, 2, 0)
    )
    scene = (scene - scene.min()) / np.ptp(scene) * 255
    for index in range(6):
        top, left = 20 - STEP[1] * index, 30 - STEP[0] * index
        view = scene[top : top + SIZE[0], left : left + SIZE[1]]
        Image.fromarray(view.astype(np.uint8)).save(tmp_path / f"{index}.png")
    labels = np.zeros(SIZE, np.uint8)
    labels[30:60, 50:90] = 5
    late = np.zeros(SIZE, np.uint8)
    late[30:40, 10:40] = 6
    return Sequence(
        name="clip",
        folder=tmp_path,
        stems=tuple("012345"),
        annotations={
            0: Annotation(labels, points={"in": (60.0, 40.0), "out": (155.0, 40.0)}),
            3: Annotation(late),
        },
        counted=(1, 2, 3, 4, 5),
    )


def test_labels_and_points_go_along(clip: Sequence) -> None:
    pytest.importorskip("cv2")
    found = list(warped(clip))
    assert [each.index for each in found] == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(found[0].labels, clip.annotations[0].labels)
    for each in found:
        right, down = STEP[0] * each.index, STEP[1] * each.index
        truth = np.zeros(SIZE, bool)
        truth[30 + down : 60 + down, 50 + right : 90 + right] = True
        given = each.labels == 5
        assert (truth & given).sum() / (truth | given).sum() > 0.9
        x, y, sure = each.points["in"]
        assert (x, y, sure) == pytest.approx((60 + right, 40 + down, 1), abs=1)
        assert 0 <= each.points["out"][0] < SIZE[1]
        assert bool((each.labels == 6).any()) == (each.index >= 3)
    assert (found[5].labels == 6)[34:44, 16:46].mean() > 0.85


def test_without_opencv_it_is_said_what_to_install(
    clip: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"optical flow needs OpenCV .*liir\[flow\]"):
        next(iter(warped(clip)))
