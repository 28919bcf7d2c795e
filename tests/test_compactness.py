"""Gaussians in place of scattered matches: sums kept, centres right, blurring the same thing."""

import pytest
import torch

from liir.compactness import SPREAD, blur, condensed, fit, penalty
from liir.matching import Matches

SIDE = 12
INSIDE = torch.ones(1, SIDE * SIDE, dtype=torch.bool)


def row(*cells):
    """A row of weights with the given (y, x, weight)."""
    weights = torch.zeros(SIDE, SIDE)
    for y, x, weight in cells:
        weights[y, x] = weight
    return weights.view(1, -1)


@pytest.mark.parametrize("gaussians", [1, 2, 3])
def test_the_fit_keeps_the_mass(gaussians):
    weights = torch.rand(9, SIDE * SIDE)
    inside = torch.rand(9, SIDE * SIDE) > 0.3
    weights = weights * inside
    found = fit(weights, inside, gaussians)
    torch.testing.assert_close(found.sum(1), weights.sum(1))
    assert bool((found[~inside] == 0).all())


def test_two_peaks_are_two_gaussians():
    found = fit(row((3, 4, 0.6), (8, 8, 0.3)), INSIDE, 2).view(SIDE, SIDE)
    assert found.argmax() == 3 * SIDE + 4
    near, far = found[1:6, 2:7].sum(), found[6:11, 6:11].sum()
    torch.testing.assert_close(near, torch.tensor(0.6), atol=1e-3, rtol=0)
    torch.testing.assert_close(far, torch.tensor(0.3), atol=1e-3, rtol=0)


def test_a_gaussian_is_one_cell_wide_at_half_its_height():
    half = torch.exp(torch.tensor(-(0.5**2) / (2 * SPREAD**2)))
    torch.testing.assert_close(half, torch.tensor(0.5), atol=1e-3, rtol=0)


def test_the_penalty_pulls_confident_rows_only():
    scattered = row((2, 2, 0.35), (9, 9, 0.33), (2, 9, 0.32))
    sure = row((2, 2, 0.7), (9, 9, 0.15), (2, 9, 0.15))
    options = {"gaussians": 1, "threshold": 0.5, "scale": 20.0}
    assert penalty(scattered, INSIDE, **options)[1] == 0
    both, count = penalty(torch.cat((scattered, sure)), INSIDE.expand(2, -1), **options)
    assert count == 1
    assert both > 0
    fitted = fit(sure, INSIDE, 1)
    assert penalty(fitted, INSIDE, gaussians=1, threshold=0.5, scale=20.0)[0] < both


def test_the_fit_is_held_constant():
    weights = row((2, 2, 0.7), (9, 9, 0.3)).requires_grad_()
    loss, _ = penalty(weights, INSIDE, gaussians=1, threshold=0.5, scale=20.0)
    loss.backward()
    target = fit(weights.detach(), INSIDE, 1)
    # The gradient has the sign of what is above its fit: no path leads through the fit.
    assert bool(((weights.grad > 0) == (weights.detach() > target)).all())


def test_reading_the_blurred_map_is_tallying_the_gaussian():
    labels = torch.rand(1, 3, SIDE, SIDE)
    blurred = blur(labels)
    for y, x in [(5, 6), (0, 0), (11, 3)]:
        bell = fit(row((y, x, 1.0)), INSIDE, 1)
        expected = labels[0].flatten(1) @ bell[0]
        torch.testing.assert_close(blurred[0, :, y, x], expected, atol=1e-5, rtol=1e-4)


def matches(cells, weights):
    values = torch.tensor(weights).log()
    return Matches(values, torch.tensor(cells), torch.zeros(len(cells)))


def test_confident_rows_are_read_blurred_at_their_centres():
    """Two references of 4x4 cells, M = 1: confident rows give all they have to one centre."""
    found = matches(
        [[3, 4, 20, 21], [5, 6, 22, 23]], [[0.5, 0.2, 0.2, 0.1], [0.08, 0.07, 0.45, 0.4]]
    )
    values = torch.rand(32, 3)
    soft = blur(values.T.view(3, 2, 4, 4).transpose(0, 1)).permute(0, 2, 3, 1).reshape(32, 3)
    expected = torch.stack(
        (
            0.7 * soft[3] + 0.3 * soft[20],
            0.08 * values[5] + 0.07 * values[6] + 0.85 * soft[22],
        )
    )
    torch.testing.assert_close(condensed(found, 2, (4, 4), 1, 0.1)(values), expected)


def test_without_confident_rows_nothing_changes():
    found = matches([[3, 4, 20, 21]], [[0.3, 0.3, 0.2, 0.2]])
    values = torch.rand(32, 2)
    torch.testing.assert_close(condensed(found, 2, (4, 4), 2, 0.5)(values), found.tally(values))


def test_shares_still_sum_to_one():
    cells = [[0, 1, 15, 16, 31]] * 3
    weights = torch.rand(3, 5).softmax(1).tolist()
    ones = condensed(matches(cells, weights), 2, (4, 4), 2, 0.1)(torch.ones(32, 1))
    torch.testing.assert_close(ones, torch.ones(3, 1))
