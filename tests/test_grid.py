"""Cells look at points of the frame: labels must be read and written exactly there."""

import numpy as np
import pytest
import torch

from liir.grid import Grid

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("height", "width", "size", "picture", "cells"),
    [
        (480, 854, 480, (480, 854), (120, 214)),
        (144, 176, 480, (480, 587), (120, 147)),
        (1080, 1920, 480, (480, 853), (120, 214)),
        (37, 51, 0, (37, 51), (10, 13)),
        (16, 4000, 480, (259, 64763), (65, 16191)),
    ],
)
def test_sizes(height, width, size, picture, cells):
    grid = Grid(height, width, size, CPU)
    assert grid.picture == picture
    assert grid.cells == cells


@pytest.mark.parametrize("size", [0, 48, 96, 77])
def test_a_ramp_survives_the_way_to_cells_and_back(size):
    """Linear functions are kept by averaging and by interpolation: any shift would show."""
    height, width = 48, 64
    grid = Grid(height, width, size, CPU)
    y = (torch.arange(height) + 0.5)[:, None].expand(height, width)
    x = (torch.arange(width) + 0.5).expand(height, width)
    back = grid.to_pixels(grid.to_cells(torch.stack((x, y))))
    inner = (slice(None), slice(6, -9), slice(6, -9))
    assert torch.allclose(back[inner], torch.stack((x, y))[inner], atol=0.05)


def test_cell_centres_are_pixel_multiples_of_four():
    grid = Grid(40, 40, 0, CPU)
    assert grid.cell_of(4 * 3 + 0.5, 4 * 7 + 0.5) == (3.0, 7.0)
    one = torch.zeros(1, 10, 10)
    one[0, 7, 3] = 1.0
    pixels = grid.to_pixels(one)[0]
    assert pixels[28, 12] == 1.0
    assert divmod(int(pixels.argmax()), 40) == (28, 12)


@pytest.mark.parametrize("size", [0, 100, 480])
def test_points_go_and_come_back(size):
    grid = Grid(144, 176, size, CPU)
    for x, y in [(0.5, 0.5), (100.25, 33.75), (175.5, 143.5)]:
        assert grid.point_of(*grid.cell_of(x, y)) == pytest.approx((x, y))


def test_a_part_equals_its_place_in_the_whole():
    grid = Grid(50, 70, 96, CPU)
    plane = torch.rand(*grid.cells)
    whole = grid.to_pixels(plane[None])[0]
    for top, left, bottom, right in [(0, 0, 1, 1), (3, 5, 9, 8), (0, 0, *grid.cells)]:
        cells = torch.zeros(grid.cells, dtype=torch.bool)
        cells[top, left] = cells[bottom - 1, right - 1] = True
        box = slice(top, bottom), slice(left, right)
        rows, columns, part = grid.part_to_pixels(plane, box)
        assert torch.allclose(part, whole[rows, columns], atol=1e-6)
        outside = torch.ones_like(whole, dtype=torch.bool)
        outside[rows, columns] = False
        touched = grid.to_pixels(cells[None])[0] > 0
        assert not (touched & outside).any()
    _, _, none = grid.part_to_pixels(plane, (slice(0, 0), slice(0, 0)))
    assert none.numel() == 0


def test_masses_are_averages():
    grid = Grid(64, 64, 32, CPU)
    assert torch.allclose(grid.to_cells(torch.ones(1, 64, 64)), torch.ones(1, 8, 8))
    assert torch.allclose(grid.to_pixels(torch.ones(2, 8, 8)), torch.ones(2, 64, 64))


def test_resize_keeps_size_and_read_only_arrays():
    rgb = np.full((20, 30, 3), 7, dtype=np.uint8)
    rgb.flags.writeable = False
    picture = Grid(20, 30, 40, CPU).resize(rgb)
    assert picture.shape == (3, 40, 60)
    assert picture.dtype == torch.uint8
    assert bool((picture == 7).all())
    assert Grid(20, 30, 0, CPU).resize(rgb).shape == (3, 20, 30)


def test_patches_lie_where_they_are_cut() -> None:
    """A grid of patches 14 pixels wide: labels of whole patches come back to the pixel."""
    grid = Grid(70, 98, 0, CPU, stride=14, offset=7.0)
    assert grid.cells == (5, 7)
    cells = torch.zeros(1, 5, 7)
    cells[0, 2, 3] = 1.0
    plane = torch.zeros(1, 70, 98)
    plane[0, 28:42, 42:56] = 1.0
    torch.testing.assert_close(grid.to_cells(plane), cells)
    back = grid.to_pixels(cells)[0]
    assert float(back[35, 49]) > 0.9
    np.testing.assert_array_equal(back > 0.5, (back > 0.5) & (plane[0] > 0))
    assert grid.cell_of(49.0, 35.0) == (3.0, 2.0)
    assert grid.point_of(3.0, 2.0) == (49.0, 35.0)
