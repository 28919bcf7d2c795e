"""Points drawn on cells are read back where they were."""

import pytest
import torch

from liir.grid import Grid
from liir.keypoints import draw_blob, read_points

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [0, 60, 240])
@pytest.mark.parametrize(("x", "y"), [(40.0, 30.0), (41.3, 55.8), (77.77, 22.2)])
def test_sub_cell_precision(x, y, size):
    grid = Grid(90, 120, size, CPU)
    blob = draw_blob(x, y, 1.0, grid)
    found_x, found_y, confidence = read_points(blob[None], 1.0, grid)[0]
    cell = 4 * 90 / (size or 90)  # pixels of the frame
    assert abs(found_x - x) < 0.06 * cell
    assert abs(found_y - y) < 0.06 * cell
    assert 0.9 < confidence <= 1.0


def test_points_stay_in_the_frame_at_its_borders():
    grid = Grid(90, 120, 0, CPU)
    for x, y in [(0.0, 0.0), (119.9, 89.9), (0.0, 89.9)]:
        found_x, found_y, confidence = read_points(draw_blob(x, y, 1.0, grid)[None], 1.0, grid)[0]
        assert 0 <= found_x <= 120
        assert 0 <= found_y <= 90
        assert abs(found_x - x) < 5
        assert abs(found_y - y) < 5
        assert confidence > 0.3  # the last cell may lie up to four pixels inside


def test_nothing_to_read_is_no_confidence():
    grid = Grid(40, 40, 0, CPU)
    assert read_points(torch.zeros(1, *grid.cells), 1.0, grid)[0][2] == 0.0
    assert read_points(torch.zeros(0, *grid.cells), 1.0, grid) == []


def test_confidence_falls_when_a_blob_falls_apart_more_than_when_it_blurs():
    grid = Grid(90, 120, 0, CPU)
    sharp = draw_blob(60.0, 45.0, 1.0, grid)
    blurred = draw_blob(60.0, 45.0, 1.6, grid) / 1.6**2  # the same mass
    apart = (sharp + draw_blob(20.0, 20.0, 1.0, grid) + draw_blob(100.0, 70.0, 1.0, grid)) / 3
    sure = [read_points(blob[None], 1.0, grid)[0][2] for blob in (sharp, blurred, apart)]
    assert sure[0] > 0.95
    assert sure[1] > 0.6
    assert sure[2] < 0.4


def test_a_place_where_a_blob_fits_wins_over_a_single_high_cell():
    grid = Grid(90, 120, 0, CPU)
    blob = 0.7 * draw_blob(60.0, 45.0, 1.0, grid)
    blob[4, 25] = 0.9
    x, y, _ = read_points(blob[None], 1.0, grid)[0]
    assert (x, y) == pytest.approx((60.0, 45.0), abs=0.3)
