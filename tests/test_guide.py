"""Shares read at pixels: where colours end, labels do; where they tell nothing, nothing changes."""

import numpy as np
import pytest
import torch

from liir.grid import Grid
from liir.guide import _CONTRAST, _FIRST, _SECOND, Guide, _factors, _solved

CPU = torch.device("cpu")
HEIGHT, WIDTH = 61, 81  # a cell in each corner, so that flips take cells to cells


def everywhere(grid):
    return torch.ones(grid.cells, dtype=torch.bool)


def read(guide, share, cells=None):
    """All of it, where colours and cells put it: rows, columns, share."""
    cells = everywhere(guide.grid) if cells is None else cells
    rows, columns, linear, added = guide.read(share, cells)
    return rows, columns, linear + added


def linear(share, grid):
    return grid.to_pixels(share[None])[0]


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def box_of(grid, top, left, side):
    share = torch.zeros(grid.cells)
    share[top : top + side, left : left + side] = 1.0
    return share


@pytest.mark.parametrize("size", [0, 40])
def test_a_label_ends_where_the_colour_does(size):
    grid = Grid(HEIGHT, WIDTH, size, CPU)
    missed = 0
    for edge in range(36, 46):
        rgb = np.full((HEIGHT, WIDTH, 3), (90, 120, 60), np.uint8)
        rgb[:, edge:] = (140, 100, 80)
        thing = torch.zeros(HEIGHT, WIDTH)
        thing[:, edge:] = 1.0
        share = grid.to_cells(thing[None])[0].round()  # a cell is wholly it, or not at all
        missed += int(((linear(share, grid) > 0.5) != (thing > 0.5)).any())
        _, _, found = read(Guide(rgb, grid, 2), share)
        assert ((found > 0.5) == (thing > 0.5)).all()
    assert missed > 4  # by reading linearly


def test_one_colour_changes_nothing():
    """A guided filter as published would smear it: of 2 x 2 cells in 7 x 7 little is left."""
    grid = Grid(HEIGHT, WIDTH, 0, CPU)
    rgb = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
    for share in (box_of(grid, 6, 8, 2), torch.rand(grid.cells)):
        _, _, found = read(Guide(rgb, grid, 3), share)
        assert torch.allclose(found, linear(share, grid), atol=1e-5)


def test_noise_changes_little():
    """Three colours tell a part of anything in a window of few cells, by chance: it is left out."""
    grid = Grid(HEIGHT, WIDTH, 0, CPU)
    share = box_of(grid, 5, 7, 4)
    thing = linear(share, grid) > 0.5
    size = 0.0
    for seed in range(5):
        guide = Guide(noise(seed), grid, 3)
        _, _, found = read(guide, share)
        assert (found[thing] > 0.5).float().mean() > 0.95
        assert (found[~thing] > 0.5).float().mean() < 0.01
        size += float((found - linear(share, grid)).square().mean().sqrt()) / 5
    assert size < 0.03  # 0.043 if chance is not left out


def test_what_one_label_gains_the_others_lose():
    grid = Grid(HEIGHT, WIDTH, 0, CPU)
    share, guide = torch.rand(grid.cells), Guide(noise(), grid, 3)
    one, other = (read(guide, s)[2] for s in (share, 1 - share))
    assert torch.allclose(one + other, torch.ones(HEIGHT, WIDTH), atol=1e-4)


@pytest.mark.parametrize("size", [0, 40])
@pytest.mark.parametrize("radius", [0, 1, 3])
def test_a_part_equals_its_place_in_the_whole(radius, size):
    grid = Grid(HEIGHT, WIDTH, size, CPU)
    share, guide = torch.rand(grid.cells), Guide(noise(), grid, radius)
    _, _, whole = read(guide, share)
    for row, column in [(0, 0), (grid.cells[0] // 2, grid.cells[1] // 2), (-1, -1)]:
        cells = torch.zeros(grid.cells, dtype=torch.bool)
        cells[row, column] = True
        rows, columns, part = read(guide, share, cells)
        assert torch.allclose(part, whole[rows, columns], atol=1e-4)
        seen = linear(cells, grid) > 0
        assert seen[rows, columns].sum() == seen.sum()
    assert read(guide, share, torch.zeros_like(cells))[2].numel() == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_flips_commute(axis):
    grid = Grid(HEIGHT, WIDTH, 0, CPU)
    rgb, share = noise(), torch.rand(grid.cells)
    _, _, found = read(Guide(rgb, grid, 2), share)
    guide = Guide(np.flip(rgb, axis).copy(), grid, 2)
    _, _, turned = read(guide, share.flip(axis))
    assert torch.allclose(turned.flip(axis), found, atol=1e-4)


def test_a_window_may_be_wider_than_the_frame():
    grid = Grid(33, 40, 0, CPU)
    rgb = noise()[:33, :40]
    _, _, found = read(Guide(rgb, grid, 32), torch.rand(grid.cells))
    assert found.shape == (33, 40)
    assert found.isfinite().all()


def test_slopes_solve_their_system():
    colours = torch.rand(3, 50)
    colours[1] = colours[0]  # two of the three tell the same: next to no variance is left
    full = torch.cov(colours)
    together = torch.randn(3, 1, 1)
    found = _solved(_factors(full[_FIRST, _SECOND][:, None, None]), together).flatten()
    wanted = torch.linalg.solve(full + _CONTRAST**2 * torch.eye(3), together.flatten())
    assert torch.allclose(found, wanted, rtol=1e-3)
