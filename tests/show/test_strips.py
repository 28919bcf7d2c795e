"""Strips: every tile is there, in its row, at a size that fits the page."""

import numpy as np
import pytest

from liir.figures import SHEET_WIDTH, colours
from liir.show.strips import Strip, draw_strips, draw_tile, spread, tile_width


def test_spread_has_both_ends_and_no_frame_twice() -> None:
    assert spread(3, 13, 3) == [3, 8, 13]
    assert spread(0, 2, 7) == [0, 1, 2]
    assert spread(4, 4, 5) == [4]
    assert spread(4, 9, 1) == [4]


def test_tiles_stand_in_their_rows_in_order() -> None:
    def tile(colour: int) -> np.ndarray:
        return np.full((40, 60, 3), colour, np.uint8)

    strips = [
        Strip("first\n87.1", [(tile(10), "a"), (tile(20), "b")]),
        Strip("second", [(tile(30), ""), (tile(40), "")]),
    ]
    sheet = draw_strips(strips)
    corners = {}
    for colour in (10, 20, 30, 40):
        same = (sheet == colour).all(axis=2)
        assert same.sum() >= 40 * 60
        # Letters have such greys too, here and there.
        whole = np.lib.stride_tricks.sliding_window_view(same, (40, 60)).all(axis=(2, 3))
        ((row, column),) = np.argwhere(whole).tolist()
        corners[colour] = row, column
    assert corners[10][0] == corners[20][0] < corners[30][0] == corners[40][0]
    assert corners[10][1] == corners[30][1] < corners[20][1] == corners[40][1]
    left = corners[10][1]
    assert (sheet[:, : left - 2] < 128).any()  # the names
    assert (sheet[-12:] == 255).all()


def test_a_legend_stands_below() -> None:
    strips = [Strip("a", [(np.zeros((40, 400, 3), np.uint8), "")])]
    plain, told = draw_strips(strips), draw_strips(strips, {"left": 1, "right": 2})
    assert (told[: len(plain) - 1] == plain[:-1]).all()
    below = told[len(plain) :]
    places = [np.argwhere((below == colours()[row]).all(axis=2))[:, 1] for row in (1, 2)]
    assert min(map(len, places)) > 100
    assert places[0].max() < places[1].min()


@pytest.mark.parametrize("columns", [1, 3, 9])
def test_no_page_is_too_wide(columns: int) -> None:
    name = "a rather long name"
    width = tile_width([name], columns)
    large = np.zeros((600, 3000, 3), np.uint8)
    sheet = draw_strips([Strip(name, [(large, "")] * columns)])
    assert SHEET_WIDTH - columns - 12 <= sheet.shape[1] <= SHEET_WIDTH
    assert (sheet == 0).all(axis=2).sum() >= columns * width * int(width / 5)


def test_a_tile_is_drawn_at_the_size_at_which_it_is_shown() -> None:
    rgb = np.full((100, 200, 3), 90, np.uint8)
    labels = np.zeros((100, 200), np.uint8)
    labels[20:60, 40:120] = 1
    tile = draw_tile(rgb, labels, {"nose": (180.0, 50.0, 1.0)}, 100)
    assert tile.shape == (50, 100, 3)
    assert (tile[10, 22:58] == colours()[1]).all()  # the contour
    assert (tile[45, 5] == 90).all()
    assert (tile[25, 90] != 90).any()  # the point, and its name beside it
    assert (tile[20:30, 62:80] != 90).any()
    other = draw_tile(rgb, labels, {"nose": (180.0, 50.0, 1.0)}, 100, paints={"nose": 2})
    assert (other[25, 90] == colours()[2]).all()
    assert draw_tile(rgb, None, {}, 500).shape == (200, 400, 3)  # by whole numbers
