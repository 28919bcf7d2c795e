"""Overlays and sheets: what is drawn, where, in which colour, and how quickly."""

import time

import numpy as np
import pytest

from liir.figures import colours, contact_sheet, draw_heat, draw_overlay, fit, legible_scale

GREY = np.full((48, 64, 3), 100, dtype=np.uint8)


def square(number: int = 1) -> np.ndarray:
    labels = np.zeros((48, 64), dtype=np.uint8)
    labels[10:30, 20:50] = number
    return labels


def test_every_id_has_a_colour_of_its_own() -> None:
    table = colours()
    assert table.shape == (256, 3)
    assert len({tuple(colour) for colour in table.tolist()}) == 256
    # The first ones are far apart, or a glance would not tell them.
    first = table[1:9].astype(float)
    apart = np.linalg.norm(first[:, None] - first[None], axis=2)[~np.eye(8, dtype=bool)]
    assert apart.min() > 60


@pytest.mark.parametrize("number", [1, 2, 9, 254, 255])
def test_inside_is_tinted_the_contour_is_the_colour_the_rest_untouched(number: int) -> None:
    labels = square(number)
    drawn = draw_overlay(GREY, labels)
    assert (drawn[labels == 0] == 100).all()
    assert (drawn[10, 20:50] == colours()[number]).all()
    assert (drawn[10:30, 49] == colours()[number]).all()
    share = 96 / 255
    tinted = 100 * (1 - share) + colours()[number] * share
    assert np.abs(drawn[20, 35] - tinted).max() <= 1


def test_the_frame_itself_is_not_painted() -> None:
    frame = GREY.copy()
    draw_overlay(frame, square(), {"a": (5, 5, 1.0)})
    assert (frame == GREY).all()


def test_touching_objects_are_both_outlined() -> None:
    labels = square(1)
    labels[:, 35:][labels[:, 35:] == 1] = 2
    drawn = draw_overlay(GREY, labels)
    assert (drawn[20, 34] == colours()[1]).all()
    assert (drawn[20, 35] == colours()[2]).all()


@pytest.mark.parametrize("scale", [2, 3, 7])
def test_enlarged_labels_keep_their_place(scale: int) -> None:
    drawn = draw_overlay(GREY, square(254), scale=scale)
    assert drawn.shape == (48 * scale, 64 * scale, 3)
    painted = (drawn != 100).any(axis=2)
    assert painted[10 * scale + scale : 30 * scale - scale, 20 * scale + scale : 49 * scale].all()
    painted[10 * scale - scale : 30 * scale + scale, 20 * scale - scale : 50 * scale + scale] = (
        False
    )
    assert not painted.any()


def test_a_point_lies_where_it_is_said_and_an_invisible_one_is_hollow() -> None:
    frame = np.full((200, 300, 3), 100, dtype=np.uint8)
    seen = draw_overlay(frame, points={"": (80.5, 60.5, 0.9)}, threshold=0.5)
    rows, columns = np.nonzero((seen != 100).any(axis=2))
    assert (rows.mean(), columns.mean()) == pytest.approx((60, 80), abs=0.1)
    hidden = draw_overlay(frame, points={"": (80.5, 60.5, 0.1)}, threshold=0.5)
    assert (seen[60, 80] != 100).any()
    assert (hidden[60, 80] == 100).all()
    change = np.abs(hidden.astype(int) - 100).sum()
    assert 0 < change < np.abs(seen.astype(int) - 100).sum()


@pytest.mark.parametrize("place", [(0, 0), (64, 48), (63.9, 0.1), (-50, 20), (1e4, 1e4)])
def test_points_at_and_beyond_the_border_do_no_harm(place: tuple[float, float]) -> None:
    drawn = draw_overlay(GREY, points={"a long name": (*place, 1.0)})
    assert drawn.shape == GREY.shape


def test_points_keep_their_colours_where_others_are_missing() -> None:
    frame = np.full((200, 300, 3), 100, dtype=np.uint8)
    both = draw_overlay(frame, points={"ear": (40, 40, 1.0), "nose": (150, 100, 1.0)})
    first = draw_overlay(frame, points={"nose": (150, 100, 1.0)})
    told = draw_overlay(frame, points={"nose": (150, 100, 1.0)}, order=("ear", "nose"))
    assert (told[100, 150] == both[100, 150]).all()
    assert (told[100, 150] != first[100, 150]).any()
    bare = draw_overlay(frame, points={"nose": (150, 100, 1.0)}, order=("ear", "nose"), named=False)
    assert ((bare != told).any(axis=2).sum()) > 50


