"""Two views of one picture, and the true flow between them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from liir.learning.views import correspondence, crop, nowhere, two_views, warp
from liir.presets import TrainingConfig

SIZE = 64
SAME = TrainingConfig(
    crop=SIZE, view_rotation=0, view_zoom=1, view_shear=0, view_shift=0, view_perspective=0,
    view_bend=0, view_light=0, view_colour=0,
)  # fmt: skip
STRENGTHS = {
    "view_rotation": 40.0,
    "view_zoom": 1.6,
    "view_shear": 0.3,
    "view_shift": 0.2,
    "view_perspective": 0.3,
    "view_bend": 0.1,
}


def waves(height: int = 150, width: int = 170) -> NDArray[np.uint8]:
    """Each channel a wave of its own direction: steep, so that a fifth of a pixel shows."""
    y, x = np.mgrid[:height, :width] + 0.5
    phases = (x / 7, y / 7, (x + y) / 9)
    return np.stack([127 + 120 * np.sin(phase) for phase in phases], axis=-1).astype(np.uint8)


def pixels(size: int = SIZE) -> NDArray[np.float64]:
    """The middle of each pixel, x and y."""
    return np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)


@pytest.mark.parametrize("side", [64.0, 96.3, 40.7])
@pytest.mark.parametrize("field", [*STRENGTHS, "all"])
def test_the_reference_at_the_given_places_is_the_target(field: str, side: float) -> None:
    changes = STRENGTHS if field == "all" else {field: STRENGTHS[field]}
    config = replace(SAME, **changes)
    wrong, moved = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        (reference, target), places = two_views(waves(), (31.2, 23.9, side), config, rng)
        assert places.shape == (SIZE // 4, SIZE // 4, 2)
        known = np.isfinite(places).all(axis=-1)
        assert known.mean() > 0.3
        x, y = places[known].T
        for channel in range(3):
            there = map_coordinates(reference[..., channel].astype(float), [y, x], order=1)
            wrong.append(np.abs(there - target[::4, ::4, channel][known]).mean())
        moved.append(np.abs(places - (pixels()[::4, ::4] - 0.5))[known].max())
    assert max(wrong) < 1  # grey level; half a pixel beside makes five
    assert max(moved) > 4  # something did happen


def test_views_that_do_not_differ_are_the_crop() -> None:
    frame = waves()
    (reference, target), places = two_views(
        frame, (20.0, 30.0, float(SIZE)), SAME, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(reference, frame[30 : 30 + SIZE, 20 : 20 + SIZE])
    np.testing.assert_array_equal(target, reference)
    y, x = np.mgrid[:SIZE:4, :SIZE:4]
    np.testing.assert_allclose(places, np.stack((x, y), axis=-1), atol=1e-4)


def test_places_outside_the_view_are_unknown() -> None:
    config = replace(SAME, view_shift=0.5)
    for seed in range(6):
        places = warp(config, np.random.default_rng(seed))
        shift = (places - pixels())[0, 0]
        known = np.isfinite(correspondence(places)).all(axis=-1)
        inside = pixels()[::4, ::4] - 0.5 + shift
        np.testing.assert_array_equal(known, ((inside >= 0) & (inside <= SIZE - 1)).all(axis=-1))
    assert np.isnan(nowhere(30)).all()
    assert nowhere(30).shape == correspondence(np.zeros((30, 30, 2))).shape == (8, 8, 2)


def moved_by(field: str, seed: int) -> NDArray[np.float64]:
    """Where target pixels lie, in sides of the view from its middle."""
    config = replace(SAME, **{field: STRENGTHS[field]})
    return warp(config, np.random.default_rng(seed)) / SIZE - 0.5


@pytest.mark.parametrize("seed", range(5))
def test_each_strength_does_what_it_says(seed: int) -> None:
    start = (pixels() / SIZE - 0.5).reshape(-1, 2)

    def linear(field: str) -> NDArray[np.float64]:
        matrix, rest, *_ = np.linalg.lstsq(start, moved_by(field, seed).reshape(-1, 2), rcond=None)
        assert rest.max() < 1e-9
        return matrix.T

    turn = linear("view_rotation")
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-9)
    assert 0 < abs(np.degrees(np.arctan2(turn[1, 0], turn[0, 0]))) <= STRENGTHS["view_rotation"]
    zoom = linear("view_zoom")
    np.testing.assert_allclose(zoom, zoom[0, 0] * np.eye(2), atol=1e-9)
    assert 0 < abs(np.log(zoom[0, 0])) <= np.log(STRENGTHS["view_zoom"])
    shear = linear("view_shear")
    np.testing.assert_allclose(shear, [[1, shear[0, 1]], [0, 1]], atol=1e-9)
    assert 0 < abs(shear[0, 1]) <= STRENGTHS["view_shear"]
    shift = moved_by("view_shift", seed).reshape(-1, 2) - start
    assert np.ptp(shift, axis=0).max() < 1e-9
    assert 0 < np.abs(shift).max() <= STRENGTHS["view_shift"]
    bend = moved_by("view_bend", seed).reshape(-1, 2) - start
    assert 0.01 < np.abs(bend).max() <= 2 * STRENGTHS["view_bend"]


@pytest.mark.parametrize("seed", range(5))
def test_perspective_keeps_lines_straight(seed: int) -> None:
    places = moved_by("view_perspective", seed)
    for line in (places[5], places[:, 40], np.einsum("iic->ic", places)):
        along = line - line.mean(axis=0)
        assert np.linalg.svd(along, compute_uv=False)[1] < 1e-9
    steps = np.linalg.norm(np.diff(places[SIZE // 2], axis=0), axis=1)
    assert abs(steps[0] / steps[-1] - 1) > 0.01  # nearer on one side
    assert np.linalg.norm(places - (pixels() / SIZE - 0.5), axis=-1).max() < 0.6


def test_a_bent_plate_is_not_affine() -> None:
    start = (pixels() / SIZE - 0.5).reshape(-1, 2)
    flat = np.hstack((start, np.ones((len(start), 1))))
    bent = moved_by("view_bend", 0).reshape(-1, 2)
    matrix, *_ = np.linalg.lstsq(flat, bent, rcond=None)
    assert np.abs(bent - flat @ matrix).max() > 0.02


def test_light_changes_both_views_and_no_place() -> None:
    config = replace(SAME, view_light=0.3, view_colour=0.3)
    frame = np.full((SIZE, SIZE, 3), 120, dtype=np.uint8)
    frame[:, SIZE // 2 :] = (60, 150, 90)
    box = (0.0, 0.0, float(SIZE))
    (one, other), places = two_views(frame, box, config, np.random.default_rng(3))
    for view in (one, other):
        assert np.abs(view.astype(int) - frame).max() > 5
        assert np.abs(np.diff(view.astype(int), axis=0)).max() == 0
    assert np.abs(one.astype(int) - other).max() > 5
    y, x = np.mgrid[:SIZE:4, :SIZE:4]
    np.testing.assert_allclose(places, np.stack((x, y), axis=-1), atol=1e-4)


def test_by_default_true_matches_lie_in_the_window() -> None:
    config = TrainingConfig()
    size, reach = config.crop, config.radius * 4
    grid = pixels(size)[::4, ::4] - 0.5
    shares = []
    for seed in range(40):
        away = np.abs(correspondence(warp(config, np.random.default_rng(seed))) - grid).max(axis=-1)
        shares.append((away[np.isfinite(away)] <= reach).mean())
    assert np.mean(shares) > 0.98


def test_beyond_the_frame_is_mirrored() -> None:
    frame = waves(40, 40)
    config = replace(SAME, view_shift=0.3)
    (_, target), places = two_views(frame, (0.0, 0.0, 40.0), config, np.random.default_rng(1))
    assert np.isnan(places).any()
    assert target.std() > 50  # no blank strip
    assert np.abs(np.diff(target.astype(int), axis=0)).max() < 60


def test_the_crop_is_averaged_when_shrunk() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    small = crop(noise, (0.0, 0.0, 128.0), 32)
    (_, target), _ = two_views(
        noise, (0.0, 0.0, 128.0), replace(SAME, crop=32), np.random.default_rng(0)
    )
    assert np.abs(small.astype(int) - target).max() <= 1
    assert small.std() < 30