def test_points_may_have_any_colours() -> None:
    frame = np.full((200, 300, 3), 100, dtype=np.uint8)
    points = {"ear": (40, 40, 1.0), "nose": (150, 100, 1.0)}
    drawn = draw_overlay(frame, points=points, paints={"nose": 3})
    assert (drawn[100, 150] == colours()[3]).all()
    assert (drawn[40, 40] == draw_overlay(frame, points=points)[40, 40]).all()


def test_names_are_written_only_where_there_is_room() -> None:
    frame = np.full((200, 300, 3), 100, dtype=np.uint8)
    alone = draw_overlay(frame, points={"nose": (150, 100, 1.0)})
    nameless = draw_overlay(frame, points={"": (150, 100, 1.0)})
    assert (alone != nameless).any()
    crowd = {f"name {i}": (150.0 + i % 9, 100.0 + i // 9, 1.0) for i in range(81)}
    drawn = draw_overlay(frame, points=crowd)
    white = (drawn == 255).all(axis=2)
    assert white.sum() < 12 * (alone == 255).all(axis=2).sum()


# The last three are long: what is drawn must still be a video that plays.
LEGIBLE = [((144, 176), 3), ((480, 854), 1), ((180, 20), 18)]
LEGIBLE += [((16, 1000), 4), ((3000, 8), 1), ((9000, 4), 1)]


@pytest.mark.parametrize(("size", "scale"), LEGIBLE)
def test_small_frames_are_enlarged_to_be_legible(size: tuple[int, int], scale: int) -> None:
    assert legible_scale(*size) == scale


def test_heat_grows_lighter_and_leaves_cold_pixels_grey() -> None:
    frame = np.full((1, 101, 3), (200, 40, 90), dtype=np.uint8)
    drawn = draw_heat(frame, np.linspace(0, 1, 101, dtype=np.float32)[None])[0].astype(int)
    assert drawn[0].min() == drawn[0].max() < 80  # the frame itself, in grey and darker
    light = drawn[25:] @ (0.299, 0.587, 0.114)
    assert (np.diff(light) > -0.5).all()  # but for rounding
    assert light[-1] > 230
    assert (drawn[-1] == draw_heat(frame[:, :1], np.array([[7.0]]))[0, 0]).all()


def test_sheet_holds_every_tile_and_stays_narrow() -> None:
    tiles = [
        (np.full((270, 480, 3), (20 * i, 0, 200), dtype=np.uint8), f"frame {i}") for i in range(10)
    ]
    sheet = contact_sheet(tiles)
    assert sheet.shape[1] <= 1600
    for rgb, _ in tiles:
        assert (sheet == rgb[0, 0]).all(axis=2).sum() > 50_000
    assert (sheet[:5] == 255).all()
    assert (sheet[:, :5] == 255).all()


def test_sheet_takes_one_tile_and_tiles_of_several_shapes() -> None:
    one = contact_sheet([(GREY, "frame 0")])
    assert (one[12:60, 12:76] == 100).all()
    tall = np.full((900, 200, 3), 7, dtype=np.uint8)
    both = contact_sheet([(GREY, "a"), (tall, "b")])
    assert (both == 7).all(axis=2).any()
    assert (both == 100).all(axis=2).any()


def test_fit_keeps_the_shape() -> None:
    assert fit(GREY, 32, 100).shape == (24, 32, 3)
    assert fit(GREY, 640, 480) is GREY


def test_drawing_is_quick() -> None:
    frame = np.zeros((480, 854, 3), dtype=np.uint8)
    labels = np.zeros((480, 854), dtype=np.uint8)
    labels[100:400, 200:600] = 1
    best = 1.0
    for _ in range(5):
        start = time.process_time()
        draw_overlay(frame, labels)
        best = min(best, time.process_time() - start)
    assert best < 0.05  # about 6 ms; the tracker has 600 ms a frame for all it does
